use blob_core::abort::Abort;
use blob_core::laplace::Link;
use blob_core::objective::{Average, CrossEntropy, Objective};
use blob_core::ops::Device;
use blob_core::predict::{PredictConfig, predict};

use crate::support::device::devices;
use crate::support::golden::{Case, Form, assert_close, field};
use crate::support::training_case::{
    ARCHITECTURE_CASES, BLOB_CASES, MLE_CASES, check_training, check_training_of,
};

fn on_every_device<'a>(names: &'a [&str]) -> impl Iterator<Item = (&'a str, Device)> {
    let names = names.iter();
    names.flat_map(|&name| devices().into_iter().map(move |device| (name, device)))
}

#[test]
fn maximum_likelihood_has_pytorchs_logits_and_gradients() {
    for (name, device) in on_every_device(&MLE_CASES) {
        check_training(name, device);
    }
}

#[test]
fn blob_has_pytorchs_logits_and_gradients_under_every_sharing_of_the_noise() {
    for (name, device) in on_every_device(&BLOB_CASES) {
        check_training(name, device);
    }
}

#[test]
fn every_architecture_has_them_on_every_device() {
    for (name, device) in on_every_device(&ARCHITECTURE_CASES) {
        check_training(name, device);
    }
}

#[test]
fn every_architecture_has_the_logits_and_gradients_of_transformers_from_both_forms() {
    for name in ARCHITECTURE_CASES {
        for form in [Form::Folder, Form::Gguf] {
            // GGUF has no field for the factor of the scores.
            if name == "gemma3-mle" && matches!(form, Form::Gguf) {
                continue;
            }
            let what = format!("{name} from {form:?}");
            check_training_of(&what, &Case::open_as(name, form, Device::Cpu));
        }
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
            antithetic: false,
            dropout: 0.0,
            stochastic_layers: None,
            link: Link::default(),
        };
        let (adapter, abort) = (Some(&case.adapter), Abort::default());
        let logits = predict(&case.backbone, adapter, &case.batch, &config, &abort).unwrap();
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
