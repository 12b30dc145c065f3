//! The hyper-parameters in the metadata of a GGUF file to [`BackboneConfig`].

use super::super::architecture::{Architecture, SLIDING_WINDOW, Windows, all_but_every};
use super::super::gguf_header::Metadata;
use super::super::{Entry, TensorType, corrupt, unsupported};
use super::{LONG_FACTORS, ROPE_FACTORS, SHORT_FACTORS};
use crate::backbone::{BackboneConfig, GemmaConfig, RopeScaling, Window};
use crate::{Error, Result};

/// Hyper-parameters that would change the result and that the decoder doesn't have; 0 means "off".
const FOREIGN: [&str; 8] = [
    "expert_count",
    "attention.scale",
    "attention.max_alibi_bias",
    "attention.clamp_kqv",
    "attention.temperature_length",
    "logit_scale",
    "embedding_scale",
    "residual_scale",
];

/// The metadata of a model, whose keys begin with the name of its architecture.
pub(super) struct HyperParameters<'a> {
    pub(super) metadata: Metadata<'a>,
    pub(super) architecture: &'a Architecture,
}

impl HyperParameters<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture.gguf)
    }

    fn count(&self, name: &str) -> Result<Option<usize>> {
        self.metadata.count(&self.key(name))
    }

    fn number(&self, name: &str) -> Result<Option<f64>> {
        self.metadata.number(&self.key(name))
    }

    fn corrupt(&self, reason: impl Into<String>) -> Error {
        corrupt(self.metadata.path, reason)
    }

    fn missing(&self, name: &str) -> Error {
        self.corrupt(format!("{} is missing", self.key(name)))
    }

    fn required(&self, name: &str) -> Result<usize> {
        self.count(name)?.ok_or_else(|| self.missing(name))
    }

    /// The shape of the model whose tensors these are.
    pub(super) fn config(&self, entries: &[(String, Entry)]) -> Result<BackboneConfig> {
        for name in FOREIGN {
            if let Some(value) = self.number(name)?.filter(|value| *value != 0.0) {
                let value = format!("{} = {value}", self.key(name));
                return Err(unsupported("hyper-parameter", value, "0"));
            }
        }
        let find = |wanted: &str| entries.iter().find(|(name, _)| name == wanted);
        let embedding = find("model.embed_tokens.weight")
            .ok_or_else(|| self.corrupt("token_embd.weight is missing"))?;
        let vocab_size = embedding.1.shape.first().copied().unwrap_or(0);
        if let Some(stated) = self.count("vocab_size")?.filter(|size| *size != vocab_size) {
            let key = self.key("vocab_size");
            let reason = format!("{key} is {stated}, token_embd.weight has {vocab_size} rows");
            return Err(self.corrupt(reason));
        }
        let hidden_size = self.required("embedding_length")?;
        let num_heads = self.required("attention.head_count")?;
        let num_layers = self.required("block_count")?;
        let max_position_embeddings = self.required("context_length")?;
        let eps = "attention.layer_norm_rms_epsilon";
        let stated_bias = entries.iter().any(|(name, _)| name.ends_with("_proj.bias"));
        let head_dim = self.head_dim(hidden_size, num_heads)?;
        let window = self.window(num_layers)?;
        let largest = hidden_size as f64 / num_heads.max(1) as f64;
        let gemma = self.gemma(num_layers, [head_dim as f64, largest])?;
        let has_own_angles = (gemma.as_ref()).is_some_and(|it| it.window_rope_theta.is_some());
        let mut config = BackboneConfig {
            vocab_size,
            hidden_size,
            intermediate_size: self.required("feed_forward_length")?,
            num_layers,
            num_heads,
            num_kv_heads: self.count("attention.head_count_kv")?.unwrap_or(num_heads),
            head_dim,
            norm_eps: self.number(eps)?.ok_or_else(|| self.missing(eps))?,
            rope_theta: self
                .number("rope.freq_base")?
                .unwrap_or(self.architecture.rope_theta),
            rope_scaling: match find(SHORT_FACTORS) {
                Some((_, entry)) => self.long_rope(entry)?,
                None => self.rope_scaling(find(ROPE_FACTORS).map(|(_, entry)| entry))?,
            },
            max_position_embeddings,
            tie_word_embeddings: find("lm_head.weight").is_none(),
            biases: self.architecture.biases.modules(stated_bias),
            context_end: None,
            fused: self.architecture.fused,
            qk_norm: self.architecture.qk_norm,
            encoder: None,
            window: window.filter(|window| has_own_angles || window.size < max_position_embeddings),
            gemma,
        };
        if find(LONG_FACTORS).is_some() {
            let original = self.required("rope.scaling.original_context_length")?;
            if original < max_position_embeddings {
                config.end_context(original, "LongRoPE's long factor");
            }
        }
        config
            .check()
            .map_err(|broken| self.corrupt(broken.to_string()))?;
        Ok(config)
    }

    /// Width of a head; keys, values and the rotated part have to agree.
    fn head_dim(&self, hidden_size: usize, num_heads: usize) -> Result<usize> {
        let rotated = self.count("rope.dimension_count")?;
        let key = self.count("attention.key_length")?;
        let width = match key.or(rotated) {
            Some(width) => width,
            None if num_heads > 0 && hidden_size.is_multiple_of(num_heads) => {
                hidden_size / num_heads
            }
            None => {
                let reason = format!("{num_heads} heads must divide the width, {hidden_size}");
                return Err(self.corrupt(reason));
            }
        };
        let value = self.count("attention.value_length")?;
        for (what, other) in [
            ("rotated part of a head", rotated),
            ("width of value heads", value),
        ] {
            if let Some(other) = other.filter(|other| *other != width) {
                let supported = format!("that of the keys, {width}");
                return Err(unsupported(what, other.to_string(), &supported));
            }
        }
        Ok(width)
    }

    /// The sliding window: of every block, or of those for which the pattern is true, as in
    /// llama.cpp.
    fn window(&self, num_layers: usize) -> Result<Option<Window>> {
        let windows = self.architecture.windows;
        let stated = self.count("attention.sliding_window")?;
        // llama.cpp knows the window and the blocks of a Gemma whose file says nothing.
        let known = matches!(windows, Windows::AllButEvery(_)).then_some(SLIDING_WINDOW);
        let Some(size) = stated.or(known).filter(|size| *size != 0) else {
            return Ok(None);
        };
        let pattern = "attention.sliding_window_pattern";
        let blocks: Vec<usize> = match self.metadata.flags(&self.key(pattern))? {
            None => match windows {
                Windows::AllButEvery(nth) => all_but_every(nth, num_layers),
                _ => (0..num_layers).collect(),
            },
            Some(flags) if flags.len() == num_layers => {
                (0..num_layers).filter(|block| flags[*block]).collect()
            }
            Some(flags) => {
                let rule = format!("{} must have {num_layers} entries", self.key(pattern));
                return Err(self.corrupt(format!("{rule}, got {}", flags.len())));
            }
        };
        Ok((!blocks.is_empty()).then_some(Window { size, blocks }))
    }

    /// What Gemma has beside Llama; `widths` are that of a head, and that of the stream over the
    /// heads.
    fn gemma(&self, num_layers: usize, [head, largest]: [f64; 2]) -> Result<Option<GemmaConfig>> {
        let Some(known) = &self.architecture.gemma else {
            return Ok(None);
        };
        let cap = |name, known: Option<f64>| {
            let stated = known.map(|_| self.number(name)).transpose()?.flatten();
            Ok::<_, Error>(stated.or(known).filter(|cap| *cap != 0.0))
        };
        let [attention_cap, logit_cap] = known.caps;
        let scalar = if num_layers == known.blocks_of_largest {
            largest
        } else {
            head
        };
        let theta = self.number("rope.freq_base_swa")?;
        Ok(Some(GemmaConfig {
            is_sandwich: known.is_sandwich,
            attention_scale: scalar.sqrt().recip(),
            attention_cap: cap("attn_logit_softcapping", attention_cap)?,
            logit_cap: cap("final_logit_softcapping", logit_cap)?,
            window_rope_theta: known.window_rope_theta.map(|known| theta.unwrap_or(known)),
        }))
    }

    /// Linear scaling from the metadata, or Llama 3's factors, which llama.cpp stores as a tensor.
    fn rope_scaling(&self, factors: Option<&Entry>) -> Result<RopeScaling> {
        let legacy = self.number("rope.scale_linear")?;
        let kind = self.metadata.text(&self.key("rope.scaling.type"))?;
        let factor = self.number("rope.scaling.factor")?.or(legacy);
        let scaling = match (kind, factor) {
            (Some("none"), _) | (None, None) => RopeScaling::None,
            (Some("linear") | None, Some(factor)) if (factor - 1.0).abs() < f64::EPSILON => {
                RopeScaling::None
            }
            (Some("linear") | None, Some(factor)) => RopeScaling::Linear { factor },
            (Some("linear"), None) => return Err(self.missing("rope.scaling.factor")),
            (Some(other), _) => {
                let supported = "none, linear, rope_freqs.weight";
                return Err(unsupported("rope scaling", other, supported));
            }
        };
        let Some(entry) = factors else {
            return Ok(scaling);
        };
        if scaling != RopeScaling::None {
            let value = "linear with rope_freqs.weight";
            return Err(unsupported("rope scaling", value, "one of both"));
        }
        let factors = self.factors(entry, "type of rope_freqs.weight")?;
        Ok(RopeScaling::Factors { factors })
    }

    /// LongRoPE up to the context of the original training, whose factors llama.cpp stores.
    fn long_rope(&self, short: &Entry) -> Result<RopeScaling> {
        let amplitude = self.number("rope.scaling.attn_factor")?;
        Ok(RopeScaling::LongRope {
            factors: self.factors(short, "type of rope_factors_short.weight")?,
            amplitude: amplitude.unwrap_or(1.0),
        })
    }

    /// The numbers of a tensor of rotary factors.
    fn factors(&self, entry: &Entry, what: &'static str) -> Result<Vec<f32>> {
        if entry.kind != TensorType::F32 {
            // As llama.cpp writes and reads it.
            let kind = entry.kind.name();
            return Err(unsupported(what, kind, "F32"));
        }
        let (factors, _) = self.metadata.bytes[entry.at.clone()].as_chunks();
        let factors = factors.iter().map(|bytes| f32::from_le_bytes(*bytes));
        Ok(factors.collect())
    }
}
