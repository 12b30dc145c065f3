use serde_json::Value;

use super::*;
use crate::adapter::Module;
use crate::backbone::RopeScaling;

fn read(changes: &Value) -> Result<BackboneConfig> {
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
    assert_eq!((config.norm_eps, config.rope_theta), (1e-6, 10_000.0));
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

/// The window of a config, as size and blocks.
fn window(changes: &Value) -> Option<(usize, Vec<usize>)> {
    let window = read(changes).unwrap().window?;
    Some((window.size, window.blocks))
}

#[test]
fn mistral_has_its_window_in_every_block_where_it_hides_something() {
    let mistral = |changes: Value| {
        let mut config = serde_json::json!({ "model_type": "mistral" });
        for (field, value) in changes.as_object().unwrap() {
            config[field] = value.clone();
        }
        config
    };
    let narrow = mistral(serde_json::json!({ "sliding_window": 1000 }));
    assert_eq!(window(&narrow), Some((1000, vec![0, 1])));
    let absent = mistral(serde_json::json!({}));
    assert_eq!(window(&absent), Some((4096, vec![0, 1])));
    let null = mistral(serde_json::json!({ "sliding_window": null }));
    assert_eq!(window(&null), None);
    assert_eq!(read(&null).unwrap().max_position_embeddings, 131_072);
    let wide = mistral(serde_json::json!({
        "sliding_window": 4096, "max_position_embeddings": 4096,
    }));
    assert_eq!(window(&wide), None);
    let unknown = mistral(serde_json::json!({
        "layer_types": ["linear_attention", "sliding_attention"],
    }));
    let error = read(&unknown).unwrap_err();
    assert!(error.to_string().contains("linear_attention"), "{error}");
}

#[test]
fn qwen_has_its_window_where_the_fields_of_transformers_say() {
    let base = serde_json::json!({
        "model_type": "qwen2", "use_sliding_window": true, "sliding_window": 8,
        "max_window_layers": 1, "num_hidden_layers": 3,
    });
    let with = |changes: Value| {
        let mut config = base.clone();
        for (field, value) in changes.as_object().unwrap() {
            config[field] = value.clone();
        }
        config
    };
    assert_eq!(window(&base), Some((8, vec![1, 2])));
    let off = with(serde_json::json!({ "use_sliding_window": false }));
    assert_eq!(window(&off), None);
    let default = with(serde_json::json!({ "use_sliding_window": null }));
    assert_eq!(window(&default), None);
    let beyond = with(serde_json::json!({ "max_window_layers": 28 }));
    assert_eq!(window(&beyond), None);
    let [full, sliding] = ["full_attention", "sliding_attention"];
    let named = with(serde_json::json!({ "layer_types": [sliding, full, sliding] }));
    assert_eq!(window(&named), Some((8, vec![0, 2])));
    let qwen3 = with(serde_json::json!({ "model_type": "qwen3" }));
    assert_eq!(window(&qwen3), Some((8, vec![1, 2])));
    let llama = with(serde_json::json!({ "model_type": "llama" }));
    assert_eq!(window(&llama), None); // transformers' Llama has none

    for (changes, code) in [
        (
            serde_json::json!({ "layer_types": [full] }),
            "BPEFT_MODEL_CORRUPT",
        ),
        (
            serde_json::json!({
                "layer_types": [sliding, full, full], "use_sliding_window": false,
            }),
            "BPEFT_MODEL_CORRUPT",
        ),
        (
            serde_json::json!({ "layer_types": ["chunked_attention", full, full] }),
            "BPEFT_UNSUPPORTED",
        ),
        (
            serde_json::json!({ "sliding_window": 0 }),
            "BPEFT_MODEL_CORRUPT",
        ),
    ] {
        let error = read(&with(changes)).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
    }
}

#[test]
fn biases_and_norms_of_heads_are_those_of_the_architecture() {
    let [q, k, v, o] = [Module::Q, Module::K, Module::V, Module::O];
    for (model_type, attention_bias, biases, qk_norm) in [
        ("llama", false, vec![], false),
        ("llama", true, vec![q, k, v, o], false),
        ("mistral", true, vec![], false), // transformers' Mistral has no such field
        ("qwen2", false, vec![q, k, v], false),
        ("qwen3", false, vec![], true),
        ("qwen3", true, vec![q, k, v, o], true),
    ] {
        let changes =
            serde_json::json!({ "model_type": model_type, "attention_bias": attention_bias });
        let config = read(&changes).unwrap();
        assert_eq!(
            (config.biases, config.qk_norm),
            (biases, qk_norm),
            "{model_type}"
        );
    }
    let qwen3 = read(&serde_json::json!({ "model_type": "qwen3" })).unwrap();
    assert_eq!(
        (qwen3.head_dim, qwen3.max_position_embeddings),
        (128, 32_768)
    );
}

#[test]
fn what_the_decoder_does_not_compute_is_refused_by_name() {
    for (changes, name) in [
        (serde_json::json!({ "model_type": "falcon" }), "falcon"),
        (
            serde_json::json!({ "model_type": "gemma2", "hidden_activation": "gelu" }),
            "gelu",
        ),
        (
            serde_json::json!({ "model_type": "gemma3_text", "use_bidirectional_attention": true }),
            "use_bidirectional_attention",
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
fn gemma_takes_transformers_defaults_and_its_rotary_fields_in_both_forms() {
    let gemma2 = read(&serde_json::json!({ "model_type": "gemma2" })).unwrap();
    let switches = gemma2.gemma.unwrap();
    assert_eq!(switches.attention_scale, 1.0 / 16.0);
    let caps = (switches.attention_cap, switches.logit_cap);
    assert_eq!(caps, (Some(50.0), Some(30.0)));
    assert_eq!(gemma2.window.unwrap().blocks, [0]);

    let older = serde_json::json!({
        "model_type": "gemma3_text", "rope_theta": 1e6, "rope_local_base_freq": 5e3,
        "rope_scaling": { "rope_type": "linear", "factor": 8.0 }, "sliding_window_pattern": 2,
        "final_logit_softcapping": null,
    });
    let newer = serde_json::json!({
        "model_type": "gemma3_text", "layer_types": ["sliding_attention", "full_attention"],
        "rope_parameters": {
            "full_attention": { "rope_type": "linear", "factor": 8.0, "rope_theta": 1e6 },
            "sliding_attention": { "rope_type": "default", "rope_theta": 5e3 },
        },
    });
    let [older, newer] = [older, newer].map(|changes| read(&changes).unwrap());
    assert_eq!(older, newer);
    assert_eq!(older.rope_scaling, RopeScaling::Linear { factor: 8.0 });
    assert_eq!(older.window.unwrap().blocks, [0]);
    let switches = older.gemma.unwrap();
    assert_eq!(switches.window_rope_theta, Some(5e3));
    assert_eq!((switches.attention_cap, switches.logit_cap), (None, None));
}

/// A prompt that ends before them never meets them.
#[test]
fn what_begins_beyond_a_length_ends_the_context_there() {
    let [full, chunked] = ["full_attention", "chunked_attention"];
    let dynamic = serde_json::json!({ "type": "dynamic", "factor": 2.0 });
    let mut trained = dynamic.clone();
    trained["original_max_position_embeddings"] = 512.into();
    let qwen3 = |chunks: &[&str]| {
        serde_json::json!({
            "model_type": "qwen3", "layer_types": chunks, "attention_chunk_size": 64,
        })
    };
    for (changes, context, kind) in [
        (
            serde_json::json!({ "rope_scaling": dynamic }),
            2048,
            Some("dynamic"),
        ),
        (
            serde_json::json!({ "rope_scaling": trained }),
            512,
            Some("dynamic"),
        ),
        (qwen3(&[chunked, full]), 64, Some(chunked)),
        (qwen3(&[full, full]), 32_768, None),
        (
            serde_json::json!({
                "model_type": "mistral", "sliding_window": 16,
                "layer_types": [full, "sliding_attention"],
            }),
            16,
            Some("sliding window"),
        ),
    ] {
        let config = read(&changes).unwrap();
        assert_eq!(config.max_position_embeddings, context, "{changes}");
        assert_eq!(
            (config.window, config.rope_scaling),
            (None, RopeScaling::None)
        );
        let end = config.context_end.as_deref();
        assert_eq!(end.is_some(), kind.is_some(), "{changes}");
        assert!(
            end.unwrap_or_default().contains(kind.unwrap_or_default()),
            "{end:?}"
        );
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

#[test]
fn phi3_has_fused_layers_its_window_where_it_states_one_and_its_own_epsilon() {
    let phi3 = |changes: Value| {
        let mut all = serde_json::json!({ "model_type": "phi3" });
        for (field, value) in changes.as_object().unwrap() {
            all[field] = value.clone();
        }
        read(&all)
    };
    let plain = phi3(serde_json::json!({})).unwrap();
    assert!(plain.fused && plain.window.is_none() && plain.biases.is_empty());
    assert_eq!((plain.norm_eps, plain.num_kv_heads), (1e-5, 2));
    assert_eq!(plain.modules(), Module::OF_FUSED_DECODERS);
    let windowed = phi3(serde_json::json!({ "sliding_window": 2047 })).unwrap();
    let window = windowed.window.unwrap();
    assert_eq!((window.size, window.blocks), (2047, vec![0, 1]));
    for (field, value) in [("partial_rotary_factor", 0.75), ("factor", 4.0)] {
        let rope = serde_json::json!({ "rope_type": "yarn", field: value });
        let error = phi3(serde_json::json!({ "rope_parameters": rope })).unwrap_err();
        assert_eq!(error.code(), "BPEFT_UNSUPPORTED", "{error}");
    }
}

#[test]
fn longrope_is_computed_up_to_the_context_of_the_original_training() {
    let scaling = serde_json::json!({
        "type": "longrope", "short_factor": [1.0, 1.5], "long_factor": [2.0, 6.0],
    });
    let long = serde_json::json!({
        "model_type": "phi3", "max_position_embeddings": 131_072,
        "original_max_position_embeddings": 4096, "rope_scaling": scaling,
    });
    let config = read(&long).unwrap();
    assert_eq!(config.max_position_embeddings, 4096);
    assert!(config.context_end.unwrap().contains("long factor"));
    let RopeScaling::LongRope { factors, amplitude } = config.rope_scaling else {
        panic!("{:?}", config.rope_scaling);
    };
    assert_eq!(factors, [1.0, 1.5]);
    // √(1 + ln 32 / ln 4096) = √(1 + 5/12)
    assert!((amplitude - (17.0_f64 / 12.0).sqrt()).abs() < 1e-12);
    for (field, value) in [
        ("original_max_position_embeddings", Value::Null),
        ("rope_scaling", serde_json::json!({ "type": "longrope" })),
        (
            "rope_scaling",
            serde_json::json!({ "type": "longrope", "short_factor": [1.0] }),
        ),
    ] {
        let mut broken = long.clone();
        broken[field] = value;
        let error = read(&broken).unwrap_err();
        assert_eq!(error.code(), "BPEFT_MODEL_CORRUPT", "{error}");
    }
}
