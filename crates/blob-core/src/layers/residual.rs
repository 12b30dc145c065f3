//! How a part of a block reads the residual stream and is added to it.
//!
//! ```text
//! y = after( x + within( drop( part( before(x) ) ) ) )
//! ```
//!
//! Pre-norm blocks (Llama, arXiv:2302.13971) have `before` alone, post-norm blocks (BERT,
//! arXiv:1810.04805) `after` alone, sandwiches (Gemma 2, arXiv:2408.00118) `before` and `within`.
//! `drop` is the base's own dropout, where an encoder is trained with it. Without both, x is added
//! inside the part's last product. Shapes: x (n, d).

use crate::Result;
use crate::ops::Tensor;
use crate::ops::dropout::Dropout;
use crate::ops::linear::Source;
use crate::ops::norm::Norm;
use crate::ops::rows;
use crate::pass::{Pass, Rows};

/// The norms around a part.
#[derive(Default)]
pub struct Residual {
    /// Of what the part reads.
    pub before: Option<Norm>,
    /// Of what the part gives.
    pub within: Option<Norm>,
    /// Of the sum.
    pub after: Option<Norm>,
    /// Whether the base was trained with dropout of what the part gives.
    pub drops: bool,
}

/// What the norms read, for those that there are.
#[derive(Default)]
pub(super) struct ResidualKept {
    part: Option<Tensor>,
    sum: Option<Tensor>,
}

impl Residual {
    /// What the part reads of x.
    pub(super) fn source<'a>(&'a self, x: &'a Tensor) -> Source<'a> {
        match &self.before {
            Some(norm) => Source::Normed(norm, x),
            None => Source::Rows(x),
        }
    }

