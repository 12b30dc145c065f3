//! `config.json` of a Hugging Face Llama or Mistral to [`DecoderConfig`].
//!
//! Fields that a file leaves out take the defaults of transformers' `LlamaConfig` or `MistralConfig`.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{corrupt, unsupported};
use crate::Result;
use crate::backbone::{DecoderConfig, RopeScaling};

#[derive(Deserialize)]
struct HfConfig {
    model_type: Option<String>,
    vocab_size: Option<usize>,
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    hidden_act: Option<String>,
    max_position_embeddings: Option<usize>,
    rms_norm_eps: Option<f64>,
    rope_theta: Option<f64>,
    rope_scaling: Option<Map<String, Value>>,
    rope_parameters: Option<Map<String, Value>>,
    partial_rotary_factor: Option<f64>,
    #[serde(default = "mistral_window")]
    sliding_window: Option<usize>,
    tie_word_embeddings: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    quantization_config: Option<Value>,
}

/// Mistral's window where the field is absent; `null` means none.
#[expect(clippy::unnecessary_wraps, reason = "the field's type")]
fn mistral_window() -> Option<usize> {
    Some(4096)
}

/// Reads the text of the `config.json` at `path`.
pub(super) fn parse(json: &[u8], path: &Path) -> Result<DecoderConfig> {
    let hf: HfConfig =
        serde_json::from_slice(json).map_err(|error| corrupt(path, error.to_string()))?;
    let mistral = match hf.model_type.as_deref() {
        Some("llama") => false,
        Some("mistral") => true,
        Some(other) => return Err(unsupported("architecture", other, "llama, mistral")),
        None => return Err(corrupt(path, "model_type is missing")),
    };
    check_supported(&hf)?;
    let required = |field: &str, value: Option<usize>| {
        value.ok_or_else(|| corrupt(path, format!("{field} is missing")))
    };
    let hidden_size = required("hidden_size", hf.hidden_size)?;
    let num_heads = required("num_attention_heads", hf.num_attention_heads)?;
    let head_dim = match hf.head_dim {
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
    let max_position_embeddings =
        (hf.max_position_embeddings).unwrap_or(if mistral { 131_072 } else { 2048 });
    let window = hf
        .sliding_window
        .filter(|window| *window < max_position_embeddings);
    if let Some(window) = window.filter(|_| mistral) {
        let supported = format!("none, or at least the context, {max_position_embeddings}");
        return Err(unsupported(
            "sliding window",
            window.to_string(),
            &supported,
        ));
    }
    let rope = Rope {
        fields: hf.rope_parameters.as_ref().or(hf.rope_scaling.as_ref()),
        path,
    };
    let config = DecoderConfig {
        vocab_size: required("vocab_size", hf.vocab_size)?,
        hidden_size,
        intermediate_size: required("intermediate_size", hf.intermediate_size)?,
        num_layers: required("num_hidden_layers", hf.num_hidden_layers)?,
        num_heads,
        num_kv_heads: hf
            .num_key_value_heads
            .unwrap_or(if mistral { 8 } else { num_heads }),
        head_dim,
        rms_norm_eps: hf.rms_norm_eps.unwrap_or(1e-6),
        rope_theta: match rope.number("rope_theta")? {
            Some(theta) => theta,
            None => hf.rope_theta.unwrap_or(10_000.0),
        },
        rope_scaling: rope.scaling()?,
        max_position_embeddings,
        tie_word_embeddings: hf.tie_word_embeddings.unwrap_or(false),
    };
    config
        .check()
        .map_err(|broken| corrupt(path, broken.to_string()))?;
    Ok(config)
}

/// Refuses what the decoder doesn't compute.
fn check_supported(hf: &HfConfig) -> Result<()> {
    let biases = [
        ("attention_bias", hf.attention_bias),
        ("mlp_bias", hf.mlp_bias),
    ];
    for (field, value) in biases {
        if value == Some(true) {
            return Err(unsupported(
                "hyper-parameter",
                format!("{field} = true"),
                "false",
            ));
        }
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
    if let Some(value) = &hf.quantization_config {
        let method = value
            .get("quant_method")
            .and_then(Value::as_str)
            .unwrap_or("unnamed");
        return Err(unsupported("quantisation", method, "none (or a GGUF file)"));
    }
    Ok(())
}

/// `rope_scaling`, or the newer `rope_parameters`, which also holds the base.
struct Rope<'a> {
    fields: Option<&'a Map<String, Value>>,
    path: &'a Path,
}

impl Rope<'_> {
    fn number(&self, field: &str) -> Result<Option<f64>> {
        match self.fields.and_then(|fields| fields.get(field)) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => (value.as_f64().map(Some)).ok_or_else(|| {
                corrupt(self.path, format!("{field} must be a number, got {value}"))
            }),
        }
    }

    fn required(&self, field: &str) -> Result<f64> {
        self.number(field)?
            .ok_or_else(|| corrupt(self.path, format!("{field} of the rope scaling is missing")))
    }

    fn scaling(&self) -> Result<RopeScaling> {
        const SUPPORTED: &str = "default, linear, llama3";
        let Some(fields) = self.fields.filter(|fields| !fields.is_empty()) else {
            return Ok(RopeScaling::None);
        };
        if fields.values().any(Value::is_object) {
            return Err(unsupported("rope scaling", "one per layer type", SUPPORTED));
        }
        let kind = fields.get("rope_type").or(fields.get("type"));
        match kind.map(|kind| kind.as_str().unwrap_or("not a text")) {
            Some("default") | None => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear {
                factor: self.required("factor")?,
            }),
            Some("llama3") => Ok(RopeScaling::Llama3 {
                factor: self.required("factor")?,
                low_freq_factor: self.required("low_freq_factor")?,
                high_freq_factor: self.required("high_freq_factor")?,
                original_context: self.original_context(fields)?,
            }),
            Some(other) => Err(unsupported("rope scaling", other, SUPPORTED)),
        }
    }

    fn original_context(&self, fields: &Map<String, Value>) -> Result<usize> {
        let field = "original_max_position_embeddings";
        (fields.get(field).and_then(Value::as_u64))
            .and_then(|context| usize::try_from(context).ok())
            .ok_or_else(|| corrupt(self.path, format!("{field} must be a positive integer")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(changes: &Value) -> Result<DecoderConfig> {
        let mut config = serde_json::json!({
            "model_type": "llama", "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        });
        for (field, value) in changes.as_object().unwrap() {
            config[field] = value.clone();
        }
        parse(config.to_string().as_bytes(), Path::new("config.json"))
    }

    fn llama3() -> Value {
        serde_json::json!({
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        })
    }

    #[test]
    fn what_a_file_leaves_out_takes_the_defaults_of_transformers() {
        let config = read(&serde_json::json!({})).unwrap();
        assert_eq!((config.head_dim, config.max_position_embeddings), (4, 2048));
        assert_eq!((config.rms_norm_eps, config.rope_theta), (1e-6, 10_000.0));
        assert_eq!(config.rope_scaling, RopeScaling::None);
        assert!(!config.tie_word_embeddings);
    }

    #[test]
    fn both_forms_of_rope_scaling_mean_the_same() {
        let old = serde_json::json!({ "rope_theta": 5e5, "rope_scaling": llama3() });
        let mut parameters = llama3();
        parameters["rope_theta"] = 5e5.into();
        let new = serde_json::json!({ "rope_parameters": parameters });
        let (old, new) = (read(&old).unwrap(), read(&new).unwrap());
        assert_eq!(old, new);
        assert!((old.rope_theta - 5e5).abs() < f64::EPSILON);
        assert!(matches!(
            old.rope_scaling,
            RopeScaling::Llama3 {
                original_context: 8192,
                ..
            }
        ));

        let linear = serde_json::json!({ "rope_scaling": { "type": "linear", "factor": 2.0 } });
        let linear = read(&linear).unwrap().rope_scaling;
        assert_eq!(linear, RopeScaling::Linear { factor: 2.0 });
        let default = serde_json::json!({ "rope_parameters": { "rope_type": "default" } });
        assert_eq!(read(&default).unwrap().rope_scaling, RopeScaling::None);
    }

    #[test]
    fn mistral_is_read_when_its_window_hides_nothing() {
        let wide = serde_json::json!({
            "model_type": "mistral", "sliding_window": 4096, "max_position_embeddings": 4096,
        });
        assert_eq!(read(&wide).unwrap().max_position_embeddings, 4096);
        let absent = serde_json::json!({ "model_type": "mistral" });
        let narrow = serde_json::json!({ "model_type": "mistral", "sliding_window": 4096 });
        for config in [absent, narrow] {
            assert_eq!(read(&config).unwrap_err().code(), "BPEFT_UNSUPPORTED");
        }
        let none = serde_json::json!({ "model_type": "mistral", "sliding_window": null });
        assert_eq!(read(&none).unwrap().max_position_embeddings, 131_072);
    }

    #[test]
    fn what_the_decoder_does_not_compute_is_refused_by_name() {
        for (changes, name) in [
            (serde_json::json!({ "model_type": "gemma" }), "gemma"),
            (
                serde_json::json!({ "attention_bias": true }),
                "attention_bias",
            ),
            (serde_json::json!({ "mlp_bias": true }), "mlp_bias"),
            (serde_json::json!({ "hidden_act": "gelu" }), "gelu"),
            (
                serde_json::json!({ "rope_scaling": { "type": "yarn", "factor": 4.0 } }),
                "yarn",
            ),
            (
                serde_json::json!({ "quantization_config": { "quant_method": "gptq" } }),
                "gptq",
            ),
        ] {
            let error = read(&changes).unwrap_err();
            assert_eq!(error.code(), "BPEFT_UNSUPPORTED", "{error}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn numbers_that_make_no_decoder_are_corrupt() {
        for changes in [
            serde_json::json!({ "num_attention_heads": 0 }),
            serde_json::json!({ "num_attention_heads": 3 }),
            serde_json::json!({ "num_key_value_heads": 3 }),
            serde_json::json!({ "hidden_size": u64::MAX }),
            serde_json::json!({ "rms_norm_eps": 0.0 }),
            serde_json::json!({ "vocab_size": null }),
            serde_json::json!({ "rope_scaling": { "type": "linear", "factor": 0.0 } }),
            serde_json::json!({ "rope_scaling": { "type": "linear" } }),
        ] {
            let error = read(&changes).unwrap_err();
            assert_eq!(error.code(), "BPEFT_MODEL_CORRUPT", "{changes}: {error}");
        }
    }
}
