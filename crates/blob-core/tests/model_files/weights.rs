#![expect(clippy::unwrap_used, reason = "test code")]

use blob_core::backbone::{RopeScaling, WeightSource};
use blob_core::weights::Checkpoint;
use serde_json::json;

use crate::support::Scratch;
use crate::support::gguf_writer::{F16, F32, GgufWriter, Q8_0};
use crate::support::tiny_model::{TinyModel, gqa_config};

const LLAMA3: RopeScaling = RopeScaling::Llama3 {
    factor: 8.0,
    low_freq_factor: 1.0,
    high_freq_factor: 4.0,
    original_context: 64,
};

/// The model as GGUF and as a Hugging Face folder.
fn both(model: &TinyModel, scratch: &Scratch) -> [Checkpoint; 2] {
    let gguf = scratch.write("tiny.gguf", model.gguf().bytes());
    let folder = model.write_folder(&scratch.path().join("hf"));
    [&gguf, &folder].map(|path| Checkpoint::open(path).unwrap())
}

fn open_gguf(bytes: Vec<u8>) -> blob_core::Result<Checkpoint> {
    Checkpoint::open(&Scratch::new().write("tiny.gguf", bytes))
}

#[test]
fn a_gguf_and_a_safetensors_copy_of_a_model_hold_equal_tensors() {
    let scratch = Scratch::new();
    let model = TinyModel::new(gqa_config(), 1);
    for checkpoint in both(&model, &scratch) {
        assert_eq!(checkpoint.config(), &model.config);
        assert!(checkpoint.names().eq(model.weights.keys()));
        for (name, (shape, values)) in &model.weights {
            let tensor = checkpoint.tensor(name, shape).unwrap();
            assert_eq!((&tensor.shape, &tensor.data), (shape, values), "{name}");
        }
    }
}

#[test]
fn wide_heads_and_a_tied_head_are_read_from_both_forms() {
    let scratch = Scratch::new();
    let mut config = gqa_config();
    config.head_dim = 12; // 4 · 12 ≠ 32
    config.tie_word_embeddings = true;
    let model = TinyModel::new(config, 2);
    for checkpoint in both(&model, &scratch) {
        assert_eq!(checkpoint.config(), &model.config);
        assert!(!checkpoint.has("lm_head.weight"));
        let (shape, values) = &model.weights["model.layers.1.self_attn.k_proj.weight"];
        let tensor = checkpoint
            .tensor("model.layers.1.self_attn.k_proj.weight", shape)
            .unwrap();
        assert_eq!(&tensor.data, values);
    }
}

#[test]
fn rope_scaling_gives_the_same_frequencies_from_both_forms() {
    for scaling in [
        RopeScaling::None,
        RopeScaling::Linear { factor: 4.0 },
        LLAMA3,
    ] {
        let scratch = Scratch::new();
        let mut config = gqa_config();
        config.rope_scaling = scaling;
        let model = TinyModel::new(config, 3);
        let expected = model.config.rope_frequencies();
        for checkpoint in both(&model, &scratch) {
            let frequencies = checkpoint.config().rope_frequencies();
            assert_eq!(frequencies.len(), expected.len());
            for (value, expected) in frequencies.iter().zip(&expected) {
                // factors are stored as f32
                assert!((value / expected - 1.0).abs() < 1e-6, "{value} {expected}");
            }
        }
    }
}

#[test]
fn half_precision_and_quantised_tensors_are_read_in_row_order() {
    let model = TinyModel::new(gqa_config(), 4);
    let q_proj = "model.layers.0.self_attn.q_proj.weight";
    let without = |name: &str| {
        let mut fewer = model.clone();
        fewer.weights.remove(name);
        fewer.gguf()
    };
    // row r of q, as stored, is one block with the scale 1 and the integers r
    let blocks = (0..32_u8).flat_map(|row| [vec![0x00, 0x3c], vec![row; 32]].concat());
    let mut gguf = without(q_proj);
    gguf.tensor("blk.0.attn_q.weight", &[32, 32], Q8_0, blocks.collect());
    let checkpoint = open_gguf(gguf.bytes()).unwrap();
    let tensor = checkpoint.tensor(q_proj, &[32, 32]).unwrap();
    // stored 0, 1, 2, … of a head are its rows 0, 4, 1, 5, …
    let rows: Vec<f32> = tensor.data.chunks(32).map(|row| row[0]).collect();
    assert_eq!(
        rows[..10],
        [0.0, 2.0, 4.0, 6.0, 1.0, 3.0, 5.0, 7.0, 8.0, 10.0]
    );

    let norm = "model.norm.weight";
    let mut gguf = without(norm);
    gguf.tensor("output_norm.weight", &[32], F16, [0x00, 0xc0].repeat(32));
    let checkpoint = open_gguf(gguf.bytes()).unwrap();
    assert_eq!(checkpoint.tensor(norm, &[32]).unwrap().data, [-2.0; 32]);
}

