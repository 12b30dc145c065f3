//! `config.json` of an encoder to [`BackboneConfig`].
//!
//! Fields that a file leaves out take the defaults of transformers' configuration classes;
//! DistilBERT names its own.

mod deberta;
mod modern_bert;

use std::path::Path;

use serde_json::{Map, Value};

use super::super::{corrupt, unsupported};
use super::quantised_by;
use crate::Result;
use crate::adapter::Module;
use crate::backbone::{
    BackboneConfig, EncoderConfig, Family, HeadSwitches, Positions, Reading, RopeScaling,
};
use crate::files::json_reason;
use crate::ops::activation::Activation;
use crate::ops::head_activation::HeadActivation;

/// What `model_type` says an encoder is.
pub(in crate::weights) const MODEL_TYPES: [(&str, Family); 6] = [
    ("bert", Family::Bert),
    ("roberta", Family::Roberta),
    ("xlm-roberta", Family::Roberta),
    ("distilbert", Family::DistilBert),
    ("modernbert", Family::ModernBert),
    ("deberta-v2", Family::Deberta),
];

/// The fields of a file.
struct Fields<'a> {
    of: &'a Map<String, Value>,
    path: &'a Path,
}

impl Fields<'_> {
    /// A number under one of these names; none where it is absent or `null`.
    fn number(&self, names: &[&str]) -> Result<Option<f64>> {
        let found = names
            .iter()
            .find_map(|name| Some((name, self.of.get(*name)?)));
        match found {
            None | Some((_, Value::Null)) => Ok(None),
            Some((name, value)) => (value.as_f64().map(Some))
                .ok_or_else(|| corrupt(self.path, format!("{name} must be a number, got {value}"))),
        }
    }

    fn count(&self, names: &[&str]) -> Result<Option<usize>> {
        let found = names
            .iter()
            .find_map(|name| Some((name, self.of.get(*name)?)));
        match found {
            None | Some((_, Value::Null)) => Ok(None),
            Some((name, value)) => value
                .as_u64()
                .and_then(|count| usize::try_from(count).ok())
                .map(Some)
                .ok_or_else(|| {
                    let rule = "must be a whole number of at least 0";
                    corrupt(self.path, format!("{name} {rule}, got {value}"))
                }),
        }
    }

    fn required(&self, names: &[&str]) -> Result<usize> {
        self.count(names)?
            .ok_or_else(|| corrupt(self.path, format!("{} is missing", names[0])))
    }

    fn text(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.of.get(*name)?.as_str())
    }

    fn is_on(&self, name: &str) -> bool {
        self.of.get(name).and_then(Value::as_bool).unwrap_or(false)
    }
}

/// Reads the text of the `config.json` at `path`, whose `model_type` is of this family.
pub(super) fn parse(json: &[u8], family: Family, path: &Path) -> Result<BackboneConfig> {
    let of: Map<String, Value> =
        serde_json::from_slice(json).map_err(|error| corrupt(path, json_reason(&error)))?;
    let fields = Fields { of: &of, path };
    check_supported(&fields)?;
    let config = match family {
        Family::Bert => bert(&fields, &BERT)?,
        Family::Roberta => bert(&fields, &ROBERTA)?,
        Family::DistilBert => bert(&fields, &DISTILBERT)?,
        Family::ModernBert => modern_bert::config(&fields)?,
        Family::Deberta => deberta::config(&fields)?,
    };
    config
        .check()
        .map_err(|broken| corrupt(path, broken.to_string()))?;
    Ok(config)
}

/// Width and heads, which divide it.
fn heads(fields: &Fields<'_>) -> Result<(usize, usize)> {
    let hidden_size = fields.required(&["hidden_size", "dim"])?;
    let num_heads = fields.required(&["num_attention_heads", "n_heads"])?;
    if num_heads == 0 || !hidden_size.is_multiple_of(num_heads) {
        let rule = "num_attention_heads must divide hidden_size";
        return Err(corrupt(
            fields.path,
            format!("{rule}, got {num_heads} and {hidden_size}"),
        ));
    }
    Ok((hidden_size, num_heads))
}

