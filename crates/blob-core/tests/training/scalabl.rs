//! ScalaBL: its gradients, its divergence, and where it ends.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;

use blob_core::abort::Abort;
use blob_core::adapter::{Adapter, Factor, Gaussian, LoraConfig, Module, Posterior, Sigma, Site};
use blob_core::method::{
    Method, MethodConfig, PointConfig, ScalaBl, ScalaBlConfig, Step, UpdateReport,
};
use blob_core::noise::{Phase, Stream};
use blob_core::objective::Average;
use blob_core::ops::Precision;
use blob_core::optim::{KlCycle, Schedule};
use blob_core::train::{Checks, TrainConfig, Trainer};

use crate::quadratic::Quadratic;
use crate::support::small_model::{backbone, batch_of, config, lora, normals, prompts, with_terms};

pub(super) const EPS: f32 = 0.3;

pub(super) fn scales_of(target_modules: &[Module], rank: usize) -> LoraConfig {
    LoraConfig {
        rank,
        posterior: Some(Posterior {
            sigma: Sigma::Exp,
            init_eps: EPS,
            over: Gaussian::Scales,
        }),
        ..lora(target_modules)
    }
}

/// Gradient descent of a rate that stays, with a KL that weighs 1 in every update.
fn descent(rate: f64, kl_lr: f64) -> ScalaBlConfig {
    let epsilon = 1e6;
    ScalaBlConfig {
        point: PointConfig {
            lr: rate * epsilon,
            schedule: Schedule {
                total: u64::MAX >> 1,
                warmup: 0.0,
                warmup_start: 0,
                stride: 1,
            },
            weight_decay: 0.0,
            adam_epsilon: epsilon,
            max_grad_norm: 0.0,
        },
        prior_std: 0.7,
        kl_lr,
        kl_cycle: KlCycle::Uniform { length: 1 },
        train_samples: 3,
        average: Average::LogLikelihood,
    }
}

/// ln μ and ln σ of every direction of every layer.
pub(super) fn scales(adapter: &Adapter) -> Vec<(f32, f32)> {
    let of = |factor| {
        let range = adapter.parameters().layout().run(factor);
        adapter.parameters().member(0)[range].to_vec()
    };
    let (means, rho) = (of(Factor::Scale), of(Factor::RhoScale));
    means.into_iter().zip(rho).collect()
}

/// An adapter whose B is not 0.
fn trained() -> Adapter {
    let fresh = Adapter::new(scales_of(&[Module::V, Module::LmHead], 2), &config()).unwrap();
    with_terms(&fresh, |site, term| {
        let seed = u64::from(site.slot());
        term.b = normals(seed, term.b.len())
            .iter()
            .map(|b| 0.3 * b)
            .collect();
    })
}

/// What moves when one parameter of (V, B, ln μ, ln σ) does.
fn moved(adapter: &Adapter, at: Site, (factor, index): (Factor, usize), by: f32) -> Adapter {
    with_terms(adapter, |site, term| {
        if *site != at {
            return;
        }
        let inputs = term.inputs;
        match factor {
            Factor::A => {
                let mean = term.beside[&Factor::Scale][index / inputs].exp();
                term.a[index] += by * mean;
            }
            Factor::B => term.b[index] += by,
            Factor::Scale => {
                term.beside.get_mut(&Factor::Scale).unwrap()[index] += by;
                let row = index * inputs..(index + 1) * inputs;
                for a in &mut term.a[row] {
                    *a *= by.exp();
                }
            }
            _ => term.beside.get_mut(&Factor::RhoScale).unwrap()[index] += by,
        }
    })
}

/// One of (V, B, ln μ, ln σ).
fn value(adapter: &Adapter, at: Site, (factor, index): (Factor, usize)) -> f64 {
    let term = adapter.terms(0).remove(&at).unwrap();
    let of = |factor| &term.beside[&factor];
    f64::from(match factor {
        Factor::A => term.a[index] / of(Factor::Scale)[index / term.inputs].exp(),
        Factor::B => term.b[index],
        Factor::Scale => of(Factor::Scale)[index],
        _ => of(Factor::RhoScale)[index],
    })
}

