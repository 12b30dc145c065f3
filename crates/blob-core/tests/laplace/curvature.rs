//! The factors against what they stand for.
#![expect(clippy::unwrap_used, reason = "test code")]

use blob_core::abort::Abort;
use blob_core::adapter::{Adapter, Module, Site};
use blob_core::backbone::{Backbone, BackboneConfig};
use blob_core::batch::Batch;
use blob_core::laplace::{
    Directions, Fit, FitConfig, Fitted, Likelihood, Linearisation, MatrixCurvature, Softmax,
};
use blob_core::ops::Precision;

use crate::support::encoder_case::EncoderCase;
use crate::support::golden::assert_close;
use crate::support::small_model::{Prompt, backbone, batch_of, config, prompts};
use crate::{SETTINGS, answering, dot, fitted, jacobian, matrices, of_head, part, point, solve};

/// Σ value·v vᵀ
fn dense(directions: &Directions) -> Vec<Vec<f64>> {
    let width = directions.width();
    let mut sum = vec![vec![0.0; width]; width];
    let vectors = directions.vectors().chunks_exact(width);
    for (value, vector) in directions.values().iter().zip(vectors) {
        for (row, x) in sum.iter_mut().zip(vector) {
            for (sum, y) in row.iter_mut().zip(vector) {
                *sum += value * f64::from(*x) * f64::from(*y);
            }
        }
    }
    sum
}

/// F of a block in the order of its matrix's values.
pub(crate) fn kronecker(block: &MatrixCurvature) -> Vec<Vec<f64>> {
    let (input, output) = (dense(&block.input), dense(&block.output));
    let row = |(o, i): (usize, usize)| {
        let columns = output[o].iter();
        columns
            .flat_map(|s| input[i].iter().map(move |l| s * l))
            .collect()
    };
    let places = (0..output.len()).flat_map(|o| (0..input.len()).map(move |i| (o, i)));
    places.map(row).collect()
}

fn one_token(row: u32) -> Prompt {
    Prompt {
        ids: vec![29],
        answers: vec![20, 39, 7],
        label: 0,
        row,
    }
}

/// JᵀHJ of one prompt against every block of a curvature of `times` of it.
fn assert_exact(
    backbone: &Backbone,
    adapter: &Adapter,
    (batch, times): (&Batch, f64),
    (fitted, is_one_row): (&Fitted, impl Fn(Site) -> bool),
) {
    let (logits, gradients) = jacobian(backbone, adapter, batch);
    let roots = Softmax.roots(&logits, batch).unwrap();
    let mut checked = 0;
    for (site, factor, _) in matrices(adapter) {
        let Some(block) = fitted.curvature.matrix(site, factor) else {
            continue;
        };
        if !is_one_row(site) {
            continue;
        }
        let parts: Vec<_> = gradients
            .iter()
            .map(|gradient| part(adapter, (site, factor), gradient))
            .collect();
        let columns: Vec<Vec<f64>> = roots
            .iter()
            .map(|root| {
                let at = |i: usize| {
                    let terms = root.iter().zip(&parts);
                    terms.map(|(r, part)| f64::from(*r) * part[i]).sum()
                };
                (0..parts[0].len()).map(at).collect()
            })
            .collect();
        let found = kronecker(block);
        let largest = columns
            .iter()
            .flatten()
            .fold(0.0, |most: f64, v| most.max(v * v));
        for (i, row) in found.iter().enumerate() {
            for (j, found) in row.iter().enumerate() {
                let expected: f64 = times * columns.iter().map(|c| c[i] * c[j]).sum::<f64>();
                assert!(
                    (found - expected).abs() <= 1e-4 * times * largest,
                    "{} {factor:?} {i} {j}: {found} {expected}",
                    site.path()
                );
            }
        }
        assert!(largest > 0.0, "{} {factor:?}", site.path());
        checked += 1;
    }
    assert!(checked > 0);
}

/// Who sees one token alone does so whatever its query and key are.
fn matters(site: Site) -> bool {
    !matches!(site.module, Module::Q | Module::K)
}

#[test]
fn of_one_row_the_factors_are_the_exact_curvature_and_rows_add_up() {
    let (model, adapter) = (
        backbone(&config(), Precision::F32),
        point(&Module::ALL, &config()),
    );
    let one = batch_of(&[one_token(0)]);
    let thrice = batch_of(&[one_token(0), one_token(1), one_token(2)]);
    for (batch, times) in [(&one, 1.0), (&thrice, 3.0)] {
        let found = fitted(&model, &adapter, batch, SETTINGS);
        assert_exact(&model, &adapter, (&one, times), (&found, matters));
    }
}

