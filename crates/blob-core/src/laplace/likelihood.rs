//! The loss whose curvature is taken, in the logits of each prompt.
//!
//! ```text
//! H = diag(π) − ππᵀ = R Rᵀ        R (C, C − 1), q_j = 1 − Σ_{i≤j} π_i
//! R_jj = √(π_j q_j/q_{j−1})       R_ij = −π_i √(π_j/(q_{j−1} q_j))   for i > j
//! ```
//!
//! Tanabe & Sagae 1992: the Cholesky factor of a multinomial's covariance, so C − 1 backward passes
//! hold all of H; an eigenvector would need a decomposition per prompt.

use crate::batch::Batch;
use crate::objective::{Average, CrossEntropy, Evaluated, Objective};
use crate::ops::cross_entropy;
use crate::{Error, Result};

/// −ln p(y | z) of one prompt's logits z.
pub trait Likelihood: Send {
    /// Σ −ln p over the prompts.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` for a prompt without a label.
    fn evaluate(&self, logits: &[f32], batch: &Batch) -> Result<Evaluated>;

    /// The columns of R of every prompt, one vector (S) for each index of a column.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    fn roots(&self, logits: &[f32], batch: &Batch) -> Result<Vec<Vec<f32>>>;
}

/// Softmax over a prompt's own classes.
pub struct Softmax;

impl Likelihood for Softmax {
    fn evaluate(&self, logits: &[f32], batch: &Batch) -> Result<Evaluated> {
        let average = Average::Logits;
        CrossEntropy { average }.evaluate(logits, batch, 1.0)
    }

    fn roots(&self, logits: &[f32], batch: &Batch) -> Result<Vec<Vec<f32>>> {
        let offsets = batch.answer_offsets();
        let probs = cross_entropy::forward(logits, offsets, batch.labels())?.probs;
        let bounds = || {
            offsets
                .windows(2)
                .map(|ends| (ends[0] as usize, ends[1] as usize))
        };
        let most = bounds().map(|(from, to)| to - from).max().unwrap_or(0);
        let mut roots = vec![vec![0.0; logits.len()]; most.saturating_sub(1)];
        for (from, to) in bounds() {
            let probs: Vec<f64> = probs[from..to].iter().map(|&p| f64::from(p)).collect();
            // What lies behind each class, summed from the end: 1 − Σ would cancel.
            let mut tails = vec![0.0; probs.len() + 1];
            for (at, p) in probs.iter().enumerate().rev() {
                tails[at] = tails[at + 1] + p;
            }
            for (j, root) in roots.iter_mut().enumerate().take(probs.len() - 1) {
                let (before, after) = (tails[j], tails[j + 1]);
                if probs[j] <= 0.0 || after <= 0.0 {
                    continue;
                }
                root[from + j] = (probs[j] * after / before).sqrt() as f32;
                let below = (probs[j] / (before * after)).sqrt();
                for i in j + 1..probs.len() {
                    root[from + i] = (-probs[i] * below) as f32;
                }
            }
        }
        if roots.iter().flatten().all(|root| root.is_finite()) {
            return Ok(roots);
        }
        Err(Error::NotFinite {
            step: 0,
            what: "a value",
            layer: "the curvature of the loss".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchParts;

    #[test]
    fn roots_give_the_hessian_of_softmax_and_of_a_class_that_is_sure() {
        let batch = Batch::new(BatchParts {
            ids: vec![1, 2, 3],
            offsets: vec![0, 1, 2, 3],
            answers: vec![5, 6, 7, 5, 6, 5, 6, 7],
            answer_offsets: vec![0, 3, 5, 8],
            labels: vec![0, 1, 0],
            rows: vec![0, 1, 2],
        })
        .unwrap();
        let logits = [0.3, -1.0, 0.7, 2.0, -0.5, 200.0, 0.0, -50.0];
        let roots = Softmax.roots(&logits, &batch).unwrap();
        assert_eq!(roots.len(), 2);
        for ends in batch.answer_offsets().windows(2) {
            let (from, to) = (ends[0] as usize, ends[1] as usize);
            let sum: f64 = logits[from..to].iter().map(|&z| f64::from(z).exp()).sum();
            let p = |i: usize| f64::from(logits[i]).exp() / sum;
            for i in from..to {
                for j in from..to {
                    let found: f64 = roots
                        .iter()
                        .map(|root| f64::from(root[i]) * f64::from(root[j]))
                        .sum();
                    let diagonal = if i == j { p(i) } else { 0.0 };
                    let expected = diagonal - p(i) * p(j);
                    assert!(
                        (found - expected).abs() < 1e-6,
                        "{i} {j}: {found} {expected}"
                    );
                }
            }
        }
        // A prompt of two classes has nothing to send back in a second pass.
        assert_eq!(roots[1][3..5], [0.0, 0.0]);
    }
}
