use blob_core::adapter::Module;
use blob_core::backbone::{BackboneConfig, GemmaConfig, RopeScaling, WeightSource, Window};
use blob_core::weights::Checkpoint;

use crate::support::Scratch;
use crate::support::tiny_model::{ORIGINAL, TinyModel, gqa_config};

const QKV: [Module; 3] = [Module::Q, Module::K, Module::V];

/// One model of each architecture, with all of its switches on.
fn models() -> [TinyModel; 10] {
    let window = |blocks: &[usize]| Window {
        size: 5,
        blocks: blocks.to_vec(),
    };
    let qkvo = [&QKV[..], &[Module::O]].concat();
    let llama = BackboneConfig {
        biases: qkvo.clone(),
        ..gqa_config()
    };
    let mistral = BackboneConfig {
        window: Some(window(&[0, 1])),
        ..gqa_config()
    };
    let qwen2 = BackboneConfig {
        biases: QKV.to_vec(),
        window: Some(window(&[1])),
        tie_word_embeddings: true,
        ..gqa_config()
    };
    let qwen3 = BackboneConfig {
        head_dim: 12, // 4 · 12 ≠ 32
        qk_norm: true,
        ..gqa_config()
    };
    let gemma = |window| BackboneConfig {
        head_dim: 16,
        tie_word_embeddings: true,
        window,
        gemma: Some(GemmaConfig {
            is_sandwich: false,
            attention_scale: 0.25,
            attention_cap: None,
            logit_cap: None,
            window_rope_theta: None,
        }),
        ..gqa_config()
    };
    let mut gemma2 = gemma(Some(window(&[0])));
    if let Some(switches) = &mut gemma2.gemma {
        switches.is_sandwich = true;
        (switches.attention_cap, switches.logit_cap) = (Some(50.0), Some(30.0));
    }
    // a window that holds the whole context has angles of its own
    let mut gemma3 = gemma(Some(Window {
        size: 500,
        ..window(&[0])
    }));
    gemma3.qk_norm = true;
    if let Some(switches) = &mut gemma3.gemma {
        switches.is_sandwich = true;
        switches.window_rope_theta = Some(5000.0);
    }
    let biased = BackboneConfig {
        biases: qkvo,
        ..qwen3.clone()
    };
    let phi3 = BackboneConfig {
        fused: true,
        window: Some(window(&[0, 1])),
        ..gqa_config()
    };
    let phi3_long = BackboneConfig {
        rope_scaling: RopeScaling::LongRope {
            factors: vec![1.0, 1.25, 1.5, 4.0],
            amplitude: 1.1875,
        },
        max_position_embeddings: ORIGINAL,
        context_end: Some("LongRoPE's long factor".into()),
        window: None,
        ..phi3.clone()
    };
    [
        TinyModel::of("llama", llama, 11),
        TinyModel::of("mistral", mistral, 12),
        TinyModel::of("qwen2", qwen2, 13),
        TinyModel::of("qwen3", qwen3, 14),
        TinyModel::of("qwen3", biased, 15),
        TinyModel::of("gemma", gemma(None), 16),
        TinyModel::of("gemma2", gemma2, 17),
        TinyModel::of("gemma3_text", gemma3, 18),
        TinyModel::of("phi3", phi3, 19),
        TinyModel::of("phi3", phi3_long, 20),
    ]
}

#[test]
fn every_architecture_is_the_same_from_gguf_and_from_a_folder() {
    for model in models() {
        let scratch = Scratch::new();
        let gguf = scratch.write("tiny.gguf", model.gguf().bytes());
        let folder = model.write_folder(&scratch.path().join("hf"));
        for path in [gguf, folder] {
            let checkpoint = Checkpoint::open(&path).unwrap();
            let what = format!("{} from {}", model.architecture, path.display());
            assert_eq!(checkpoint.config(), &model.config, "{what}");
            assert!(checkpoint.names().eq(model.weights.keys()), "{what}");
            for (name, (shape, values)) in &model.weights {
                let tensor = checkpoint.tensor(name, shape).unwrap();
                assert_eq!(&tensor.data, values, "{what}: {name}");
            }
        }
    }
}

