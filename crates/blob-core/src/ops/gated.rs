//! Gated linear units (Shazeer 2020, arXiv:2002.05202): two layers of one input.
//!
//! ```text
//! g = gate(x)    u = up(x)    y = φ(g) ∘ u        dg = dy ∘ u ∘ φ′(g)        du = dy ∘ φ(g)
//! ```
//!
//! φ is an [`Activation`]: SiLU in Llama, GELU by tanh in Gemma.
//!
//! y alone is read further on, so gate and up are one product where no low-rank term reads them or
//! y. What the backward pass needs of them is then kept in bf16 for the precisions that round what
//! they read; in `f32` a pass that goes back keeps both as they are. `int8-mixed` and passes that
//! look for values that are not finite go layer by layer. On a GPU gate and up are two products,
//! and what is rounded is the same.
//! Shapes: `n` tokens, `k` inputs, `f` inner width.

mod cpu;

use candle_core as candle;

use super::activation::{self, Activation};
#[cfg(feature = "cuda")]
use super::linear::Staged;
use super::linear::{self, Input, Projection, Returning, Source, Wants, Weight};
use super::low_rank::Kept;
use super::{Implementation, Operation, Precision, Tensor, reference, shapes};
use crate::adapter::Parameters;
use crate::kernels::cpu::gemm::Operand;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::{Gpu, Rounded, pointwise};
use crate::pass::Pass;
use crate::{Error, Result};

/// The layers on both sides of the gates.
pub struct Layers<'a> {
    /// φ.
    pub activation: Activation,
    /// x → g, and x → u.
    pub gate_and_up: [Projection<'a>; 2],
    /// The layer that reads y.
    pub reader: Projection<'a>,
}

/// g and u, (n, f): what the backward pass needs.
pub struct Gates {
    activation: Activation,
    held: Held,
    /// (n, f)
    shape: (usize, usize),
    implementation: Implementation,
}

enum Held {
    Apart([Tensor; 2]),
    /// Rounded to bf16, g in the low half of a word.
    Rounded(Vec<u32>),
    /// Rounded to bf16 on a GPU.
    #[cfg(feature = "cuda")]
    RoundedThere([Rounded; 2]),
}

/// What [`forward`] leaves.
pub struct GatedKept {
    /// g and u.
    pub gates: Gates,
    /// Of the terms of both layers.
    pub terms: [Option<Kept>; 2],
}

impl Layers<'_> {
    /// Whether both layers are one product.
    fn are_fused(&self, pass: &Pass, keep: bool) -> bool {
        let weight = self.gate_and_up[0].weight;
        let may_round = match weight.precision() {
            Precision::F32 => !keep,
            Precision::Bf16 | Precision::Int8 => true,
            Precision::Int8Mixed => false, // large inputs are products of their own
        };
        let has_kernel = weight.implementation(Operation::Gated) == Implementation::CpuKernel;
        has_kernel && may_round && !self.are_read(pass)
    }

    /// Whether anything but the layers' products reads what they do.
    fn are_read(&self, pass: &Pass) -> bool {
        let mut layers = self.gate_and_up.iter().chain([&self.reader]);
        pass.mode.check_finite || layers.any(|layer| layer.term.is_some())
    }

    /// The GPU that rounds y, and what is kept of g and u, as it computes y.
    #[cfg(feature = "cuda")]
    fn rounding_gpu(&self, pass: &Pass) -> Option<Gpu> {
        let gpu = self.reader.weight.rounds_on()?;
        (!self.are_read(pass)).then_some(gpu)
    }

    /// Whether g and u are kept in half the bytes of others.
    fn are_kept_rounded(&self, pass: &Pass) -> bool {
        #[cfg(feature = "cuda")]
        if self.rounding_gpu(pass).is_some() {
            return true;
        }
        self.are_fused(pass, true)
    }

    /// Values that a forward pass keeps of each row.
    pub fn kept_values(&self, pass: &Pass) -> usize {
        let f = self.gate_and_up[0].weight.rows();
        if self.are_kept_rounded(pass) {
            f
        } else {
            2 * f
        }
    }
}

/// y of x (n, k), made ready for the layer that reads it; and what the backward pass needs when
/// `keep`.
///
/// # Errors
/// As [`linear::forward`].
pub fn forward(
    layers: &Layers<'_>,
    x: &Input,
    pass: &Pass,
    keep: bool,
) -> Result<(Input, Option<GatedKept>)> {
    let shape = (x.rows(), layers.gate_and_up[0].weight.rows());
    let activation = layers.activation;
    let implementation = layers.gate_and_up[0]
        .weight
        .implementation(Operation::Gated);
    let of = |held| Gates {
        activation,
        held,
        shape,
        implementation,
    };
    if layers.are_fused(pass, keep) {
        let (y, words) = cpu::forward(layers, x, keep)?;
        let kept = words.map(|words| GatedKept {
            gates: of(Held::Rounded(words)),
            terms: [None, None],
        });
        return Ok((y, kept));
    }
    let [(gate, of_gate), (up, of_up)] = linear::forward(layers.gate_and_up.each_ref(), x, pass)?;
    #[cfg(feature = "cuda")]
    if let Some(gpu) = layers.rounding_gpu(pass) {
        let gates = [&gate.on(gpu)?, &up.on(gpu)?];
        let (y, kept) = pointwise::gated_rounded(gpu, activation, gates, keep)?;
        let kept = kept.map(|gates| GatedKept {
            gates: of(Held::RoundedThere(gates)),
            terms: [None, None],
        });
        return Ok((Input::new(shape.0, None, Staged::Rows(y.into())), kept));
    }
    let gates = of(Held::Apart([gate, up]));
    let y = linear::input(Source::Gated(&gates), &[&layers.reader])?;
    let terms = [of_gate, of_up];
    Ok((y, keep.then_some(GatedKept { gates, terms })))
}

