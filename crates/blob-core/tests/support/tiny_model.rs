//! A tiny decoder with random weights, as GGUF in llama.cpp's conventions and as a Hugging Face
//! folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use blob_core::adapter::Module;
use blob_core::backbone::{BackboneConfig, RopeScaling};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use super::gguf_writer::{F32, GgufWriter};

/// Shape and row-major values of one tensor.
pub type Weight = (Vec<usize>, Vec<f32>);

#[derive(Clone)]
pub struct TinyModel {
    /// `model_type` of `config.json`.
    pub architecture: String,
    pub config: BackboneConfig,
    /// By Hugging Face names.
    pub weights: BTreeMap<String, Weight>,
}

/// Four query heads on two key heads, two layers, an untied head.
pub fn gqa_config() -> BackboneConfig {
    BackboneConfig {
        vocab_size: 48,
        hidden_size: 32,
        intermediate_size: 40,
        num_layers: 2,
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 8,
        norm_eps: 1e-5,
        rope_theta: 100_000.0,
        rope_scaling: RopeScaling::None,
        max_position_embeddings: 128,
        tie_word_embeddings: false,
        biases: Vec::new(),
        context_end: None,
        fused: false,
        qk_norm: false,
        window: None,
        encoder: None,
        gemma: None,
    }
}

