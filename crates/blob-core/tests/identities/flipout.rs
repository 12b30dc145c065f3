//! The moments of the noise that one adapted layer sees, against their closed forms.
//!
//! ```text
//! h_tj = Σ_i x_ti (M_ji + S_ti T_tj σ_ji E_ji)
//! E[h_tj] = Σ_i x_ti M_ji        Var[h_tj] = Σ_i x_ti² σ_ji²        Cov[h_tj, h_tl] = 0 for j ≠ l
//! Cov[h_tj, h_uj] = Σ_i x_ti x_ui σ_ji²   where t and u share their signs, else 0
//! ```
//!
//! Every statement is tested over 40 000 draws within five standard errors: the noise of one token
//! is Gaussian, so Var[mean] = V/n and Var[variance] = 2V²/n; of a product of two, given its signs,
//! E[(h h')²] ≤ 3 V V', so Var[covariance] ≤ 3 V V'/n.
#![expect(clippy::unwrap_used, reason = "test code")]

use crate::support::small_model::{Prompt, batch_of, config, lora, normals, trained};
use blob_core::abort::Abort;
use blob_core::adapter::{Adapter, LoraConfig, Module, Site};
use blob_core::batch::Batch;
use blob_core::noise::{Phase, Stream};
use blob_core::ops::low_rank::Term;
use blob_core::pass::{BatchCopy, Mode, NoiseSharing, Pass};

const DRAWS: usize = 40_000;

/// The layer whose noise is looked at, (r, k) = (3, 24).
const SITE: Site = Site {
    block: 1,
    module: Module::V,
};

/// Two prompts, of two tokens and of one.
fn batch() -> Batch {
    let prompt = |tokens: usize, row| {
        let (ids, answers) = (vec![1; tokens], vec![1, 2]);
        Prompt {
            ids,
            answers,
            label: 0,
            row,
        }
    };
    batch_of(&[prompt(2, 5), prompt(1, 6)])
}

/// Mean and covariance of h over the draws: index 3·token + rank.
struct Moments {
    mean: [f64; 9],
    covariance: [[f64; 9]; 9],
}

fn moments(adapter: &Adapter, x: &[f32], sharing: NoiseSharing) -> Moments {
    let mode = Mode {
        sampling: Some(sharing),
        ..Mode::MEAN
    };
    let (mut mean, mut products) = ([0.0; 9], [[0.0; 9]; 9]);
    let chunk = 500;
    for from in (0..DRAWS).step_by(chunk) {
        // Samples of one stream, as in evaluation, and another stream for each chunk, as in
        // training.
        let stream = Stream::new(7, 1 + from as u64, Phase::Training { micro_batch: 0 });
        let batch = batch();
        let copy = |sample| BatchCopy::whole(&batch, stream, sample as u32);
        let copies = (0..chunk).map(copy).collect();
        let pass = Pass::new(&batch, copies, mode, Abort::default());
        let term = Term::at(adapter, SITE, &pass.all_rows, &pass).unwrap();
        let kept = term.down(&x.repeat(chunk));
        for h in kept.h().chunks_exact(9) {
            for (i, &a) in h.iter().enumerate() {
                mean[i] += f64::from(a) / DRAWS as f64;
                for (j, &b) in h.iter().enumerate() {
                    products[i][j] += f64::from(a) * f64::from(b) / DRAWS as f64;
                }
            }
        }
    }
    for i in 0..9 {
        for j in 0..9 {
            products[i][j] -= mean[i] * mean[j];
        }
    }
    Moments {
        mean,
        covariance: products,
    }
}

