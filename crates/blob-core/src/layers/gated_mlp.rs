//! The gated MLP of a block: y = Down·(φ(Gate·x) ∘ Up·x) (arXiv:2002.05202).
//!
//! Shapes: x (n, d), the gates (n, f), y (n, d).

use super::Linear;
use super::mlp::At;
use crate::Result;
use crate::adapter::Parameters;
use crate::ops::Tensor;
use crate::ops::activation::Activation;
use crate::ops::gated::{self, GatedKept, Layers};
use crate::ops::linear::{self, Returning, Source, Wants};
use crate::ops::low_rank::Kept;

/// Its layers.
pub struct GatedMlp {
    /// φ.
    pub activation: Activation,
    /// Gate, (f, d).
    pub gate: Linear,
    /// Up, (f, d).
    pub up: Linear,
    /// Down, (d, f).
    pub down: Linear,
}

/// What the backward pass needs.
pub(super) struct GatedMlpKept {
    gated: GatedKept,
    down: Option<Kept>,
}

impl GatedMlp {
    /// All layers, in the order of their sites.
    pub(super) fn linears(&self) -> [&Linear; 3] {
        [&self.gate, &self.up, &self.down]
    }

    fn layers<'a>(&'a self, At { rows, of }: At<'a>) -> Layers<'a> {
        Layers {
            activation: self.activation,
            gate_and_up: [self.gate.on(rows, of), self.up.on(rows, of)],
            reader: self.down.on(rows, of),
        }
    }

    /// Values that a forward pass keeps of each row.
    pub(super) fn kept_values(&self, at: At<'_>) -> usize {
        self.layers(at).kept_values(at.of.pass)
    }

    /// y + `addend` (n, d), and what the backward pass needs when `keep`.
    pub(super) fn forward<'a>(
        &'a self,
        source: Source<'_>,
        addend: Option<&'a Tensor>,
        at: At<'a>,
        keep: bool,
    ) -> Result<(Tensor, Option<GatedMlpKept>)> {
        let pass = at.of.pass;
        let mut layers = self.layers(at);
        layers.reader.addend = addend;
        let x = linear::input(source, &layers.gate_and_up.each_ref())?;
        let (hidden, gated) = gated::forward(&layers, &x, pass, keep)?;
        drop(x);
        let [(y, down)] = linear::forward([&layers.reader], &hidden, pass)?;
        Ok((y, gated.map(|gated| GatedMlpKept { gated, down })))
    }

    /// dL/d(source) of dL/dy, when it is wanted; adds the terms' gradients.
    pub(super) fn backward(
        &self,
        kept: &GatedMlpKept,
        (source, dy): (Source<'_>, &Tensor),
        at: At<'_>,
        want_dx: bool,
        gradients: &mut Parameters,
    ) -> Result<Option<Tensor>> {
        let wants = |dx| Wants {
            dx,
            addend: None,
            pass: at.of.pass,
        };
        let Layers {
            gate_and_up,
            reader,
            ..
        } = self.layers(at);
        let is_read = gate_and_up.iter().any(|layer| layer.term.is_some());
        let down = Returning {
            projection: reader,
            kept: kept.down.as_ref(),
            dy,
        };
        let hidden = Source::Gated(&kept.gated.gates);
        let dhidden = linear::backward(&[down], hidden, wants(want_dx || is_read), gradients)?;
        let Some(dhidden) = dhidden else {
            return Ok(None);
        };
        gated::backward(
            gate_and_up,
            &kept.gated,
            (source, &dhidden),
            wants(want_dx),
            gradients,
        )
    }
}