fn little_endian(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// llama.cpp's order of the rows of q and k: both rotary halves of a head take turns.
fn interleave(values: &[f32], columns: usize, heads: usize) -> Vec<f32> {
    let half = values.len() / columns / heads / 2;
    let mut permuted = Vec::with_capacity(values.len());
    for head in 0..heads {
        for pair in 0..half {
            for side in 0..2 {
                let row = (head * 2 + side) * half + pair;
                permuted.extend(&values[row * columns..(row + 1) * columns]);
            }
        }
    }
    permuted
}

fn gguf_name(name: &str, is_sandwich: bool) -> String {
    let layer = match name {
        layer if is_sandwich => layer
            .replace("post_attention_layernorm", "post_attention_norm")
            .replace("pre_feedforward_layernorm", "ffn_norm")
            .replace("post_feedforward_layernorm", "post_ffw_norm"),
        layer => layer.replace("post_attention_layernorm", "ffn_norm"),
    };
    match layer.as_str() {
        "model.embed_tokens.weight" => "token_embd.weight".to_owned(),
        "model.norm.weight" => "output_norm.weight".to_owned(),
        "lm_head.weight" => "output.weight".to_owned(),
        layer => layer
            .replace("model.layers.", "blk.")
            .replace("input_layernorm", "attn_norm")
            .replace("self_attn.o_proj", "attn_output")
            .replace("self_attn.", "attn_")
            .replace("mlp.gate_up_proj", "ffn_up")
            .replace("mlp.", "ffn_")
            .replace("_proj", ""),
    }
}

/// The context that a model under LongRoPE was trained for.
pub const ORIGINAL: usize = 32;

impl TinyModel {
    /// What its files say that the longest text is.
    fn context(&self) -> usize {
        match self.config.rope_scaling {
            RopeScaling::LongRope { .. } => 4 * ORIGINAL,
            _ => self.config.max_position_embeddings,
        }
    }

    /// A Llama with weights in (−1, 1) from a linear congruential generator.
    pub fn new(config: BackboneConfig, seed: u64) -> Self {
        Self::of("llama", config, seed)
    }

    /// [`Self::new`] of any architecture.
    pub fn of(architecture: &str, config: BackboneConfig, seed: u64) -> Self {
        let mut state = seed;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        let fill = |(name, shape): (String, Vec<usize>)| {
            let values = (0..shape.iter().product()).map(|_| next()).collect();
            (name, (shape, values))
        };
        Self {
            weights: config.tensors().into_iter().map(fill).collect(),
            architecture: architecture.to_owned(),
            config,
        }
    }

    /// A GGUF file without a tokenizer; Llama 3's rope scaling becomes the tensor of factors that
    /// llama.cpp writes.
    pub fn gguf(&self) -> GgufWriter {
        let config = &self.config;
        let llama = matches!(self.architecture.as_str(), "llama" | "mistral");
        let architecture = match self.architecture.as_str() {
            _ if llama => "llama",
            "gemma3_text" => "gemma3",
            other => other,
        };
        let key = |name: &str| format!("{architecture}.{name}");
        let mut gguf = GgufWriter::default();
        gguf.text("general.architecture", architecture);
        for (name, count) in [
            ("vocab_size", config.vocab_size),
            ("embedding_length", config.hidden_size),
            ("feed_forward_length", config.intermediate_size),
            ("block_count", config.num_layers),
            ("attention.head_count", config.num_heads),
            ("attention.head_count_kv", config.num_kv_heads),
            ("rope.dimension_count", config.head_dim),
            ("context_length", self.context()),
        ] {
            gguf.count(&key(name), count);
        }
        gguf.float(
            &key("attention.layer_norm_rms_epsilon"),
            config.norm_eps as f32,
        )
        .float(&key("rope.freq_base"), config.rope_theta as f32);
        if config.head_dim * config.num_heads != config.hidden_size {
            gguf.count(&key("attention.key_length"), config.head_dim);
        }
        if let Some(window) = &config.window {
            let blocks = 0..config.num_layers;
            let flags: Vec<bool> = blocks.map(|block| window.blocks.contains(&block)).collect();
            gguf.count(&key("attention.sliding_window"), window.size)
                .flags(&key("attention.sliding_window_pattern"), &flags);
        }
        if let Some(gemma) = &config.gemma {
            let caps = [
                ("attn_logit_softcapping", gemma.attention_cap),
                ("final_logit_softcapping", gemma.logit_cap),
            ];
            let numbers = caps
                .into_iter()
                .chain([("rope.freq_base_swa", gemma.window_rope_theta)]);
            for (name, number) in numbers.filter_map(|(name, number)| Some((name, number?))) {
                gguf.float(&key(name), number as f32);
            }
        }
        match &config.rope_scaling {
            RopeScaling::Linear { factor } => {
                gguf.text(&key("rope.scaling.type"), "linear")
                    .float(&key("rope.scaling.factor"), *factor as f32);
            }
            RopeScaling::Llama3 { .. } => {
                let plain = BackboneConfig {
                    rope_scaling: RopeScaling::None,
                    ..config.clone()
                };
                let stretched = config.rope_frequencies();
                let pairs = plain.rope_frequencies().into_iter().zip(stretched);
                let factors: Vec<f32> = pairs.map(|(plain, new)| (plain / new) as f32).collect();
                let bytes = little_endian(&factors);
                gguf.tensor("rope_freqs.weight", &[factors.len()], F32, bytes);
            }
            RopeScaling::LongRope { factors, amplitude } => {
                gguf.float(&key("rope.scaling.attn_factor"), *amplitude as f32)
                    .count(&key("rope.scaling.original_context_length"), ORIGINAL);
                let bytes = little_endian(factors);
                for name in ["rope_factors_short.weight", "rope_factors_long.weight"] {
                    gguf.tensor(name, &[factors.len()], F32, bytes.clone());
                }
            }
            _ => {}
        }
        let is_sandwich = config.gemma.as_ref().is_some_and(|gemma| gemma.is_sandwich);
        for (name, (shape, values)) in &self.weights {
            let heads = match name {
                name if name.contains("q_proj") => config.num_heads,
                name if name.contains("k_proj") => config.num_kv_heads,
                _ => 0,
            };
            let columns = if shape.len() == 1 {
                1
            } else {
                config.hidden_size
            };
            let bytes = match heads {
                heads if heads > 0 && llama => little_endian(&interleave(values, columns, heads)),
                _ => little_endian(values),
            };
            gguf.tensor(&gguf_name(name, is_sandwich), shape, F32, bytes);
        }
        gguf
    }

    /// `config.json` of the Hugging Face form.
    pub fn config_json(&self) -> Value {
        let config = &self.config;
        let rope_scaling = match &config.rope_scaling {
            RopeScaling::Linear { factor } => json!({ "type": "linear", "factor": factor }),
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_context,
            } => json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low_freq_factor,
                "high_freq_factor": high_freq_factor,
                "original_max_position_embeddings": original_context,
            }),
            RopeScaling::LongRope { factors, amplitude } => json!({
                "type": "longrope",
                "short_factor": factors,
                "long_factor": factors,
                "attention_factor": amplitude,
                "original_max_position_embeddings": ORIGINAL,
            }),
            _ => Value::Null,
        };
        let window = config.window.as_ref();
        let kinds = (0..config.num_layers).map(|block| match window {
            Some(window) if window.blocks.contains(&block) => "sliding_attention",
            _ => "full_attention",
        });
        let gemma = config.gemma.as_ref();
        json!({
            "hidden_activation": gemma.map(|_| "gelu_pytorch_tanh"),
            "query_pre_attn_scalar": gemma.map(|it| it.attention_scale.powi(-2).round()),
            "attn_logit_softcapping": gemma.and_then(|gemma| gemma.attention_cap),
            "final_logit_softcapping": gemma.and_then(|gemma| gemma.logit_cap),
            "rope_local_base_freq": gemma.and_then(|gemma| gemma.window_rope_theta),
            "model_type": self.architecture,
            "use_sliding_window": window.is_some(),
            "sliding_window": window.map(|window| window.size),
            "layer_types": kinds.collect::<Vec<_>>(),
            "vocab_size": config.vocab_size,
            "hidden_size": config.hidden_size,
            "intermediate_size": config.intermediate_size,
            "num_hidden_layers": config.num_layers,
            "num_attention_heads": config.num_heads,
            "num_key_value_heads": config.num_kv_heads,
            "head_dim": config.head_dim,
            "hidden_act": "silu",
            "rms_norm_eps": config.norm_eps,
            "rope_theta": config.rope_theta,
            "rope_scaling": rope_scaling,
            "max_position_embeddings": self.context(),
            "tie_word_embeddings": config.tie_word_embeddings,
            "attention_bias": config.biases.contains(&Module::O),
            "mlp_bias": false,
        })
    }

    /// A weight file with the tensors for which `keep` holds.
    pub fn safetensors(&self, keep: impl Fn(&str) -> bool) -> Vec<u8> {
        let kept = self.weights.iter().filter(|(name, _)| keep(name));
        let bytes: Vec<_> = kept
            .map(|(name, (shape, values))| {
                // Gemma's folders hold the weights of norms less 1.
                let is_less = self.config.gemma.is_some() && name.ends_with("norm.weight");
                let values: Vec<_> = values
                    .iter()
                    .map(|value| if is_less { value - 1.0 } else { *value })
                    .collect();
                (name, shape, little_endian(&values))
            })
            .collect();
        let views = bytes.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, (*shape).clone(), bytes).unwrap();
            (name.as_str(), view)
        });
        safetensors::serialize(views, None).unwrap()
    }

    /// Writes `config.json` and `model.safetensors`.
    pub fn write_folder(&self, folder: &Path) -> PathBuf {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("config.json"), self.config_json().to_string()).unwrap();
        std::fs::write(folder.join("model.safetensors"), self.safetensors(|_| true)).unwrap();
        folder.to_owned()
    }
}
