//! Each method's updates against its equations, evaluated here in f64 from the same gradients and
//! draws: two members, of which one is clipped, a trained head, and a rate that moves.
#![expect(clippy::unwrap_used, reason = "test code")]

use blob_core::adapter::{
    Adapter, Factor, Gaussian, HeadConfig, Layout, LoraConfig, Module, Parameters, Posterior,
};
use blob_core::method::{
    BbbConfig, BlobConfig, IvonConfig, MapConfig, MethodConfig, MleConfig, PointConfig, Step,
    UpdateReport,
};
use blob_core::noise::{Phase, Stream};
use blob_core::optim::{KlCycle, Schedule};
use blob_core::pass::NoiseSharing;

use crate::adamw::AdamW;
use crate::support::encoder_case::EncoderCase;
use crate::support::methods::sigma_of;
use crate::support::small_model::{blob, lora, normals};

pub const SCHEDULE: Schedule = Schedule {
    total: 10,
    warmup: 2.0,
    warmup_start: 1,
    stride: 1,
};
/// Of the first updates, by the schedule.
const FACTORS: [f64; 4] = [0.5, 1.0, 1.0, 0.875];
/// ε is large, so that the size of a gradient shows.
pub const POINT: PointConfig = PointConfig {
    lr: 0.05,
    schedule: SCHEDULE,
    weight_decay: 0.1,
    adam_epsilon: 0.05,
    max_grad_norm: 3.0,
};
pub const PRIOR_STD: f64 = 0.3;
pub const ROWS: u64 = 9;

pub fn adapter(over: Option<Gaussian>) -> Adapter {
    let of = |over| Posterior {
        sigma: sigma_of(over),
        init_eps: 0.05,
        over,
    };
    let lora = LoraConfig {
        rank: 2,
        members: 2,
        posterior: over.map(of),
        head: Some(HeadConfig {
            classes: 3,
            trained: true,
            fresh: false,
        }),
        ..lora(&[Module::Q, Module::V])
    };
    let case = EncoderCase::open("encoder-roberta");
    let mut adapter = Adapter::new(lora, case.backbone.config()).unwrap();
    let points = adapter.parameters().layout().point_len();
    for member in 0..2 {
        let values = adapter.parameters_mut().member_mut(member);
        let drawn = normals(40 + member as u64, values.len());
        for (i, (value, normal)) in values.iter_mut().zip(drawn).enumerate() {
            // Of ρ, both signs and none near 0, where ∂KL/∂ρ has its pole.
            *value = if i < points {
                0.3 * normal
            } else {
                (0.2 + 0.1 * normal.abs()) * normal.signum()
            };
        }
    }
    adapter
}

/// What one member's update is made of.
pub struct Given<'a> {
    pub member: usize,
    pub t: u64,
    /// λ(t).
    pub factor: f64,
    pub layout: &'a Layout,
    /// Of each draw, or of the member itself.
    pub gradients: Vec<Vec<f64>>,
    /// The draws.
    pub at: Vec<Vec<f64>>,
}

pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}

/// Normals; those of the second half of the members are small.
fn gradients(of: &Parameters, t: u64) -> Parameters {
    let mut gradients = of.zeros_like();
    let members = gradients.members();
    for member in 0..members {
        let size = if member < members / 2 { 1.0 } else { 0.01 };
        let to = gradients.member_mut(member);
        let drawn = normals(1000 * t + member as u64, to.len());
        let sized: Vec<_> = drawn.iter().map(|normal| size * normal).collect();
        to.copy_from_slice(&sized);
    }
    gradients
}

