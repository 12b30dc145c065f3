//! One training step: forward, loss, backward, update. No I/O.

use serde::{Deserialize, Serialize};

use crate::adapter::Adapter;
use crate::backbone::Decoder;
use crate::batch::Batch;
use crate::layers::Gradients;
use crate::method::{Blob, BlobConfig, Method, Mle, MleConfig, Update};
use crate::noise::{Phase, Stream};
use crate::objective::{Average, CrossEntropy, Objective};
use crate::pass::{Abort, Mode, Pass};
use crate::{Error, Result};

/// A run's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Seed of the training noise.
    pub seed: u64,
    /// AdamW on the point parameters.
    pub point: MleConfig,
    /// The variational part; `None` = maximum likelihood.
    pub bayes: Option<BlobConfig>,
}

/// What one update did.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// Updates done, from 1.
    pub step: u64,
    /// Mean over the update's rows, in nats.
    pub nll: f64,
    /// Rows whose most probable class is their label.
    pub correct: usize,
    /// Rows.
    pub rows: usize,
    /// Tokens of the prompts (once, however many samples).
    pub tokens: usize,
    /// Mean of σ after the update.
    pub sigma_mean: Option<f64>,
    /// Rates, gradient norm and KL.
    pub update: Update,
}

/// The state of a training run beside the adapter.
pub struct Trainer {
    config: TrainConfig,
    method: Box<dyn Method>,
    objective: Box<dyn Objective>,
    step: u64,
    kept_bytes: Option<usize>,
}

impl Trainer {
    /// A run at its start.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`.
    pub fn new(config: TrainConfig, adapter: &Adapter) -> Result<Self> {
        let method: Box<dyn Method> = match config.bayes {
            Some(bayes) => Box::new(Blob::new(bayes, config.point, adapter)?),
            None => Box::new(Mle::new(config.point, adapter)?),
        };
        let average = config.bayes.map_or(Average::Logits, |bayes| bayes.average);
        Ok(Self {
            config,
            method,
            objective: Box::new(CrossEntropy { average }),
            step: 0,
            kept_bytes: None,
        })
    }

    /// Replaces the loss, as tests with a known posterior do.
    #[must_use]
    pub fn with_objective(mut self, objective: Box<dyn Objective>) -> Self {
        self.objective = objective;
        self
    }

    /// Bounds the activations that are kept for the backward pass (`Mode::kept_bytes`); changes no number.
    #[must_use]
    pub fn with_kept_bytes(mut self, bytes: Option<usize>) -> Self {
        self.kept_bytes = bytes;
        self
    }

    /// Updates done.
    pub fn step_count(&self) -> u64 {
        self.step
    }

    pub(crate) fn config(&self) -> &TrainConfig {
        &self.config
    }

    pub(crate) fn method_mut(&mut self) -> &mut dyn Method {
        self.method.as_mut()
    }

    pub(crate) fn set_step(&mut self, step: u64) {
        self.step = step;
    }

    /// One update over micro-batches, each weighted by its rows.
    ///
    /// # Errors
    /// `BPEFT_ABORTED`, or `BPEFT_NOT_FINITE` for a loss or gradient: the adapter and this state are then as
    /// before. `BPEFT_NOT_FINITE` for a parameter: the update itself diverged; go back to a saved state.
    pub fn step(
        &mut self,
        decoder: &Decoder,
        adapter: &mut Adapter,
        batches: &[Batch],
        abort: &Abort,
    ) -> Result<StepReport> {
        let t = self.step + 1;
        let (gradients, nll, correct) =
            match self.gradients(decoder, adapter, batches, (false, abort)) {
                Err(Error::NotFinite { .. }) => {
                    return Err(self.locate(decoder, adapter, batches, abort));
                }
                other => other?,
            };
        let update = self.method.update(adapter, &gradients, t)?;
        if let Some(site) = adapter.first_not_finite() {
            return Err(Error::NotFinite {
                step: t,
                what: "a parameter",
                layer: site.path(),
            });
        }
        self.step = t;
        let rows: usize = batches.iter().map(Batch::len).sum();
        Ok(StepReport {
            step: t,
            nll: nll / rows as f64,
            correct,
            rows,
            tokens: batches.iter().map(|batch| batch.ids().len()).sum(),
            sigma_mean: adapter.sigma_mean(),
            update,
        })
    }

    /// Gradients of the mean NLL over all rows, Σ NLL and the number of right answers.
    pub fn gradients(
        &self,
        decoder: &Decoder,
        adapter: &Adapter,
        batches: &[Batch],
        (check_finite, abort): (bool, &Abort),
    ) -> Result<(Gradients, f64, usize)> {
        let rows: usize = batches.iter().map(Batch::len).sum();
        if rows == 0 {
            return Err(Error::InvalidInput(
                "an update must have at least one batch, got 0".into(),
            ));
        }
        let (samples, sharing) = match self.method.sampling() {
            Some((samples, sharing)) => (samples, Some(sharing)),
            None => (1, None),
        };
        let dropout = adapter.config().dropout;
        let mode = Mode {
            sampling: sharing,
            sample_from_block: 0,
            antithetic: false,
            dropout,
            check_finite,
            kept_bytes: self.kept_bytes,
        };
        let (mut gradients, mut nll, mut correct) = (Gradients::new(), 0.0, 0);
        for (index, batch) in batches.iter().enumerate() {
            let phase = Phase::Training {
                micro_batch: index as u32,
            };
            let stream = Stream::new(self.config.seed, self.step + 1, phase);
            let draws: Vec<_> = (0..samples).map(|sample| (stream, sample)).collect();
            let pass = Pass::new(batch, &draws, mode, abort.clone());
            let (logits, kept) = decoder.forward(batch, &pass, Some(adapter), true)?;
            let loss = self.objective.evaluate(&logits, batch, 1.0 / rows as f32)?;
            if !loss.nll_sum.is_finite() {
                return Err(Error::NotFinite {
                    step: self.step + 1,
                    what: "loss",
                    layer: "the loss".into(),
                });
            }
            nll += loss.nll_sum;
            correct += loss.correct;
            if let Some(kept) = kept {
                decoder.backward(kept, &loss.dlogits, batch, (&pass, adapter), &mut gradients)?;
            }
        }
        Ok((gradients, nll, correct))
    }

    /// Repeats the step's passes with checks, to name the first layer that is not finite.
    fn locate(
        &self,
        decoder: &Decoder,
        adapter: &Adapter,
        batches: &[Batch],
        abort: &Abort,
    ) -> Error {
        let step = self.step + 1;
        match self.gradients(decoder, adapter, batches, (true, abort)) {
            Err(Error::NotFinite { layer, .. }) => Error::NotFinite {
                step,
                what: "loss",
                layer,
            },
            Err(other) => other,
            Ok(_) => Error::NotFinite {
                step,
                what: "loss",
                layer: "the loss".into(),
            },
        }
    }
}
