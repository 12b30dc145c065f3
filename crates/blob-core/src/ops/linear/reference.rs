//! Linear layers by plain operations.

use candle_core as candle;

use super::{Projection, Returning, Wants, in_turn};
use crate::Result;
use crate::adapter::Parameters;
use crate::ops::Tensor;
use crate::ops::low_rank::{self, Kept};
use crate::ops::reference::{backward_weight, forward_operand, forward_weight, rounded};
use crate::pass::Pass;

pub(super) fn forward(
    layers: &[&Projection<'_>],
    x: &Tensor,
    pass: &Pass,
) -> Result<Vec<(Tensor, Option<Kept>)>> {
    let x = x.host()?;
    in_turn::forward(layers, pass, |layer| Ok(project(layer, x)?.into()))
}

/// y, (n, m).
fn project(projection: &Projection<'_>, x: &candle::Tensor) -> Result<candle::Tensor> {
    let Projection { weight, .. } = projection;
    let precision = weight.precision();
    let w = forward_weight(weight.reference()?, precision)?;
    let mut y = forward_operand(x, precision)?.matmul(&w.t()?)?;
    if let Some(term) = &projection.term {
        y = (y + low_rank::reference::forward(term, x)?)?;
    }
    if let Some(bias) = projection.bias {
        y = y.broadcast_add(bias.host()?)?;
    }
    if let Some(addend) = projection.addend {
        y = (y + addend.host()?)?;
    }
    Ok(y)
}

pub(super) fn backward(
    layers: &[Returning<'_>],
    x: Option<&Tensor>,
    wants: Wants<'_>,
    gradients: &mut Parameters,
) -> Result<Option<Tensor>> {
    let dx = wants.dx;
    in_turn::backward(layers, wants, |Returning { projection, dy, .. }, sum| {
        let mut parts = Vec::new();
        let dy = dy.host()?;
        if let (Some(term), Some(x)) = (&projection.term, x) {
            let x = x.host()?;
            parts.push(low_rank::reference::backward(term, x, dy, gradients)?);
        }
        if !dx {
            return Ok(None);
        }
        let precision = projection.weight.precision();
        let w = backward_weight(projection.weight.reference()?, precision)?;
        parts.push(rounded(dy, precision)?.matmul(&w)?);
        let mut total = match sum {
            Some(sum) => Some(sum.host()?.clone()),
            None => None,
        };
        for part in parts {
            total = Some(match total {
                Some(total) => (total + part)?,
                None => part,
            });
        }
        Ok(total.map(Tensor::from))
    })
}
