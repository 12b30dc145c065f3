#![expect(clippy::unwrap_used, reason = "test code")]

use blob_core::layers::Gradients;
use blob_core::noise::{Phase, Stream};
use blob_core::objective::{Average, CrossEntropy, Objective};
use blob_core::pass::{Abort, Mode, Pass};
use blob_core::predict::{PredictConfig, predict};

use crate::support::golden::{Case, assert_close, field, named};

/// Logits, loss and all gradients of a training case.
fn check_training(name: &str) {
    let case = Case::open(name);
    let (document, batch) = (&case.document, &case.batch);
    let phase = Phase::Training {
        micro_batch: field(document, "micro_batch"),
    };
    let stream = Stream::new(field(document, "seed"), field(document, "step"), phase);
    let draws: Vec<_> = (0..field(document, "samples"))
        .map(|sample| (stream, sample))
        .collect();
    let mode = Mode {
        sampling: case.is_bayesian().then(|| case.noise()),
        ..Mode::MEAN
    };
    let pass = Pass::new(batch, &draws, mode, Abort::default());
    let adapter = &case.adapter;
    let (logits, kept) = case
        .decoder
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

    let mut gradients = Gradients::new();
    let pass = (&pass, adapter);
    case.decoder
        .backward(kept.unwrap(), &loss.dlogits, batch, pass, &mut gradients)
        .unwrap();
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

#[test]
fn maximum_likelihood_has_pytorchs_logits_and_gradients() {
    for case in ["gqa-linear-v", "gqa-tied", "mha-llama3-all"] {
        check_training(&format!("llama-mle-{case}"));
    }
}

#[test]
fn blob_has_pytorchs_logits_and_gradients_under_every_sharing_of_the_noise() {
    for case in [
        "token-gqa-tied",
        "token-gqa-llama3-all",
        "token-mha-linear-v",
        "example-mha",
        "example-gqa-two-samples",
        "shared-mha-tied-linear",
    ] {
        check_training(&format!("llama-blob-{case}"));
    }
}

#[test]
fn predictive_samples_are_pytorchs_and_rows_without_a_label_are_predicted_too() {
    for name in ["llama-eval-token-gqa", "llama-eval-example-mha-tied-all"] {
        let case = Case::open(name);
        let config = PredictConfig {
            samples: field(&case.document, "samples"),
            first_sample: 0,
            noise: case.noise(),
            seed: field(&case.document, "seed"),
            stochastic_layers: None,
        };
        let (adapter, abort) = (Some(&case.adapter), Abort::default());
        let logits = predict(&case.decoder, adapter, &case.batch, &config, &abort).unwrap();
        assert_close(
            &format!("{name}: logits"),
            &logits,
            case.expected.values("logits"),
            1e-4,
        );
    }
}

#[test]
fn a_training_row_without_a_label_is_refused() {
    let case = Case::open("llama-eval-token-gqa");
    let objective = CrossEntropy {
        average: Average::Logits,
    };
    let error = objective
        .evaluate(case.expected.values("logits"), &case.batch, 1.0)
        .unwrap_err();
    assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
}