#[test]
fn an_update_goes_down_the_finite_differences_of_the_loss() {
    let (model, batch, abort) = (
        backbone(&config(), Precision::F32),
        batch_of(&prompts()),
        Abort::default(),
    );
    let before = trained();
    let rate = 0.2;
    let settings = TrainConfig {
        seed: 1,
        method: MethodConfig::ScalaBl(descent(rate, 0.0)),
    };
    let mut trainer = Trainer::new(settings, &before).unwrap();
    let batches = [batch];
    let loss = |adapter: &Adapter| {
        let gradients = trainer.gradients(
            &model,
            adapter,
            &batches,
            Checks {
                finite: false,
                abort: &abort,
            },
        );
        gradients.unwrap().nll_sum / batches[0].len() as f64
    };
    let mut expected = Vec::new();
    for (site, term) in before.terms(0) {
        for factor in [Factor::A, Factor::B, Factor::Scale, Factor::RhoScale] {
            let len: usize = term.shape().of(factor).iter().product();
            for index in [0, len / 2, len - 1] {
                let what = (factor, index);
                let central = |h: f32| {
                    let ends = [h, -h].map(|by| loss(&moved(&before, site, what, by)));
                    (ends[0] - ends[1]) / f64::from(2.0 * h)
                };
                expected.push((site, what, (4.0 * central(0.01) - central(0.02)) / 3.0));
            }
        }
    }
    let mut after = before.clone();
    trainer.step(&model, &mut after, &batches, &abort).unwrap();
    let mut seen = 0;
    for (site, what, slope) in expected {
        let change = value(&after, site, what) - value(&before, site, what);
        let got = -change / rate;
        assert!(
            (got - slope).abs() < 0.02 * slope.abs() + 3e-4,
            "{what:?}: {got} {slope}"
        );
        seen += usize::from(slope.abs() > 3e-3);
    }
    assert!(seen > 12, "{seen} slopes that are not 0");
}

/// One update under gradients of nothing.
fn without_data(method: &mut ScalaBl, adapter: &mut Adapter, t: u64) -> UpdateReport {
    let drawn = method
        .drawn(
            adapter,
            &[Stream::new(1, t, Phase::Training { micro_batch: 0 })],
        )
        .unwrap();
    let gradients = drawn.parameters().zeros_like();
    let step = Step {
        t,
        gradients: &gradients,
        drawn: Some(&drawn),
    };
    method.update(adapter, &step).unwrap()
}

/// KL(q‖p) = ½ Σ (σ² + μ²)/σp² − 1 − ln(σ²/σp²): σ goes to σp wherever μ is.
#[test]
fn the_divergence_is_that_of_the_posterior_from_the_prior() {
    let mut adapter = trained();
    let settings = descent(0.0, 0.1);
    let prior = settings.prior_std;
    let mut method = ScalaBl::new(settings, &adapter).unwrap();
    let before = scales(&adapter);
    let pairs = || {
        let all = before.iter();
        all.map(|(mean, rho)| (f64::from(*mean).exp(), f64::from(*rho).exp()))
    };
    let of = |(mean, std): (f64, f64)| {
        let ratio = (std / prior).powi(2);
        0.5 * (ratio + (mean / prior).powi(2) - 1.0 - ratio.ln())
    };
    let expected: f64 = pairs().map(of).sum();
    let update = without_data(&mut method, &mut adapter, 1);
    assert!((update.kl.unwrap() - expected).abs() < 1e-5 * expected);
    for ((mean, std), (log_mean, rho)) in pairs().zip(scales(&adapter)) {
        let next = mean.ln() - 0.1 * (mean / prior).powi(2);
        assert!((f64::from(log_mean) - next).abs() < 1e-5);
        let next = std.ln() - 0.1 * ((std / prior).powi(2) - 1.0);
        assert!((f64::from(rho) - next).abs() < 1e-5);
    }
    for t in 2..400 {
        without_data(&mut method, &mut adapter, t);
    }
    for (log_mean, rho) in scales(&adapter) {
        assert!((f64::from(rho.exp()) - prior).abs() < 1e-3);
        assert!(log_mean.exp() < 0.1);
    }
}

