//! Attention on a GPU.

use super::{Attended, Attention, AttentionShape, Mask, OperandGradients, Operands, Queries};
use crate::Result;
use crate::kernels::cuda::Gpu;
use crate::kernels::cuda::attention::{
    self as cuda, EVERY, Keys, Problem, Saved, WIDEST, backward as adjoint, forward as kernel,
};
use crate::ops::{Precision, Tensor};

/// Products in eight bits, and what lies between them, are references.
pub(super) fn has_kernel(shape: &AttentionShape) -> bool {
    shape.head_dim <= WIDEST && matches!(shape.precision, Precision::F32 | Precision::Bf16)
}

/// As [`Attention::forward`].
pub(super) fn forward(attention: &Attention<'_>, gpu: Gpu, of: Operands<'_>) -> Result<Attended> {
    let run = |operands: cuda::Operands<'_>| kernel(gpu, problem(attention), operands);
    let [o, log_sum_exp] = with_operands(attention, gpu, of, run)?;
    Ok(Attended {
        o: o.into(),
        log_sum_exp: log_sum_exp.into(),
    })
}

/// As [`Attention::backward`].
pub(super) fn backward(
    attention: &Attention<'_>,
    gpu: Gpu,
    of: Operands<'_>,
    attended: &Attended,
    d_o: &Tensor,
) -> Result<OperandGradients> {
    let saved = Saved {
        o: &attended.o.on(gpu)?,
        log_sum_exp: &attended.log_sum_exp.on(gpu)?,
        d_o: &d_o.on(gpu)?,
    };
    let run = |operands: cuda::Operands<'_>| adjoint(gpu, problem(attention), operands, saved);
    let [dq, dk, dv] = with_operands(attention, gpu, of, run)?;
    Ok(OperandGradients {
        dq: dq.into(),
        dk: dk.into(),
        dv: dv.into(),
    })
}

fn with_operands<T>(
    attention: &Attention<'_>,
    gpu: Gpu,
    of: Operands<'_>,
    run: impl FnOnce(cuda::Operands<'_>) -> Result<T>,
) -> Result<T> {
    let q = &of.q.on(gpu)?;
    match attention.shape.precision {
        Precision::F32 => {
            let (k, v) = (of.k.on(gpu)?, of.v.on(gpu)?);
            let keys = Keys::Exact([&k, &v]);
            run(cuda::Operands { q, keys })
        }
        Precision::Bf16 => {
            let (k, v) = (of.k.rounded_on(gpu)?, of.v.rounded_on(gpu)?);
            let keys = Keys::Rounded([&k, &v]);
            run(cuda::Operands { q, keys })
        }
        Precision::Int8 | Precision::Int8Mixed => unreachable!("has_kernel says no"),
    }
}

fn problem<'a>(attention: &Attention<'a>) -> Problem<'a> {
    let shape = attention.shape;
    let (before, after) = match attention.mask {
        Mask::Causal => (EVERY, 0),
        Mask::Window(width) => (width - 1, 0),
        Mask::Full => (EVERY, EVERY),
        Mask::Around(reach) => (reach, reach),
    };
    Problem {
        heads: shape.num_heads,
        kv_heads: shape.num_kv_heads,
        width: shape.head_dim,
        before: before.min(EVERY),
        after: after.min(EVERY),
        scale: shape.scale,
        soft_cap: shape.soft_cap,
        offsets: attention.offsets,
        last_queries_only: attention.queries == Queries::Last,
    }
}