#[test]
fn a_tensor_that_the_configuration_does_not_name_is_named() {
    // a bias without attention_bias, a norm of heads that Llama lacks, an adapter left in the file
    for (name, shape) in [
        ("model.layers.1.self_attn.q_proj.bias", vec![32]),
        ("model.layers.0.self_attn.k_norm.weight", vec![8]),
        ("model.layers.0.self_attn.q_proj.lora_A.weight", vec![1, 32]),
    ] {
        let mut model = TinyModel::new(gqa_config(), 1);
        let values = vec![0.5; shape.iter().product()];
        model.weights.insert(name.to_owned(), (shape, values));
        let scratch = Scratch::new();
        let error = Checkpoint::open(&model.write_folder(scratch.path())).unwrap_err();
        assert_eq!(error.code(), "BPEFT_UNSUPPORTED");
        assert!(error.to_string().contains(name), "{error}");
    }
    let mut model = TinyModel::new(gqa_config(), 1);
    let table = "model.layers.0.self_attn.rotary_emb.inv_freq".to_owned();
    model.weights.insert(table, (vec![4], vec![1.0; 4]));
    let scratch = Scratch::new();
    Checkpoint::open(&model.write_folder(scratch.path())).unwrap();
}

#[test]
fn a_tensor_that_the_index_forgot_is_named() {
    let mut model = TinyModel::new(gqa_config(), 1);
    let scratch = Scratch::new();
    let names = model.weights.keys();
    let places = names.map(|name| (name.clone(), "one.safetensors".into()));
    let index = serde_json::json!({
        "weight_map": places.collect::<serde_json::Map<_, _>>()
    });
    scratch.write("model.safetensors.index.json", index.to_string());
    scratch.write("config.json", model.config_json().to_string());
    let bias = "model.layers.0.self_attn.v_proj.bias";
    (model.weights).insert(bias.to_owned(), (vec![16], vec![0.5; 16]));
    scratch.write("one.safetensors", model.safetensors(|_| true));
    let error = Checkpoint::open(scratch.path()).unwrap_err();
    assert!(error.to_string().contains(bias), "{error}");
}

#[test]
fn a_missing_bias_or_norm_is_named() {
    for (model, name) in [(2, "self_attn.v_proj.bias"), (3, "self_attn.q_norm.weight")] {
        let mut model = models()[model].clone();
        let name = format!("model.layers.1.{name}");
        model.weights.remove(&name);
        let scratch = Scratch::new();
        let gguf = scratch.write("tiny.gguf", model.gguf().bytes());
        let folder = model.write_folder(&scratch.path().join("hf"));
        for path in [gguf, folder] {
            let error = Checkpoint::open(&path).unwrap_err();
            assert_eq!(error.code(), "BPEFT_MODEL_CORRUPT");
            assert!(error.to_string().contains(&name), "{error}");
        }
    }
}

#[test]
fn a_head_of_its_own_unties_the_model_and_a_copy_of_the_embedding_does_not() {
    let mut config = gqa_config();
    config.tie_word_embeddings = true;
    let tied = TinyModel::new(config, 2);
    let (shape, embedding) = tied.weights["model.embed_tokens.weight"].clone();
    let mut own = embedding.clone();
    own[0] += 0.25;
    for (head, is_tied) in [(embedding, true), (own, false)] {
        let mut model = tied.clone();
        let head = (shape.clone(), head);
        model.weights.insert("lm_head.weight".into(), head.clone());
        let scratch = Scratch::new();
        let checkpoint = Checkpoint::open(&model.write_folder(scratch.path())).unwrap();
        assert_eq!(checkpoint.config().tie_word_embeddings, is_tied);
        assert_eq!(checkpoint.has("lm_head.weight"), !is_tied);
        if !is_tied {
            let kept = checkpoint.tensor("lm_head.weight", &shape).unwrap();
            assert_eq!(kept.data, head.1);
        }
    }
}
