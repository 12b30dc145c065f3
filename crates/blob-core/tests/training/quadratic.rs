//! Methods of both factors on a quadratic loss of all of them at once, whose answers are known.
//!
//! With ℓ(θ) = ½(θ − θ*)ᵀH(θ − θ*), λ and δ as in `method::ivon`, and δ = 1/(Nσp²) of MAP's prior:
//!
//! ```text
//! m = θ_MAP = (H + δI)⁻¹Hθ*        σ_i² = 1/(λ(H_ii + δ))
//! ```
#![expect(clippy::unwrap_used, reason = "test code")]

use blob_core::adapter::{Adapter, Gaussian, LoraConfig, Module, Posterior, Sigma};
use blob_core::method::{
    Bbb, BbbConfig, Ivon, IvonConfig, Map, MapConfig, Method, PointConfig, Step,
};
use blob_core::noise::{Phase, Stream};
use blob_core::optim::Schedule;

use crate::support::small_model::{config, lora, normals, point};

const ROWS: u64 = 40;
const LAMBDA: f64 = ROWS as f64;
const DELTA: f64 = 0.3;

fn adapter(over: Gaussian) -> Adapter {
    let lora = LoraConfig {
        rank: 1,
        posterior: Some(Posterior {
            sigma: Sigma::Square,
            init_eps: 0.05,
            over,
        }),
        ..lora(&[Module::V])
    };
    Adapter::new(lora, &config()).unwrap()
}

fn settings(updates: u64) -> IvonConfig {
    IvonConfig {
        lr: 0.2,
        schedule: Schedule {
            total: updates,
            warmup: 0.0,
            warmup_start: 0,
            stride: 1,
        },
        effective_rows: LAMBDA,
        weight_decay: DELTA,
        initial_hessian: 0.5,
        beta1: 0.9,
        beta2: 0.999,
        clip: 0.0,
        train_samples: 4,
    }
}

/// H = diag(0.5 … 2) + ε·uuᵀ, so that coordinates hang together.
pub(super) struct Quadratic {
    diagonal: Vec<f64>,
    pub(super) u: Vec<f64>,
    optimum: Vec<f64>,
}

impl Quadratic {
    pub(super) fn new(len: usize) -> Self {
        let of = |seed| normals(seed, len).into_iter().map(f64::from).collect();
        Self {
            diagonal: (0..len)
                .map(|i| 0.5 + 1.5 * i as f64 / len as f64)
                .collect(),
            u: of(31),
            optimum: of(32),
        }
    }

    /// Hθ
    pub(super) fn times(&self, theta: &[f64]) -> Vec<f64> {
        let along: f64 = self.u.iter().zip(theta).map(|(u, t)| u * t).sum();
        let terms = self.diagonal.iter().zip(&self.u).zip(theta);
        terms.map(|((d, u), t)| d * t + 0.1 * along * u).collect()
    }

    fn gradient(&self, theta: &[f32]) -> Vec<f32> {
        let from = theta.iter().zip(&self.optimum);
        let from: Vec<f64> = from.map(|(t, o)| f64::from(*t) - o).collect();
        self.times(&from).iter().map(|&g| g as f32).collect()
    }

    /// (H + δI)⁻¹Hθ*, by the formula of Sherman and Morrison.
    fn mean(&self) -> Vec<f64> {
        let right = self.times(&self.optimum);
        let inverse: Vec<f64> = self.diagonal.iter().map(|d| 1.0 / (d + DELTA)).collect();
        let dot = |b: &[f64]| -> f64 {
            let terms = self.u.iter().zip(&inverse).zip(b);
            terms.map(|((u, i), b)| u * i * b).sum()
        };
        let factor = 0.1 * dot(&right) / (1.0 + 0.1 * dot(&self.u));
        let terms = right.iter().zip(&inverse).zip(&self.u);
        terms.map(|((r, i), u)| i * (r - factor * u)).collect()
    }
}