#[test]
fn the_summary_counts_bytes_and_types() {
    let model = TinyModel::new(gqa_config(), 5);
    let numbers: usize = model.weights.values().map(|(_, values)| values.len()).sum();
    let scratch = Scratch::new();
    for (checkpoint, format) in both(&model, &scratch).iter().zip(["gguf", "safetensors"]) {
        let summary = checkpoint.summary();
        assert_eq!(
            (summary.format, summary.weight_bytes),
            (format, 4 * numbers as u64)
        );
        assert_eq!(summary.tensor_types["F32"], model.weights.len());
    }
}

#[test]
fn shards_are_found_through_their_index() {
    let scratch = Scratch::new();
    let model = TinyModel::new(gqa_config(), 6);
    let first = |name: &str| name < "model.layers.1";
    scratch.write("config.json", model.config_json().to_string());
    scratch.write("one.safetensors", model.safetensors(first));
    scratch.write("two.safetensors", model.safetensors(|name| !first(name)));
    let file = |name: &str| {
        if first(name) {
            "one.safetensors"
        } else {
            "two.safetensors"
        }
    };
    let index = |file: &dyn Fn(&str) -> &'static str| {
        let names = model
            .weights
            .keys()
            .map(|name| (name.clone(), json!(file(name))));
        json!({ "weight_map": names.collect::<serde_json::Map<_, _>>() }).to_string()
    };
    let name = "model.safetensors.index.json";
    scratch.write(name, index(&file));
    let checkpoint = Checkpoint::open(scratch.path()).unwrap();
    for (name, (shape, values)) in &model.weights {
        assert_eq!(
            &checkpoint.tensor(name, shape).unwrap().data,
            values,
            "{name}"
        );
    }

    scratch.write(name, index(&|_| "one.safetensors"));
    let error = Checkpoint::open(scratch.path()).unwrap_err();
    assert_eq!(error.code(), "BPEFT_MODEL_CORRUPT");
    assert!(error.to_string().contains("is missing"), "{error}");
    scratch.write(name, index(&|_| "../one.safetensors"));
    let error = Checkpoint::open(scratch.path()).unwrap_err();
    assert!(error.to_string().contains("must be a file name"), "{error}");
    scratch.write(name, index(&|_| "three.safetensors"));
    let error = Checkpoint::open(scratch.path()).unwrap_err();
    assert_eq!(error.code(), "BPEFT_MODEL_NOT_FOUND");
}

#[test]
fn a_folder_is_opened_by_what_it_holds() {
    let scratch = Scratch::new();
    let model = TinyModel::new(gqa_config(), 7);
    let error = Checkpoint::open(scratch.path()).unwrap_err();
    assert_eq!(error.code(), "BPEFT_MODEL_NOT_FOUND");
    let error = Checkpoint::open(&scratch.path().join("nowhere")).unwrap_err();
    assert_eq!(error.code(), "BPEFT_MODEL_NOT_FOUND");

    scratch.write("a.gguf", model.gguf().bytes());
    assert_eq!(
        Checkpoint::open(scratch.path()).unwrap().summary().format,
        "gguf"
    );
    scratch.write("b.gguf", model.gguf().bytes());
    let error = Checkpoint::open(scratch.path()).unwrap_err();
    assert!(
        error.to_string().contains("name one, such as a.gguf"),
        "{error}"
    );

    model.write_folder(scratch.path());
    assert_eq!(
        Checkpoint::open(scratch.path()).unwrap().summary().format,
        "safetensors"
    );
    let weights = scratch.path().join("model.safetensors");
    assert_eq!(Checkpoint::open(&weights).unwrap().config(), &model.config);
    std::fs::remove_file(weights).unwrap();
    let error = Checkpoint::open(scratch.path()).unwrap_err();
    assert_eq!(error.code(), "BPEFT_MODEL_NOT_FOUND");

    let error = Checkpoint::open(&scratch.write("model.bin", "PK")).unwrap_err();
    assert_eq!(error.code(), "BPEFT_UNSUPPORTED");
}

