//! Class logits: the answer rows of the vocabulary head, each of one row of x.
//!
//! ```text
//! z_j = x_{r_j}·W_{a_j} + s·h_{r_j}·B_{a_j}      a_j the token of class j, h as in `ops::low_rank`
//! dx_t = Σ_{j: r_j = t} dz_j·W_{a_j} + the term's adjoint
//! ```
//!
//! Exact: the other rows of the head never reach the loss, and their rows of `B` keep a zero
//! gradient.
//! Shapes: x (n, d), W (V, d), B (V, r); `L` logits.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod plain;

use super::low_rank::{Kept, Term};
use super::table::Table;
use super::{Device, Implementation, Operation, Tensor, shapes};
use crate::adapter::Parameters;
use crate::observer::{self, OutputGradient, Seen};
use crate::{Error, Result};

/// W (V, d).
pub struct Vocabulary {
    weight: Table,
    device: Device,
}

/// The row of x and the class token of each logit, (L) each; rows never fall.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Classes {
    /// Below n.
    pub rows: Vec<usize>,
    /// Below V.
    pub tokens: Vec<u32>,
}

impl Classes {
    fn iter(&self) -> impl Iterator<Item = (usize, u32)> {
        self.rows.iter().copied().zip(self.tokens.iter().copied())
    }
}

impl Vocabulary {
    /// The head of a model on a device.
    pub fn new(weight: Table, device: Device) -> Self {
        Self { weight, device }
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.weight.bytes()
    }

    /// x (n, d) → logits (L), and what the term needs for its adjoint.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when the shapes do not fit, or a class names no row or token.
    pub fn forward(
        &self,
        x: &Tensor,
        classes: &Classes,
        term: Option<&Term<'_>>,
    ) -> Result<(Tensor, Option<Kept>)> {
        self.check(x, classes)?;
        match self.device.implementation(Operation::Head) {
            Implementation::CpuKernel => cpu::forward(self, x, classes, term),
            #[cfg(feature = "cuda")]
            Implementation::CudaKernel(_) => {
                let weight = self.weight.cuda()?;
                Ok((cuda::forward(weight, x, classes, term)?, None))
            }
            Implementation::Reference => {
                Ok((plain::forward(self, x.host()?, classes, term)?.into(), None))
            }
        }
    }

    /// dL/dx (n, d) of dL/dlogits (L); adds the gradients of the term, which kept `kept`.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn backward(
        &self,
        x: &Tensor,
        classes: &Classes,
        term: Option<(&Term<'_>, Option<&Kept>)>,
        dlogits: &Tensor,
        gradients: &mut Parameters,
    ) -> Result<Tensor> {
        self.check(x, classes)?;
        shapes::check("dL/dlogits", dlogits, &[classes.tokens.len()])?;
        if let Some((term, _)) = term
            && let Some(watch) = term.watch()
        {
            watch.see(&Seen {
                site: term.site,
                term: Some((term.factors_of(0), term.scaling())),
                segments: &term.segments(),
                x: &observer::values(x)?,
                dy: OutputGradient::Classes(classes, &observer::values(dlogits)?),
            })?;
        }
        match self.device.implementation(Operation::Head) {
            Implementation::CpuKernel => {
                let term = term.and_then(|(term, kept)| Some((term, kept?)));
                cpu::backward(self, (x, classes), term, dlogits, gradients)
            }
            #[cfg(feature = "cuda")]
            Implementation::CudaKernel(_) => {
                let (weight, term) = (self.weight.cuda()?, term.map(|(term, _)| term));
                cuda::backward(weight, (x, classes), term, dlogits, gradients)
            }
            Implementation::Reference => {
                let (x, term) = ((x.host()?, classes), term.map(|(term, _)| term));
                Ok(plain::backward(self, x, term, dlogits.host()?, gradients)?.into())
            }
        }
    }

    fn check(&self, x: &Tensor, classes: &Classes) -> Result<()> {
        let (n, d) = shapes::matrix("x of the head", x)?;
        let (vocab_size, width) = self.weight.shape();
        shapes::check("x of the head", x, &[n, width])?;
        shapes::indices("class tokens", &classes.tokens, vocab_size)?;
        let rises = classes.rows.is_sorted() && classes.rows.iter().all(|row| *row < n);
        if rises && classes.rows.len() == classes.tokens.len() {
            return Ok(());
        }
        Err(Error::InvalidInput(format!(
            "classes must name rows of x ({n}, {d}) in order, one per token, got {:?}",
            classes.rows
        )))
    }
}
