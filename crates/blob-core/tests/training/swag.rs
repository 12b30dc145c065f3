//! SWAG: the moments of a known trajectory, the covariance of its draws, its states and files.
#![expect(clippy::unwrap_used, reason = "test code")]

use blob_core::abort::Abort;
use blob_core::adapter::{Adapter, Draw, LoraConfig, Module, Sigma, peft};
use blob_core::method::{Method, MethodConfig, Step, Swag, SwagConfig};
use blob_core::noise::{Phase, Stream};
use blob_core::ops::Precision;
use blob_core::predict::predict;
use blob_core::train::{TrainConfig, Trainer};

use crate::support::Scratch;
use crate::support::answers::sampling;
use crate::support::small_model::{backbone, batch_of, config, lora, normals, prompts, trained};

const SETTINGS: SwagConfig = SwagConfig {
    point: point_settings(),
    start: 3,
    every: 2,
    lr: 0.02,
    deviations: 3,
    scale: 1.0,
};

const fn point_settings() -> blob_core::method::PointConfig {
    blob_core::method::PointConfig {
        lr: 0.01,
        schedule: blob_core::optim::Schedule {
            total: 20,
            warmup: 0.0,
            warmup_start: 0,
            stride: 1,
        },
        weight_decay: 0.0,
        adam_epsilon: 1e-6,
        max_grad_norm: 0.0,
    }
}

fn adapter(members: usize) -> Adapter {
    let lora = LoraConfig {
        rank: 1,
        posterior: None,
        members,
        ..lora(&[Module::V, Module::Q])
    };
    trained(lora, &config())
}

/// θ after each update, and the method after the last.
fn walked(adapter: &mut Adapter, updates: u64) -> (Vec<Vec<f32>>, Swag) {
    walked_by(SETTINGS, adapter, updates)
}

fn walked_by(settings: SwagConfig, adapter: &mut Adapter, updates: u64) -> (Vec<Vec<f32>>, Swag) {
    let mut swag = Swag::new(settings, adapter).unwrap();
    let mut path = Vec::new();
    for t in 1..=updates {
        let mut gradients = adapter.parameters().zeros_like();
        for member in 0..gradients.members() {
            let to = gradients.member_mut(member);
            let len = to.len();
            to.copy_from_slice(&normals(100 * member as u64 + t, len));
        }
        let gradients = &gradients;
        let step = Step {
            t,
            gradients,
            drawn: None,
        };
        let update = swag.update(adapter, &step).unwrap();
        assert_eq!(update.lr == settings.lr, t > settings.start);
        path.push(adapter.parameters().values().host().to_vec());
    }
    (path, swag)
}

/// Mean, variance and scaled deviations of the collected ones, in f64 and by their definitions.
fn moments(path: &[Vec<f32>]) -> (Vec<f64>, Vec<f64>, Vec<Vec<f64>>) {
    // Updates 5, 7, 9, … are collected.
    let collected: Vec<_> = path.iter().skip(4).step_by(2).collect();
    let (n, len) = (collected.len(), path[0].len());
    let mean_of = |count: usize, i: usize| -> f64 {
        let values = collected[..count].iter().map(|theta| f64::from(theta[i]));
        values.sum::<f64>() / count as f64
    };
    let mean: Vec<_> = (0..len).map(|i| mean_of(n, i)).collect();
    let variance = (0..len).map(|i| {
        let squares = collected
            .iter()
            .map(|theta| (f64::from(theta[i]) - mean[i]).powi(2));
        squares.sum::<f64>() / n as f64
    });
    let columns = n.min(3);
    let scale = (0.5 / (columns as f64 - 1.0)).sqrt();
    let deviations = (n - columns..n).map(|k| {
        let of = |i: usize| scale * (f64::from(collected[k][i]) - mean_of(k + 1, i));
        (0..len).map(of).collect()
    });
    (mean.clone(), variance.collect(), deviations.collect())
}

#[test]
fn the_posterior_has_the_moments_of_the_trajectory() {
    for (updates, columns) in [(8, 2), (13, 3)] {
        let mut adapter = adapter(1);
        let (path, swag) = walked(&mut adapter, updates);
        let (mean, variance, deviations) = moments(&path);
        let posterior = swag.posterior(&adapter, updates).unwrap().unwrap();
        let points = mean.len();
        let values = posterior.parameters().member(0);
        for i in 0..points {
            assert!((f64::from(values[i]) - mean[i]).abs() < 1e-6);
            let sigma = f64::from(Sigma::Square.of(values[points + i]));
            let expected = (variance[i] / 2.0).sqrt();
            assert!(
                (sigma - expected).abs() < 1e-3 * expected + 1e-7,
                "{sigma} {expected}"
            );
        }
        let found = posterior.deviations().unwrap();
        assert_eq!(found.columns(), columns);
        let layout = adapter.parameters().layout();
        for parameter in layout.parameters() {
            // A ring: any order, each once.
            let column = |k| found.column(0, k, parameter.site, parameter.factor);
            for expected in &deviations {
                let of_part = &expected[parameter.range.clone()];
                let is_there = (0..columns).any(|k| {
                    let pairs = column(k).iter().zip(of_part);
                    pairs
                        .into_iter()
                        .all(|(&one, other)| (f64::from(one) - other).abs() < 1e-6)
                });
                assert!(is_there, "{:?}", parameter.site);
            }
        }
    }
}