#[test]
fn ivon_ends_at_the_best_mean_field_posterior() {
    let updates = 20_000;
    let mut adapter = adapter(Gaussian::AAndB);
    let mut ivon = Ivon::new(settings(updates), &adapter).unwrap();
    train_whole(&mut ivon, &mut adapter, updates);
    assert_best(&adapter, (0.03, 0.05));
}

/// As far as adapters go from their start. Each update moves a mean by at most the rate times ξ, so
/// that the published rate, one of ten thousand updates, stands still in a hundred; the default
/// (`ts/methods/ivon.ts`) is its hundredfold there.
#[test]
fn ivon_gets_near_in_a_hundred_updates_by_its_default_rate_and_not_by_the_published_one() {
    let updates = 100;
    let left = |lr: f64| {
        let mut adapter = adapter(Gaussian::AAndB);
        let len = adapter.parameters().layout().point_len();
        let start = adapter.parameters().member(0)[..len].to_vec();
        let mut loss = Quadratic::new(len);
        let away: Vec<f64> = loss.optimum.iter().map(|o| 0.1 * o).collect();
        loss.optimum = start
            .iter()
            .zip(&away)
            .map(|(s, a)| f64::from(*s) + a)
            .collect();
        let settings = IvonConfig {
            lr,
            effective_rows: 1e6,
            weight_decay: 0.0,
            initial_hessian: 1e-3,
            beta2: 0.99999,
            clip: 1e-3,
            train_samples: 4,
            ..settings(updates)
        };
        let mut ivon = Ivon::new(settings, &adapter).unwrap();
        train_under(&loss, &mut ivon, &mut adapter, updates);
        let square = |of: &mut dyn Iterator<Item = f64>| of.map(|x| x * x).sum::<f64>();
        let means = adapter.parameters().member(0)[..len].iter();
        let errors = means.zip(&loss.optimum).map(|(m, o)| f64::from(*m) - o);
        (square(&mut errors.into_iter()) / square(&mut away.into_iter())).sqrt()
    };
    let (published, default) = (left(0.03), left(0.03 * 10_000.0 / updates as f64));
    assert!(published > 0.95 && default < 0.4, "{published} {default}");
}

/// λ is N, and δ = 1/(Nσp²).
#[test]
fn bbb_over_both_factors_ends_at_the_best_mean_field_posterior() {
    let updates = 20_000;
    let mut adapter = adapter(Gaussian::AAndB);
    let point = PointConfig {
        schedule: Schedule {
            total: updates,
            warmup: 0.0,
            warmup_start: 0,
            stride: 1,
        },
        ..point(0.01)
    };
    let settings = BbbConfig {
        point,
        prior_std: (LAMBDA * DELTA).sqrt().recip(),
        rows: ROWS,
        train_samples: 4,
    };
    let mut bbb = Bbb::new(settings, &adapter).unwrap();
    train_whole(&mut bbb, &mut adapter, updates);
    assert_best(&adapter, (0.03, 0.05));
}

#[test]
fn weight_decay_moves_the_means_of_bbb_and_no_rho() {
    let after = |weight_decay| {
        let mut adapter = adapter(Gaussian::AAndB);
        let settings = BbbConfig {
            point: PointConfig {
                weight_decay,
                ..point(0.01)
            },
            prior_std: 0.5,
            rows: ROWS,
            train_samples: 4,
        };
        let mut bbb = Bbb::new(settings, &adapter).unwrap();
        train_whole(&mut bbb, &mut adapter, 1);
        adapter.parameters().member(0).to_vec()
    };
    let (plain, decayed) = (after(0.0), after(0.5));
    let points = adapter(Gaussian::AAndB).parameters().layout().point_len();
    assert_eq!(plain[points..], decayed[points..]);
    assert_ne!(plain[..points], decayed[..points]);
}

