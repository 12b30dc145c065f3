//! Linear layers on the kernels of the CPU.

use rayon::prelude::*;

use super::{Projection, Returning, Wants, frozen};
use crate::Result;
use crate::adapter::Parameters;
use crate::kernels::cpu::gemm::{
    Addend, Direction, Epilogue, LowRankUpdate, Operand, Part, StackedWeights,
};
use crate::ops::low_rank::{Adjoint, Kept, Term};
use crate::ops::{Tensor, finite, read, wrap};
use crate::pass::Pass;

/// All layers together, so that no thread waits for the end of each.
pub(super) fn forward(
    layers: &[&Projection<'_>],
    (x, staged): (Option<&Tensor>, &Operand),
    pass: &Pass,
) -> Result<Vec<(Tensor, Option<Kept>)>> {
    let outputs: Vec<Result<_>> = layers
        .par_iter()
        .with_max_len(1)
        .map(|layer| project(layer, x, staged, pass))
        .collect();
    outputs.into_iter().collect()
}

fn project(
    projection: &Projection<'_>,
    x: Option<&Tensor>,
    staged: &Operand,
    pass: &Pass,
) -> Result<(Tensor, Option<Kept>)> {
    let weight = projection.weight.cpu()?;
    let (rows, columns) = (staged.rows(), weight.rows());
    let term = projection.term.as_ref();
    let kept = match (term, x) {
        (Some(term), Some(x)) => Some(term.down(&read(x)?)),
        (Some(_), None) => return Err(projection.missing_input()),
        (None, _) => None,
    };
    let b = term.map(Term::b_transposed).unwrap_or_default();
    let mut updates = match (term, &kept) {
        (Some(term), Some(kept)) => term.updates(kept, &b),
        _ => Vec::new(),
    };
    let bias = projection.bias.map(read).transpose()?;
    let ones = vec![1.0; if bias.is_some() { rows } else { 0 }];
    // A bias is ones times b: rank one.
    updates.extend(bias.as_deref().map(|bias| LowRankUpdate {
        rows: 0..rows,
        left: &ones,
        right: bias,
        factor: 1.0,
        marks: None,
    }));
    let addend = projection.addend.map(read).transpose()?;
    let epilogue = Epilogue {
        updates: &updates,
        addend: addend.as_deref().map_or(Addend::None, Addend::Matrix),
    };
    let y = weight.product(Direction::Forward, staged, &epilogue)?;
    drop(updates);
    let y = wrap(y, (rows, columns))?;
    finite::check(pass, &y, || projection.site.path())?;
    pass.abort.check()?;
    Ok((y, kept))
}

/// One product over all outputs; one by one in passes that look for values that are not finite.
pub(super) fn backward(
    layers: &[Returning<'_>],
    x: Option<&Tensor>,
    wants: Wants<'_>,
    gradients: &mut Parameters,
) -> Result<Option<Tensor>> {
    let Wants { dx, addend, pass } = wants;
    let mut sum = addend;
    let together = if pass.mode.check_finite {
        1
    } else {
        layers.len()
    };
    for layers in layers.chunks(together) {
        pass.abort.check()?;
        let mut adjoints = Vec::new();
        for layer in layers {
            adjoints.push(match (&layer.projection.term, layer.kept, x) {
                (Some(term), Some(kept), Some(x)) => {
                    let rows = (&*read(x)?, &*read(layer.dy)?);
                    Some((term, kept, term.backward(kept, rows, gradients)))
                }
                _ => None,
            });
        }
        if dx {
            let total = add_products(layers, &adjoints, sum.as_ref())?;
            finite::check(pass, &total, || {
                format!("the gradient at {}", layers[0].projection.site.path())
            })?;
            sum = Some(total);
        }
    }
    Ok(if dx { sum } else { None })
}

type TermAdjoint<'t, 'a> = Option<(&'t Term<'a>, &'t Kept, Adjoint)>;

fn add_products(
    layers: &[Returning<'_>],
    adjoints: &[TermAdjoint<'_, '_>],
    addend: Option<&Tensor>,
) -> Result<Tensor> {
    let n = layers[0].dy.dim(0)?;
    let (mut values, mut updates) = (Vec::new(), Vec::new());
    for layer in layers {
        values.push(read(layer.dy)?);
    }
    for (term, kept, adjoint) in adjoints.iter().flatten() {
        updates.extend(term.adjoint_updates(kept, adjoint));
    }
    let widths = layers.iter().map(|layer| layer.projection.weight.rows());
    let parts = values.iter().zip(widths);
    let parts: Vec<_> = parts
        .map(|(values, width)| Part { values, width })
        .collect();
    let weights = layers.iter().map(|layer| layer.projection.weight);
    let mut sum = product(
        weights,
        |stack| stack.stage_parts(&parts, n),
        &updates,
        addend,
    )?;
    for (term, kept, adjoint) in adjoints.iter().flatten() {
        term.add_dropped(kept, adjoint, &mut sum);
    }
    let k = layers[0].projection.weight.columns();
    wrap(sum, (n, k))
}

/// [dy_1 | dy_2 | …]·[W_1; W_2; …] (n, k) of rows that `stage` makes ready.
pub(in crate::ops) fn product<'a>(
    weights: impl IntoIterator<Item = &'a super::Weight>,
    stage: impl FnOnce(&StackedWeights<'_>) -> Operand,
    updates: &[LowRankUpdate<'_>],
    addend: Option<&Tensor>,
) -> Result<Vec<f32>> {
    let weights = frozen(weights)?;
    let stack = StackedWeights::new(&weights)?;
    let addend = addend.map(read).transpose()?;
    let addend = addend.as_deref().map_or(Addend::None, Addend::Matrix);
    Ok(stack.product(&stage(&stack), &Epilogue { updates, addend })?)
}