#[test]
fn every_third_is_collected_from_the_start_on_of_each_member() {
    let settings = SwagConfig {
        start: 1,
        every: 3,
        ..SETTINGS
    };
    let mut adapter = adapter(2);
    let (path, swag) = walked_by(settings, &mut adapter, 9);
    let posterior = swag.posterior(&adapter, 9).unwrap().unwrap();
    let len = adapter.parameters().layout().len();
    for member in 0..2 {
        let means = &posterior.parameters().member(member)[..len];
        for (i, mean) in means.iter().enumerate() {
            let at = member * len + i;
            let expected = f32::midpoint(path[3][at], path[6][at]);
            assert!((mean - expected).abs() < 1e-6, "{member} {i}");
        }
    }
}

#[test]
fn there_is_no_posterior_of_fewer_than_two() {
    let mut adapter = adapter(1);
    let (_, swag) = walked(&mut adapter, 6);
    assert!(swag.posterior(&adapter, 6).unwrap().is_none());
    assert!(swag.posterior(&adapter, 7).unwrap().is_some());
}

#[test]
fn draws_have_the_covariance_across_layers_that_the_deviations_say() {
    let mut adapter = adapter(1);
    let (path, swag) = walked(&mut adapter, 13);
    let (mean, variance, deviations) = moments(&path);
    let posterior = swag.posterior(&adapter, 13).unwrap().unwrap();
    let draws = 8000;
    let draw = |sample: u32, sign: f32| Draw {
        member: 0,
        stream: Stream::new(5, 0, Phase::Evaluation),
        sample,
        sign,
    };
    let all: Vec<_> = (0..draws).map(|sample| draw(sample, 1.0)).collect();
    let drawn = posterior.drawn(&all, 0);
    let from_mean = |s: usize, i: usize| f64::from(drawn.parameters().member(s)[i]) - mean[i];
    let points = mean.len();
    // One of A and one of B of each layer.
    for (i, j) in [
        (0, 0),
        (0, points - 1),
        (3, points / 2),
        (points - 1, points - 1),
    ] {
        let products = (0..draws as usize).map(|s| from_mean(s, i) * from_mean(s, j));
        let found = products.sum::<f64>() / f64::from(draws);
        let low_rank: f64 = deviations.iter().map(|d| d[i] * d[j]).sum();
        let expected = low_rank + if i == j { variance[i] / 2.0 } else { 0.0 };
        let of = |i: usize| variance[i] / 2.0 + deviations.iter().map(|d| d[i] * d[i]).sum::<f64>();
        // Four standard errors of a product of two Gaussians.
        let error = 4.0 * (2.0 * of(i) * of(j) / f64::from(draws)).sqrt();
        assert!(
            (found - expected).abs() < error,
            "{i} {j}: {found} {expected} ± {error}"
        );
    }
    let pair = posterior.drawn(&[draw(1, 1.0), draw(1, -1.0)], 0);
    for (i, mean) in mean.iter().enumerate() {
        let sum = pair.parameters().member(0)[i] + pair.parameters().member(1)[i];
        assert!(
            (f64::from(sum) - 2.0 * mean).abs() < 1e-5,
            "pairs mirror each other"
        );
    }
}

#[test]
fn files_and_states_keep_all_of_it() {
    let (model, batch) = (backbone(&config(), Precision::F32), batch_of(&prompts()));
    let train = |members: usize, split: Option<&Scratch>| {
        let mut adapter = adapter(members);
        let settings = TrainConfig {
            seed: 7,
            method: MethodConfig::Swag(SETTINGS),
        };
        let mut trainer = Trainer::new(settings.clone(), &adapter).unwrap();
        let batches = vec![batch.clone(); members];
        for step in 0..11 {
            if let Some(scratch) = split.filter(|_| step == 8) {
                trainer.save(&adapter, scratch.path()).unwrap();
                adapter = self::adapter(members);
                trainer = Trainer::new(settings.clone(), &adapter).unwrap();
                trainer.load(&mut adapter, scratch.path()).unwrap();
            }
            let abort = Abort::default();
            trainer
                .step(&model, &mut adapter, &batches, &abort)
                .unwrap();
        }
        trainer.posterior(&adapter).unwrap().unwrap()
    };
    for members in [1, 2] {
        let scratch = Scratch::new();
        let whole = train(members, None);
        let answers = |adapter: &Adapter| {
            let abort = Abort::default();
            predict(&model, Some(adapter), &batch, &sampling(4), &abort).unwrap()
        };
        assert_eq!(answers(&whole), answers(&train(members, Some(&scratch))));
        let folder = Scratch::new();
        peft::save(&whole, &config(), folder.path(), "base").unwrap();
        let loaded = peft::load(folder.path(), &config(), Sigma::Square).unwrap();
        assert_eq!(answers(&whole), answers(&loaded.adapter));
        let mean = predict(
            &model,
            Some(&whole),
            &batch,
            &sampling(0),
            &Abort::default(),
        )
        .unwrap();
        assert_ne!(
            answers(&whole)[..mean.len() / members],
            mean[..mean.len() / members]
        );
    }
}

#[test]
fn settings_that_mean_nothing_are_refused() {
    let point = adapter(1);
    let refused = |settings| Swag::new(settings, &point).is_err();
    assert!(refused(SwagConfig {
        every: 0,
        ..SETTINGS
    }));
    assert!(refused(SwagConfig {
        deviations: 1,
        ..SETTINGS
    }));
    assert!(refused(SwagConfig {
        deviations: 21,
        ..SETTINGS
    }));
    assert!(refused(SwagConfig {
        scale: f64::NAN,
        ..SETTINGS
    }));
    let gaussian = trained(lora(&[Module::V]), &config());
    assert!(Swag::new(SETTINGS, &gaussian).is_err());
}
