//! `config.json` of a Hugging Face folder to [`BackboneConfig`].
//!
//! Fields that a file leaves out take the defaults of transformers' configuration classes.

pub(super) mod encoder;
mod rope;

use std::path::Path;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use self::rope::Rope;
use super::architecture::{
    ARCHITECTURES, Architecture, MAX_WINDOW_LAYERS, SLIDING_WINDOW, Windows, names,
};
use super::{corrupt, unsupported};
use crate::backbone::{BackboneConfig, Window};
use crate::{Error, Result};

const SLIDING: &str = "sliding_attention";
const FULL: &str = "full_attention";
const CHUNKED: &str = "chunked_attention";

#[derive(Deserialize)]
#[expect(clippy::option_option, reason = "absent, null or a value")]
struct HfConfig {
    model_type: Option<String>,
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
    rms_norm_eps: Option<f64>,
    rope_theta: Option<f64>,
    rope_scaling: Option<Map<String, Value>>,
    rope_parameters: Option<Map<String, Value>>,
    partial_rotary_factor: Option<f64>,
    #[serde(default, deserialize_with = "stated")]
    sliding_window: Option<Option<usize>>,
    use_sliding_window: Option<bool>,
    max_window_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
    attention_chunk_size: Option<usize>,
    tie_word_embeddings: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    quantization_config: Option<Value>,
}

/// A field that is there, `null` or not; one that is absent is the default, `None`.
#[expect(clippy::option_option, reason = "absent, null or a value")]
fn stated<'de, D: Deserializer<'de>>(
    field: D,
) -> std::result::Result<Option<Option<usize>>, D::Error> {
    Option::deserialize(field).map(Some)
}

/// Reads the text of the `config.json` at `path`.
pub(super) fn parse(json: &[u8], path: &Path) -> Result<BackboneConfig> {
    let hf: HfConfig =
        serde_json::from_slice(json).map_err(|error| corrupt(path, error.to_string()))?;
    let Some(model_type) = hf.model_type.as_deref() else {
        return Err(corrupt(path, "model_type is missing"));
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
    let rope = Rope {
        fields: hf.rope_parameters.as_ref().or(hf.rope_scaling.as_ref()),
        path,
    };
    let num_kv_heads = hf.num_key_value_heads.unwrap_or(architecture.num_kv_heads);
    // A window that holds the whole context hides nothing.
    let (window, foreign_window) = window(&hf, architecture, num_layers, path)?;
    let mut config = BackboneConfig {
        vocab_size: required("vocab_size", hf.vocab_size)?,
        hidden_size,
        intermediate_size: required("intermediate_size", hf.intermediate_size)?,
        num_layers,
        num_heads,
        num_kv_heads: num_kv_heads.unwrap_or(num_heads),
        head_dim,
        rms_norm_eps: hf.rms_norm_eps.unwrap_or(1e-6),
        rope_theta: match rope.number("rope_theta")? {
            Some(theta) => theta,
            None => hf.rope_theta.unwrap_or(10_000.0),
        },
        rope_scaling: rope.scaling()?,
        max_position_embeddings,
        context_end: None,
        tie_word_embeddings: hf.tie_word_embeddings.unwrap_or(false),
        biases: (architecture.biases).modules(hf.attention_bias == Some(true)),
        qk_norm: architecture.qk_norm,
        encoder: None,
        window: window.filter(|window| window.size < max_position_embeddings),
    };
    if let Some(length) = rope.plain_up_to(max_position_embeddings)? {
        config.end_context(length, "dynamic rope scaling");
    }
    if let Some((length, kind)) = foreign_window {
        config.end_context(length, kind);
    }
    config
        .check()
        .map_err(|broken| corrupt(path, broken.to_string()))?;
    Ok(config)
}

/// Up to which length a kind of window hides nothing, and which kind.
type Foreign = Option<(usize, String)>;

/// The window and the blocks that have it; and where one begins that is not computed.
fn window(
    hf: &HfConfig,
    architecture: &Architecture,
    num_layers: usize,
    path: &Path,
) -> Result<(Option<Window>, Foreign)> {
    let size = hf.sliding_window.unwrap_or(Some(SLIDING_WINDOW));
    let types = hf.layer_types.as_deref();
    let mut foreign = None;
    let (size, blocks) = match architecture.windows {
        Windows::None => return Ok((None, None)),
        Windows::Everywhere => {
            let others = types.filter(|types| types.iter().any(|kind| kind != SLIDING));
            if let (Some(size), Some(types)) = (size, others) {
                // Which blocks have the window is left open; up to its size it does not matter.
                let (_, chunks) = sliding(types, num_layers, hf.attention_chunk_size, path)?;
                let mixed = (size, "a sliding window in some layers".to_owned());
                return Ok((
                    None,
                    chunks.filter(|chunks| chunks.0 < size).or(Some(mixed)),
                ));
            }
            (size, (0..num_layers).collect())
        }
        Windows::ByBlock => {
            let size = size.filter(|_| hf.use_sliding_window == Some(true));
            let first = hf.max_window_layers.unwrap_or(MAX_WINDOW_LAYERS);
            let blocks = match types {
                Some(types) => {
                    let (blocks, chunks) =
                        sliding(types, num_layers, hf.attention_chunk_size, path)?;
                    foreign = chunks;
                    blocks
                }
                None if size.is_some() => (first..num_layers).collect(),
                None => Vec::new(),
            };
            (size, blocks)
        }
    };
    match size {
        _ if blocks.is_empty() => Ok((None, foreign)),
        Some(size) => Ok((Some(Window { size, blocks }), foreign)),
        None if architecture.windows == Windows::Everywhere => Ok((None, None)),
        None => {
            let reason = "layer_types name sliding_attention, but there is no sliding window";
            Err(corrupt(path, reason))
        }
    }
}

/// The blocks whose type is [`SLIDING`]; and the size of chunks, if some attend within chunks.
fn sliding(
    types: &[String],
    num_layers: usize,
    chunk: Option<usize>,
    path: &Path,
) -> Result<(Vec<usize>, Foreign)> {
    if types.len() != num_layers {
        let rule = format!("layer_types must have num_hidden_layers = {num_layers} entries");
        return Err(corrupt(path, format!("{rule}, got {}", types.len())));
    }
    let (mut blocks, mut chunks) = (Vec::new(), None);
    for (block, kind) in types.iter().enumerate() {
        match kind.as_str() {
            SLIDING => blocks.push(block),
            FULL => {}
            CHUNKED if chunk.is_some() => chunks = chunk.map(|size| (size, CHUNKED.to_owned())),
            other => {
                return Err(unsupported(
                    "layer type",
                    other,
                    "full_attention, sliding_attention",
                ));
            }
        }
    }
    Ok((blocks, chunks))
}

/// Refuses what the decoder doesn't compute.
fn check_supported(hf: &HfConfig, architecture: &Architecture) -> Result<()> {
    if architecture.mlp_bias && hf.mlp_bias == Some(true) {
        let value = "mlp_bias = true";
        return Err(unsupported("hyper-parameter", value, "false"));
    }
    if let Some(act) = hf.hidden_act.as_deref().filter(|act| *act != "silu") {
        return Err(unsupported("activation", act, "silu"));
    }
    let partial = hf
        .partial_rotary_factor
        .filter(|part| (part - 1.0).abs() > f64::EPSILON);
    if let Some(part) = partial {
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
