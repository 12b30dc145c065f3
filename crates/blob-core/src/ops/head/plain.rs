//! Class logits by plain operations, one by one; their adjoint by the tape.

use candle_core::Tensor;

use super::{Classes, Vocabulary};
use crate::Result;
use crate::adapter::Parameters;
use crate::ops::linear::values;
use crate::ops::low_rank::Term;
use crate::ops::low_rank::reference::{Factors, adjoint, down, factors};
use crate::ops::reference;

pub(super) fn forward(
    vocabulary: &Vocabulary,
    x: &Tensor,
    classes: &Classes,
    term: Option<&Term<'_>>,
) -> Result<Tensor> {
    let weight = values(vocabulary.weight.stored()?)?;
    let members = term.map(factors).transpose()?.unwrap_or_default();
    logits(&weight, x, classes, term.map(|term| (term, &*members)))
}

pub(super) fn backward(
    vocabulary: &Vocabulary,
    (x, classes): (&Tensor, &Classes),
    term: Option<&Term<'_>>,
    dlogits: &Tensor,
    gradients: &mut Parameters,
) -> Result<Tensor> {
    let weight = values(vocabulary.weight.stored()?)?;
    let Some(term) = term else {
        let forward = |x: &[Tensor]| logits(&weight, &x[0], classes, None);
        let [dx] = reference::adjoint([x], dlogits, forward)?;
        return Ok(dx);
    };
    adjoint(term, (x, dlogits), gradients, |members, x| {
        logits(&weight, x, classes, Some((term, members)))
    })
}

/// All logits, (L).
fn logits(
    weight: &Tensor,
    x: &Tensor,
    classes: &Classes,
    term: Option<(&Term<'_>, &[Factors])>,
) -> Result<Tensor> {
    let h = term
        .map(|(term, members)| down(term, members, x))
        .transpose()?;
    let product = |x: &Tensor, w: &Tensor| (x * w)?.sum_all();
    let mut logits = Vec::new();
    for (row, token) in classes.iter() {
        let token = token as usize;
        let mut logit = product(&x.get(row)?, &weight.get(token)?)?;
        if let (Some((term, members)), Some(h)) = (term, &h) {
            let b = members[term.member_of(row)].b();
            let of_term = product(&h.get(row)?, &b.get(token)?)?;
            logit = (logit + (of_term * f64::from(term.scaling()))?)?;
        }
        logits.push(logit);
    }
    Ok(Tensor::stack(&logits, 0)?)
}
