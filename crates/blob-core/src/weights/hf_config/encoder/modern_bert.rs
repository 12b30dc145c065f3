//! ModernBERT (arXiv:2412.13663): pre-norm blocks without biases, fused layers, rotary positions
//! with a base of their own in the blocks that see a window.

use serde_json::Value;

use super::super::super::{corrupt, unsupported};
use super::super::rope::{PositionLimits, Rope};
use super::super::window::{FULL, SLIDING};
use super::{Fields, activation, heads};
use crate::Result;
use crate::adapter::Module;
use crate::backbone::{
    BackboneConfig, EncoderConfig, Family, HeadSwitches, Positions, Reading, Window,
};
use crate::ops::head_activation::HeadActivation;

/// Of every block, then of those with a window.
const THETAS: [f64; 2] = [160_000.0, 10_000.0];

pub(super) fn config(fields: &Fields<'_>) -> Result<BackboneConfig> {
    let (hidden_size, num_heads) = heads(fields)?;
    let num_layers = fields.required(&["num_hidden_layers"])?;
    let max_position_embeddings = fields.count(&["max_position_embeddings"])?.unwrap_or(8192);
    let parameters = fields.of.get("rope_parameters").and_then(Value::as_object);
    let [whole, local] = [FULL, SLIDING].map(|kind| Rope::of(parameters, kind, fields.path));
    let theta = |rope: &Rope<'_>, name: &str, usual: f64| match rope.number("rope_theta")? {
        Some(theta) => Ok::<_, crate::Error>(theta),
        None => Ok(fields.number(&[name])?.unwrap_or(usual)),
    };
    let limits = PositionLimits {
        longest: max_position_embeddings,
        original: None,
    };
    let local_scaling = local.scaling(limits)?;
    if local_scaling != crate::backbone::RopeScaling::None {
        let value = format!("{local_scaling:?} in the blocks with a window");
        return Err(unsupported("rope scaling", value, "default"));
    }
    let is_on = |name: &str| fields.is_on(name);
    let mut biases = Vec::new();
    for (field, modules) in [
        ("attention_bias", &[Module::Qkv, Module::O][..]),
        ("mlp_bias", &[Module::GateUp, Module::Down]),
        ("classifier_bias", &[Module::Dense]),
    ] {
        if is_on(field) {
            biases.extend(modules);
        }
    }
    biases.sort_unstable();
    Ok(BackboneConfig {
        vocab_size: fields.required(&["vocab_size"])?,
        hidden_size,
        intermediate_size: fields.required(&["intermediate_size"])?,
        num_layers,
        num_heads,
        num_kv_heads: num_heads,
        head_dim: hidden_size / num_heads,
        norm_eps: fields.number(&["norm_eps"])?.unwrap_or(1e-5),
        rope_theta: theta(&whole, "global_rope_theta", THETAS[0])?,
        rope_scaling: whole.scaling(limits)?,
        max_position_embeddings,
        context_end: None,
        tie_word_embeddings: false,
        biases,
        fused: true,
        qk_norm: false,
        window: window(fields, num_layers)?,
        gemma: None,
        encoder: Some(EncoderConfig {
            family: Family::ModernBert,
            positions: Positions::Rotary,
            activation: activation(fields, &["hidden_activation"])?,
            is_pre_norm: true,
            norm_bias: is_on("norm_bias"),
            drops_attention: true,
            window_rope_theta: Some(theta(&local, "local_rope_theta", THETAS[1])?),
            padding: None,
            token_types: 0,
            reading: match fields.text(&["classifier_pooling"]).unwrap_or("cls") {
                "cls" => Reading::First,
                "mean" => Reading::Mean,
                other => return Err(unsupported("pooling", other, "cls, mean")),
            },
            head: HeadSwitches {
                pools: true,
                norms: true,
                drops_input: false,
            },
            head_activation: HeadActivation::Activation(activation(
                fields,
                &["classifier_activation"],
            )?),
            initializer_range: fields.number(&["initializer_range"])?.unwrap_or(0.02),
            classes: None,
        }),
    })
}