/// And ‖θ*‖² is that of all that is covered.
#[test]
fn batches_add_up_to_the_curvature_of_their_rows() {
    let (model, adapter) = (
        backbone(&config(), Precision::F32),
        point(&Module::ALL, &config()),
    );
    let all = fitted(&model, &adapter, &batch_of(&prompts()), SETTINGS);
    let mut fit = Fit::new(SETTINGS, &adapter).unwrap();
    for prompt in prompts() {
        let (batch, abort) = (batch_of(&[prompt]), Abort::default());
        fit.add(&model, &adapter, &batch, &abort).unwrap();
    }
    let found = fit.finish().unwrap();
    assert_eq!((found.rows, all.rows), (prompts().len(), prompts().len()));
    assert!((found.nll / all.nll - 1.0).abs() < 1e-5);
    let theta = adapter.parameters().member(0).iter();
    let squares: f64 = theta.map(|&value| f64::from(value).powi(2)).sum();
    assert!((found.squared_norm / squares - 1.0).abs() < 1e-9);
    for (site, factor, _) in matrices(&adapter) {
        let of = |it: &Fitted| kronecker(it.curvature.matrix(site, factor).unwrap()).concat();
        let (found, expected) = (of(&found), of(&all));
        let largest = expected.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
        for (found, expected) in found.iter().zip(&expected) {
            let off = (found - expected).abs();
            let name = site.path();
            assert!(
                off < 1e-4 * largest,
                "{name} {factor:?}: {found} {expected}"
            );
        }
    }
}

#[test]
fn an_encoders_head_is_exact_trained_whole_or_under_low_rank_terms() {
    for name in [
        "encoder-roberta",
        "encoder-bert",
        "encoder-roberta-terms-on-the-head",
    ] {
        let EncoderCase {
            backbone,
            adapter,
            batch,
            ..
        } = EncoderCase::open(name);
        let first = first_of(&batch);
        let found = fitted(&backbone, &adapter, &first, SETTINGS);
        let of_head = |site: Site| site.module.is_of_head();
        assert_exact(&backbone, &adapter, (&first, 1.0), (&found, of_head));
    }
}

/// The first prompt alone.
pub(crate) fn first_of(batch: &Batch) -> Batch {
    let (end, classes) = (batch.offsets()[1], batch.answer_offsets()[1]);
    let parts = blob_core::batch::BatchParts {
        ids: batch.ids()[..end as usize].to_vec(),
        offsets: vec![0, end],
        answers: batch.answers()[..classes as usize].to_vec(),
        answer_offsets: vec![0, classes],
        labels: batch.labels()[..1].to_vec(),
        rows: batch.rows()[..1].to_vec(),
    };
    let types = batch.types()[..end as usize].to_vec();
    Batch::new(parts).unwrap().with_types(types).unwrap()
}

#[test]
fn answers_are_those_of_the_dense_posterior() {
    let (model, adapter) = (
        backbone(&config(), Precision::F32),
        point(&Module::ALL, &config()),
    );
    let found = fitted(&model, &adapter, &batch_of(&prompts()), SETTINGS);
    for precision in [0.5, 20.0] {
        for prompt in prompts() {
            let batch = batch_of(&[prompt]);
            let abort = Abort::default();
            let of = Linearisation {
                batch: &batch,
                precisions: &[precision, 3.0 * precision],
                from_block: 0,
            };
            let linearised = found
                .curvature
                .linearise(&model, &adapter, of, &abort)
                .unwrap();
            let (logits, gradients) = jacobian(&model, &adapter, &batch);
            assert_close("mean", &linearised.mean, &logits, 1e-6);
            let classes = logits.len();
            let mut expected = vec![0.0; classes * classes];
            for (site, factor, _) in matrices(&adapter) {
                let f = kronecker(found.curvature.matrix(site, factor).unwrap());
                let part = |gradient: &Vec<f32>| part(&adapter, (site, factor), gradient);
                let parts: Vec<_> = gradients.iter().map(part).collect();
                for (c, one) in parts.iter().enumerate() {
                    let solved = solve(&f, precision, one);
                    for (d, other) in parts.iter().enumerate() {
                        expected[c * classes + d] += dot(&solved, other);
                    }
                }
            }
            let largest = expected.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
            for (found, expected) in linearised.covariances[0][0].iter().zip(&expected) {
                assert!(
                    (found - expected).abs() < 1e-4 * largest,
                    "{found} {expected}"
                );
            }
            // A stronger prior leaves less.
            assert!(linearised.covariances[1][0][0] < linearised.covariances[0][0][0]);
        }
    }
}

