//! The plain MLP of a block: y = Down·gelu(Up·x + b) + b, as in arXiv:1706.03762 §3.3.
//!
//! Shapes: x (n, d), the inner layer (n, f), y (n, d).

use super::Linear;
use super::mlp::At;
use crate::Result;
use crate::adapter::Parameters;
use crate::ops::activation::{Activated, Activation};
use crate::ops::linear::{self, Source, Wants};
use crate::ops::low_rank::Kept;
use crate::ops::{Device, Tensor};

/// Its layers.
pub struct PlainMlp {
    /// Up, (f, d).
    pub up: Linear,
    /// Between them.
    pub activation: Activation,
    /// Down, (d, f).
    pub down: Linear,
    /// Where the activation runs.
    pub device: Device,
}

/// What the backward pass needs.
pub(super) struct PlainMlpKept {
    /// What Up gave, (n, f).
    inner: Tensor,
    up: Option<Kept>,
    down: Option<Kept>,
}

impl PlainMlp {
    /// All layers, in the order of their sites.
    pub(super) fn linears(&self) -> [&Linear; 2] {
        [&self.up, &self.down]
    }

    /// Values that a forward pass keeps of each row.
    pub(super) fn kept_values(&self) -> usize {
        self.up.width()
    }

    fn activated<'a>(&self, x: &'a Tensor) -> Source<'a> {
        Source::Activated(Activated {
            activation: self.activation,
            x,
            device: self.device,
        })
    }

    /// y + `addend` (n, d), and what the backward pass needs when `keep`.
    pub(super) fn forward<'a>(
        &'a self,
        source: Source<'_>,
        addend: Option<&'a Tensor>,
        At { rows, of }: At<'a>,
        keep: bool,
    ) -> Result<(Tensor, Option<PlainMlpKept>)> {
        let up = self.up.on(rows, of);
        let input = linear::input(source, &[&up])?;
        let [(inner, of_up)] = linear::forward([&up], &input, of.pass)?;
        drop(input);
        let mut down = self.down.on(rows, of);
        down.addend = addend;
        let input = linear::input(self.activated(&inner), &[&down])?;
        let [(y, of_down)] = linear::forward([&down], &input, of.pass)?;
        let kept = keep.then_some(PlainMlpKept {
            inner,
            up: of_up,
            down: of_down,
        });
        Ok((y, kept))
    }

    /// dL/d(source) of dL/dy, when it is wanted; adds the terms' gradients.
    pub(super) fn backward(
        &self,
        kept: &PlainMlpKept,
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
        let is_read = of.adapts(&self.up);
        let down = self.down.returning(rows, of, (kept.down.as_ref(), dy));
        let activated = self.activated(&kept.inner);
        let below = linear::backward(&[down], activated, wants(want_dx || is_read), gradients)?;
        let (Some(dactivated), Source::Activated(inner)) = (below, activated) else {
            return Ok(None);
        };
        let dinner = inner.backward(&dactivated)?;
        let up = self.up.returning(rows, of, (kept.up.as_ref(), &dinner));
        linear::backward(&[up], source, wants(want_dx), gradients)
    }
}