#[test]
fn noise_has_its_closed_form_moments_under_every_sharing_of_signs() {
    let adapter = trained(lora(&[Module::V]), &config());
    let term = &adapter.terms(0)[&SITE];
    let k = term.inputs;
    let mut x = normals(3, 3 * k);
    for i in 0..k {
        x[k + i] += x[i]; // tokens that resemble each other, so that covariances are large
        x[2 * k + i] -= x[i];
    }
    let std = |rank: usize, i: usize| f64::from(term.rho.as_ref().unwrap()[rank * k + i]).powi(2);
    let x_of = |token: usize, i: usize| f64::from(x[token * k + i]);
    let shared = |t: usize, u: usize, rank: usize| {
        (0..k)
            .map(|i| x_of(t, i) * x_of(u, i) * std(rank, i).powi(2))
            .sum::<f64>()
    };
    let n = DRAWS as f64;
    for sharing in [
        NoiseSharing::Token,
        NoiseSharing::Example,
        NoiseSharing::Shared,
    ] {
        let moments = moments(&adapter, &x, sharing);
        // Tokens 0 and 1 are of one prompt, token 2 of another.
        let same_signs = |t: usize, u: usize| match sharing {
            NoiseSharing::Token => t == u,
            NoiseSharing::Example => (t < 2) == (u < 2),
            NoiseSharing::Shared => true,
        };
        for a in 0..9 {
            let (t, j) = (a / 3, a % 3);
            let variance = shared(t, t, j);
            let expected: f64 = (0..k)
                .map(|i| x_of(t, i) * f64::from(term.a[j * k + i]))
                .sum();
            let got = moments.mean[a];
            assert!(
                (got - expected).abs() < 5.0 * (variance / n).sqrt(),
                "{sharing:?} mean {t} {j}: {got} {expected}"
            );
            for b in 0..9 {
                let (u, l) = (b / 3, b % 3);
                let expected = if j == l && same_signs(t, u) {
                    shared(t, u, j)
                } else {
                    0.0
                };
                let spread = if a == b { 2.0 } else { 3.0 };
                let tolerance = 5.0 * (spread * variance * shared(u, u, l) / n).sqrt();
                let got = moments.covariance[a][b];
                assert!(
                    (got - expected).abs() < tolerance,
                    "{sharing:?} ({t},{j}) ({u},{l}): {got} {expected} ± {tolerance}"
                );
            }
        }
        let tolerance = 5.0 * (3.0 * shared(0, 0, 0) * shared(1, 1, 0) / n).sqrt();
        assert!(
            shared(0, 1, 0).abs() > 4.0 * tolerance,
            "the test must be able to tell sharings apart"
        );
    }
}

#[test]
fn outputs_scatter_around_the_output_of_the_mean() {
    // y = s·h·Bᵀ is linear: Var[y_c] = s² Σ_j B_cj² Var[h_j], as ranks are uncorrelated.
    let adapter = trained(lora(&[Module::V]), &config());
    let term = &adapter.terms(0)[&SITE];
    let (k, m, r) = (term.inputs, term.outputs, term.rank);
    let x = normals(4, 3 * k);
    let run = |mode, draws: &[(Stream, u32)]| {
        let batch = batch();
        let copy = |&(stream, sample): &_| BatchCopy::whole(&batch, stream, sample);
        let copies = draws.iter().map(copy).collect();
        let pass = Pass::new(&batch, copies, mode, Abort::default());
        let scaling = adapter.scaling();
        let low_rank = Term::at(&adapter, SITE, &pass.all_rows, &pass).unwrap();
        let kept = low_rank.down(&x.repeat(draws.len()));
        let outputs = |h: &[f32]| -> Vec<f32> {
            let dot = |b: &[f32]| b.iter().zip(h).map(|(b, h)| b * h).sum::<f32>();
            term.b.chunks_exact(r).map(|b| scaling * dot(b)).collect()
        };
        kept.h()
            .chunks_exact(r)
            .flat_map(outputs)
            .collect::<Vec<f32>>()
    };
    let stream = Stream::new(2, 0, Phase::Evaluation);
    let mean = run(Mode::MEAN, &[(stream, 0)]);
    let draws: Vec<_> = (0..4000).map(|sample| (stream, sample)).collect();
    let mode = Mode {
        sampling: Some(NoiseSharing::Token),
        ..Mode::MEAN
    };
    let sampled = run(mode, &draws);
    let n = draws.len() as f64;
    for (at, &of_mean) in mean.iter().enumerate() {
        let (token, output) = (at / m, at % m);
        let values = || {
            sampled
                .iter()
                .skip(at)
                .step_by(3 * m)
                .map(|&y| f64::from(y))
        };
        let average = values().sum::<f64>() / n;
        let variance = values().map(|y| (y - average).powi(2)).sum::<f64>() / n;
        let of_rank = |j: usize| {
            let std = |i: usize| f64::from(term.rho.as_ref().unwrap()[j * k + i]).powi(2);
            (0..k)
                .map(|i| (f64::from(x[token * k + i]) * std(i)).powi(2))
                .sum::<f64>()
        };
        let scale = |j: usize| f64::from(adapter.scaling() * term.b[output * r + j]).powi(2);
        let expected: f64 = (0..r).map(|j| scale(j) * of_rank(j)).sum();
        assert!(
            (average - f64::from(of_mean)).abs() < 5.0 * (expected / n).sqrt(),
            "mean of {at}"
        );
        assert!(
            (variance / expected - 1.0).abs() < 5.0 * (2.0 / n).sqrt(),
            "variance of {at}: {variance} {expected}"
        );
    }
}

