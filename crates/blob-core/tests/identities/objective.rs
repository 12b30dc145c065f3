//! The loss of several samples, from probabilities that are fractions.
#![expect(clippy::unwrap_used, reason = "test code")]

use blob_core::batch::Batch;
use blob_core::objective::{Average, CrossEntropy, Objective};

use crate::support::small_model::{batch_of, prompts};

/// Two rows of two and three classes, labelled 1 and 2.
fn rows() -> Batch {
    let mut rows = prompts()[..2].to_vec();
    rows[0].answers = vec![7, 20];
    rows[0].label = 1;
    rows[1].answers = vec![7, 20, 12];
    rows[1].label = 2;
    batch_of(&rows)
}

/// Two samples: weights 1 : 3 and 2 : 1 : 1, then 7 : 1 and 1 : 2 : 5.
fn logits() -> Vec<f32> {
    let weights: [f32; 10] = [1.0, 3.0, 2.0, 1.0, 1.0, 7.0, 1.0, 1.0, 2.0, 5.0];
    weights.map(f32::ln).to_vec()
}

fn assert_loss(average: Average, nll: f64, dlogits: &[f64]) {
    let row_weight = 0.25;
    let cross_entropy = CrossEntropy { average };
    let loss = cross_entropy
        .evaluate(&logits(), &rows(), row_weight)
        .unwrap();
    assert!((loss.nll_sum - nll).abs() < 1e-6, "{} {nll}", loss.nll_sum);
    // Of the mean logits: √7 beats √3, and √5 beats √2.
    assert_eq!(loss.correct, 1);
    assert_eq!(loss.dlogits.len(), dlogits.len());
    for (got, expected) in loss.dlogits.iter().zip(dlogits) {
        let expected = f64::from(row_weight) / 2.0 * expected;
        assert!(
            (f64::from(*got) - expected).abs() < 1e-6,
            "{got} {expected}"
        );
    }
}

#[test]
fn log_likelihoods_of_samples_are_averaged() {
    let nll = -0.5 * (0.75_f64.ln() + 0.125_f64.ln() + 0.25_f64.ln() + 0.625_f64.ln());
    let dlogits = [
        0.25, -0.25, 0.5, 0.25, -0.75, 0.875, -0.875, 0.125, 0.25, -0.375,
    ];
    assert_loss(Average::LogLikelihood, nll, &dlogits);
}

#[test]
fn logits_of_samples_are_averaged() {
    let [two, three, five, seven] = [2.0_f64, 3.0, 5.0, 7.0].map(f64::sqrt);
    let first = [seven, three].map(|w| w / (seven + three));
    let second = [two, two, five].map(|w| w / (2.0 * two + five));
    let nll = -(first[1].ln() + second[2].ln());
    let of_sample = [
        first[0],
        first[1] - 1.0,
        second[0],
        second[1],
        second[2] - 1.0,
    ];
    assert_loss(Average::Logits, nll, &of_sample.repeat(2));
}
