//! The shape of a decoder, whatever file it came from.

use serde::{Deserialize, Serialize};

use super::encoder_config::Positions;
use super::{EncoderConfig, GemmaConfig, RopeScaling};
use crate::adapter::Module;
use crate::ops::attention::Mask;
use crate::{Error, Result};

/// A sliding window over the keys (arXiv:2310.06825 §2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Positions that a query sees: its own and those before it; of an encoder, how many on either
    /// side.
    pub size: usize,
    /// Indices of the blocks that have it, rising; the others see everything before.
    pub blocks: Vec<usize>,
}

/// A decoder of Llama's kind (pre-norm blocks with RMS norm, rotary attention with grouped keys,
/// SwiGLU) or of Gemma's, or an encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackboneConfig {
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream, `d`.
    pub hidden_size: usize,
    /// Inner width of the MLP, `f`.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_layers: usize,
    /// Query heads, `H`.
    pub num_heads: usize,
    /// Key and value heads, `G`; divides `H`.
    pub num_kv_heads: usize,
    /// Width of one head, `c`; even.
    pub head_dim: usize,
    /// ε of the norms, RMS or layer norms.
    pub norm_eps: f64,
    /// Base of the rotary frequencies, θ.
    pub rope_theta: f64,
    /// Stretch of the rotary frequencies.
    pub rope_scaling: RopeScaling,
    /// Longest context, in tokens.
    pub max_position_embeddings: usize,
    /// What ends the context before the model's own end: a kind of rotary scaling or of window that
    /// changes nothing up to there, and beyond it is not computed.
    #[serde(default)]
    pub context_end: Option<String>,
    /// Whether the head is the embedding.
    pub tie_word_embeddings: bool,
    /// Linear layers that add a bias, in the order of [`Module`].
    #[serde(default)]
    pub biases: Vec<Module>,
    /// Whether q, k and v are one layer, and gate and up another (Phi-3, ModernBERT).
    #[serde(default)]
    pub fused: bool,
    /// Whether every head of the queries and keys passes an RMS norm before it is turned.
    #[serde(default)]
    pub qk_norm: bool,
    /// The sliding window, where the attention of a block has one.
    #[serde(default)]
    pub window: Option<Window>,
    /// What makes it an encoder; it has no vocabulary head then.
    #[serde(default)]
    pub encoder: Option<EncoderConfig>,
    /// What makes it one of Gemma's kind.
    #[serde(default)]
    pub gemma: Option<GemmaConfig>,
}

