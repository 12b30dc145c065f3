//! `config.json` of a Hugging Face folder to [`BackboneConfig`].
//!
//! Fields that a file leaves out take the defaults of transformers' configuration classes.

pub(super) mod encoder;
mod gemma;
mod rope;
mod window;

use std::path::Path;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use self::rope::{PositionLimits, Rope};
use self::window::{FULL, SLIDING, window};
use super::architecture::{ARCHITECTURES, Architecture, names};
use super::{corrupt, unsupported};
use crate::backbone::BackboneConfig;
use crate::files::json_reason;
use crate::{Error, Result};

#[derive(Deserialize)]
#[expect(clippy::option_option, reason = "absent, null or a value")]
struct HfConfig {
    model_type: Option<String>,
    /// In the record of a run, which has the same name.
    command: Option<String>,
    vocab_size: Option<usize>,
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    #[serde(default, deserialize_with = "stated")]
    num_key_value_heads: Option<Option<usize>>,
    head_dim: Option<usize>,
    hidden_act: Option<String>,
    max_position_embeddings: Option<usize>,
    original_max_position_embeddings: Option<usize>,
    rms_norm_eps: Option<f64>,
    rope_theta: Option<f64>,
    rope_scaling: Option<Map<String, Value>>,
    rope_parameters: Option<Map<String, Value>>,
    partial_rotary_factor: Option<f64>,
    #[serde(default, deserialize_with = "stated")]
    sliding_window: Option<Option<usize>>,
    sliding_window_pattern: Option<usize>,
    use_sliding_window: Option<bool>,
    max_window_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
    attention_chunk_size: Option<usize>,
    tie_word_embeddings: Option<bool>,
    attention_bias: Option<bool>,
    hidden_activation: Option<String>,
    query_pre_attn_scalar: Option<f64>,
    #[serde(default, deserialize_with = "stated")]
    attn_logit_softcapping: Option<Option<f64>>,
    #[serde(default, deserialize_with = "stated")]
    final_logit_softcapping: Option<Option<f64>>,
    rope_local_base_freq: Option<f64>,
    use_bidirectional_attention: Option<bool>,
    mlp_bias: Option<bool>,
    quantization_config: Option<Value>,
}

/// A field that is there, `null` or not; one that is absent is the default, `None`.
#[expect(clippy::option_option, reason = "absent, null or a value")]
fn stated<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    field: D,
) -> std::result::Result<Option<Option<T>>, D::Error> {
    Option::deserialize(field).map(Some)
}

