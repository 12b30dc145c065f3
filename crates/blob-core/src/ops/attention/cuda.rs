//! Attention on a GPU.

use super::{Attention, AttentionShape, Mask, Operands, Queries};
use crate::Result;
use crate::kernels::cuda::Gpu;
use crate::kernels::cuda::attention::{
    EVERY, Problem, Saved, WIDEST, backward as adjoint, forward as kernel,
};
use crate::ops::{Precision, Tensor};

/// Products in eight bits, and what lies between them, are references.
pub(super) fn has_kernel(shape: &AttentionShape) -> bool {
    shape.head_dim <= WIDEST && matches!(shape.precision, Precision::F32 | Precision::Bf16)
}

/// As [`Attention::forward`].
pub(super) fn forward(
    attention: &Attention<'_>,
    gpu: Gpu,
    of: Operands<'_>,
) -> Result<(Tensor, Tensor)> {
    let operands = [&of.q.on(gpu)?, &of.k.on(gpu)?, &of.v.on(gpu)?];
    let [o, log_sum_exp] = kernel(gpu, problem(attention), operands)?;
    Ok((o.into(), log_sum_exp.into()))
}

/// As [`Attention::backward`], of o, log_sum_exp and do.
pub(super) fn backward(
    attention: &Attention<'_>,
    gpu: Gpu,
    of: Operands<'_>,
    [o, log_sum_exp, d_o]: [&Tensor; 3],
) -> Result<(Tensor, Tensor, Tensor)> {
    let operands = [&of.q.on(gpu)?, &of.k.on(gpu)?, &of.v.on(gpu)?];
    let saved = Saved {
        o: &o.on(gpu)?,
        log_sum_exp: &log_sum_exp.on(gpu)?,
        d_o: &d_o.on(gpu)?,
    };
    let [dq, dk, dv] = adjoint(gpu, problem(attention), operands, saved)?;
    Ok((dq.into(), dk.into(), dv.into()))
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
        asks_last: attention.queries == Queries::Last,
        rounds: shape.precision == Precision::Bf16,
    }
}
