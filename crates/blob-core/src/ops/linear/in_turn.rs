//! Layers one after another, where nothing of them is fused and nothing kept: the backward pass
//! computes h again, which costs one reading of x.

use super::{Projection, Returning, Wants};
use crate::Result;
use crate::ops::low_rank::Kept;
use crate::ops::{Tensor, finite};
use crate::pass::Pass;

/// y (n, m) of each layer, which `project` computes.
pub(super) fn forward(
    layers: &[&Projection<'_>],
    pass: &Pass,
    project: impl Fn(&Projection<'_>) -> Result<Tensor>,
) -> Result<Vec<(Tensor, Option<Kept>)>> {
    let mut outputs = Vec::new();
    for layer in layers {
        let y = project(layer)?;
        finite::check(pass, &y, || layer.site.path())?;
        pass.abort.check()?;
        outputs.push((y, None));
    }
    Ok(outputs)
}

/// dL/dx, when it is wanted: `returning` adds a layer's to the sum so far, and its term's gradients
/// to theirs; it gives none where none is wanted.
pub(super) fn backward(
    layers: &[Returning<'_>],
    wants: Wants<'_>,
    mut returning: impl FnMut(&Returning<'_>, Option<&Tensor>) -> Result<Option<Tensor>>,
) -> Result<Option<Tensor>> {
    let Wants { dx, addend, pass } = wants;
    let mut sum = addend;
    for layer in layers {
        pass.abort.check()?;
        if let Some(total) = returning(layer, sum.as_ref())? {
            finite::check(pass, &total, || {
                format!("the gradient at {}", layer.projection.site.path())
            })?;
            sum = Some(total);
        }
    }
    Ok(if dx { sum } else { None })
}
