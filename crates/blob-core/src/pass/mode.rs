//! How the low-rank terms behave in a pass: who shares noise, what is sampled, dropped and checked.

use serde::{Deserialize, Serialize};

use crate::kl::GaussianKl;

/// Which rows share their Flipout signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoiseSharing {
    /// Every token has its own signs (the reference).
    Token,
    /// The tokens of a prompt share their signs (textbook Flipout, arXiv:1803.04386).
    Example,
    /// No signs: all rows see the same weights, a coherent draw of one model.
    Shared,
}

/// How the low-rank terms behave in this pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mode {
    /// `None`: the posterior mean.
    pub sampling: Option<NoiseSharing>,
    /// Adapted layers of earlier blocks stay at their mean; 0 = all are sampled.
    pub sample_from_block: usize,
    /// Samples 2j and 2j + 1 are a mirrored pair: one draw of `E` and of the signs, with `E` and
    /// with `−E`. Dropout masks are never mirrored: each sample has its own.
    pub antithetic: bool,
    /// Dropout of the low-rank terms' inputs, where they are sampled; 0 = none.
    pub dropout: f32,
    /// The base's own dropout, of an encoder; 0 = none.
    pub base_dropout: f32,
    /// The divergence of the matrices of a context, and its weight beside the loss: part of the
    /// gradients.
    pub context_kl: Option<(GaussianKl, f64)>,
    /// Look for values that are not finite after every layer, and name the layer.
    pub check_finite: bool,
    /// Most bytes of activations to keep for the backward pass, beside each block's input; what
    /// does not fit is computed again, with the same bits. `None`: all are kept.
    pub kept_bytes: Option<usize>,
}

impl Mode {
    /// The posterior mean, deterministic.
    pub const MEAN: Self = Self {
        sampling: None,
        sample_from_block: 0,
        antithetic: false,
        dropout: 0.0,
        base_dropout: 0.0,
        context_kl: None,
        check_finite: false,
        kept_bytes: None,
    };

    /// Whose `E` and signs a sample sees, and the sign of its `E`.
    pub fn draw_of(&self, sample: u32) -> (u32, f32) {
        if self.antithetic {
            (
                sample / 2,
                if sample.is_multiple_of(2) { 1.0 } else { -1.0 },
            )
        } else {
            (sample, 1.0)
        }
    }
}
