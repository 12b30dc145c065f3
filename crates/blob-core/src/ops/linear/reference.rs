//! Linear layers by plain operations.

use candle_core as candle;

use super::{Projection, Returning, Wants};
use crate::Result;
use crate::adapter::Parameters;
use crate::ops::low_rank::Kept;
use crate::ops::reference::{backward_weight, forward_operand, forward_weight, rounded};
use crate::ops::{Tensor, finite, low_rank};
use crate::pass::Pass;

pub(super) fn forward(
    layers: &[&Projection<'_>],
    x: &Tensor,
    pass: &Pass,
) -> Result<Vec<(Tensor, Option<Kept>)>> {
    let mut outputs = Vec::new();
    for layer in layers {
        let y = project(layer, x.host()?)?.into();
        finite::check(pass, &y, || layer.site.path())?;
        pass.abort.check()?;
        outputs.push((y, None));
    }
    Ok(outputs)
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
    let Wants { dx, addend, pass } = wants;
    let mut sum = addend;
    for Returning { projection, dy, .. } in layers {
        pass.abort.check()?;
        let mut parts = Vec::new();
        let dy = dy.host()?;
        if let (Some(term), Some(x)) = (&projection.term, x) {
            let x = x.host()?;
            parts.push(low_rank::reference::backward(term, x, dy, gradients)?);
        }
        if dx {
            let precision = projection.weight.precision();
            let w = backward_weight(projection.weight.reference()?, precision)?;
            parts.push(rounded(dy, precision)?.matmul(&w)?);
            for part in parts {
                sum = Some(match sum {
                    Some(sum) => (sum.host()? + part)?.into(),
                    None => part.into(),
                });
            }
            if let Some(sum) = &sum {
                finite::check(pass, sum, || {
                    format!("the gradient at {}", projection.site.path())
                })?;
            }
        }
    }
    Ok(if dx { sum } else { None })
}
