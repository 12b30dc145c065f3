//! One training step: forward, loss, backward, update. No I/O.

#[cfg(feature = "cuda")]
mod on_gpu;
mod sums;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::abort::Abort;
use crate::adapter::{Adapter, Layout, Parameters, Site};
use crate::backbone::Backbone;
use crate::batch::Batch;
#[cfg(feature = "cuda")]
use crate::method;
use crate::method::{Method, MethodConfig, Step, Update};
use crate::noise::{Phase, Stream};
use crate::objective::Objective;
#[cfg(feature = "cuda")]
use crate::ops::Device;
use crate::pass::{BatchCopy, Mode, Pass};
use crate::{Error, Result};
#[cfg(feature = "cuda")]
use on_gpu::Outcome;
use sums::{Part, Sums};

/// A run's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrainConfig {
    /// Seed of the training noise; that of member j of an ensemble is seed + j.
    pub seed: u64,
    /// What is trained, and how.
    pub method: MethodConfig,
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
    /// Of the adapter that the state belongs to.
    layout: Arc<Layout>,
    members: usize,
    method: Box<dyn Method>,
    objective: Box<dyn Objective>,
    step: u64,
    kept_bytes: Option<usize>,
    base_dropout: f32,
}

/// Gradients of the mean NLL of each member's rows.
pub struct Gradients {
    /// Of every parameter of what the passes ran with.
    pub parameters: Parameters,
    /// What that was, if not the adapter itself.
    pub drawn: Option<Adapter>,
    /// Σ NLL over the rows of all members, in nats.
    pub nll_sum: f64,
    /// Rows whose most probable class is their label.
    pub correct: usize,
}

impl Trainer {
    /// A run at its start.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`.
    pub fn new(config: TrainConfig, adapter: &Adapter) -> Result<Self> {
        let method = config.method.build(adapter)?;
        Ok(Self {
            layout: Arc::clone(adapter.parameters().layout()),
            members: adapter.parameters().members(),
            objective: method.objective(),
            config,
            method,
            step: 0,
            kept_bytes: None,
            base_dropout: 0.0,
        })
    }

    /// Replaces the loss, as tests with a known posterior do.
    #[must_use]
    pub fn with_objective(mut self, objective: Box<dyn Objective>) -> Self {
        self.objective = objective;
        self
    }

    /// Bounds the activations that are kept for the backward pass (`Mode::kept_bytes`); changes no
    /// number.
    #[must_use]
    pub fn with_kept_bytes(mut self, bytes: Option<usize>) -> Self {
        self.kept_bytes = bytes;
        self
    }

    /// Trains with the base's own dropout, of an encoder.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG` for what is no probability below 1.
    pub fn with_base_dropout(mut self, p: f32) -> Result<Self> {
        if !(0.0..1.0).contains(&p) {
            return Err(Error::InvalidConfig {
                field: "base_dropout",
                rule: "must be at least 0 and below 1",
                value: p.to_string(),
            });
        }
        self.base_dropout = p;
        Ok(self)
    }

    /// What answers now, where that is not the adapter that is trained ([`Method::posterior`]).
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` for an adapter of another shape.
    pub fn posterior(&self, adapter: &Adapter) -> Result<Option<Adapter>> {
        self.method.posterior(adapter, self.step)
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

    /// One update over micro-batches, each weighted by its rows. `batches` holds, for each
    /// micro-batch, one batch per member of the adapter.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` for an adapter of another shape, or a number of batches that does not
    /// fit its members. `BPEFT_ABORTED`, or `BPEFT_NOT_FINITE` for a loss or gradient: the adapter
    /// and this state are then as before. `BPEFT_NOT_FINITE` for a parameter: the update itself
    /// diverged; go back to a saved state.
    pub fn step(
        &mut self,
        backbone: &Backbone,
        adapter: &mut Adapter,
        batches: &[Batch],
        abort: &Abort,
    ) -> Result<StepReport> {
        let t = self.step + 1;
        let sums = match self.sums(backbone, adapter, batches, (false, abort)) {
            Err(Error::NotFinite { .. }) => {
                return Err(self.locate(backbone, adapter, batches, abort));
            }
            other => other?,
        };
        let rows: usize = batches.iter().map(Batch::len).sum();
        let tokens = batches.iter().map(|batch| batch.ids().len()).sum();
        #[cfg(feature = "cuda")]
        let sums = match backbone.device() {
            Device::Cuda(gpu) => {
                match self.update_on_gpu((gpu, t), adapter, sums, (rows, tokens))? {
                    Outcome::Left(sums) => sums,
                    Outcome::LossNotFinite => {
                        return Err(self.locate(backbone, adapter, batches, abort));
                    }
                    Outcome::GradientNotFinite(sums) => {
                        return Err(method::gradient_not_finite(&sums.fetch()?.parameters, t));
                    }
                    Outcome::ParameterNotFinite => return Err(parameter_not_finite(adapter, t)),
                    Outcome::Done(report) => {
                        self.step = t;
                        return Ok(report);
                    }
                }
            }
            Device::Cpu | Device::Reference => sums,
        };
        let gradients = sums.fetch()?;
        if !gradients.nll_sum.is_finite() {
            return Err(self.locate(backbone, adapter, batches, abort));
        }
        let step = Step {
            t,
            gradients: &gradients.parameters,
            drawn: gradients.drawn.as_ref(),
        };
        let update = self.method.update(adapter, &step)?;
        if adapter.first_not_finite().is_some() {
            return Err(parameter_not_finite(adapter, t));
        }
        self.step = t;
        Ok(StepReport {
            step: t,
            nll: gradients.nll_sum / rows as f64,
            correct: gradients.correct,
            rows,
            tokens,
            sigma_mean: adapter.sigma_mean(),
            update,
        })
    }