/// Half of `local_attention` on either side of a position, in all blocks but every so many-th from
/// the first on.
fn window(fields: &Fields<'_>, num_layers: usize) -> Result<Option<Window>> {
    let whole = fields.count(&["local_attention"])?.unwrap_or(128);
    let nth = fields.count(&["global_attn_every_n_layers"])?.unwrap_or(3);
    let blocks: Vec<usize> = match fields.of.get("layer_types").and_then(Value::as_array) {
        None if nth == 0 => {
            let rule = "global_attn_every_n_layers must be at least 1, got 0";
            return Err(corrupt(fields.path, rule));
        }
        None => (0..num_layers)
            .filter(|block| !block.is_multiple_of(nth))
            .collect(),
        Some(types) if types.len() == num_layers => {
            let mut blocks = Vec::new();
            for (block, kind) in types.iter().enumerate() {
                match kind.as_str() {
                    Some(SLIDING) => blocks.push(block),
                    Some(FULL) => {}
                    _ => {
                        let supported = "full_attention, sliding_attention";
                        return Err(unsupported("layer type", kind.to_string(), supported));
                    }
                }
            }
            blocks
        }
        Some(types) => {
            let rule = format!("layer_types must have num_hidden_layers = {num_layers} entries");
            return Err(corrupt(fields.path, format!("{rule}, got {}", types.len())));
        }
    };
    let size = whole / 2;
    Ok((!blocks.is_empty()).then_some(Window { size, blocks }))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::super::super::parse;
    use super::*;
    use crate::ops::attention::Mask;

    fn read(changes: &Value) -> Result<BackboneConfig> {
        let mut config = json!({
            "model_type": "modernbert", "vocab_size": 50_368, "hidden_size": 768,
            "intermediate_size": 1152, "num_hidden_layers": 4, "num_attention_heads": 12,
        });
        for (field, value) in changes.as_object().unwrap() {
            config[field] = value.clone();
        }
        parse(config.to_string().as_bytes(), Path::new("config.json"))
    }

    #[test]
    fn both_forms_of_its_fields_mean_the_same() {
        let older = json!({
            "global_attn_every_n_layers": 3, "local_attention": 128, "norm_bias": false,
            "global_rope_theta": 160_000.0, "local_rope_theta": 10_000.0,
        });
        let [full, sliding] = [FULL, SLIDING];
        let newer = json!({
            "layer_types": [full, sliding, sliding, full],
            "rope_parameters": {
                "full_attention": { "rope_type": "default", "rope_theta": 160_000.0 },
                "sliding_attention": { "rope_type": "default", "rope_theta": 10_000.0 },
            },
        });
        let [older, newer, bare] = [older, newer, json!({})].map(|changes| read(&changes).unwrap());
        assert_eq!(older, newer);
        assert_eq!(older, bare);
        let around = Mask::Around(64);
        let masks = [0, 1, 2, 3].map(|block| older.mask(block));
        assert_eq!(masks, [Mask::Full, around, around, Mask::Full]);
        assert_eq!(older.rope_theta, 160_000.0);
        let encoder = older.encoder.unwrap();
        assert_eq!(encoder.window_rope_theta, Some(10_000.0));
        assert_eq!(encoder.reading, Reading::First);
        assert!(older.biases.is_empty() && !encoder.norm_bias);
    }

    #[test]
    fn what_it_does_not_compute_is_refused_by_name() {
        for (field, value) in [
            ("classifier_pooling", json!("max")),
            ("hidden_activation", json!("relu")),
            (
                "layer_types",
                json!([FULL, FULL, FULL, "chunked_attention"]),
            ),
        ] {
            let error = read(&json!({ field: value })).unwrap_err();
            assert_eq!(error.code(), "BPEFT_UNSUPPORTED", "{field}");
        }
        for (field, value) in [
            ("layer_types", json!([FULL])),
            ("global_attn_every_n_layers", json!(0)),
            ("local_attention", json!(1)),
            ("local_rope_theta", json!(0)),
        ] {
            let error = read(&json!({ field: value })).unwrap_err();
            assert_eq!(error.code(), "BPEFT_MODEL_CORRUPT", "{field}");
        }
    }
}