/// Linear layers that add a bias: all of them.
const BIASES: [Module; 7] = [
    Module::Q,
    Module::K,
    Module::V,
    Module::O,
    Module::Up,
    Module::Down,
    Module::Dense,
];

/// What tells those with the blocks of BERT apart.
struct Kind {
    family: Family,
    /// Whether the padding comes before the first position.
    pads_positions: bool,
    has_token_types: bool,
    /// Of the norms, where that is no field of the file.
    eps: Option<f64>,
    drops_attention: bool,
    head: HeadSwitches,
    head_activation: HeadActivation,
}

const BERT: Kind = Kind {
    family: Family::Bert,
    pads_positions: false,
    has_token_types: true,
    eps: None,
    drops_attention: true,
    head: HeadSwitches {
        pools: true,
        norms: false,
        drops_input: false,
    },
    head_activation: HeadActivation::Tanh,
};

const ROBERTA: Kind = Kind {
    family: Family::Roberta,
    pads_positions: true,
    head: HeadSwitches {
        pools: false,
        norms: false,
        drops_input: true,
    },
    ..BERT
};

const DISTILBERT: Kind = Kind {
    family: Family::DistilBert,
    has_token_types: false,
    eps: Some(1e-12),
    drops_attention: false,
    head: HeadSwitches {
        pools: false,
        norms: false,
        drops_input: false,
    },
    head_activation: HeadActivation::Relu,
    ..BERT
};

/// BERT and what has its blocks.
fn bert(fields: &Fields<'_>, kind: &Kind) -> Result<BackboneConfig> {
    let path = fields.path;
    let (hidden_size, num_heads) = heads(fields)?;
    let rows = fields.count(&["max_position_embeddings"])?.unwrap_or(512);
    let padding = if kind.pads_positions {
        Some(fields.count(&["pad_token_id"])?.unwrap_or(1))
    } else {
        None
    };
    let padding = padding
        .map(|token| u32::try_from(token).map_err(|_| corrupt(path, "pad_token_id is too large")))
        .transpose()?;
    let first = padding.map_or(0, |padding| padding as usize + 1);
    let Some(max_position_embeddings) = rows.checked_sub(first).filter(|length| *length > 0) else {
        let rule = "max_position_embeddings must be larger than pad_token_id + 1";
        return Err(corrupt(path, format!("{rule}, got {rows} and {first}")));
    };
    let token_types = if kind.has_token_types {
        fields.count(&["type_vocab_size"])?.unwrap_or(2)
    } else {
        0
    };
    let norm_eps = match kind.eps {
        Some(eps) => eps,
        None => fields.number(&["layer_norm_eps"])?.unwrap_or(1e-12),
    };
    Ok(BackboneConfig {
        vocab_size: fields.required(&["vocab_size"])?,
        hidden_size,
        intermediate_size: fields.required(&["intermediate_size", "hidden_dim"])?,
        num_layers: fields.required(&["num_hidden_layers", "n_layers"])?,
        num_heads,
        num_kv_heads: num_heads,
        head_dim: hidden_size / num_heads,
        norm_eps,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        max_position_embeddings,
        context_end: None,
        tie_word_embeddings: false,
        biases: BIASES.to_vec(),
        fused: false,
        qk_norm: false,
        window: None,
        gemma: None,
        encoder: Some(EncoderConfig {
            family: kind.family,
            positions: Positions::Learned,
            activation: activation(fields, &["hidden_act", "activation"])?,
            is_pre_norm: false,
            norm_bias: true,
            drops_attention: kind.drops_attention,
            window_rope_theta: None,
            padding,
            token_types,
            reading: Reading::First,
            head: kind.head,
            head_activation: kind.head_activation,
            initializer_range: fields.number(&["initializer_range"])?.unwrap_or(0.02),
            classes: None,
        }),
    })
}

