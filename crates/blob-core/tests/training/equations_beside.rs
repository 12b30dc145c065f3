//! The updates of what lies beside A and B, scales and networks, against their equations in f64.

use blob_core::adapter::{Factor, Gaussian};
use blob_core::method::{CLoraConfig, MethodConfig, ScalaBlConfig};
use blob_core::objective::Average;
use blob_core::optim::KlCycle;
use blob_core::pass::NoiseSharing;

use crate::adamw::AdamW;
use crate::equations::{POINT, PRIOR_STD, adapter, follows, rates};

const CYCLE: KlCycle = KlCycle::Pulse { length: 3 };
/// Of the first updates, by the cycle.
const WEIGHTS: [f64; 4] = [2.0 / 15.0, 4.0 / 15.0, 8.0 / 15.0, 2.0 / 15.0];

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Where the row of one direction lies, its ln μ and its ln σ.
struct Direction {
    row: std::ops::Range<usize>,
    log_mean: usize,
    rho: usize,
}

#[test]
fn scalabl_is_adamw_on_directions_and_log_scales_and_then_descent_of_the_divergence() {
    let settings = ScalaBlConfig {
        point: POINT,
        prior_std: PRIOR_STD,
        kl_lr: 0.02,
        kl_cycle: CYCLE,
        train_samples: 3,
        average: Average::Logits,
    };
    let mut start = adapter(Some(Gaussian::Scales));
    let layout = start.parameters().layout().clone();
    let directions: Vec<_> = layout
        .terms()
        .iter()
        .flat_map(|(&site, shape)| {
            let of = |factor| layout.range(site, factor).unwrap().start;
            let (a, width) = (of(Factor::A), shape.inputs);
            let (scale, rho) = (of(Factor::Scale), of(Factor::RhoScale));
            (0..shape.rank).map(move |i| Direction {
                row: a + i * width..a + (i + 1) * width,
                log_mean: scale + i,
                rho: rho + i,
            })
        })
        .collect();
    // No scale changes a row of zeros.
    for member in 0..2 {
        start.parameters_mut().member_mut(member)[directions[0].row.clone()].fill(0.0);
    }
    let each_row = |values: &mut [f64], change: fn(f64, f64) -> f64| {
        for Direction { row, log_mean, .. } in &directions {
            let mean = values[*log_mean].exp();
            for value in &mut values[row.clone()] {
                *value = change(*value, mean);
            }
        }
    };
    let mut adamw = AdamW::default();
    let method = MethodConfig::ScalaBl(settings);
    let updates = follows(&method, start, 1e-4, |values, given| {
        let points = given.layout.point_len();
        let mut gradient = vec![0.0; values.len()];
        for (of_nll, at) in given.gradients.iter().zip(&given.at) {
            for (sum, g) in gradient[..points].iter_mut().zip(of_nll) {
                *sum += g;
            }
            for Direction { row, log_mean, rho } in &directions {
                let (a, g) = (&values[row.clone()], &of_nll[row.clone()]);
                let square = dot(a, a);
                let drawn = dot(&at[row.clone()], a);
                let f = if square > 0.0 { drawn / square } else { 1.0 };
                gradient[*log_mean] += dot(g, a);
                gradient[*rho] += dot(g, a) * (f - 1.0);
                let by_direction = f * values[*log_mean].exp();
                for (sum, g) in gradient[row.clone()].iter_mut().zip(g) {
                    *sum += (by_direction - 1.0) * g;
                }
            }
        }
        each_row(values, |a, mean| a / mean);
        let norm = adamw.update(values, &gradient, given);
        let (mut kl, weight) = (0.0, WEIGHTS[given.t as usize - 1]);
        let rate = settings.kl_lr * given.factor * weight;
        let variance = PRIOR_STD * PRIOR_STD;
        for Direction { log_mean, rho, .. } in &directions {
            let (mean, std) = (values[*log_mean].exp(), values[*rho].exp());
            kl += (PRIOR_STD / std).ln() + (std * std + mean * mean) / (2.0 * variance) - 0.5;
            values[*log_mean] -= rate * mean * mean / variance;
            values[*rho] -= rate * (std * std / variance - 1.0);
        }
        each_row(values, |a, mean| a * mean);
        (vec![norm], Some(kl))
    });
    for (update, (weight, rate)) in updates.iter().zip(WEIGHTS.into_iter().zip(rates(0.02))) {
        assert!((update.kl_weight.unwrap() - weight).abs() < 1e-15);
        assert_eq!(update.kl_lr, Some(rate));
    }
}

fn c_lora(kl_weight: f64) -> CLoraConfig {
    CLoraConfig {
        point: POINT,
        prior_std: PRIOR_STD,
        context_lr: 0.03,
        kl_weight,
        kl_cycle: CYCLE,
        train_samples: 3,
        average: Average::Logits,
        noise: NoiseSharing::Token,
    }
}

#[test]
fn c_lora_is_adamw_on_the_points_and_plain_descent_of_the_networks() {
    let mut adamw = AdamW::default();
    let settings = c_lora(0.4);
    let method = MethodConfig::CLora(settings);
    let start = adapter(Some(Gaussian::Context));
    let updates = follows(&method, start, 1e-5, |values, given| {
        let gradient = &given.gradients[0];
        let points = given.layout.point_len();
        let norm = adamw.update(values, &gradient[..points], given);
        for (value, g) in values.iter_mut().zip(gradient).skip(points) {
            *value -= settings.context_lr * given.factor * g;
        }
        (vec![norm], None)
    });
    assert!(updates.iter().map(|it| it.lr).eq(rates(POINT.lr)));
}

#[test]
fn the_divergence_of_a_context_is_shared_out_over_layers_and_samples_by_the_cycle() {
    let adapter = adapter(Some(Gaussian::Context));
    let layers = adapter.parameters().layout().terms().len() as f64;
    assert!(layers > 1.0);
    let of = |kl_weight, t| {
        let method = MethodConfig::CLora(c_lora(kl_weight)).build(&adapter);
        method.unwrap().context_kl(t).map(|(_, weight)| weight)
    };
    for (t, weight) in (1..).zip(WEIGHTS) {
        let expected = 0.4 * weight / (layers * 3.0);
        assert!((of(0.4, t).unwrap() / expected - 1.0).abs() < 1e-12, "{t}");
        assert_eq!(of(0.0, t), None);
    }
}

#[test]
fn a_checkpoint_holds_the_moments_of_what_adamw_moves() {
    let configs = [
        (Gaussian::Context, MethodConfig::CLora(c_lora(0.4))),
        (
            Gaussian::Scales,
            MethodConfig::ScalaBl(ScalaBlConfig {
                point: POINT,
                prior_std: PRIOR_STD,
                kl_lr: 0.02,
                kl_cycle: CYCLE,
                train_samples: 1,
                average: Average::Logits,
            }),
        ),
    ];
    for (over, config) in configs {
        let adapter = adapter(Some(over));
        let mut method = config.build(&adapter).unwrap();
        let names: Vec<_> = method.statistics().iter().map(|it| it.name).collect();
        assert_eq!(names, ["first", "second"], "{over:?}");
    }
}
