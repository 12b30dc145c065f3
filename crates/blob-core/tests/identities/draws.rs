//! Draws that are no Flipout samples: dropout masks, and whole draws of a posterior.

use blob_core::abort::Abort;
use blob_core::adapter::{Adapter, Gaussian, LoraConfig, Module};
use blob_core::ops::Precision;
use blob_core::pass::NoiseSharing;
use blob_core::predict::{PredictConfig, predict};

use crate::support::answers::{bits, logits, sampling};
use crate::support::golden::assert_close;
use crate::support::small_model::{backbone, batch_of, config, lora, prompts, trained};

const EVERYWHERE: &[Module] = &Module::ALL;

#[test]
fn dropout_makes_a_point_estimate_random_and_a_mean_pass_never() {
    let model = backbone(&config(), Precision::F32);
    let point = LoraConfig {
        posterior: None,
        dropout: 0.3,
        ..lora(EVERYWHERE)
    };
    let adapter = trained(point, &config());
    let batch = batch_of(&prompts());
    let of = |config: PredictConfig| bits(&logits(&model, Some(&adapter), &batch, &config));
    let masked = |samples| PredictConfig {
        dropout: 0.3,
        antithetic: true,
        ..sampling(samples)
    };
    let mean = of(sampling(0));
    assert_eq!(of(sampling(7)), mean, "without masks there is one answer");
    assert_eq!(of(masked(0)), mean, "no sample, no mask");
    let four = of(masked(4));
    let samples: Vec<_> = four.chunks_exact(mean.len()).collect();
    for (i, sample) in samples.iter().enumerate() {
        assert_ne!(*sample, mean);
        assert!(!samples[..i].contains(sample), "sample {i} must be its own");
        let alone = PredictConfig {
            first_sample: i as u32,
            ..masked(1)
        };
        assert_eq!(of(alone), *sample);
    }
    let plain = PredictConfig {
        antithetic: false,
        ..masked(4)
    };
    assert_eq!(of(plain), four, "masks are not mirrored");
    let head = PredictConfig {
        stochastic_layers: Some(1),
        ..masked(2)
    };
    assert_ne!(of(head.clone()), four[..2 * mean.len()]);
    assert_ne!(of(head)[..mean.len()], mean);
    for dropout in [-0.1, 1.0, f32::NAN] {
        let config = PredictConfig {
            dropout,
            ..sampling(1)
        };
        let outcome = predict(&model, Some(&adapter), &batch, &config, &Abort::default());
        assert_eq!(outcome.unwrap_err().code(), "BPEFT_INVALID_CONFIG");
    }
}

#[test]
fn whole_draws_are_the_samples_that_share_their_noise() {
    let model = backbone(&config(), Precision::F32);
    let over_a = trained(lora(EVERYWHERE), &config());
    let batch = batch_of(&prompts());
    // The same draws as members of a point adapter, and with a Gaussian over B that has no width.
    let shared = PredictConfig {
        noise: NoiseSharing::Shared,
        antithetic: true,
        ..sampling(5)
    };
    let expected = logits(&model, Some(&over_a), &batch, &shared);
    let mut terms = over_a.terms(0);
    for term in terms.values_mut() {
        term.rho_b = Some(vec![0.0; term.b.len()]);
    }
    let mut config_of_both = over_a.config().clone();
    config_of_both.posterior.as_mut().unwrap().over = Gaussian::AAndB;
    let over_both = Adapter::from_terms(config_of_both.clone(), &[terms.clone()]).unwrap();
    let got = logits(&model, Some(&over_both), &batch, &shared);
    assert_close("logits", &got, &expected, 1e-5);

    for layers in [1, 2] {
        let last = PredictConfig {
            stochastic_layers: Some(layers),
            ..shared.clone()
        };
        let expected = logits(&model, Some(&over_a), &batch, &last);
        let got = logits(&model, Some(&over_both), &batch, &last);
        assert_close("logits of the last layers", &got, &expected, 1e-5);
    }

    // A width of B is seen, sample by sample, and in parts as at once.
    for term in terms.values_mut() {
        term.rho_b = Some(vec![0.3; term.b.len()]);
    }
    let wide = Adapter::from_terms(config_of_both, &[terms]).unwrap();
    let got = logits(&model, Some(&wide), &batch, &shared);
    let width = got.len() / 5;
    for sample in 0..5 {
        let of_sample = &got[sample * width..(sample + 1) * width];
        assert!(
            of_sample
                .iter()
                .zip(&expected[sample * width..])
                .any(|(a, b)| (a - b).abs() > 1e-3)
        );
        let alone = PredictConfig {
            first_sample: sample as u32,
            samples: 1,
            ..shared.clone()
        };
        assert_eq!(
            bits(&logits(&model, Some(&wide), &batch, &alone)),
            bits(of_sample)
        );
    }
}
