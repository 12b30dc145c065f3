//! The gated MLP whose gate and up are one layer: y = Down·(φ(g) ∘ u), [ g | u ] = GateUp·x, as
//! Phi-3 (arXiv:2404.14219) and ModernBERT (arXiv:2412.13663) have it.
//!
//! Shapes: x (n, d), g and u (n, f), y (n, d).

use super::Linear;
use super::mlp::At;
use crate::Result;
use crate::adapter::Parameters;
use crate::ops::activation::Activation;
use crate::ops::gated::Gates;
use crate::ops::linear::{self, Source, Wants};
use crate::ops::low_rank::Kept;
use crate::ops::{Tensor, columns};

/// Its layers.
pub struct FusedMlp {
    /// φ.
    pub activation: Activation,
    /// Gate and up, (2·f, d).
    pub gate_up: Linear,
    /// Down, (d, f).
    pub down: Linear,
}

/// What the backward pass needs.
pub(super) struct FusedMlpKept {
    gates: Gates,
    gate_up: Option<Kept>,
    down: Option<Kept>,
}

impl FusedMlp {
    /// All layers, in the order of their sites.
    pub(super) fn linears(&self) -> [&Linear; 2] {
        [&self.gate_up, &self.down]
    }

    /// Values that a forward pass keeps of each row.
    pub(super) fn kept_values(&self) -> usize {
        self.gate_up.width()
    }

    /// y + `addend` (n, d), and what the backward pass needs when `keep`.
    pub(super) fn forward<'a>(
        &'a self,
        source: Source<'_>,
        addend: Option<&'a Tensor>,
        At { rows, of }: At<'a>,
        keep: bool,
    ) -> Result<(Tensor, Option<FusedMlpKept>)> {
        let both = self.gate_up.on(rows, of);
        let input = linear::input(source, &[&both])?;
        let [(inner, gate_up)] = linear::forward([&both], &input, of.pass)?;
        drop(input);
        let width = self.gate_up.width() / 2;
        let parts = columns::cut(&inner, [width; 2])?;
        drop(inner);
        let gates = Gates::of(self.activation, parts, &self.down.weight)?;
        let mut down = self.down.on(rows, of);
        down.addend = addend;
        let input = linear::input(Source::Gated(&gates), &[&down])?;
        let [(y, of_down)] = linear::forward([&down], &input, of.pass)?;
        let kept = keep.then_some(FusedMlpKept {
            gates,
            gate_up,
            down: of_down,
        });
        Ok((y, kept))
    }

    /// dL/d(source) of dL/dy, when it is wanted; adds the terms' gradients.
    pub(super) fn backward(
        &self,
        kept: &FusedMlpKept,
        (source, dy): (Source<'_>, &Tensor),
        At { rows, of }: At<'_>,
        want_dx: bool,
        gradients: &mut Parameters,
    ) -> Result<Option<Tensor>> {
        let wants = |dx| Wants {
            dx,
            addend: None,
            pass: of.pass,
        };
        let is_read = of.adapts(&self.gate_up);
        let down = self.down.returning(rows, of, (kept.down.as_ref(), dy));
        let hidden = Source::Gated(&kept.gates);
        let dhidden = linear::backward(&[down], hidden, wants(want_dx || is_read), gradients)?;
        let Some(dhidden) = dhidden else {
            return Ok(None);
        };
        let [d_gate, d_up] = kept.gates.backward(&dhidden)?;
        let dinner = columns::join([&d_gate, &d_up])?;
        let of_both = (kept.gate_up.as_ref(), &dinner);
        let both = self.gate_up.returning(rows, of, of_both);
        linear::backward(&[both], source, wants(want_dx), gradients)
    }
}