/// Four updates, and what they report. `expected` makes a member's update, and gives the norms and
/// the divergence of it.
pub fn follows(
    config: &MethodConfig,
    mut adapter: Adapter,
    tolerance: f64,
    mut expected: impl FnMut(&mut [f64], &Given<'_>) -> (Vec<f64>, Option<f64>),
) -> Vec<UpdateReport> {
    let mut updates = Vec::new();
    let mut method = config.build(&adapter).unwrap();
    let mut values = [0, 1].map(|member| wide(adapter.parameters().member(member)));
    for (t, factor) in (1..).zip(FACTORS) {
        let phase = Phase::Training { micro_batch: 0 };
        let streams = [3, 4].map(|seed| Stream::new(seed, t, phase));
        let drawn = method.drawn(&adapter, &streams);
        let of = drawn.as_ref().unwrap_or(&adapter).parameters();
        let gradients = gradients(of, t);
        let draws = gradients.members() / 2;
        let (mut norms, mut kl) = (Vec::new(), None);
        for (member, values) in values.iter_mut().enumerate() {
            let own = member * draws..(member + 1) * draws;
            let given = Given {
                member,
                t,
                factor,
                layout: adapter.parameters().layout(),
                gradients: own.clone().map(|it| wide(gradients.member(it))).collect(),
                at: own.map(|it| wide(of.member(it))).collect(),
            };
            let (of_member, divergence) = expected(values, &given);
            norms.extend(of_member);
            kl = divergence.map(|divergence| divergence + kl.unwrap_or(0.0));
        }
        let step = Step {
            t,
            gradients: &gradients,
            drawn: drawn.as_ref(),
        };
        let update = method.update(&mut adapter, &step).unwrap();
        updates.push(update);
        let norm = norms.iter().sum::<f64>() / norms.len() as f64;
        assert!((update.grad_norm / norm - 1.0).abs() < tolerance, "{t}");
        assert_eq!(update.kl.is_some(), kl.is_some());
        if let (Some(got), Some(kl)) = (update.kl, kl) {
            assert!((got / kl - 1.0).abs() < tolerance, "{t}: {got} {kl}");
        }
        for (member, expected) in values.iter().enumerate() {
            let got = adapter.parameters().member(member);
            for (i, (&got, expected)) in got.iter().zip(expected).enumerate() {
                let off = (f64::from(got) - expected).abs();
                assert!(
                    off < tolerance * (1.0 + expected.abs()),
                    "update {t}, value {i} of member {member}: {got} {expected}"
                );
            }
        }
    }
    updates
}

pub fn rates(peak: f64) -> [f64; 4] {
    FACTORS.map(|factor| peak * factor)
}

/// Where a mean and its ρ lie.
fn pairs(layout: &Layout, over: Gaussian) -> Vec<(usize, usize)> {
    let mut all = Vec::new();
    let of_b = (Factor::B, Factor::RhoB);
    let both = over == Gaussian::AAndB;
    for (mean, rho) in [(Factor::A, Factor::Rho)]
        .into_iter()
        .chain(both.then_some(of_b))
    {
        for &site in layout.terms().keys() {
            let ranges = (layout.range(site, mean), layout.range(site, rho));
            all.extend(ranges.0.unwrap().zip(ranges.1.unwrap()));
        }
    }
    all
}

/// The divergence of one weight, and its gradient by μ and ρ; σ = ρ².
fn kl(mean: f64, rho: f64) -> (f64, f64, f64) {
    let (std, variance) = (rho * rho, PRIOR_STD * PRIOR_STD);
    let value = (PRIOR_STD / std).ln() + (std * std + mean * mean) / (2.0 * variance) - 0.5;
    (
        value,
        mean / variance,
        (std / variance - 1.0 / std) * 2.0 * rho,
    )
}

fn divergence(values: &[f64], pairs: &[(usize, usize)]) -> f64 {
    let of = |&(mean, rho): &(usize, usize)| kl(values[mean], values[rho]).0;
    pairs.iter().map(of).sum()
}

#[test]
fn mle_is_adamw_on_each_members_clipped_gradient() {
    let mut adamw = AdamW::default();
    let method = MethodConfig::Mle(MleConfig { point: POINT });
    let updates = follows(&method, adapter(None), 1e-5, |values, given| {
        let norm = adamw.update(values, &given.gradients[0], given);
        (vec![norm], None)
    });
    assert!(updates.iter().map(|it| it.lr).eq(rates(POINT.lr)));
}

#[test]
fn map_adds_the_pull_of_its_prior_to_the_gradient_of_the_low_rank_factors() {
    let mut adamw = AdamW::default();
    let method = MethodConfig::Map(MapConfig {
        point: POINT,
        prior_std: PRIOR_STD,
        rows: ROWS,
    });
    follows(&method, adapter(None), 1e-5, |values, given| {
        let mut gradient = given.gradients[0].clone();
        let pull = 1.0 / (ROWS as f64 * PRIOR_STD * PRIOR_STD);
        let low_rank = gradient.iter_mut().zip(&*values);
        for (gradient, theta) in low_rank.take(given.layout.low_rank_len()) {
            *gradient += pull * theta;
        }
        let norm = adamw.update(values, &gradient, given);
        (vec![norm], None)
    });
}

#[test]
fn bbb_is_adamw_on_the_gradient_of_the_bound() {
    for over in [Gaussian::A, Gaussian::AAndB] {
        let mut adamw = AdamW::default();
        let method = MethodConfig::Bbb(BbbConfig {
            point: POINT,
            prior_std: PRIOR_STD,
            rows: ROWS,
            train_samples: 3,
        });
        let updates = follows(&method, adapter(Some(over)), 1e-4, |values, given| {
            let pairs = pairs(given.layout, over);
            let mut gradient = if over == Gaussian::A {
                given.gradients[0].clone()
            } else {
                vec![0.0; values.len()]
            };
            if over == Gaussian::AAndB {
                for (of_nll, at) in given.gradients.iter().zip(&given.at) {
                    for (sum, of_nll) in gradient.iter_mut().zip(of_nll) {
                        *sum += of_nll;
                    }
                    for &(mean, rho) in &pairs {
                        let e = (at[mean] - values[mean]) / (values[rho] * values[rho]);
                        gradient[rho] += of_nll[mean] * e * 2.0 * values[rho];
                    }
                }
            }
            for &(mean, rho) in &pairs {
                let (_, by_mean, by_rho) = kl(values[mean], values[rho]);
                gradient[mean] += by_mean / ROWS as f64;
                gradient[rho] += by_rho / ROWS as f64;
            }
            let norm = adamw.update(values, &gradient, given);
            (vec![norm], Some(divergence(values, &pairs)))
        });
        let weight = Some(1.0 / ROWS as f64);
        assert!(updates.iter().all(|it| it.kl_weight == weight));
    }
}

#[test]
fn blob_is_adamw_on_the_points_and_then_descent_of_the_divergence() {
    let mut adamw = AdamW::default();
    let settings = BlobConfig {
        point: POINT,
        prior_std: PRIOR_STD,
        kl_lr: 0.02,
        kl_cycle: KlCycle::Pulse { length: 3 },
        ..blob(NoiseSharing::Token)
    };
    let weights = [2.0 / 15.0, 4.0 / 15.0, 8.0 / 15.0, 2.0 / 15.0];
    let method = MethodConfig::Blob(settings);
    let updates = follows(
        &method,
        adapter(Some(Gaussian::A)),
        1e-5,
        |values, given| {
            let gradient = &given.gradients[0];
            let points = given.layout.point_len();
            let norm = adamw.update(values, &gradient[..points], given);
            let pairs = pairs(given.layout, Gaussian::A);
            let before = divergence(values, &pairs);
            let weight = weights[given.t as usize - 1];
            for (mean, rho) in pairs {
                let (_, by_mean, by_rho) = kl(values[mean], values[rho]);
                let rate = settings.kl_lr * given.factor;
                values[mean] -= rate * weight * by_mean;
                values[rho] -= rate * (gradient[rho] + weight * by_rho);
            }
            (vec![norm], Some(before))
        },
    );
    for (update, (weight, rate)) in updates.iter().zip(weights.into_iter().zip(rates(0.02))) {
        assert!((update.kl_weight.unwrap() - weight).abs() < 1e-15);
        assert_eq!(update.kl_lr, Some(rate));
    }
}

#[test]
fn ivon_is_a_newton_step_by_the_estimate_of_price() {
    for clip in [0.0, 0.4] {
        let settings = IvonConfig {
            lr: 0.2,
            schedule: SCHEDULE,
            effective_rows: 30.0,
            weight_decay: 0.2,
            initial_hessian: 0.7,
            beta1: 0.8,
            beta2: 0.9,
            clip,
            train_samples: 3,
        };
        let mut states = [Vec::new(), Vec::new()];
        let method = MethodConfig::Ivon(settings);
        let updates = follows(
            &method,
            adapter(Some(Gaussian::AAndB)),
            1e-4,
            |values, given| {
                let IvonConfig {
                    effective_rows: lambda,
                    weight_decay: delta,
                    beta1,
                    beta2,
                    ..
                } = settings;
                let state = &mut states[given.member];
                let points = given.layout.point_len();
                state.resize(points, [0.0, settings.initial_hessian]);
                for (i, [average, h]) in state.iter_mut().enumerate() {
                    let (mut g, mut products) = (0.0, 0.0);
                    for (gradient, at) in given.gradients.iter().zip(&given.at) {
                        g += gradient[i];
                        products += gradient[i] * (at[i] - values[i]);
                    }
                    *average = beta1 * *average + (1.0 - beta1) * g;
                    if i < given.layout.low_rank_len() {
                        let estimate = lambda * (*h + delta) * products;
                        let off = (1.0 - beta2) * (*h - estimate);
                        let correction = 0.5 * off * off / (*h + delta);
                        *h = beta2 * *h + (1.0 - beta2) * estimate + correction;
                    }
                    let slope = *average / (1.0 - beta1.powi(given.t as i32)) + delta * values[i];
                    let newton = slope / (*h + delta);
                    let newton = if clip > 0.0 {
                        newton.clamp(-clip, clip)
                    } else {
                        newton
                    };
                    values[i] -= settings.lr * given.factor * newton;
                }
                for (mean, rho) in pairs(given.layout, Gaussian::AAndB) {
                    let variance = 1.0 / (lambda * (state[mean][1] + delta));
                    values[rho] = variance.sqrt().sqrt();
                }
                let norm = |gradient: &Vec<f64>| {
                    gradient[..points].iter().map(|g| g * g).sum::<f64>().sqrt()
                };
                (given.gradients.iter().map(norm).collect(), None)
            },
        );
        assert!(updates.iter().map(|it| it.lr).eq(rates(0.2)));
    }
}