/// A method that draws both factors, under the loss alone.
fn train_whole(method: &mut dyn Method, adapter: &mut Adapter, updates: u64) {
    let loss = Quadratic::new(adapter.parameters().layout().point_len());
    train_under(&loss, method, adapter, updates);
}

fn train_under(loss: &Quadratic, method: &mut dyn Method, adapter: &mut Adapter, updates: u64) {
    for t in 1..=updates {
        let stream = Stream::new(3, t, Phase::Training { micro_batch: 0 });
        let drawn = method.drawn(adapter, &[stream]).unwrap();
        let mut gradients = drawn.parameters().zeros_like();
        for draw in 0..4 {
            let gradient = loss.gradient(drawn.parameters().member(draw));
            let mean = gradients.member_mut(draw).iter_mut().zip(gradient);
            mean.for_each(|(to, g)| *to = g / 4.0);
        }
        let step = Step {
            t,
            gradients: &gradients,
            drawn: Some(&drawn),
        };
        method.update(adapter, &step).unwrap();
    }
}

/// Means within the first tolerance, σ relatively within the second.
fn assert_best(adapter: &Adapter, (of_mean, of_std): (f64, f64)) {
    let len = adapter.parameters().layout().point_len();
    let loss = Quadratic::new(len);
    let (means, rho) = adapter.parameters().member(0).split_at(len);
    for (i, expected) in loss.mean().into_iter().enumerate() {
        let got = f64::from(means[i]);
        let curvature = loss.diagonal[i] + 0.1 * loss.u[i] * loss.u[i];
        assert!(
            (got - expected).abs() < of_mean,
            "mean {i}: {got} {expected}"
        );
        let (std, expected) = (
            f64::from(rho[i]).powi(2),
            (LAMBDA * (curvature + DELTA)).sqrt().recip(),
        );
        let difference = (std / expected - 1.0).abs();
        assert!(difference < of_std, "sigma {i}: {std} {expected}");
    }
}

#[test]
fn map_ends_at_the_mode_of_the_posterior_whatever_its_clipping() {
    for max_grad_norm in [0.0, 0.5] {
        let updates = 3000;
        let point_lora = LoraConfig {
            posterior: None,
            ..adapter(Gaussian::A).config().clone()
        };
        let mut adapter = Adapter::new(point_lora, &config()).unwrap();
        let len = adapter.parameters().layout().point_len();
        let loss = Quadratic::new(len);
        let point = PointConfig {
            max_grad_norm,
            schedule: Schedule {
                total: updates,
                warmup: 0.0,
                warmup_start: 0,
                stride: 1,
            },
            ..point(0.05)
        };
        let settings = MapConfig {
            point,
            prior_std: (20.0 * DELTA).sqrt().recip(),
            rows: 20,
        };
        let mut map = Map::new(settings, &adapter).unwrap();
        for t in 1..=updates {
            let mut gradients = adapter.parameters().zeros_like();
            let gradient = loss.gradient(adapter.parameters().member(0));
            gradients.member_mut(0).copy_from_slice(&gradient);
            let step = Step {
                t,
                gradients: &gradients,
                drawn: None,
            };
            map.update(&mut adapter, &step).unwrap();
        }
        let values = adapter.parameters().member(0);
        for (i, expected) in loss.mean().into_iter().enumerate() {
            let got = f64::from(values[i]);
            assert!((got - expected).abs() < 1e-3, "{i}: {got} {expected}");
        }
    }
}

#[test]
fn an_adapter_with_a_point_among_its_factors_is_refused() {
    for over in [Some(Gaussian::A), None] {
        let lora = LoraConfig {
            posterior: over.and(adapter(Gaussian::A).config().posterior),
            ..adapter(Gaussian::A).config().clone()
        };
        let adapter = Adapter::new(lora, &config()).unwrap();
        let error = Ivon::new(settings(1), &adapter).err().unwrap();
        assert_eq!(error.code(), "BPEFT_INVALID_CONFIG");
    }
}
