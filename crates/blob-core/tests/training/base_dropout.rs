//! The dropout that the base of an encoder was trained with.

#![expect(clippy::unwrap_used, reason = "test code")]

use blob_core::abort::Abort;
use blob_core::adapter::Adapter;
use blob_core::method::{MethodConfig, MleConfig};
use blob_core::train::{Checks, Gradients, TrainConfig, Trainer};

use crate::support::encoder_case::EncoderCase;
use crate::support::small_model::{backbone, batch_of, config, lora, point, prompts, trained};

const CASES: [&str; 5] = [
    "encoder-bert",
    "encoder-roberta",
    "encoder-distilbert",
    "encoder-modernbert",
    "encoder-deberta",
];

fn trainer(adapter: &Adapter, p: f32) -> Trainer {
    let method = MethodConfig::Mle(MleConfig { point: point(0.1) });
    let trainer = Trainer::new(TrainConfig { seed: 5, method }, adapter).unwrap();
    trainer.with_base_dropout(p).unwrap()
}

fn gradients(case: &EncoderCase, adapter: &Adapter, trainer: &Trainer) -> Gradients {
    let batches = [case.batch.clone()];
    let check = Checks {
        finite: false,
        abort: &Abort::default(),
    };
    trainer
        .gradients(&case.backbone, adapter, &batches, check)
        .unwrap()
}

#[test]
fn gradients_are_those_of_the_loss_under_the_masks() {
    for name in CASES {
        let case = EncoderCase::open(name);
        let trainer = trainer(&case.adapter, 0.3);
        let found = gradients(&case, &case.adapter, &trainer);
        let slopes = found.parameters.member(0).to_vec();
        let norm = slopes
            .iter()
            .map(|it| f64::from(it * it))
            .sum::<f64>()
            .sqrt();
        // A central difference along the gradient: the slope is its norm.
        let loss_at = |step: f64| {
            let mut moved = case.adapter.clone();
            let values = moved.parameters_mut().member_mut(0);
            for (value, slope) in values.iter_mut().zip(&slopes) {
                *value += (step / norm * f64::from(*slope)) as f32;
            }
            gradients(&case, &moved, &trainer).nll_sum / case.batch.len() as f64
        };
        let step = 5e-3;
        let slope = (loss_at(step) - loss_at(-step)) / (2.0 * step);
        assert!((slope / norm - 1.0).abs() < 0.01, "{name}: {slope} {norm}");
        assert!(norm > 1e-2, "{name}");
    }
}

#[test]
fn masks_are_the_same_when_blocks_are_computed_again_and_others_in_the_next_update() {
    for name in CASES {
        let case = EncoderCase::open(name);
        let of = |trainer: &Trainer| {
            let found = gradients(&case, &case.adapter, trainer);
            (found.nll_sum, found.parameters.member(0).to_vec())
        };
        let kept = of(&trainer(&case.adapter, 0.3));
        let again = trainer(&case.adapter, 0.3).with_kept_bytes(Some(0));
        assert_eq!(kept, of(&again), "{name}");
        let none = of(&trainer(&case.adapter, 0.0));
        assert_ne!(kept.0, none.0, "{name}");
        let mut moved = case.adapter.clone();
        let mut next = trainer(&case.adapter, 0.3);
        let batches = [case.batch.clone()];
        let step = next.step(&case.backbone, &mut moved, &batches, &Abort::default());
        step.unwrap();
        assert_ne!(kept.0, of(&next).0, "{name}");
    }
}

#[test]
fn a_decoder_and_what_is_no_probability_are_refused() {
    let model = config();
    let adapter = trained(lora(&[blob_core::adapter::Module::Q]), &model);
    let engine = backbone(&model, blob_core::ops::Precision::F32);
    let batches = [batch_of(&prompts()[..3])];
    let check = Checks {
        finite: false,
        abort: &Abort::default(),
    };
    let error = trainer(&adapter, 0.1).gradients(&engine, &adapter, &batches, check);
    assert_eq!(error.err().unwrap().code(), "BPEFT_INVALID_CONFIG");
    let method = MethodConfig::Mle(MleConfig { point: point(0.1) });
    for p in [1.0, -0.1, f32::NAN] {
        let config = TrainConfig {
            seed: 5,
            method: method.clone(),
        };
        let started = Trainer::new(config, &adapter).unwrap();
        assert!(started.with_base_dropout(p).is_err());
    }
}
