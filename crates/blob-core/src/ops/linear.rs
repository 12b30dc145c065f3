//! Frozen linear layers that share one input, each with an optional low-rank term and bias.
//!
//! ```text
//! y_i (n, m_i) = x·W_iᵀ + term_i(x) + b_i + addend_i
//! dx  (n, k)   = Σ_i ( dy_i·W_i + term_i's adjoint ) + addend
//! ```
//!
//! `W_i` (m_i, k) and `b_i` (m_i) have no gradient; those of the terms are added where the caller
//! keeps them. What the weights round their operands to is in [`Precision`](super::Precision).
//! Kernels bring x into their order once for all layers ([`Input`]), and compute dx as one product
//! over all outputs. Shapes: `n` rows, `k` inputs, `m_i` outputs.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod in_turn;
mod input;
mod reference;
#[cfg(test)]
mod tests;
mod weight;

use super::low_rank::{Kept, Term};
use super::{Implementation, Operation, Tensor, shapes};
use crate::adapter::{Parameters, Site};
use crate::observer::{self, OutputGradient, Seen, Watch};
use crate::pass::Pass;
use crate::{Error, Result};
pub(super) use cpu::product;
pub(super) use input::Staged;
pub use input::{Input, Source, input};
pub use weight::Weight;
use weight::frozen;
pub(super) use weight::values;

/// One layer of the forward pass.
pub struct Projection<'a> {
    /// Where it sits.
    pub site: Site,
    /// W, (m, k).
    pub weight: &'a Weight,
    /// b, (m).
    pub bias: Option<&'a Tensor>,
    /// The adapter's term there.
    pub term: Option<Term<'a>>,
    /// Added last, (n, m).
    pub addend: Option<&'a Tensor>,
}

/// One layer of the backward pass.
pub struct Returning<'a> {
    /// As in the forward pass; bias and addend have no part in it.
    pub projection: Projection<'a>,
    /// What the term kept there.
    pub kept: Option<&'a Kept>,
    /// dL/dy, (n, m).
    pub dy: &'a Tensor,
}

/// y (n, m) of each layer, and what its term needs for its adjoint.
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when the input was made for other layers, `BPEFT_ABORTED`,
/// `BPEFT_NOT_FINITE` in passes that look for it.
pub fn forward<const N: usize>(
    layers: [&Projection<'_>; N],
    input: &Input,
    pass: &Pass,
) -> Result<[(Tensor, Option<Kept>); N]> {
    for layer in layers {
        if let Some(addend) = layer.addend {
            let shape = [input.rows(), layer.weight.rows()];
            shapes::check("the addend of a linear layer", addend, &shape)?;
        }
    }
    let outputs = match &input.staged {
        Staged::Cpu(staged) => cpu::forward(&layers, (input.values.as_ref(), staged), pass)?,
        Staged::Rows(x) => match layers.first().map(|layer| layer.implementation()) {
            #[cfg(feature = "cuda")]
            Some(Implementation::CudaKernel(_)) => {
                cuda::forward(&layers, (x, input.values.as_ref()), pass)?
            }
            Some(Implementation::CpuKernel | Implementation::Reference) | None => {
                reference::forward(&layers, x, pass)?
            }
        },
    };
    outputs.try_into().map_err(|outputs: Vec<_>| {
        Error::InvalidInput(format!(
            "{N} layers must have an output each, got {}",
            outputs.len()
        ))
    })
}

/// dL/dx (n, k) of what the layers read, plus `addend`, when it is wanted; adds the gradients of
/// the terms to `gradients`.
///
/// # Errors
/// As [`forward`].
pub fn backward(
    layers: &[Returning<'_>],
    source: Source<'_>,
    wants: Wants<'_>,
    gradients: &mut Parameters,
) -> Result<Option<Tensor>> {
    let Some(first) = layers.first() else {
        return Ok(wants.addend);
    };
    let n = first.dy.dims().first().copied().unwrap_or(0);
    for layer in layers {
        let width = layer.projection.weight.rows();
        shapes::check("dy of a linear layer", layer.dy, &[n, width])?;
    }
    let x = if layers.iter().any(|layer| layer.projection.term.is_some()) {
        Some(source.rows()?)
    } else {
        None
    };
    if let (Some(x), Some(watch)) = (&x, &wants.pass.watch) {
        watched(layers, x, (watch, wants.pass))?;
    }
    match first.projection.implementation() {
        Implementation::CpuKernel => cpu::backward(layers, x.as_ref(), wants, gradients),
        #[cfg(feature = "cuda")]
        Implementation::CudaKernel(_) => cuda::backward(layers, x.as_ref(), wants, gradients),
        Implementation::Reference => reference::backward(layers, x.as_ref(), wants, gradients),
    }
}

/// Shows every term to an observer.
fn watched(layers: &[Returning<'_>], x: &Tensor, (watch, pass): (&Watch, &Pass)) -> Result<()> {
    let segments = pass.segments_of(x.dim(0)?);
    let x = observer::values(x)?;
    for layer in layers {
        let Some(term) = &layer.projection.term else {
            continue;
        };
        let dy = observer::values(layer.dy)?;
        watch.see(&Seen {
            site: term.site,
            term: Some((term.factors_of(0), term.scaling())),
            segments: &segments,
            x: &x,
            dy: OutputGradient::Rows(&dy),
        })?;
    }
    Ok(())
}

/// What is wanted of a backward pass beside the gradients of the terms.
pub struct Wants<'a> {
    /// Whether dL/dx is.
    pub dx: bool,
    /// Added to it, (n, k).
    pub addend: Option<Tensor>,
    /// The pass.
    pub pass: &'a Pass,
}

impl<'a> Projection<'a> {
    /// The weight alone.
    pub fn new(site: Site, weight: &'a Weight) -> Self {
        Self {
            site,
            weight,
            bias: None,
            term: None,
            addend: None,
        }
    }

    /// What runs it.
    fn implementation(&self) -> Implementation {
        self.weight.implementation(Operation::Linear)
    }

    /// A term must be given what it reads.
    fn missing_input(&self) -> Error {
        Error::InvalidInput(format!(
            "{} must be given its input, got none",
            self.site.path()
        ))
    }
}
