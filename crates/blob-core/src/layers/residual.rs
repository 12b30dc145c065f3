//! How a part of a block reads the residual stream and is added to it.
//!
//! ```text
//! y = after( x + within( part( before(x) ) ) )
//! ```
//!
//! Pre-norm blocks (Llama, arXiv:2302.13971) have `before` alone, post-norm blocks (BERT,
//! arXiv:1810.04805) `after` alone, sandwiches (Gemma 2, arXiv:2408.00118) `before` and `within`.
//! Without `within`, x is added inside the part's last product. Shapes: x (n, d).

use crate::Result;
use crate::ops::Tensor;
use crate::ops::linear::Source;
use crate::ops::norm::Norm;
use crate::ops::rows;

/// The norms around a part.
#[derive(Default)]
pub struct Residual {
    /// Of what the part reads.
    pub before: Option<Norm>,
    /// Of what the part gives.
    pub within: Option<Norm>,
    /// Of the sum.
    pub after: Option<Norm>,
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

    /// What the part's last product adds.
    pub(super) fn addend<'a>(&self, x: &'a Tensor) -> Option<&'a Tensor> {
        match self.within {
            Some(_) => None,
            None => Some(x),
        }
    }

    /// y of what the part gave, which x is added to unless [`Self::addend`] was.
    pub(super) fn forward(&self, part: Tensor, x: &Tensor) -> Result<(Tensor, ResidualKept)> {
        let mut kept = ResidualKept::default();
        let mut y = part;
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
    pub(super) fn backward(&self, kept: &ResidualKept, dy: &Tensor) -> Result<(Tensor, Tensor)> {
        let dx = match (&self.after, &kept.sum) {
            (Some(norm), Some(sum)) => norm.backward(sum, dy, None)?,
            _ => dy.clone(),
        };
        let dpart = match (&self.within, &kept.part) {
            (Some(norm), Some(part)) => norm.backward(part, &dx, None)?,
            _ => dx.clone(),
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
