#![expect(clippy::unwrap_used, reason = "test code")]

use std::path::Path;

use blob_core::Result;
use blob_core::abort::Abort;
use blob_core::backbone::{Backbone, Quantized};
use blob_core::batch::{Batch, BatchParts};
use blob_core::kernels::cpu::gemm::Precision;
use blob_core::predict::predict;
use blob_core::quantization::Quantization;
use blob_core::weights::Checkpoint;

use crate::support::Scratch;
use crate::support::answers::sampling;
use crate::support::gguf_writer::Q8_0;
use crate::support::tiny_model::{TinyModel, gqa_config};

/// The model with `value` in place `at` of a tensor.
fn poisoned(name: &str, at: usize, value: f32) -> TinyModel {
    let mut model = TinyModel::new(gqa_config(), 7);
    model.weights.get_mut(name).unwrap().1[at] = value;
    model
}

fn load(path: &Path, precision: Precision) -> Result<Backbone> {
    let checkpoint = Checkpoint::open(path)?;
    Backbone::load(checkpoint.config().clone(), &checkpoint, precision)
}

/// Logits of one prompt for two classes.
fn logits(backbone: &Backbone, ids: [u32; 3], classes: [u32; 2]) -> Result<Vec<f32>> {
    let batch = Batch::new(BatchParts {
        ids: ids.to_vec(),
        offsets: vec![0, 3],
        answers: classes.to_vec(),
        answer_offsets: vec![0, 2],
        labels: vec![-1],
        rows: vec![0],
    })?;
    let mean = sampling(0);
    predict(backbone, None, &batch, &mean, &Abort::default())
}

#[test]
fn a_weight_of_a_block_or_a_norm_that_is_not_finite_is_named_when_a_model_is_opened() {
    for (name, at, value) in [
        ("model.layers.0.mlp.gate_proj.weight", 5, f32::NAN),
        (
            "model.layers.1.self_attn.q_proj.weight",
            1023,
            f32::INFINITY,
        ),
        (
            "model.layers.1.input_layernorm.weight",
            3,
            f32::NEG_INFINITY,
        ),
        ("model.norm.weight", 31, f32::NAN),
    ] {
        let scratch = Scratch::new();
        let model = poisoned(name, at, value);
        let gguf = scratch.write("tiny.gguf", model.gguf().bytes());
        let folder = model.write_folder(&scratch.path().join("hf"));
        for path in [gguf, folder] {
            let error = load(&path, Precision::Int8).err().unwrap();
            assert_eq!(error.code(), "BPEFT_NOT_FINITE");
            assert!(error.to_string().contains(name), "{error}");
            let checkpoint = Checkpoint::open(&path).unwrap();
            let config = checkpoint.config().clone();
            let source = Quantized::new(checkpoint, Quantization::Q8_0);
            let error = Backbone::load(config, &source, Precision::F32)
                .err()
                .unwrap();
            assert!(error.to_string().contains(name), "quantised: {error}");
        }
    }
}

#[test]
fn a_scale_of_quantised_weights_that_is_not_finite_is_named_too() {
    let mut model = TinyModel::new(gqa_config(), 8);
    let name = "model.layers.0.self_attn.v_proj.weight";
    let (shape, _) = model.weights.remove(name).unwrap();
    // rows of one block: a scale, 1 or NaN, and 32 integers
    let block = |row| {
        let scale: [u8; 2] = if row == 9 { [0x00, 0x7E] } else { [0x00, 0x3C] };
        [&scale[..], &[1; 32]].concat()
    };
    let blocks = (0..shape[0]).flat_map(block).collect();
    let mut gguf = model.gguf();
    gguf.tensor("blk.0.attn_v.weight", &shape, Q8_0, blocks);
    let scratch = Scratch::new();
    let error = load(&scratch.write("tiny.gguf", gguf.bytes()), Precision::F32);
    let error = error.err().unwrap().to_string();
    assert!(error.contains(name) && error.contains("row 9"), "{error}");
}

#[test]
fn rows_of_the_embedding_and_the_head_count_where_a_request_reads_them() {
    for (name, what) in [
        ("model.embed_tokens.weight", "row of token 7"),
        ("lm_head.weight", "lm_head"),
    ] {
        let scratch = Scratch::new();
        let model = poisoned(name, 7 * 32 + 4, f32::NAN);
        let path = model.write_folder(&scratch.path().join("hf"));
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
            let backbone = load(&path, precision).unwrap();
            let sound = logits(&backbone, [1, 2, 3], [4, 5]).unwrap();
            assert!(sound.iter().all(|logit| logit.is_finite()));
            let error = logits(&backbone, [1, 7, 3], [4, 7]).unwrap_err();
            assert_eq!(error.code(), "BPEFT_NOT_FINITE");
            assert!(error.to_string().contains(what), "{precision:?}: {error}");
        }
    }
}

#[test]
fn values_that_overflow_on_the_way_are_named_by_their_layer() {
    let mut model = TinyModel::new(gqa_config(), 9);
    let name = "model.layers.1.mlp.up_proj.weight";
    model.weights.get_mut(name).unwrap().1.fill(3e38);
    let scratch = Scratch::new();
    let backbone = load(
        &model.write_folder(&scratch.path().join("hf")),
        Precision::F32,
    )
    .unwrap();
    let error = logits(&backbone, [1, 2, 3], [4, 5]).unwrap_err();
    assert!(error.to_string().contains("model.layers.1.mlp"), "{error}");
    assert!(error.hint().contains("adapter"), "{}", error.hint());
}
