//! What an adapter with a curvature answers.

use blob_core::abort::Abort;
use blob_core::adapter::{Adapter, Module};
use blob_core::backbone::Backbone;
use blob_core::laplace::{Linearisation, Link};
use blob_core::ops::Precision;
use blob_core::predict::PredictConfig;

use crate::curvature::first_of;
use crate::support::answers::{bits, logits, sampling};
use crate::support::encoder_case::EncoderCase;
use crate::support::golden::assert_close;
use crate::support::small_model::{backbone, batch_of, config, prompts};
use crate::{SETTINGS, answering, fitted, point};

/// Small, so that answers differ much from those of the point.
const PRIOR: f64 = 0.5;

fn laplace() -> (Backbone, Adapter, Adapter) {
    let (model, adapter) = (
        backbone(&config(), Precision::F32),
        point(&Module::ALL, &config()),
    );
    let found = fitted(&model, &adapter, &batch_of(&prompts()), SETTINGS);
    let answering = answering(&found, &adapter, PRIOR);
    (model, adapter, answering)
}

fn by(link: Link, samples: u32) -> PredictConfig {
    PredictConfig {
        link,
        ..sampling(samples)
    }
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let powers: Vec<f64> = logits.iter().map(|&z| f64::from(z).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

#[test]
fn without_samples_it_is_the_point_and_closed_forms_are_one_answer() {
    let (model, point, laplace) = laplace();
    let batch = batch_of(&prompts());
    let of = |adapter, config: &PredictConfig| logits(&model, Some(adapter), &batch, config);
    let mean = of(&point, &sampling(0));
    assert_eq!(bits(&of(&laplace, &by(Link::Probit, 0))), bits(&mean));
    for link in [Link::Probit, Link::Bridge] {
        let answer = of(&laplace, &by(link, 7));
        assert_eq!(answer.len(), mean.len());
        for ends in batch.answer_offsets().windows(2) {
            let own = ends[0] as usize..ends[1] as usize;
            let (sure, less) = (softmax(&mean[own.clone()]), softmax(&answer[own.clone()]));
            let sum: f64 = answer[own].iter().map(|&z| f64::from(z).exp()).sum();
            assert!(
                (sum - 1.0).abs() < 1e-5,
                "logarithms of probabilities: {sum}"
            );
            let most = |p: &[f64]| p.iter().fold(0.0, |most: f64, &p| most.max(p));
            let is_less = most(&less) < most(&sure) || link == Link::Bridge;
            assert!(is_less, "{link:?}: {less:?} {sure:?}");
        }
    }
}

#[test]
fn draws_have_the_covariance_of_the_logits_and_of_two_classes_the_mean_of_probit() {
    let (model, point, laplace) = laplace();
    let batch = batch_of(&prompts());
    let samples = 8000;
    let mirrored = PredictConfig {
        antithetic: true,
        ..by(Link::Sample, samples)
    };
    let draws = logits(&model, Some(&laplace), &batch, &mirrored);
    let mean = logits(&model, Some(&point), &batch, &sampling(0));
    let width = mean.len();
    for pair in draws.chunks_exact(2 * width) {
        let sums = (0..width).map(|at| 0.5 * (pair[at] + pair[width + at]));
        assert_close("pair", &sums.collect::<Vec<f32>>(), &mean, 1e-5);
    }
    let curvature = &laplace.curvature().unwrap().curvature;
    let of = Linearisation {
        batch: &batch,
        precisions: &[PRIOR],
        from_block: 0,
    };
    let found = curvature
        .linearise(&model, &point, of, &Abort::default())
        .unwrap();
    let probit = logits(&model, Some(&laplace), &batch, &by(Link::Probit, 1));
    let bounds = batch.answer_offsets().windows(2);
    for (ends, covariance) in bounds.zip(&found.covariances[0]) {
        let own = ends[0] as usize..ends[1] as usize;
        let classes = own.len();
        let mut moments = vec![0.0; classes * classes];
        let mut sampled = vec![0.0; classes];
        for draw in draws.chunks_exact(width) {
            let off = |c: usize| f64::from(draw[own.start + c] - mean[own.start + c]);
            for (at, sum) in moments.iter_mut().enumerate() {
                *sum += off(at / classes) * off(at % classes) / f64::from(samples);
            }
            let p = softmax(&draw[own.clone()]);
            for (sum, p) in sampled.iter_mut().zip(p) {
                *sum += p / f64::from(samples);
            }
        }
        for (at, (moment, expected)) in moments.iter().zip(covariance).enumerate() {
            let of = |c: usize| covariance[c * classes + c];
            let scale = (of(at / classes) * of(at % classes)).sqrt();
            assert!(
                (moment - expected).abs() < 0.06 * scale,
                "{at}: {moment} {expected}"
            );
        }
        if classes == 2 {
            for (sampled, closed) in sampled.iter().zip(softmax(&probit[own.clone()])) {
                assert!((sampled - closed).abs() < 0.015, "{sampled} {closed}");
            }
        }
    }
}

#[test]
fn draws_are_the_same_one_by_one_and_whatever_the_batch_is() {
    let (model, _, laplace) = laplace();
    let batch = batch_of(&prompts());
    let four = logits(&model, Some(&laplace), &batch, &by(Link::Sample, 4));
    let width = batch.answers().len();
    assert_eq!(four.len(), 4 * width);
    for sample in 0..4 {
        let alone = PredictConfig {
            first_sample: sample as u32,
            ..by(Link::Sample, 1)
        };
        let alone = logits(&model, Some(&laplace), &batch, &alone);
        assert_eq!(bits(&alone), bits(&four[sample * width..][..width]));
    }
    let mut from = 0;
    for prompt in prompts() {
        let classes = prompt.answers.len();
        let own = logits(
            &model,
            Some(&laplace),
            &batch_of(&[prompt]),
            &by(Link::Sample, 4),
        );
        let of_batch: Vec<f32> = (0..4)
            .flat_map(|draw| &four[draw * width + from..][..classes])
            .copied()
            .collect();
        assert_close("a prompt alone", &of_batch, &own, 1e-3);
        from += classes;
    }
    // Prompts are drawn apart: equal logits of different rows differ.
    let mut twins = vec![prompts().swap_remove(0); 2];
    twins[1].row += 1;
    let twins = logits(
        &model,
        Some(&laplace),
        &batch_of(&twins),
        &by(Link::Sample, 1),
    );
    assert_ne!(twins[..3], twins[3..]);
    let seeds = |seed| PredictConfig {
        seed,
        ..by(Link::Sample, 1)
    };
    let of = |seed| logits(&model, Some(&laplace), &batch, &seeds(seed));
    assert_ne!(bits(&of(1)), bits(&of(2)));
}

#[test]
fn an_encoder_answers_by_the_same_rules() {
    let EncoderCase {
        backbone: model,
        adapter,
        batch,
        ..
    } = EncoderCase::open("encoder-bert");
    let laplace = answering(&fitted(&model, &adapter, &batch, SETTINGS), &adapter, PRIOR);
    let of = |batch, config: &PredictConfig| logits(&model, Some(&laplace), batch, config);
    let mean = logits(&model, Some(&adapter), &batch, &sampling(0));
    assert_eq!(bits(&of(&batch, &by(Link::Probit, 0))), bits(&mean));
    let four = of(&batch, &by(Link::Sample, 4));
    assert_eq!(bits(&of(&batch, &by(Link::Sample, 4))), bits(&four));
    let width = batch.answers().len();
    for (number, sample) in four.chunks_exact(width).enumerate() {
        assert_ne!(bits(sample), bits(&mean));
        let alone = PredictConfig {
            first_sample: number as u32,
            ..by(Link::Sample, 1)
        };
        assert_eq!(bits(&of(&batch, &alone)), bits(sample));
    }
    let first = first_of(&batch);
    let classes = first.answers().len();
    let of_batch: Vec<f32> = four
        .chunks_exact(width)
        .flat_map(|sample| &sample[..classes])
        .copied()
        .collect();
    let own = of(&first, &by(Link::Sample, 4));
    assert_close("a text alone", &of_batch, &own, 1e-3);
}

#[test]
fn layers_before_the_last_places_stay_at_their_mean() {
    let (model, _, laplace) = laplace();
    let batch = batch_of(&prompts());
    let places = config().num_layers + 1;
    let spread = |layers| {
        let asked = PredictConfig {
            stochastic_layers: layers,
            ..by(Link::Sample, 1)
        };
        let mean = logits(&model, Some(&laplace), &batch, &sampling(0));
        let drawn = logits(&model, Some(&laplace), &batch, &asked);
        let squares = drawn
            .iter()
            .zip(&mean)
            .map(|(z, mean)| f64::from(z - mean).powi(2));
        squares.sum::<f64>()
    };
    assert_eq!(spread(Some(places)), spread(None));
    assert_eq!(spread(Some(0)), 0.0);
    let [head, two, all] = [1, 2, places].map(|layers| spread(Some(layers)));
    assert!(0.0 < head && head < two && two < all, "{head} {two} {all}");
}
