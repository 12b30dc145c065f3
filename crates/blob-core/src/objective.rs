//! What a step minimises, and the scaling of its terms.
//!
//! ```text
//! L = 1/R · Σ_rows −ln p(y | x)  +  π_t · KL(q ‖ p)
//! ```
//!
//! The NLL is the mean over the R labelled rows of the update, in nats; the KL is summed over all
//! weights and scaled by π_t alone (not by the size of the data set): `optim::KlCycle`.

use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::ops::cross_entropy;
use crate::{Error, Result};

/// How several posterior samples of one step are averaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Average {
    /// Mean of the logits, then one cross-entropy (the reference).
    Logits,
    /// Mean of the samples' cross-entropies: the ELBO's expected log-likelihood.
    LogLikelihood,
}

/// A loss over class logits.
pub trait Objective: Send {
    /// Sum over the rows and dL/dlogits, each row weighted by `row_weight`.
    ///
    /// `logits` (copies·S), sample-major; the gradient has the same shape.
    fn evaluate(&self, logits: &[f32], batch: &Batch, row_weight: f32) -> Result<Evaluated>;

    /// How the samples of a cross-entropy are averaged, which a GPU then computes where the logits
    /// lie. `None`: it is another loss, and they are read back for it.
    fn average(&self) -> Option<Average> {
        None
    }
}

/// The loss of one micro-batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated {
    /// Σ −ln p(y | x) over the rows, in nats, not weighted.
    pub nll_sum: f64,
    /// Rows whose most probable class is their label (lowest index on ties).
    pub correct: usize,
    /// dL/dlogits, (copies·S).
    pub dlogits: Vec<f32>,
}

/// Cross-entropy over each row's own classes.
pub struct CrossEntropy {
    /// How samples are averaged.
    pub average: Average,
}

impl Objective for CrossEntropy {
    fn average(&self) -> Option<Average> {
        Some(self.average)
    }

    fn evaluate(&self, logits: &[f32], batch: &Batch, row_weight: f32) -> Result<Evaluated> {
        let classes = batch.answers().len();
        let copies = logits.len() / classes;
        require_labels(batch)?;
        let (offsets, labels) = (batch.answer_offsets(), batch.labels());
        let mean: Vec<f32> = (0..classes)
            .map(|class| logits.iter().skip(class).step_by(classes).sum::<f32>() / copies as f32)
            .collect();
        let weights = vec![row_weight / copies as f32; batch.len()];
        let of_mean = cross_entropy::forward(&mean, offsets, labels)?;
        let correct = of_mean.correct.iter().filter(|&&correct| correct).count();
        match self.average {
            Average::Logits => {
                let dmean = cross_entropy::backward(&of_mean.probs, offsets, labels, &weights);
                Ok(Evaluated {
                    nll_sum: of_mean.nll.iter().sum(),
                    correct,
                    dlogits: dmean.repeat(copies),
                })
            }
            Average::LogLikelihood => {
                let (mut nll_sum, mut dlogits) = (0.0, Vec::with_capacity(logits.len()));
                for sample in logits.chunks_exact(classes) {
                    let loss = cross_entropy::forward(sample, offsets, labels)?;
                    nll_sum += loss.nll.iter().sum::<f64>() / copies as f64;
                    dlogits.extend(cross_entropy::backward(
                        &loss.probs,
                        offsets,
                        labels,
                        &weights,
                    ));
                }
                Ok(Evaluated {
                    nll_sum,
                    correct,
                    dlogits,
                })
            }
        }
    }
}

/// # Errors
/// `BPEFT_INVALID_INPUT` when a row has no label.
pub(crate) fn require_labels(batch: &Batch) -> Result<()> {
    if batch.labels().contains(&-1) {
        let rule = "training rows must have a label, got -1";
        return Err(Error::InvalidInput(rule.into()));
    }
    Ok(())
}