impl BackboneConfig {
    /// Checks every rule that the engine relies on.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG` with the first field that breaks its rule.
    pub fn check(&self) -> Result<()> {
        let invalid = |field, rule, value: String| Err(Error::InvalidConfig { field, rule, value });
        for (field, size) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_layers", self.num_layers),
            ("num_heads", self.num_heads),
            ("num_kv_heads", self.num_kv_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.max_position_embeddings),
        ] {
            if size == 0 || size > 1 << 24 {
                return invalid(field, "must be between 1 and 2^24", size.to_string());
            }
        }
        if self.num_layers > 511 {
            return invalid(
                "num_layers",
                "must be at most 511 (noise counters)",
                self.num_layers.to_string(),
            );
        }
        if !self.num_heads.is_multiple_of(self.num_kv_heads) {
            return invalid(
                "num_kv_heads",
                "must divide num_heads",
                self.num_kv_heads.to_string(),
            );
        }
        if !self.head_dim.is_multiple_of(2) {
            return invalid(
                "head_dim",
                "must be even (rotary pairs)",
                self.head_dim.to_string(),
            );
        }
        if !(self.norm_eps.is_finite() && self.norm_eps > 0.0) {
            return invalid("norm_eps", "must be positive", self.norm_eps.to_string());
        }
        if !(self.rope_theta.is_finite() && self.rope_theta > 0.0) {
            return invalid(
                "rope_theta",
                "must be positive",
                self.rope_theta.to_string(),
            );
        }
        if !self.rope_scaling.is_sound(self.head_dim) {
            return invalid(
                "rope_scaling",
                "must have positive numbers, and one factor per rotary pair",
                format!("{:?}", self.rope_scaling),
            );
        }
        self.check_biases()?;
        if let Some(encoder) = &self.encoder {
            encoder.check()?;
        }
        if let Some(gemma) = &self.gemma {
            gemma.check()?;
        }
        if let Some(window) = &self.window {
            let inside = |block: &usize| *block < self.num_layers;
            let rises = |[first, second]: &[usize; 2]| first < second;
            let blocks = &window.blocks;
            if window.size == 0 || !blocks.iter().all(inside) || !blocks.array_windows().all(rises)
            {
                return invalid(
                    "window",
                    "must have a size of at least 1 and blocks of the model, rising",
                    format!("{window:?}"),
                );
            }
        }
        Ok(())
    }

    fn check_biases(&self) -> Result<()> {
        let rises = |[first, second]: &[Module; 2]| first < second;
        let can = |module: &Module| {
            let is_of_all = match module {
                Module::Q | Module::K | Module::V | Module::Qkv | Module::O => true,
                Module::Up | Module::GateUp | Module::Down | Module::Dense => {
                    self.encoder.is_some()
                }
                Module::Gate | Module::LmHead | Module::Classifier => false,
            };
            is_of_all && self.modules().contains(module)
        };
        if self.biases.array_windows().all(rises) && self.biases.iter().all(can) {
            return Ok(());
        }
        Err(Error::InvalidConfig {
            field: "biases",
            rule: "must be layers of the attention, in their order; of an encoder of its MLP and \
                   its pooler too",
            value: format!("{:?}", self.biases),
        })
    }

    /// The modules that there are.
    pub fn modules(&self) -> &'static [Module] {
        match (&self.encoder, self.fused) {
            (Some(_), false) => &Module::OF_ENCODERS,
            (Some(_), true) => &Module::OF_FUSED_ENCODERS,
            (None, false) => &Module::ALL,
            (None, true) => &Module::OF_FUSED_DECODERS,
        }
    }

    /// Whether an encoder's head begins with the base's pooler.
    pub(crate) fn pools(&self) -> bool {
        let encoder = self.encoder.as_ref();
        encoder.is_some_and(|encoder| encoder.head.pools)
    }

    /// Classes of an encoder's head; 0 where it has none yet.
    pub fn classes(&self) -> usize {
        let encoder = self.encoder.as_ref();
        encoder.and_then(|encoder| encoder.classes).unwrap_or(0)
    }

    /// An encoder with a head of so many classes; a decoder as it is.
    #[must_use]
    pub fn with_classes(&self, classes: usize) -> Self {
        let mut config = self.clone();
        if let Some(encoder) = &mut config.encoder {
            encoder.classes = Some(classes);
        }
        config
    }

    /// Ends the context at `length` tokens, unless it ends before.
    pub(crate) fn end_context(&mut self, length: usize, kind: impl Into<String>) {
        if length <= self.max_position_embeddings {
            self.max_position_embeddings = length;
            self.context_end = Some(kind.into());
        }
    }

    /// Who sees whom in the attention of a block.
    pub fn mask(&self, block: usize) -> Mask {
        let window = self
            .window
            .as_ref()
            .map(|window| (window.size, &window.blocks));
        let size = window.and_then(|(size, blocks)| blocks.contains(&block).then_some(size));
        match (&self.encoder, size) {
            (Some(_), Some(reach)) => Mask::Around(reach),
            (Some(_), None) => Mask::Full,
            (None, Some(size)) => Mask::Window(size),
            (None, None) => Mask::Causal,
        }
    }

    /// Whether the attention turns queries and keys to their positions.
    pub fn is_rotary(&self) -> bool {
        let encoder = self.encoder.as_ref();
        encoder.is_none_or(|encoder| encoder.positions == Positions::Rotary)
    }

    /// Width of all query heads together, `H·c`.
    pub fn query_width(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// Width of all key (or value) heads together, `G·c`.
    pub fn kv_width(&self) -> usize {
        self.num_kv_heads * self.head_dim
    }

    /// Elements of all weights; a tied head counts once.
    pub fn parameters(&self) -> usize {
        let elements = |(_, shape): (String, Vec<usize>)| shape.iter().product::<usize>();
        self.tensors().into_iter().map(elements).sum()
    }

    /// Angular frequencies in the blocks with a window, where they have their own; not stretched.
    pub fn window_rope_frequencies(&self) -> Option<Vec<f64>> {
        let of_gemma = self
            .gemma
            .as_ref()
            .and_then(|gemma| gemma.window_rope_theta);
        let of_encoder = (self.encoder.as_ref()).and_then(|encoder| encoder.window_rope_theta);
        let theta = of_gemma.or(of_encoder)?;
        Some(RopeScaling::None.frequencies(theta, self.head_dim))
    }

    /// Angular frequency of each rotary pair, `c/2` values.
    pub fn rope_frequencies(&self) -> Vec<f64> {
        self.rope_scaling
            .frequencies(self.rope_theta, self.head_dim)
    }
}