/// dL/dx of dL/dy (n, f), when it is wanted; adds the gradients of the terms. `source` is what the
/// layers read.
///
/// # Errors
/// As [`linear::backward`].
pub fn backward(
    gate_and_up: [Projection<'_>; 2],
    kept: &GatedKept,
    (source, dy): (Source<'_>, &Tensor),
    wants: Wants<'_>,
    gradients: &mut Parameters,
) -> Result<Option<Tensor>> {
    let gates = &kept.gates;
    shapes::check("dy of the gates", dy, &[gates.shape.0, gates.shape.1])?;
    let is_read = gate_and_up.iter().any(|layer| layer.term.is_some());
    let has_kernel = gates.implementation == Implementation::CpuKernel;
    if has_kernel && !is_read && !wants.pass.mode.check_finite {
        wants.pass.abort.check()?;
        return if wants.dx {
            let weights = gate_and_up.map(|layer| layer.weight);
            cpu::backward(gates, weights, dy, wants.addend.as_ref()).map(Some)
        } else {
            Ok(None)
        };
    }
    if is_read {
        gates.apart()?; // a term must not read what is rounded
    }
    let [d_gate, d_up] = gates.backward(dy)?;
    let [gate, up] = gate_and_up;
    let [of_gate, of_up] = kept.terms.each_ref().map(Option::as_ref);
    let returning = [(gate, of_gate, &d_gate), (up, of_up, &d_up)];
    let returning = returning.map(|(projection, kept, dy)| Returning {
        projection,
        kept,
        dy,
    });
    linear::backward(&returning, source, wants, gradients)
}

impl Gates {
    /// g and u that one layer gave side by side, for a layer of this weight's device to read.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when the shapes differ.
    pub fn of(activation: Activation, [gate, up]: [Tensor; 2], reader: &Weight) -> Result<Self> {
        let (n, f) = shapes::matrix("the gate", &gate)?;
        shapes::check("what is gated", &up, &[n, f])?;
        Ok(Self {
            activation,
            held: Held::Apart([gate, up]),
            shape: (n, f),
            implementation: reader.implementation(Operation::Gated),
        })
    }

    /// n
    pub(super) fn rows(&self) -> usize {
        self.shape.0
    }

    /// g and u, where a term may read them.
    fn apart(&self) -> Result<&[Tensor; 2]> {
        match &self.held {
            Held::Apart(tensors) => Ok(tensors),
            #[cfg(feature = "cuda")]
            Held::RoundedThere(_) => Err(another_adapter()),
            Held::Rounded(_) => Err(another_adapter()),
        }
    }

    /// y, (n, f).
    pub(super) fn hidden(&self) -> Result<Tensor> {
        let gates = self.apart()?;
        let [gate, up] = gates;
        match self.implementation {
            Implementation::CpuKernel => cpu::hidden(self.activation, gates),
            #[cfg(feature = "cuda")]
            Implementation::CudaKernel(gpu) => {
                let inputs = [&gate.on(gpu)?, &up.on(gpu)?];
                Ok(pointwise::gated(gpu, self.activation, inputs)?.into())
            }
            Implementation::Reference => {
                Ok(reference_of(self.activation, gate.host()?, up.host()?)?.into())
            }
        }
    }

    /// y computed while it is staged, where a kernel does that.
    pub(super) fn staged_for(&self, weight: &Weight) -> Result<Option<Operand>> {
        if self.implementation == Implementation::CpuKernel {
            return cpu::staged(self.activation, self.apart()?, weight).map(Some);
        }
        Ok(None)
    }

    /// dg and du of dy, (n, f) each.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when the shapes do not fit.
    pub fn backward(&self, dy: &Tensor) -> Result<[Tensor; 2]> {
        #[cfg(feature = "cuda")]
        if let Held::RoundedThere([gate, up]) = &self.held {
            let (gpu, gates) = (gate.gpu(), [gate, up]);
            let gradients =
                pointwise::gated_rounded_backward(gpu, self.activation, gates, &dy.on(gpu)?)?;
            return Ok(gradients.map(Tensor::from));
        }
        let gates = self.apart()?;
        let [gate, up] = gates;
        match self.implementation {
            Implementation::CpuKernel => cpu::gradients(self.activation, gates, dy),
            #[cfg(feature = "cuda")]
            Implementation::CudaKernel(gpu) => {
                let inputs = [&gate.on(gpu)?, &up.on(gpu)?, &dy.on(gpu)?];
                Ok(pointwise::gated_backward(gpu, self.activation, inputs)?.map(Tensor::from))
            }
            Implementation::Reference => {
                let (inputs, dy) = ([gate.host()?, up.host()?], dy.host()?);
                let of = |x: &[candle::Tensor]| reference_of(self.activation, &x[0], &x[1]);
                let of = reference::adjoint(inputs, dy, of)?;
                Ok(of.map(Tensor::from))
            }
        }
    }
}

fn another_adapter() -> Error {
    Error::InvalidInput("the adapter must be the same in both passes through a block".into())
}

/// y by plain operations.
fn reference_of(
    activation: Activation,
    gate: &candle::Tensor,
    up: &candle::Tensor,
) -> Result<candle::Tensor> {
    Ok((activation::plain(activation, gate)? * up)?)
}

#[cfg(test)]
mod tests;
