//! The MLP of a block, gated or plain: each reads a source and gives what is added to the stream.
//!
//! Shapes: x (n, d), y (n, d).

use super::gated_mlp::GatedMlpKept;
use super::two_layer_mlp::TwoLayerMlpKept;
use super::{Adapted, GatedMlp, Linear, TwoLayerMlp};
use crate::adapter::Parameters;
use crate::ops::Tensor;
use crate::ops::linear::Source;
use crate::pass::Rows;
use crate::{Error, Result};

/// The MLP of a block.
pub enum Mlp {
    /// Two layers whose outputs are multiplied, and one that reads the product.
    Gated(GatedMlp),
    /// A layer, what is between, and a layer.
    TwoLayers(TwoLayerMlp),
}

/// What the backward pass needs.
pub(super) enum MlpKept {
    Gated(GatedMlpKept),
    TwoLayers(TwoLayerMlpKept),
}

/// The rows of a pass that an MLP is computed for.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) rows: &'a Rows,
    pub(super) of: Adapted<'a>,
}

impl Mlp {
    /// All layers, in the order of their sites.
    pub(super) fn linears(&self) -> Vec<&Linear> {
        match self {
            Self::Gated(mlp) => mlp.linears().into(),
            Self::TwoLayers(mlp) => mlp.linears().into(),
        }
    }

    /// Values that a forward pass keeps of each row.
    pub(super) fn kept_values(&self, at: At<'_>) -> usize {
        match self {
            Self::Gated(mlp) => mlp.kept_values(at),
            Self::TwoLayers(mlp) => mlp.kept_values(),
        }
    }

    /// y + `addend` (n, d), and what the backward pass needs when `keep`.
    pub(super) fn forward<'a>(
        &'a self,
        source: Source<'_>,
        addend: Option<&'a Tensor>,
        at: At<'a>,
        keep: bool,
    ) -> Result<(Tensor, Option<MlpKept>)> {
        Ok(match self {
            Self::Gated(mlp) => {
                let (y, kept) = mlp.forward(source, addend, at, keep)?;
                (y, kept.map(MlpKept::Gated))
            }
            Self::TwoLayers(mlp) => {
                let (y, kept) = mlp.forward(source, addend, at, keep)?;
                (y, kept.map(MlpKept::TwoLayers))
            }
        })
    }

    /// dL/d(source) of dL/dy, when it is wanted; adds the terms' gradients.
    pub(super) fn backward(
        &self,
        kept: &MlpKept,
        read: (Source<'_>, &Tensor),
        at: At<'_>,
        want_dx: bool,
        gradients: &mut Parameters,
    ) -> Result<Option<Tensor>> {
        match (self, kept) {
            (Self::Gated(mlp), MlpKept::Gated(kept)) => {
                mlp.backward(kept, read, at, want_dx, gradients)
            }
            (Self::TwoLayers(mlp), MlpKept::TwoLayers(kept)) => {
                mlp.backward(kept, read, at, want_dx, gradients)
            }
            _ => Err(Error::InvalidInput(
                "an MLP must be given what its own forward pass kept, got another kind's".into(),
            )),
        }
    }
}
