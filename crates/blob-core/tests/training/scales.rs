//! Gaussian scales of an adapter: their start and their draws.
#![expect(clippy::unwrap_used, reason = "test code")]

use blob_core::adapter::{Adapter, Draw, Factor, LoraConfig, Module};
use blob_core::backbone::BackboneConfig;
use blob_core::noise::{Phase, Stream};

use crate::scalabl::{EPS, scales, scales_of};
use crate::support::small_model::config;

#[test]
fn starts_with_the_directions_and_singular_values_of_plain_lora() {
    let modules = [Module::Q, Module::Down];
    let plain = LoraConfig {
        posterior: None,
        ..scales_of(&modules, 5)
    };
    let plain = Adapter::new(plain, &config()).unwrap();
    let adapter = Adapter::new(scales_of(&modules, 5), &config()).unwrap();
    for (site, term) in adapter.terms(0) {
        let (rank, width) = (term.rank, term.inputs);
        let gram = |a: &[f32], i: usize, j: usize| -> f64 {
            let rows = (0..rank).map(|r| f64::from(a[r * width + i]) * f64::from(a[r * width + j]));
            rows.sum()
        };
        // A₀ᵀA₀ = Vᵀdiag(μ²)V
        let before = &plain.terms(0)[&site].a;
        for (i, j) in (0..width).flat_map(|i| (0..width).map(move |j| (i, j))) {
            let difference = gram(&term.a, i, j) - gram(before, i, j);
            assert!(difference.abs() < 1e-6, "{} {i} {j}", site.path());
        }
        let (log_mean, rho) = (
            &term.beside[&Factor::Scale],
            &term.beside[&Factor::RhoScale],
        );
        for (row, log_mean) in term.a.chunks_exact(width).zip(log_mean) {
            let norm = row.iter().map(|a| a * a).sum::<f32>().sqrt();
            assert!(
                (norm.ln() - log_mean).abs() < 1e-5,
                "V has rows of length 1"
            );
        }
        let range = EPS / 2f32.sqrt()..EPS;
        assert!(rho.iter().all(|rho| range.contains(&rho.exp())));
        assert!(term.b.iter().all(|b| *b == 0.0));
    }
    assert!(adapter.sigma_mean().unwrap() > 0.7 * f64::from(EPS));
}

/// Of rank 5 in layers of three inputs.
#[test]
fn starts_with_finite_scales_where_a_has_more_rows_than_inputs() {
    let backbone = BackboneConfig {
        hidden_size: 4,
        num_heads: 2,
        num_kv_heads: 1,
        head_dim: 2,
        ..config()
    };
    let adapter = Adapter::new(scales_of(&[Module::Q], 6), &backbone).unwrap();
    assert_eq!(adapter.first_not_finite(), None);
    for term in adapter.terms(0).values() {
        let log_mean = &term.beside[&Factor::Scale];
        let share = log_mean.last().unwrap() - log_mean[0];
        assert!((share - 1e-6f32.ln()).abs() < 1e-3, "{log_mean:?}");
    }
}

/// f of every row, with a check that it is one number.
fn factors(of: &Adapter, drawn: &Adapter, member: usize) -> Vec<f64> {
    let mut all = Vec::new();
    for (site, term) in of.terms(0) {
        let at = drawn.parameters().term(member, site).unwrap();
        let rows = term
            .a
            .chunks_exact(term.inputs)
            .zip(at.a.chunks_exact(term.inputs));
        for (mean, row) in rows {
            let factors = row.iter().zip(mean).map(|(a, m)| f64::from(a / m));
            let factors: Vec<_> = factors.collect();
            assert!(factors.iter().all(|f| (f - factors[0]).abs() < 1e-4));
            all.push(factors[0]);
        }
        assert_eq!(at.b, term.b);
    }
    all
}

#[test]
fn a_draw_scales_each_direction_by_a_normal_of_its_own() {
    let adapter = Adapter::new(scales_of(&[Module::Q, Module::V], 3), &config()).unwrap();
    let draw = |sample, sign| Draw {
        member: 0,
        stream: Stream::new(9, 0, Phase::Evaluation),
        sample,
        sign,
    };
    let count = 4000;
    let draws: Vec<_> = (0..count).map(|sample| draw(sample, 1.0)).collect();
    let drawn = adapter.drawn(&draws, 0);
    let all: Vec<_> = (0..count as usize)
        .map(|member| factors(&adapter, &drawn, member))
        .collect();
    let own = scales(&adapter);
    let normal = |sample: usize, i: usize| {
        let (mean, rho) = own[i];
        (all[sample][i] - 1.0) * f64::from((mean - rho).exp())
    };
    let moment = |i: usize, j: usize| {
        let samples = 0..count as usize;
        let products = samples.map(|sample| normal(sample, i) * normal(sample, j));
        products.sum::<f64>() / f64::from(count)
    };
    for i in 0..own.len() {
        let mean = (0..count as usize).map(|s| normal(s, i)).sum::<f64>() / f64::from(count);
        assert!(mean.abs() < 0.08, "{mean}");
        for j in 0..=i {
            let expected = f64::from(u8::from(i == j));
            assert!(
                (moment(i, j) - expected).abs() < 0.11,
                "{i} {j}: {}",
                moment(i, j)
            );
        }
    }
    let mirrored = adapter.drawn(&[draw(0, 1.0), draw(0, -1.0)], 0);
    let pair = [0, 1].map(|member| factors(&adapter, &mirrored, member));
    for (one, other) in pair[0].iter().zip(&pair[1]) {
        assert!((one + other - 2.0).abs() < 1e-4);
    }
    // Blocks before stay at their mean.
    let last = adapter.drawn(&[draw(0, 1.0)], 1);
    assert!(factors(&adapter, &last, 0)[..6].iter().all(|f| *f == 1.0));
}