/// ⟨J_c, J_d⟩ is what a prior of large precision leaves, times that precision.
#[test]
fn jacobians_are_finite_differences_of_the_logits() {
    let (model, adapter) = (
        backbone(&config(), Precision::F32),
        point(&Module::ALL, &config()),
    );
    let batch = batch_of(&prompts());
    let (abort, precision) = (Abort::default(), 1e9);
    let found = fitted(&model, &adapter, &batch, SETTINGS);
    let of = Linearisation {
        batch: &batch,
        precisions: &[precision],
        from_block: 0,
    };
    let linearised = found
        .curvature
        .linearise(&model, &adapter, of, &abort)
        .unwrap();
    let logits = |adapter: &Adapter| {
        let pass = crate::mean_pass(&batch);
        model
            .forward(&batch, &pass, Some(adapter), false)
            .unwrap()
            .0
    };
    let step = 0.01;
    let mut products: Vec<Vec<f64>> = linearised.covariances[0]
        .iter()
        .map(|c| vec![0.0; c.len()])
        .collect();
    for at in 0..adapter.parameters().layout().len() {
        let moved = |by: f32| {
            let mut moved = adapter.clone();
            moved.parameters_mut().member_mut(0)[at] += by;
            logits(&moved)
        };
        let pairs = moved(step).into_iter().zip(moved(-step));
        let slopes: Vec<f64> = pairs
            .map(|(above, below)| f64::from(above - below) / f64::from(2.0 * step))
            .collect();
        for (sum, ends) in products.iter_mut().zip(batch.answer_offsets().windows(2)) {
            let slopes = &slopes[ends[0] as usize..ends[1] as usize];
            for (at, sum) in sum.iter_mut().enumerate() {
                *sum += slopes[at / slopes.len()] * slopes[at % slopes.len()];
            }
        }
    }
    for (found, expected) in linearised.covariances[0].iter().zip(&products) {
        let largest = expected.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
        for (found, expected) in found.iter().zip(expected) {
            let found = precision * found;
            assert!(
                (found - expected).abs() < 0.01 * largest,
                "{found} {expected}"
            );
        }
    }
}

/// Wide enough that factors are sketched.
fn wide() -> BackboneConfig {
    BackboneConfig {
        hidden_size: 96,
        head_dim: 24,
        intermediate_size: 72,
        ..config()
    }
}

#[test]
fn a_sketch_that_holds_all_rows_gives_the_answers_of_the_whole_factors() {
    let (model, adapter) = (
        backbone(&wide(), Precision::F32),
        point(&Module::ALL, &wide()),
    );
    let batch = batch_of(&prompts());
    let variances = |rank| {
        let config = FitConfig { rank, ..SETTINGS };
        let found = fitted(&model, &adapter, &batch, config);
        let abort = Abort::default();
        let of = Linearisation {
            batch: &batch,
            precisions: &[1.0],
            from_block: 0,
        };
        let found = found
            .curvature
            .linearise(&model, &adapter, of, &abort)
            .unwrap();
        found.covariances[0].clone()
    };
    // 21 rows come in, and 63 gradients of them go back.
    let whole = variances(128);
    for (sketched, whole) in variances(43).iter().flatten().zip(whole.iter().flatten()) {
        assert!(
            (sketched - whole).abs() < 0.02 * whole.abs().max(1.0),
            "{sketched} {whole}"
        );
    }
    // What is not kept of the curvature is left to the prior.
    for (narrow, whole) in variances(2).iter().zip(&whole) {
        let classes = whole.len().isqrt();
        for c in 0..classes {
            let at = c * classes + c;
            assert!(narrow[at] > whole[at], "{} {}", narrow[at], whole[at]);
        }
    }
}

#[test]
fn the_last_layer_alone_is_the_heads_part_and_activations_may_be_computed_again() {
    let (model, adapter) = (
        backbone(&config(), Precision::F32),
        point(&Module::ALL, &config()),
    );
    let batch = batch_of(&prompts());
    let all = fitted(&model, &adapter, &batch, SETTINGS);
    let last = fitted(&model, &adapter, &batch, of_head());
    for (site, factor, _) in matrices(&adapter) {
        let expected = all.curvature.matrix(site, factor);
        let expected = expected.filter(|_| site.module == Module::LmHead);
        assert_eq!(last.curvature.matrix(site, factor), expected);
    }
    let again = FitConfig {
        kept_bytes: Some(0),
        ..SETTINGS
    };
    let again = fitted(&model, &adapter, &batch, again);
    assert_eq!(again.curvature, all.curvature);
    let of = |found: &Fitted| {
        answering(found, &adapter, 2.0)
            .curvature()
            .cloned()
            .unwrap()
    };
    assert_eq!(of(&again), of(&all));
}
