//! Class logits on the kernels of the CPU.

use std::collections::{BTreeMap, BTreeSet};

use super::{Classes, Vocabulary};
use crate::Result;
use crate::adapter::Parameters;
use crate::kernels::cpu::low_rank::dot;
use crate::ops::low_rank::{Kept, Term};
use crate::ops::{Tensor, read, wrap};

pub(super) fn forward(
    vocabulary: &Vocabulary,
    x: &Tensor,
    classes: &Classes,
    term: Option<&Term<'_>>,
) -> Result<(Tensor, Option<Kept>)> {
    let d = x.dim(1)?;
    let x = read(x)?;
    let weights = answer_rows(vocabulary, classes)?;
    let kept = term.map(|term| term.down(&x));
    let logit = |(row, token): (usize, u32)| {
        let mut logit = dot(&x[row * d..(row + 1) * d], &weights[&token]);
        if let (Some(term), Some(kept)) = (term, &kept) {
            let (r, b, token) = (term.rank(), term.factors_of(row).b, token as usize);
            let h = &kept.h()[row * r..(row + 1) * r];
            logit += term.scaling() * dot(h, &b[token * r..(token + 1) * r]);
        }
        logit
    };
    let logits: Vec<f32> = classes.iter().map(logit).collect();
    let count = logits.len();
    Ok((wrap(logits, count)?, kept))
}

pub(super) fn backward(
    vocabulary: &Vocabulary,
    (x, classes): (&Tensor, &Classes),
    term: Option<(&Term<'_>, &Kept)>,
    dlogits: &Tensor,
    gradients: &mut Parameters,
) -> Result<Tensor> {
    let (n, d) = x.dims2()?;
    let dlogits = read(dlogits)?;
    let weights = answer_rows(vocabulary, classes)?;
    let mut dx = vec![0.0; n * d];
    let r = term.map_or(0, |(term, _)| term.rank());
    let mut p = vec![0.0; n * r];
    for ((row, token), &dlogit) in classes.iter().zip(&*dlogits) {
        let dx = &mut dx[row * d..(row + 1) * d];
        axpy(dlogit, &weights[&token], dx);
        if let Some((term, kept)) = term {
            let token = token as usize;
            let (of_b, of_h) = (token * r..(token + 1) * r, row * r..(row + 1) * r);
            let factor = term.scaling() * dlogit;
            let factors = term.factors_of(row);
            axpy(factor, &factors.b[of_b.clone()], &mut p[of_h.clone()]);
            if let Some(gradient) = gradients.term_mut(term.member_of(row), term.site) {
                axpy(factor, &kept.h()[of_h], &mut gradient.b[of_b]);
            }
        }
    }
    if let Some((term, kept)) = term {
        let adjoint = term.down_backward(kept, (&read(x)?, p), gradients);
        term.add_adjoint(kept, &adjoint, &mut dx);
    }
    wrap(dx, (n, d))
}

/// The rows of the head that compete somewhere.
fn answer_rows(vocabulary: &Vocabulary, classes: &Classes) -> Result<BTreeMap<u32, Vec<f32>>> {
    let tokens: BTreeSet<u32> = classes.tokens.iter().copied().collect();
    let weight = vocabulary.weight.stored()?;
    let row = |token: u32| {
        let mut values = vec![0.0; weight.columns()];
        weight.row(token as usize, &mut values);
        (token, values)
    };
    Ok(tokens.into_iter().map(row).collect())
}

fn axpy(factor: f32, x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += factor * x;
    }
}