fn activation(fields: &Fields<'_>, names: &[&str]) -> Result<Activation> {
    match fields.text(names).unwrap_or("gelu") {
        "gelu" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        other => Err(unsupported(
            "activation",
            other,
            "gelu, gelu_new, gelu_pytorch_tanh",
        )),
    }
}

/// Refuses what the backbone doesn't compute.
fn check_supported(fields: &Fields<'_>) -> Result<()> {
    let positions = fields
        .text(&["position_embedding_type"])
        .unwrap_or("absolute");
    if positions != "absolute" {
        return Err(unsupported("kind of positions", positions, "absolute"));
    }
    for name in ["is_decoder", "add_cross_attention", "is_encoder_decoder"] {
        if fields.is_on(name) {
            return Err(unsupported(
                "hyper-parameter",
                format!("{name} = true"),
                "false",
            ));
        }
    }
    match fields.of.get("quantization_config") {
        Some(value) if !value.is_null() => Err(quantised_by(value)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::hf_config;
    use super::*;

    fn read(mut config: Value, changes: &Value) -> Result<BackboneConfig> {
        for (field, value) in changes.as_object().unwrap() {
            config[field] = value.clone();
        }
        hf_config::parse(config.to_string().as_bytes(), Path::new("config.json"))
    }

    fn roberta() -> Value {
        json!({
            "model_type": "roberta",
            "vocab_size": 50_265,
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-5,
            "max_position_embeddings": 514,
            "type_vocab_size": 1,
            "pad_token_id": 1,
        })
    }

    #[test]
    fn robertas_positions_begin_behind_its_padding() {
        let config = read(roberta(), &json!({})).unwrap();
        assert_eq!(config.max_position_embeddings, 512);
        assert_eq!(config.encoder.as_ref().unwrap().first_position(), 2);
        assert_eq!((config.head_dim, config.norm_eps), (64, 1e-5));
        let bert = read(roberta(), &json!({ "model_type": "bert" })).unwrap();
        assert_eq!(bert.max_position_embeddings, 514);
        let error = read(roberta(), &json!({ "max_position_embeddings": 2 })).unwrap_err();
        assert_eq!(error.code(), "BPEFT_MODEL_CORRUPT");
    }

    #[test]
    fn distilbert_names_its_own_fields() {
        let config = json!({
            "model_type": "distilbert",
            "vocab_size": 30_522,
            "dim": 768,
            "hidden_dim": 3072,
            "n_layers": 6,
            "n_heads": 12,
            "activation": "gelu_new",
            "max_position_embeddings": 512,
        });
        let config = read(config, &json!({})).unwrap();
        let encoder = config.encoder.as_ref().unwrap();
        assert_eq!((config.num_layers, config.intermediate_size), (6, 3072));
        assert_eq!(
            (encoder.token_types, encoder.activation),
            (0, Activation::GeluTanh)
        );
    }

    #[test]
    fn what_an_encoder_does_not_compute_is_refused_by_name() {
        for (field, value) in [
            ("position_embedding_type", json!("relative_key")),
            ("hidden_act", json!("relu")),
            ("is_decoder", json!(true)),
            ("quantization_config", json!({ "quant_method": "awq" })),
        ] {
            let error = read(roberta(), &json!({ field: value })).unwrap_err();
            assert_eq!(error.code(), "BPEFT_UNSUPPORTED", "{field}");
        }
        for (field, value) in [
            ("num_attention_heads", json!(7)),
            ("num_hidden_layers", json!(-1)),
            ("vocab_size", Value::Null),
            ("type_vocab_size", json!(1u64 << 40)),
            ("pad_token_id", json!(1u64 << 40)),
            ("layer_norm_eps", json!("small")),
        ] {
            let error = read(roberta(), &json!({ field: value })).unwrap_err();
            assert_eq!(error.code(), "BPEFT_MODEL_CORRUPT", "{field}");
        }
    }
}
