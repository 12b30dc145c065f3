//! Attention on a GPU.

use super::{Attention, AttentionShape, Mask, Operands, Queries};
use crate::Result;
use crate::kernels::cuda::attention::{
    Problem, Saved, WIDEST, backward as adjoint, forward as kernel,
};
use crate::kernels::cuda::{Array, Gpu, pointwise};
use crate::ops::{Precision, Tensor};

/// Kernels round nothing; what is rounded to eight bits behind them would show that.
pub(super) fn has_kernel(shape: &AttentionShape) -> bool {
    shape.head_dim <= WIDEST && matches!(shape.precision, Precision::F32 | Precision::Bf16)
}

/// As [`Attention::forward`].
pub(super) fn forward(
    attention: &Attention<'_>,
    gpu: Gpu,
    of: Operands<'_>,
) -> Result<(Tensor, Tensor)> {
    let q = spread(attention, gpu, of.q)?;
    let operands = [&q, &of.k.on(gpu)?, &of.v.on(gpu)?];
    let [o, log_sum_exp] = kernel(gpu, problem(attention), operands)?;
    let o = taken(attention, gpu, o)?;
    Ok((o, taken(attention, gpu, log_sum_exp)?))
}

/// As [`Attention::backward`], of o, log_sum_exp and do.
pub(super) fn backward(
    attention: &Attention<'_>,
    gpu: Gpu,
    of: Operands<'_>,
    saved: [&Tensor; 3],
) -> Result<(Tensor, Tensor, Tensor)> {
    let q = spread(attention, gpu, of.q)?;
    let operands = [&q, &of.k.on(gpu)?, &of.v.on(gpu)?];
    let [o, log_sum_exp, d_o] = saved.map(|tensor| spread(attention, gpu, tensor));
    let saved = Saved {
        o: &o?,
        log_sum_exp: &log_sum_exp?,
        d_o: &d_o?,
    };
    let [dq, dk, dv] = adjoint(gpu, problem(attention), operands, saved)?;
    Ok((taken(attention, gpu, dq)?, dk.into(), dv.into()))
}

/// Rows of the last positions in their places among all. The others are zero, and so is what they
/// add: the kernel computes a row for every position.
fn spread(attention: &Attention<'_>, gpu: Gpu, rows: &Tensor) -> Result<Array> {
    let array = rows.on(gpu)?;
    match attention.queries {
        Queries::Every => Ok(array),
        Queries::Last => pointwise::scatter(gpu, &array, &last(attention), n(attention)),
    }
}

/// The rows that ask, of all.
fn taken(attention: &Attention<'_>, gpu: Gpu, rows: Array) -> Result<Tensor> {
    Ok(match attention.queries {
        Queries::Every => rows.into(),
        Queries::Last => pointwise::gather(gpu, &rows, &last(attention))?.into(),
    })
}

fn last(attention: &Attention<'_>) -> Vec<u32> {
    attention.offsets[1..].iter().map(|end| end - 1).collect()
}

fn n(attention: &Attention<'_>) -> usize {
    attention.offsets.last().map_or(0, |end| *end as usize)
}

fn problem<'a>(attention: &Attention<'a>) -> Problem<'a> {
    let shape = attention.shape;
    Problem {
        heads: shape.num_heads,
        kv_heads: shape.num_kv_heads,
        width: shape.head_dim,
        is_causal: attention.mask != Mask::Full,
        window: match attention.mask {
            Mask::Window(width) => width,
            Mask::Causal | Mask::Full => 0,
        },
        scale: shape.scale,
        soft_cap: shape.soft_cap,
        offsets: attention.offsets,
    }
}