#[test]
fn an_antithetic_pair_mirrors_the_mean_and_other_pairs_differ() {
    let adapter = trained(lora(&[Module::V]), &config());
    let term = &adapter.terms(0)[&SITE];
    let (k, r) = (term.inputs, term.rank);
    let x = normals(4, 3 * k);
    let stream = Stream::new(2, 0, Phase::Evaluation);
    for sharing in [
        NoiseSharing::Token,
        NoiseSharing::Example,
        NoiseSharing::Shared,
    ] {
        let h = |sampling, antithetic, samples: &[u32]| {
            let batch = batch();
            let copy = |&sample: &u32| BatchCopy::whole(&batch, stream, sample);
            let copies = samples.iter().map(copy).collect();
            let mode = Mode {
                sampling,
                antithetic,
                ..Mode::MEAN
            };
            let pass = Pass::new(&batch, copies, mode, Abort::default());
            let low_rank = Term::at(&adapter, SITE, &pass.all_rows, &pass).unwrap();
            let kept = low_rank.down(&x.repeat(samples.len()));
            kept.h().to_vec()
        };
        let mean = h(None, true, &[0]);
        let pairs = h(Some(sharing), true, &[0, 1, 2, 3]);
        let [first, mirrored, other, _] = [0, 1, 2, 3].map(|s| &pairs[s * 3 * r..(s + 1) * 3 * r]);
        for ((a, b), mean) in first.iter().zip(mirrored).zip(&mean) {
            assert!(
                (a + b - 2.0 * mean).abs() < 1e-5 * (a.abs() + b.abs()),
                "{a} {b} {mean}"
            );
            assert!(a != b);
        }
        assert_ne!(first, other);
        // The first of pair j is sample j of the plain sequence.
        assert_eq!(first, h(Some(sharing), false, &[0]));
        assert_eq!(other, h(Some(sharing), false, &[1]));
    }
}

#[test]
fn dropout_masks_have_their_closed_form_moments_and_are_not_shared_by_a_pair() {
    // h_j = Σ_i A_ji x_i d_i / (1 − p): Var[h_j] = p / (1 − p) · Σ_i (A_ji x_i)².
    let point = LoraConfig {
        posterior: None,
        ..lora(&[Module::V])
    };
    let adapter = trained(point, &config());
    let term = &adapter.terms(0)[&SITE];
    let (k, r, p) = (term.inputs, term.rank, 0.25f32);
    let x = normals(4, 3 * k);
    let stream = Stream::new(2, 0, Phase::Evaluation);
    let h = |dropout, samples: u32| {
        let batch = batch();
        let copy = |sample| BatchCopy::whole(&batch, stream, sample);
        let mode = Mode {
            sampling: Some(NoiseSharing::Token),
            antithetic: true,
            dropout,
            ..Mode::MEAN
        };
        let pass = Pass::new(
            &batch,
            (0..samples).map(copy).collect(),
            mode,
            Abort::default(),
        );
        let low_rank = Term::at(&adapter, SITE, &pass.all_rows, &pass).unwrap();
        let kept = low_rank.down(&x.repeat(samples as usize));
        kept.h().to_vec()
    };
    let (mean, samples) = (h(0.0, 1), 4000);
    let sampled = h(p, samples);
    let n = f64::from(samples);
    for (at, &of_mean) in mean.iter().enumerate() {
        let (token, rank) = (at / r, at % r);
        let values = || {
            sampled
                .iter()
                .skip(at)
                .step_by(3 * r)
                .map(|&h| f64::from(h))
        };
        let average = values().sum::<f64>() / n;
        let variance = values().map(|h| (h - average).powi(2)).sum::<f64>() / n;
        let of_input = |i: usize| f64::from(term.a[rank * k + i] * x[token * k + i]).powi(2);
        let expected = f64::from(p / (1.0 - p)) * (0..k).map(of_input).sum::<f64>();
        assert!(
            (average - f64::from(of_mean)).abs() < 5.0 * (expected / n).sqrt(),
            "mean of {at}: {average} {of_mean}"
        );
        assert!(
            (variance / expected - 1.0).abs() < 5.0 * (2.0 / n).sqrt(),
            "variance of {at}: {variance} {expected}"
        );
    }
    let [first, mirrored] = [0, 1].map(|sample| &sampled[sample * 3 * r..(sample + 1) * 3 * r]);
    assert_ne!(
        first, mirrored,
        "a mirrored pair must have masks of its own"
    );
}