/// Reads the text of the `config.json` at `path`.
pub(super) fn parse(json: &[u8], path: &Path) -> Result<BackboneConfig> {
    let hf: HfConfig =
        serde_json::from_slice(json).map_err(|error| corrupt(path, json_reason(&error)))?;
    let Some(model_type) = hf.model_type.as_deref() else {
        return Err(match hf.command.as_deref() {
            Some("train") => Error::ModelNotFound {
                path: path.parent().unwrap_or(path).to_owned(),
                reason: "it holds a training run and no model".into(),
                hint: "name the model that it was trained on, and the folder as the run",
            },
            _ => corrupt(path, "model_type is missing"),
        });
    };
    let encoders = encoder::MODEL_TYPES;
    if let Some((_, family)) = encoders.iter().find(|(name, _)| *name == model_type) {
        return encoder::parse(json, *family, path);
    }
    let known = ARCHITECTURES
        .iter()
        .find(|architecture| architecture.model_type == model_type);
    let Some(architecture) = known else {
        let supported = names(|architecture| architecture.model_type);
        let encoders = encoders.map(|(name, _)| name).join(", ");
        let supported = format!("{supported}, {encoders}");
        return Err(unsupported("architecture", model_type, &supported));
    };
    check_supported(&hf, architecture)?;
    let required = |field: &str, value: Option<usize>| {
        value.ok_or_else(|| corrupt(path, format!("{field} is missing")))
    };
    let hidden_size = required("hidden_size", hf.hidden_size)?;
    let num_layers = required("num_hidden_layers", hf.num_hidden_layers)?;
    let num_heads = required("num_attention_heads", hf.num_attention_heads)?;
    let head_dim = match hf.head_dim.or(architecture.head_dim) {
        Some(head_dim) => head_dim,
        None if num_heads > 0 && hidden_size.is_multiple_of(num_heads) => hidden_size / num_heads,
        None => {
            let rule = "num_attention_heads must divide hidden_size";
            return Err(corrupt(
                path,
                format!("{rule}, got {num_heads} and {hidden_size}"),
            ));
        }
    };
    let max_position_embeddings = hf
        .max_position_embeddings
        .unwrap_or(architecture.max_position_embeddings);
    let fields = hf.rope_parameters.as_ref().or(hf.rope_scaling.as_ref());
    let limits = PositionLimits {
        longest: max_position_embeddings,
        original: hf.original_max_position_embeddings,
    };
    let [rope, local] = [FULL, SLIDING].map(|kind| Rope::of(fields, kind, path));
    let num_kv_heads = hf.num_key_value_heads.unwrap_or(architecture.num_kv_heads);
    let gemma = architecture.gemma.as_ref();
    let gemma = gemma
        .map(|it| gemma::gemma(&hf, it, head_dim, &local))
        .transpose()?;
    // A window that holds the whole context hides nothing, but may have angles of its own.
    let has_own_angles = (gemma.as_ref()).is_some_and(|it| it.window_rope_theta.is_some());
    let (window, foreign_window) = window(&hf, architecture, num_layers, path)?;
    let mut config = BackboneConfig {
        vocab_size: required("vocab_size", hf.vocab_size)?,
        hidden_size,
        intermediate_size: required("intermediate_size", hf.intermediate_size)?,
        num_layers,
        num_heads,
        num_kv_heads: num_kv_heads.unwrap_or(num_heads),
        head_dim,
        norm_eps: hf.rms_norm_eps.unwrap_or(architecture.norm_eps),
        rope_theta: match rope.number("rope_theta")? {
            Some(theta) => theta,
            None => hf.rope_theta.unwrap_or(architecture.rope_theta),
        },
        rope_scaling: rope.scaling(limits)?,
        max_position_embeddings,
        context_end: None,
        tie_word_embeddings: (hf.tie_word_embeddings).unwrap_or(architecture.gemma.is_some()),
        biases: (architecture.biases).modules(hf.attention_bias == Some(true)),
        fused: architecture.fused,
        qk_norm: architecture.qk_norm,
        encoder: None,
        gemma,
        window: window.filter(|window| has_own_angles || window.size < max_position_embeddings),
    };
    if let Some((length, kind)) = rope.plain_up_to(limits)? {
        config.end_context(length, kind);
    }
    if let Some((length, kind)) = foreign_window {
        config.end_context(length, kind);
    }
    config
        .check()
        .map_err(|broken| corrupt(path, broken.to_string()))?;
    Ok(config)
}

/// Refuses what the decoder doesn't compute.
fn check_supported(hf: &HfConfig, architecture: &Architecture) -> Result<()> {
    if architecture.mlp_bias && hf.mlp_bias == Some(true) {
        let value = "mlp_bias = true";
        return Err(unsupported("hyper-parameter", value, "false"));
    }
    let activation = hf.hidden_act.as_deref();
    if let Some(act) = activation.filter(|act| architecture.gemma.is_none() && *act != "silu") {
        return Err(unsupported("activation", act, "silu"));
    }
    let fields = hf.rope_parameters.as_ref().or(hf.rope_scaling.as_ref());
    let stated = fields.and_then(|fields| fields.get("partial_rotary_factor")?.as_f64());
    let partial = stated.or(hf.partial_rotary_factor);
    if let Some(part) = partial.filter(|part| (part - 1.0).abs() > f64::EPSILON) {
        return Err(unsupported("rotated part of a head", part.to_string(), "1"));
    }
    hf.quantization_config
        .as_ref()
        .map_or(Ok(()), |value| Err(quantised_by(value)))
}

/// Refuses weights that something else quantised.
fn quantised_by(config: &Value) -> Error {
    let method = config.get("quant_method").and_then(Value::as_str);
    unsupported(
        "quantisation",
        method.unwrap_or("unnamed"),
        "none (or a GGUF file)",
    )
}

#[cfg(test)]
mod tests;