    /// The masks of what the part gives, if it is dropped in this pass.
    pub(super) fn dropout<'a>(
        &self,
        pass: &'a Pass,
        (rows, slot): (&'a Rows, u32),
    ) -> Option<Dropout<'a>> {
        Dropout::at(pass, rows, slot).filter(|_| self.drops)
    }

    /// What the part's last product adds.
    pub(super) fn addend<'a>(
        &self,
        x: &'a Tensor,
        dropout: Option<Dropout<'_>>,
    ) -> Option<&'a Tensor> {
        (self.within.is_none() && dropout.is_none()).then_some(x)
    }

    /// y of what the part gave, which x is added to unless [`Self::addend`] was.
    pub(super) fn forward(
        &self,
        part: Tensor,
        x: &Tensor,
        dropout: Option<Dropout<'_>>,
    ) -> Result<(Tensor, ResidualKept)> {
        let mut kept = ResidualKept::default();
        let mut y = part;
        if let Some(dropout) = dropout {
            y = dropout.apply(&y)?;
            if self.within.is_none() {
                y = rows::sum(&y, x)?;
            }
        }
        if let Some(norm) = &self.within {
            let part = y;
            y = rows::sum(&norm.forward(&part)?, x)?;
            kept.part = Some(part);
        }
        if let Some(norm) = &self.after {
            let sum = y;
            y = norm.forward(&sum)?;
            kept.sum = Some(sum);
        }
        Ok((y, kept))
    }

    /// dL/d(what the part gave), and what reaches x beside the part.
    pub(super) fn backward(
        &self,
        kept: &ResidualKept,
        dy: &Tensor,
        dropout: Option<Dropout<'_>>,
    ) -> Result<(Tensor, Tensor)> {
        let dx = match (&self.after, &kept.sum) {
            (Some(norm), Some(sum)) => norm.backward(sum, dy, None)?,
            _ => dy.clone(),
        };
        let dpart = match (&self.within, &kept.part) {
            (Some(norm), Some(part)) => norm.backward(part, &dx, None)?,
            _ => dx.clone(),
        };
        let dpart = match dropout {
            Some(dropout) => dropout.apply(&dpart)?,
            None => dpart,
        };
        Ok((dpart, dx))
    }

    /// dL/dx of what came back through the part's source, and beside it.
    pub(super) fn join(&self, x: &Tensor, dsource: &Tensor, beside: &Tensor) -> Result<Tensor> {
        match &self.before {
            Some(norm) => norm.backward(x, dsource, Some(beside)),
            None => rows::sum(dsource, beside),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Device;
    use crate::ops::norm::NormKind;
    use crate::ops::oracle::{assert_gradient, tensor};
    use candle_core::{self as candle, D, DType};

    const EPS: f32 = 0.1;
    const WIDTH: usize = 7;

    fn norm(seed: u64, is_layer: bool) -> Norm {
        let numbers = |seed| tensor(seed, 1, WIDTH).reshape(WIDTH).unwrap();
        let bias = numbers(seed + 10);
        Norm {
            kind: if is_layer {
                NormKind::Layer { bias }
            } else {
                NormKind::Rms
            },
            weight: numbers(seed),
            eps: EPS,
            device: Device::Cpu,
        }
    }

    /// A norm by plain operations, in the type of x.
    fn plain(norm: Option<&Norm>, x: &candle::Tensor) -> Result<candle::Tensor> {
        let Some(norm) = norm else {
            return Ok(x.clone());
        };
        let weight = norm.weight.to_dtype(x.dtype())?;
        let centred = match norm.kind {
            NormKind::Rms => x.clone(),
            NormKind::Layer { .. } => x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?,
        };
        let square = (centred.sqr()?.mean_keepdim(D::Minus1)? + f64::from(EPS))?;
        let y = centred
            .broadcast_div(&square.sqrt()?)?
            .broadcast_mul(&weight)?;
        Ok(match &norm.kind {
            NormKind::Rms => y,
            NormKind::Layer { bias } => y.broadcast_add(&bias.to_dtype(x.dtype())?)?,
        })
    }

    /// after( x + within( before(x) ∘ scale ) ): the part multiplies what it reads.
    fn whole(residual: &Residual, x: &candle::Tensor, scale: &Tensor) -> Result<candle::Tensor> {
        let part = (plain(residual.before.as_ref(), x)? * scale.to_dtype(x.dtype())?)?;
        let sum = (plain(residual.within.as_ref(), &part)? + x)?;
        plain(residual.after.as_ref(), &sum)
    }

    #[test]
    fn pre_post_and_sandwich_have_the_gradient_of_the_plain_composition() {
        let (x, dy, scale) = (
            tensor(1, 3, WIDTH),
            tensor(2, 3, WIDTH),
            tensor(3, 3, WIDTH),
        );
        let all = [false, true];
        let places = all.map(|before| all.map(|within| all.map(|after| [before, within, after])));
        for is_layer in all {
            for [before, within, after] in places.as_flattened().as_flattened().iter().copied() {
                let of = |seed, is_there: bool| is_there.then(|| norm(seed, is_layer));
                let residual = Residual {
                    before: of(4, before),
                    within: of(5, within),
                    after: of(6, after),
                    drops: false,
                };
                let read = plain(residual.before.as_ref(), &x).unwrap();
                let mut part: Tensor = (&read * &*scale).unwrap().into();
                if residual.addend(&x, None).is_some() {
                    part = (&*part + &*x).unwrap().into();
                }
                let (y, kept) = residual.forward(part, &x, None).unwrap();
                let expected = whole(&residual, &x.to_dtype(DType::F64).unwrap(), &scale).unwrap();
                crate::ops::oracle::assert_close(&y, &expected, 1e-6);
                let (dpart, beside) = residual.backward(&kept, &dy, None).unwrap();
                let dsource = (&*dpart * &*scale).unwrap().into();
                let dx = residual.join(&x, &dsource, &beside).unwrap();
                assert_gradient(&dx, &x, &dy, |x| whole(&residual, x, &scale));
            }
        }
    }
}