#[test]
fn missing_and_misshapen_tensors_are_named() {
    let full = TinyModel::new(gqa_config(), 8);
    let name = "model.layers.1.mlp.down_proj.weight";
    let mut missing = full.clone();
    missing.weights.remove(name);
    let mut misshapen = full.clone();
    misshapen.weights.get_mut(name).unwrap().0.reverse();
    for model in [missing, misshapen] {
        let scratch = Scratch::new();
        let gguf = scratch.write("tiny.gguf", model.gguf().bytes());
        let folder = model.write_folder(&scratch.path().join("hf"));
        for path in [gguf, folder] {
            let error = Checkpoint::open(&path).unwrap_err();
            assert_eq!(error.code(), "BPEFT_MODEL_CORRUPT");
            assert!(error.to_string().contains(name), "{error}");
        }
    }
    let [checkpoint, _] = both(&full, &Scratch::new());
    let error = checkpoint.tensor(name, &[32, 41]).unwrap_err();
    assert!(
        error.to_string().contains("[32, 41], got [32, 40]"),
        "{error}"
    );
}

#[test]
fn what_the_decoder_does_not_compute_is_refused_by_name() {
    let model = TinyModel::new(gqa_config(), 9);
    let refused = |change: &dyn Fn(&mut GgufWriter), what: &str| {
        let mut gguf = model.gguf();
        change(&mut gguf);
        let error = open_gguf(gguf.bytes()).unwrap_err();
        assert_eq!(error.code(), "BPEFT_UNSUPPORTED", "{error}");
        assert!(error.to_string().contains(what), "{error}");
    };
    refused(
        &|it| {
            it.count("llama.expert_count", 8);
        },
        "expert_count",
    );
    refused(
        &|it| {
            it.text("llama.rope.scaling.type", "yarn");
        },
        "yarn",
    );
    refused(
        &|it| {
            it.count("llama.attention.value_length", 4);
        },
        "value heads",
    );
    refused(
        &|it| {
            it.tensor("blk.0.attn_q_norm.weight", &[8], F32, vec![0; 32]);
        },
        "q_norm",
    );
    refused(
        &|it| {
            it.tensor("blk.0.attn_sinks.weight", &[4], F32, vec![0; 16]);
        },
        "blk.0.attn_sinks.weight",
    );
    refused(
        &|it| {
            it.tensor("output_norm.weight", &[256], 23, vec![0; 136]);
        },
        "IQ4_XS",
    );
    refused(
        &|it| {
            it.tensor("rope_freqs.weight", &[4], F16, vec![0; 8]);
        },
        "rope_freqs.weight \"F16\"",
    );

    let mut other = GgufWriter::default();
    other.text("general.architecture", "falcon");
    let error = open_gguf(other.bytes()).unwrap_err();
    assert!(error.to_string().contains("\"falcon\""), "{error}");
}

#[test]
fn tensors_of_one_file_may_not_overlap_or_leave_it() {
    let bytes = TinyModel::new(gqa_config(), 10).gguf().bytes();
    let name = b"output_norm.weight";
    let found = bytes
        .windows(name.len())
        .position(|part| part == name)
        .unwrap();
    let offset = found + name.len() + 4 + 8 + 4; // after the number of sizes, one size, the type
    for (value, rule) in [
        (0_u64, "overlap"),
        (33, "multiple of 32"),
        (1 << 40, "ends at byte"),
    ] {
        let mut changed = bytes.clone();
        changed[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
        let error = open_gguf(changed).unwrap_err();
        assert_eq!(error.code(), "BPEFT_MODEL_CORRUPT");
        assert!(error.to_string().contains(rule), "{error}");
    }
}
