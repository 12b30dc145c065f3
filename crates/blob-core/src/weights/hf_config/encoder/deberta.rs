//! DeBERTa-v2 and -v3 (arXiv:2006.03654, 2111.09543): BERT's blocks, whose scores read distances.

use serde_json::Value;

use super::super::super::{corrupt, unsupported};
use super::{BIASES, Fields, activation, heads};
use crate::Result;
use crate::backbone::{
    BackboneConfig, EncoderConfig, Family, HeadSwitches, Positions, Reading, RopeScaling,
};
use crate::ops::disentangled::Buckets;
use crate::ops::head_activation::HeadActivation;

pub(super) fn config(fields: &Fields<'_>) -> Result<BackboneConfig> {
    let (hidden_size, num_heads) = heads(fields)?;
    check_supported(fields, hidden_size)?;
    let max_position_embeddings = fields.count(&["max_position_embeddings"])?.unwrap_or(512);
    let farthest = match signed(fields, "max_relative_positions")? {
        Some(farthest) => farthest,
        None => max_position_embeddings,
    };
    let buckets = match signed(fields, "position_buckets")? {
        Some(span) => Buckets {
            span,
            farthest: Some(farthest),
        },
        None => Buckets {
            span: farthest,
            farthest: None,
        },
    };
    let mut biases = BIASES.to_vec();
    biases.pop(); // the pooler is the head's
    Ok(BackboneConfig {
        vocab_size: fields.required(&["vocab_size"])?,
        hidden_size,
        intermediate_size: fields.required(&["intermediate_size"])?,
        num_layers: fields.required(&["num_hidden_layers"])?,
        num_heads,
        num_kv_heads: num_heads,
        head_dim: hidden_size / num_heads,
        norm_eps: fields.number(&["layer_norm_eps"])?.unwrap_or(1e-7),
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        max_position_embeddings,
        context_end: None,
        tie_word_embeddings: false,
        biases,
        fused: false,
        qk_norm: false,
        window: None,
        gemma: None,
        encoder: Some(EncoderConfig {
            family: Family::Deberta,
            positions: Positions::Relative(buckets),
            activation: activation(fields, &["hidden_act"])?,
            is_pre_norm: false,
            norm_bias: true,
            drops_attention: true,
            window_rope_theta: None,
            padding: None,
            token_types: fields.count(&["type_vocab_size"])?.unwrap_or(0),
            reading: Reading::First,
            head: HeadSwitches {
                pools: false,
                norms: false,
                drops_input: false,
            },
            head_activation: match fields.text(&["pooler_hidden_act"]) {
                Some("tanh") => HeadActivation::Tanh,
                _ => HeadActivation::Activation(activation(fields, &["pooler_hidden_act"])?),
            },
            initializer_range: fields.number(&["initializer_range"])?.unwrap_or(0.02),
            classes: None,
        }),
    })
}

/// A count; none where it is absent or below 1, which means "not set".
fn signed(fields: &Fields<'_>, name: &str) -> Result<Option<usize>> {
    match fields.number(&[name])? {
        Some(number) if number < 1.0 => Ok(None),
        _ => fields.count(&[name]),
    }
}

/// Refuses what the attention does not compute.
fn check_supported(fields: &Fields<'_>, hidden_size: usize) -> Result<()> {
    let unusual =
        |value: String, supported: &str| Err(unsupported("hyper-parameter", value, supported));
    for (name, absent, needed) in [
        ("relative_attention", false, true),
        ("share_att_key", false, true),
        ("position_biased_input", true, false),
    ] {
        let stated = fields
            .of
            .get(name)
            .and_then(Value::as_bool)
            .unwrap_or(absent);
        if stated != needed {
            return unusual(format!("{name} = {stated}"), &needed.to_string());
        }
    }
    let kinds = fields.of.get("pos_att_type");
    let mut kinds: Vec<&str> = match kinds {
        Some(Value::String(joined)) => joined.split('|').map(str::trim).collect(),
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    kinds.sort_unstable();
    if kinds != ["c2p", "p2c"] {
        return unusual(format!("pos_att_type = {}", kinds.join("|")), "c2p|p2c");
    }
    let norm = fields.text(&["norm_rel_ebd"]).unwrap_or("none");
    if norm != "layer_norm" {
        return unusual(format!("norm_rel_ebd = {norm}"), "layer_norm");
    }
    for (name, usual) in [
        ("embedding_size", hidden_size),
        ("pooler_hidden_size", hidden_size),
        (
            "attention_head_size",
            hidden_size / fields.required(&["num_attention_heads"])?,
        ),
        ("conv_kernel_size", 0),
    ] {
        if let Some(other) = fields.count(&[name])?.filter(|stated| *stated != usual) {
            return unusual(format!("{name} = {other}"), &usual.to_string());
        }
    }
    if fields.count(&["max_position_embeddings"])? == Some(0) {
        return Err(corrupt(
            fields.path,
            "max_position_embeddings must be at least 1, got 0",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::super::super::parse;
    use super::*;

    /// As DeBERTa-v3-base is published.
    fn read(changes: &Value) -> Result<BackboneConfig> {
        let mut config = json!({
            "model_type": "deberta-v2", "vocab_size": 128_100, "hidden_size": 768,
            "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
            "max_position_embeddings": 512, "relative_attention": true, "position_buckets": 256,
            "norm_rel_ebd": "layer_norm", "share_att_key": true, "pos_att_type": "p2c|c2p",
            "layer_norm_eps": 1e-7, "max_relative_positions": -1, "position_biased_input": false,
            "type_vocab_size": 0, "pooler_hidden_act": "gelu", "pooler_hidden_size": 768,
        });
        for (field, value) in changes.as_object().unwrap() {
            config[field] = value.clone();
        }
        parse(config.to_string().as_bytes(), Path::new("config.json"))
    }

    #[test]
    fn its_distances_are_those_that_transformers_reads() {
        let buckets = |changes: Value| {
            let encoder = read(&changes).unwrap().encoder.unwrap();
            encoder.positions
        };
        let of = |span, farthest| Positions::Relative(Buckets { span, farthest });
        assert_eq!(buckets(json!({})), of(256, Some(512)));
        let farther = json!({ "max_relative_positions": 1024, "pos_att_type": ["c2p", "p2c"] });
        assert_eq!(buckets(farther), of(256, Some(1024)));
        assert_eq!(buckets(json!({ "position_buckets": -1 })), of(512, None));
    }

    #[test]
    fn what_it_does_not_compute_is_refused_by_name() {
        for (field, value) in [
            ("relative_attention", json!(false)),
            ("share_att_key", json!(false)),
            ("position_biased_input", json!(true)),
            ("pos_att_type", json!("c2p")),
            ("norm_rel_ebd", json!("none")),
            ("conv_kernel_size", json!(3)),
            ("embedding_size", json!(128)),
        ] {
            let error = read(&json!({ field: value })).unwrap_err();
            assert_eq!(error.code(), "BPEFT_UNSUPPORTED", "{field}");
            assert!(error.to_string().contains(field), "{error}");
        }
        for (field, value) in [
            ("max_position_embeddings", json!(0)),
            ("position_buckets", json!(1_000_000)),
            ("num_attention_heads", json!(0)),
        ] {
            let error = read(&json!({ field: value })).unwrap_err();
            assert_eq!(error.code(), "BPEFT_MODEL_CORRUPT", "{field}");
        }
    }
}