/// A quadratic loss of A, whose best posterior over the scales is known:
///
/// ```text
/// ℓ(A) = ½(A − A*)ᵀH(A − A*)      A = Σ_i λ_i V_i      K_ij = V_iᵀHV_j
/// μ = (K + I/σp²)⁻¹(V_iᵀHA*)_i    σ_i² = 1/(K_ii + 1/σp²)
/// ```
///
/// V of length 1000 hardly moves, where λ is a thousandth.
#[test]
fn ends_at_the_best_posterior_of_a_quadratic_loss() {
    const SMALL: f64 = 1e-3;
    let fresh = Adapter::new(scales_of(&[Module::O], 2), &config()).unwrap();
    let width = 24;
    let mut terms = fresh.terms(0);
    terms.retain(|site, _| site.block == 0);
    let (site, term) = terms
        .first_entry()
        .map(|it| (*it.key(), it.into_mut()))
        .unwrap();
    // Directions that are not orthogonal, so that the scales hang together.
    let directions: Vec<Vec<f64>> = [51, 52]
        .map(|seed| {
            normals(seed, width)
                .into_iter()
                .map(|v| 0.3 * f64::from(v))
                .collect()
        })
        .to_vec();
    let start = [0.5, 0.9];
    for (i, direction) in directions.iter().enumerate() {
        for (a, v) in term.a[i * width..(i + 1) * width].iter_mut().zip(direction) {
            *a = (start[i] * v) as f32;
        }
    }
    let logs = |values: [f64; 2]| values.iter().map(|v| (SMALL * v).ln() as f32).collect();
    term.beside = BTreeMap::from([
        (Factor::Scale, logs(start)),
        (Factor::RhoScale, logs([0.1, 0.1])),
    ]);
    let mut adapter = Adapter::from_terms(fresh.config().clone(), &[terms]).unwrap();

    let loss = Quadratic::new(2 * width);
    let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let column = |i: usize| -> Vec<f64> {
        let mut column = vec![0.0; 2 * width];
        column[i * width..(i + 1) * width].copy_from_slice(&directions[i]);
        column
    };
    let columns = [column(0), column(1)];
    let optimum: Vec<f64> = (0..2 * width)
        .map(|at| 1.1 * columns[0][at] + 0.8 * columns[1][at] + 0.1 * loss.u[at])
        .collect();
    let k = |i: usize, j: usize| dot(&columns[i], &loss.times(&columns[j]));
    let prior = 0.6;
    let precision = |i: usize, j: usize| k(i, j) + f64::from(u8::from(i == j)) / (prior * prior);
    let pull = [0, 1].map(|i| dot(&columns[i], &loss.times(&optimum)));
    let determinant = precision(0, 0) * precision(1, 1) - precision(0, 1).powi(2);
    let means = [
        (precision(1, 1) * pull[0] - precision(0, 1) * pull[1]) / determinant,
        (precision(0, 0) * pull[1] - precision(0, 1) * pull[0]) / determinant,
    ];
    assert!(
        k(0, 1).abs() > 1e-3 && means.iter().all(|mean| *mean > 0.15),
        "{means:?}"
    );

    let updates = 6000;
    let mut settings = descent(0.01, 0.01);
    settings.point.schedule.total = updates;
    settings.prior_std = SMALL * prior;
    settings.train_samples = 4;
    let mut method = ScalaBl::new(settings, &adapter).unwrap();
    for t in 1..=updates {
        let stream = Stream::new(3, t, Phase::Training { micro_batch: 0 });
        let drawn = method.drawn(&adapter, &[stream]).unwrap();
        let mut gradients = drawn.parameters().zeros_like();
        for draw in 0..4 {
            let a = drawn.parameters().term(draw, site).unwrap().a;
            let from: Vec<f64> = a
                .iter()
                .zip(&optimum)
                .map(|(a, o)| f64::from(*a) - o)
                .collect();
            let to = gradients.term_mut(draw, site).unwrap().a;
            for (to, g) in to.iter_mut().zip(loss.times(&from)) {
                *to = (g / 4.0) as f32;
            }
        }
        let step = Step {
            t,
            gradients: &gradients,
            drawn: Some(&drawn),
        };
        method.update(&mut adapter, &step).unwrap();
    }
    for (i, (log_mean, rho)) in scales(&adapter).into_iter().enumerate() {
        let (mean, std) = (
            f64::from(log_mean.exp()) / SMALL,
            f64::from(rho.exp()) / SMALL,
        );
        let expected = precision(i, i).sqrt().recip();
        assert!(
            (mean / means[i] - 1.0).abs() < 0.02,
            "mean {i}: {mean} {}",
            means[i]
        );
        assert!(
            (std / expected - 1.0).abs() < 0.03,
            "sigma {i}: {std} {expected}"
        );
    }
}

#[test]
fn another_kind_of_adapter_is_refused() {
    let code = |lora: LoraConfig| {
        let adapter = Adapter::new(lora, &config()).unwrap();
        ScalaBl::new(descent(0.1, 0.1), &adapter)
            .err()
            .unwrap()
            .code()
    };
    let point = LoraConfig {
        posterior: None,
        ..lora(&[Module::V])
    };
    assert_eq!(code(lora(&[Module::V])), "BPEFT_INVALID_CONFIG");
    assert_eq!(code(point), "BPEFT_INVALID_CONFIG");
    // σ = e^ρ is of scales, and scales are of it.
    let mut mixed = scales_of(&[Module::V], 2);
    mixed.posterior.as_mut().unwrap().sigma = Sigma::Square;
    let error = Adapter::new(mixed, &config()).err().unwrap();
    assert_eq!(error.code(), "BPEFT_INVALID_CONFIG");
}
