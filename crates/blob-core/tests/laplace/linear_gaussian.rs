//! A linear-Gaussian problem, whose posterior and evidence are known: the output layer of an
//! encoder's head, trained whole, under Gaussian targets of precision w.
//!
//! ```text
//! f_n = V·h_n + c = Θ x_n, x = (h, 1)       y_nc ~ N(f_nc, 1/w)      Θ ~ N(0, 1/λ)
//! p(Θ_c | y) = N((w XᵀX + λI)⁻¹ w Xᵀ y_c, (w XᵀX + λI)⁻¹)            X (n, d + 1)
//! p(y_c) = N(0, I/w + XXᵀ/λ)
//! ```
#![expect(clippy::unwrap_used, reason = "test code")]

use std::f64::consts::PI;

use blob_core::abort::Abort;
use blob_core::adapter::{Adapter, Module, Site};
use blob_core::batch::{Batch, BatchParts};
use blob_core::laplace::{Fit, FitConfig, Likelihood, Linearisation};
use blob_core::objective::Evaluated;
use blob_core::observer::{Observer, Seen};

use crate::support::encoder_case::EncoderCase;
use crate::support::small_model::normals;
use crate::{SETTINGS, dot, observed, solve};

const PRECISION: f64 = 3.0;
const PRIOR: f64 = 0.7;

/// y of all rows and classes.
struct Gaussian(Vec<f64>);

impl Likelihood for Gaussian {
    fn evaluate(&self, logits: &[f32], _batch: &Batch) -> blob_core::Result<Evaluated> {
        let pairs = logits.iter().zip(&self.0);
        let squares: f64 = pairs.map(|(f, y)| (f64::from(*f) - y).powi(2)).sum();
        let normaliser = 0.5 * logits.len() as f64 * (2.0 * PI / PRECISION).ln();
        Ok(Evaluated {
            nll_sum: 0.5 * PRECISION * squares + normaliser,
            correct: 0,
            dlogits: Vec::new(),
        })
    }

    fn roots(&self, logits: &[f32], batch: &Batch) -> blob_core::Result<Vec<Vec<f32>>> {
        let classes = logits.len() / batch.len();
        let unit = |class: usize| {
            let value = |at: usize| {
                if at % classes == class {
                    PRECISION.sqrt()
                } else {
                    0.0
                }
            };
            (0..logits.len()).map(|at| value(at) as f32).collect()
        };
        Ok((0..classes).map(unit).collect())
    }
}

/// h of the output layer.
#[derive(Default)]
struct Hidden(Vec<f32>);

impl Observer for Hidden {
    fn see(&mut self, seen: &Seen<'_>) -> blob_core::Result<()> {
        if seen.site.module == Module::Classifier {
            self.0 = seen.x.to_vec();
        }
        Ok(())
    }
}

/// XᵀX·w, or its likes.
fn products(columns: &[Vec<f64>], factor: f64) -> Vec<Vec<f64>> {
    let row = |one: &Vec<f64>| {
        columns
            .iter()
            .map(|other| factor * dot(one, other))
            .collect()
    };
    columns.iter().map(row).collect()
}

/// ln det of a positive matrix, by elimination.
fn log_determinant(mut a: Vec<Vec<f64>>) -> f64 {
    let mut sum = 0.0;
    for pivot in 0..a.len() {
        let pivots = a[pivot].clone();
        sum += pivots[pivot].ln();
        for row in &mut a[pivot + 1..] {
            let factor = row[pivot] / pivots[pivot];
            for (value, of_pivot) in row.iter_mut().zip(&pivots) {
                *value -= factor * of_pivot;
            }
        }
    }
    sum
}

/// Θ of the output layer.
fn set_output(adapter: &mut Adapter, site: Site, theta: &[Vec<f64>]) {
    let layer = adapter.parameters_mut().own_layer_mut(0, site).unwrap();
    let width = theta[0].len() - 1;
    for ((row, bias), theta) in layer
        .weight
        .chunks_exact_mut(width)
        .zip(layer.bias)
        .zip(theta)
    {
        for (value, theta) in row.iter_mut().zip(theta) {
            *value = *theta as f32;
        }
        *bias = theta[width] as f32;
    }
}