    /// The gradients of one update.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn gradients(
        &self,
        backbone: &Backbone,
        adapter: &Adapter,
        batches: &[Batch],
        checks: (bool, &Abort),
    ) -> Result<Gradients> {
        let gradients = self.sums(backbone, adapter, batches, checks)?.fetch()?;
        if gradients.nll_sum.is_finite() {
            return Ok(gradients);
        }
        Err(self.loss_not_finite())
    }

    /// The gradients and losses of one update, where they are.
    fn sums(
        &self,
        backbone: &Backbone,
        adapter: &Adapter,
        batches: &[Batch],
        (check_finite, abort): (bool, &Abort),
    ) -> Result<Sums> {
        self.check(adapter, batches)?;
        let members = adapter.parameters().members();
        // Of each member, over all micro-batches.
        let mut rows = vec![0; members];
        for (index, batch) in batches.iter().enumerate() {
            rows[index % members] += batch.len();
        }
        let sampling = self.method.sampling();
        let mode = Mode {
            sampling: sampling.sharing,
            sample_from_block: 0,
            antithetic: false,
            dropout: adapter.config().dropout,
            base_dropout: self.base_dropout,
            check_finite,
            kept_bytes: self.kept_bytes,
        };
        let streams: Vec<_> = (0..members).map(|member| self.stream(member, 0)).collect();
        let drawn = self.method.drawn(adapter, &streams);
        let mut sums = Sums::new(adapter, drawn);
        for (index, of_members) in batches.chunks(members).enumerate() {
            let batch = Batch::joined(of_members);
            let (mut copies, mut from) = (Vec::new(), 0);
            for (member, of_member) in of_members.iter().enumerate() {
                let stream = self.stream(member, index as u32);
                copies.extend((0..sampling.samples).map(|sample| BatchCopy {
                    prompts: from..from + of_member.len(),
                    stream,
                    sample,
                    member: if sums.drawn.is_some() {
                        member * sampling.samples as usize + sample as usize
                    } else {
                        member
                    },
                }));
                from += of_member.len();
            }
            let pass = Pass::new(&batch, copies, mode, abort.clone());
            let of = sums.drawn.as_ref().unwrap_or(adapter);
            let (logits, kept) = backbone.logits(&batch, &pass, Some(of), true)?;
            let mut from = 0;
            let parts = of_members.iter().zip(&rows).map(|(batch, rows)| {
                let len = sampling.samples as usize * batch.answers().len();
                from += len;
                Part {
                    range: from - len..from,
                    batch,
                    row_weight: 1.0 / *rows as f32,
                }
            });
            let parts: Vec<_> = parts.collect();
            let dlogits = sums.add(&logits, &parts, self.objective.as_ref())?;
            if let Some(kept) = kept {
                let of = sums.drawn.as_ref().unwrap_or(adapter);
                backbone.backward_from(kept, &dlogits, (&pass, of), &mut sums.parameters)?;
            }
        }
        Ok(sums)
    }

    /// The noise of a member in a micro-batch of the next update.
    fn stream(&self, member: usize, micro_batch: u32) -> Stream {
        let seed = self.config.seed.wrapping_add(member as u64);
        Stream::new(seed, self.step + 1, Phase::Training { micro_batch })
    }

    /// Whether the adapter is the one that this state belongs to, and the batches fit its members.
    fn check(&self, adapter: &Adapter, batches: &[Batch]) -> Result<()> {
        let members = adapter.parameters().members();
        if members != self.members || *adapter.parameters().layout() != self.layout {
            return Err(Error::InvalidInput(
                "a trainer must be given the adapter that it was made for, got one of other \
                 layers, rank or members"
                    .into(),
            ));
        }
        if batches.is_empty() || !batches.len().is_multiple_of(members) {
            return Err(Error::InvalidInput(format!(
                "an update must have at least one batch for each of {members} members, got {}",
                batches.len()
            )));
        }
        Ok(())
    }

    fn loss_not_finite(&self) -> Error {
        Error::NotFinite {
            step: self.step + 1,
            what: "loss",
            layer: "the loss".into(),
        }
    }

    /// Repeats the step's passes with checks, to name the first layer that is not finite.
    fn locate(
        &self,
        backbone: &Backbone,
        adapter: &Adapter,
        batches: &[Batch],
        abort: &Abort,
    ) -> Error {
        match self.gradients(backbone, adapter, batches, (true, abort)) {
            Err(Error::NotFinite { layer, .. }) => Error::NotFinite {
                step: self.step + 1,
                what: "loss",
                layer,
            },
            Err(other) => other,
            Ok(_) => self.loss_not_finite(),
        }
    }
}

/// The update diverged.
fn parameter_not_finite(adapter: &Adapter, step: u64) -> Error {
    let site = adapter.first_not_finite();
    Error::NotFinite {
        step,
        what: "a parameter",
        layer: site.map_or_else(|| "the adapter".into(), Site::path),
    }
}
