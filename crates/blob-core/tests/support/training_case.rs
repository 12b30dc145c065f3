//! A training step of PyTorch against ours.

use blob_core::abort::Abort;
use blob_core::noise::{Phase, Stream};
use blob_core::objective::{Average, CrossEntropy, Objective};
use blob_core::ops::{Device, Tensor};
use blob_core::pass::{BatchCopy, Mode, Pass};

use super::golden::{Case, Form, assert_close, field, named};

/// Maximum likelihood.
pub const MLE_CASES: [&str; 3] = [
    "llama-mle-gqa-linear-v",
    "llama-mle-gqa-tied",
    "llama-mle-mha-llama3-all",
];

/// The architectures beside Llama.
pub const ARCHITECTURE_CASES: [&str; 15] = [
    "qwen2-mle",
    "qwen2-window-mle",
    "qwen3-mle",
    "mistral-mle",
    "llama-bias-mle",
    "qwen2-window-blob",
    "qwen3-blob",
    "mistral-blob",
    "gemma-mle",
    "gemma2-mle",
    "gemma3-mle",
    "gemma2-blob",
    "phi3-mle",
    "phi3-blob",
    "phi3-long-mle",
];

/// BLoB, under every sharing of the noise.
pub const BLOB_CASES: [&str; 6] = [
    "llama-blob-token-gqa-tied",
    "llama-blob-token-gqa-llama3-all",
    "llama-blob-token-mha-linear-v",
    "llama-blob-example-mha",
    "llama-blob-example-gqa-two-samples",
    "llama-blob-shared-mha-tied-linear",
];

/// Logits, loss and all gradients of a training case, on a device.
pub fn check_training(name: &str, device: Device) {
    let what = format!("{name} on {}", device.name());
    check_training_of(&what, &Case::open_as(name, Form::Folder, device));
}

/// [`check_training`] of an opened case.
pub fn check_training_of(name: &str, case: &Case) {
    let (document, batch) = (&case.document, &case.batch);
    let phase = Phase::Training {
        micro_batch: field(document, "micro_batch"),
    };
    let stream = Stream::new(field(document, "seed"), field(document, "step"), phase);
    let copies = (0..field(document, "samples"))
        .map(|sample| BatchCopy::whole(batch, stream, sample))
        .collect();
    let mode = Mode {
        sampling: case.is_bayesian().then(|| case.noise()),
        ..Mode::MEAN
    };
    let pass = Pass::new(batch, copies, mode, Abort::default());
    let adapter = &case.adapter;
    let (logits, kept) = case
        .backbone
        .forward(batch, &pass, Some(adapter), true)
        .unwrap();
    assert_close(
        &format!("{name}: logits"),
        &logits,
        case.expected.values("logits"),
        1e-4,
    );

    let objective = CrossEntropy {
        average: Average::Logits,
    };
    let loss = objective
        .evaluate(&logits, batch, 1.0 / batch.len() as f32)
        .unwrap();
    let nll = (loss.nll_sum / batch.len() as f64) as f32;
    assert_close(
        &format!("{name}: nll"),
        &[nll],
        case.expected.values("nll"),
        1e-4,
    );

    let mut gradients = adapter.parameters().zeros_like();
    let (kept, dlogits) = (kept.unwrap(), Tensor::vector(loss.dlogits).unwrap());
    let backward = case
        .backbone
        .backward(kept, &dlogits, &pass, adapter, &mut gradients);
    backward.unwrap();
    let gradients = named(&gradients);
    assert!(
        gradients
            .keys()
            .map(String::as_str)
            .eq(case.expected.names("grad.")),
        "{name}"
    );
    for (parameter, gradient) in gradients {
        let expected = case.expected.values(&format!("grad.{parameter}"));
        assert_close(&format!("{name}: {parameter}"), gradient, expected, 1e-4);
    }
}