/// Eight prompts of three tokens each, among three classes.
fn prompts_of(ids: &[u32]) -> Batch {
    let prompt = |row: usize| (0..3).map(move |at| ids[(5 * row + 3 * at) % ids.len()]);
    let bounds: Vec<u32> = (0..=8).map(|row| 3 * row).collect();
    let parts = BatchParts {
        ids: (0..8).flat_map(prompt).collect(),
        offsets: bounds.clone(),
        answers: [0, 1, 2].repeat(8),
        answer_offsets: bounds,
        labels: vec![0; 8],
        rows: (0..8).collect(),
    };
    Batch::new(parts).unwrap()
}

#[test]
fn posterior_and_evidence_are_the_exact_ones() {
    let EncoderCase {
        backbone,
        mut adapter,
        batch,
        ..
    } = EncoderCase::open("encoder-bert");
    let batch = prompts_of(batch.ids());
    let site = Site {
        block: backbone.config().num_layers,
        module: Module::Classifier,
    };
    let unit = vec![vec![1.0; batch.answers().len()]];
    let (logits, hidden) = observed(&backbone, &adapter, (&batch, &unit), Hidden::default());
    let (rows, classes) = (batch.len(), logits.len() / batch.len());
    let hidden = hidden.lock().unwrap().0.clone();
    let width = hidden.len() / rows;
    let x: Vec<Vec<f64>> = hidden
        .chunks_exact(width)
        .map(|h| h.iter().map(|&h| f64::from(h)).chain([1.0]).collect())
        .collect();
    let columns: Vec<Vec<f64>> = (0..=width)
        .map(|i| x.iter().map(|x| x[i]).collect())
        .collect();
    let y: Vec<f64> = normals(5, rows * classes)
        .into_iter()
        .map(f64::from)
        .collect();
    let targets = |c: usize| -> Vec<f64> { (0..rows).map(|n| y[n * classes + c]).collect() };
    let precision = products(&columns, PRECISION);
    let mode = |c: usize| {
        let pull: Vec<f64> = columns
            .iter()
            .map(|it| PRECISION * dot(it, &targets(c)))
            .collect();
        solve(&precision, PRIOR, &pull)
    };
    let theta: Vec<Vec<f64>> = (0..classes).map(mode).collect();
    set_output(&mut adapter, site, &theta);

    let config = FitConfig {
        from_block: backbone.config().num_layers,
        ..SETTINGS
    };
    let mut fit = Fit::new(config, &adapter)
        .unwrap()
        .with_likelihood(Box::new(Gaussian(y.clone())));
    fit.add(&backbone, &adapter, &batch, &Abort::default())
        .unwrap();
    let found = fit.finish().unwrap();

    // ln p(y), row by row of the classes' Gaussians.
    let mut kernel = products(&x, 1.0 / PRIOR);
    for (n, row) in kernel.iter_mut().enumerate() {
        row[n] += 1.0 / PRECISION;
    }
    let of_class = |c: usize| {
        let targets = targets(c);
        let quadratic = dot(&targets, &solve(&kernel, 0.0, &targets));
        -0.5 * (quadratic + log_determinant(kernel.clone()) + rows as f64 * (2.0 * PI).ln())
    };
    let expected: f64 = (0..classes).map(of_class).sum();
    let evidence = found.evidence(PRIOR);
    assert!((evidence - expected).abs() < 1e-3, "{evidence} {expected}");

    // Λ = xᵀ(w XᵀX + λI)⁻¹x·I.
    let of = Linearisation {
        batch: &batch,
        precisions: &[PRIOR],
        from_block: 0,
    };
    let linearised = found
        .curvature
        .linearise(&backbone, &adapter, of, &Abort::default())
        .unwrap();
    for (x, covariance) in x.iter().zip(&linearised.covariances[0]) {
        let variance = dot(x, &solve(&precision, PRIOR, x));
        for (at, found) in covariance.iter().enumerate() {
            let expected = if at / classes == at % classes {
                variance
            } else {
                0.0
            };
            assert!(
                (found - expected).abs() < 1e-4 * variance,
                "{found} {expected}"
            );
        }
    }
    // γ = Σ f/(f + λ) is the trace of the hat matrix: ⟨X, X(w XᵀX + λI)⁻¹⟩·w for each class.
    let hat: f64 = x
        .iter()
        .map(|x| PRECISION * dot(x, &solve(&precision, PRIOR, x)))
        .sum();
    let determined = found.determined(PRIOR);
    assert!(
        (determined - classes as f64 * hat).abs() < 1e-3,
        "{determined} {hat}"
    );
}
