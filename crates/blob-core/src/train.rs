//! One training step: forward, loss, backward, update. No I/O.

#[cfg(feature = "cuda")]
mod on_gpu;
mod shared;
mod sums;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::abort::Abort;
use crate::adapter::{Adapter, Layout, Parameters, Site};
use crate::backbone::Backbone;
use crate::batch::Batch;
use crate::collective::Collective;
use crate::method::{Method, MethodConfig, Step, UpdateReport};
use crate::noise::{Phase, Stream};
use crate::objective::Objective;
use crate::pass::{BatchCopy, Mode, Pass};
use crate::{Error, Result};
use sums::{MemberLogits, Sums};

pub use shared::Share;

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
    pub update: UpdateReport,
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
    collective: Option<Box<dyn Collective>>,
}

/// What passes look at on their way.
#[derive(Clone, Copy)]
pub struct Checks<'a> {
    /// Whether every layer's values are finite; the first whose are not is named.
    pub finite: bool,
    /// What the caller raises to stop them.
    pub abort: &'a Abort,
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
            collective: None,
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
        let rows = None;
        self.update(backbone, adapter, &Share { batches, rows }, abort)
    }

    fn update(
        &mut self,
        backbone: &Backbone,
        adapter: &mut Adapter,
        share: &Share<'_>,
        abort: &Abort,
    ) -> Result<StepReport> {
        let t = self.step + 1;
        let finite = false;
        let sums = match self.sums(backbone, adapter, share, Checks { finite, abort }) {
            Err(Error::NotFinite { .. }) => {
                return Err(self.locate(backbone, adapter, share, abort));
            }
            other => other?,
        };
        #[cfg(feature = "cuda")]
        let sums = match self.updated_on_gpu(backbone, adapter, share, sums, abort)? {
            Ok(report) => return Ok(report),
            Err(sums) => sums,
        };
        let added = sums.added;
        let mut gradients = sums.fetch()?;
        let counts = match added {
            Some(counts) => counts,
            None => self.add_up(&mut gradients, share, abort)?,
        };
        if !gradients.nll_sum.is_finite() {
            return Err(self.locate(backbone, adapter, share, abort));
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
            nll: gradients.nll_sum / counts.rows as f64,
            correct: gradients.correct,
            rows: counts.rows,
            tokens: counts.tokens,
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
        checks: Checks<'_>,
    ) -> Result<Gradients> {
        let rows = None;
        self.gradients_of(backbone, adapter, &Share { batches, rows }, checks)
    }

    fn gradients_of(
        &self,
        backbone: &Backbone,
        adapter: &Adapter,
        share: &Share<'_>,
        checks: Checks<'_>,
    ) -> Result<Gradients> {
        let gradients = self.sums(backbone, adapter, share, checks)?.fetch()?;
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
        share: &Share<'_>,
        checks: Checks<'_>,
    ) -> Result<Sums> {
        self.check(adapter, share)?;
        let members = adapter.parameters().members();
        let rows = share.rows_of_members(members);
        let sampling = self.method.sampling();
        let mode = Mode {
            sampling: sampling.sharing,
            sample_from_block: 0,
            antithetic: false,
            dropout: adapter.config().dropout,
            base_dropout: self.base_dropout,
            context_kl: self.method.context_kl(self.step + 1),
            check_finite: checks.finite,
            kept_bytes: self.kept_bytes,
        };
        let streams: Vec<_> = (0..members).map(|member| self.stream(member, 0)).collect();
        let drawn = self.drawn(backbone, adapter, &streams)?;
        let mut sums = Sums::new(adapter, drawn);
        for (index, of_members) in share.batches.chunks(members).enumerate() {
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
            let pass = Pass::new(&batch, copies, mode, checks.abort.clone());
            let of = sums.drawn.as_ref().unwrap_or(adapter);
            let (logits, kept) = backbone.logits(&batch, &pass, Some(of), true)?;
            let mut from = 0;
            let parts = of_members.iter().zip(&rows).map(|(batch, rows)| {
                let len = sampling.samples as usize * batch.answers().len();
                from += len;
                MemberLogits {
                    range: from - len..from,
                    batch,
                    row_weight: 1.0 / *rows as f32,
                }
            });
            let parts: Vec<_> = parts.collect();
            let dlogits = sums.add(&logits, &parts, self.objective.as_ref())?;
            if let Some(kept) = kept {
                let of = sums.drawn.as_ref().unwrap_or(adapter);
                backbone.backward(kept, &dlogits, &pass, of, &mut sums.parameters)?;
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
    fn check(&self, adapter: &Adapter, share: &Share<'_>) -> Result<()> {
        let batches = share.batches;
        let members = adapter.parameters().members();
        if members != self.members || *adapter.parameters().layout() != self.layout {
            return Err(Error::InvalidInput(
                "a trainer must be given the adapter that it was made for, got one of other \
                 layers, rank or members"
                    .into(),
            ));
        }
        let is_empty = batches.is_empty() && share.rows.is_none();
        if is_empty || !batches.len().is_multiple_of(members) {
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
        share: &Share<'_>,
        abort: &Abort,
    ) -> Error {
        let finite = true;
        match self.gradients_of(backbone, adapter, share, Checks { finite, abort }) {
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
