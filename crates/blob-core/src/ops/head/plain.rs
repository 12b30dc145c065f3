//! Class logits by plain operations, one by one; their adjoint by the tape.

use candle_core::Tensor;

use super::{Classes, Vocabulary};
use crate::Result;
use crate::adapter::Parameters;
use crate::ops::linear::values;
use crate::ops::low_rank::Term;
use crate::ops::low_rank::reference::{MemberFactors, adjoint, down, factors};
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
    term: Option<(&Term<'_>, &[MemberFactors])>,
) -> Result<Tensor> {
    let logit = |(row, token): (usize, u32)| product(&x.get(row)?, &weight.get(token as usize)?);
    let of_weight = classes.iter().map(logit).collect::<Result<Vec<_>>>()?;
    let of_weight = Tensor::stack(&of_weight, 0)?;
    Ok(match term {
        Some((term, members)) => (of_weight + of_term(term, members, x, classes)?)?,
        None => of_weight,
    })
}

/// A term's part of the logits.
pub(super) fn of_term(
    term: &Term<'_>,
    members: &[MemberFactors],
    x: &Tensor,
    classes: &Classes,
) -> Result<Tensor> {
    let h = down(term, members, x)?;
    let logit = |(row, token): (usize, u32)| {
        let b = members[term.member_of(row)].b();
        product(&h.get(row)?, &b.get(token as usize)?)
    };
    let logits = classes.iter().map(logit).collect::<Result<Vec<_>>>()?;
    Ok((Tensor::stack(&logits, 0)? * f64::from(term.scaling()))?)
}

fn product(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    Ok((x * w)?.sum_all()?)
}
