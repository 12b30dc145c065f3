//! Attention over distances on a GPU.

use super::{Disentangled, OfDistances};
use crate::Result;
use crate::kernels::cuda::disentangled::{Problem, backward as adjoint, forward as kernel};
use crate::kernels::cuda::{Array, Gpu};
use crate::ops::Tensor;
use crate::ops::attention::{Attended, Operands};

/// As [`Disentangled::forward`].
pub(super) fn forward(
    attention: &Disentangled<'_>,
    gpu: Gpu,
    operands: (Operands<'_>, OfDistances<'_>),
) -> Result<Attended> {
    let operands = placed(gpu, operands)?;
    let [o, log_sum_exp] = kernel(gpu, problem(attention), operands.each_ref())?;
    Ok(Attended {
        o: o.into(),
        log_sum_exp: log_sum_exp.into(),
    })
}

/// As [`Disentangled::backward`].
pub(super) fn backward(
    attention: &Disentangled<'_>,
    gpu: Gpu,
    operands: (Operands<'_>, OfDistances<'_>),
    attended: &Attended,
    d_o: &Tensor,
) -> Result<[Tensor; 5]> {
    let operands = placed(gpu, operands)?;
    let Attended { o, log_sum_exp } = attended;
    let saved = [&o.on(gpu)?, &log_sum_exp.on(gpu)?, &d_o.on(gpu)?];
    let gradients = adjoint(gpu, problem(attention), operands.each_ref(), saved)?;
    Ok(gradients.map(Tensor::from))
}

fn placed(gpu: Gpu, (of, distances): (Operands<'_>, OfDistances<'_>)) -> Result<[Array; 5]> {
    Ok([
        of.q.on(gpu)?,
        of.k.on(gpu)?,
        of.v.on(gpu)?,
        distances.queries.on(gpu)?,
        distances.keys.on(gpu)?,
    ])
}

fn problem<'a>(attention: &Disentangled<'a>) -> Problem<'a> {
    Problem {
        heads: attention.shape.num_heads,
        head_dim: attention.shape.head_dim,
        scale: attention.shape.scale,
        offsets: attention.offsets,
        places: &attention.places.rows,
        width: attention.places.width,
        shares: attention.shares,
    }
}
