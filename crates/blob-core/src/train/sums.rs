//! What the passes of an update add up: gradients and losses, on the host or on a GPU.

use std::ops::Range;

use super::shared::Counts;
use super::{Gradients, Trainer};
use crate::adapter::{Adapter, Parameters};
use crate::backbone::Backbone;
use crate::batch::Batch;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::head::Labelled;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::{Array, Gpu, Tally};
use crate::noise::Stream;
use crate::objective::Objective;
#[cfg(feature = "cuda")]
use crate::objective::{Average, require_labels};
#[cfg(feature = "cuda")]
use crate::ops::{Device, cross_entropy};
use crate::ops::{Tensor, wrap};
use crate::{Error, Result};

/// The sums of one update.
pub(super) struct Sums {
    pub(super) parameters: Parameters,
    pub(super) drawn: Option<Adapter>,
    nll_sum: f64,
    correct: usize,
    /// Rows and tokens of all ranks, once their sums are these.
    pub(super) added: Option<Counts>,
    /// The losses that a GPU has added up.
    #[cfg(feature = "cuda")]
    pub(super) tally: Option<Tally>,
}

/// The logits of one member, and what they are for.
pub(super) struct MemberLogits<'a> {
    /// Among the logits of the pass.
    pub(super) range: Range<usize>,
    /// Its rows.
    pub(super) batch: &'a Batch,
    /// Of each row, in the gradient.
    pub(super) row_weight: f32,
}

impl Trainer {
    /// What the passes of the next update run with, if not the adapter.
    #[cfg_attr(
        not(feature = "cuda"),
        expect(
            clippy::unnecessary_wraps,
            unused_variables,
            reason = "a GPU can refuse"
        )
    )]
    pub(super) fn drawn(
        &self,
        backbone: &Backbone,
        adapter: &Adapter,
        streams: &[Stream],
    ) -> Result<Option<Adapter>> {
        #[cfg(feature = "cuda")]
        if let Device::Cuda(gpu) = backbone.device() {
            return self.method.drawn_on_gpu(gpu, adapter, streams);
        }
        Ok(self.method.drawn(adapter, streams))
    }
}

impl Sums {
    /// Nothing yet, of what the passes run with: the adapter, or its draws.
    pub(super) fn new(adapter: &Adapter, drawn: Option<Adapter>) -> Self {
        let of = drawn.as_ref().unwrap_or(adapter);
        Self {
            parameters: of.parameters().zeros_like(),
            drawn,
            nll_sum: 0.0,
            correct: 0,
            added: None,
            #[cfg(feature = "cuda")]
            tally: None,
        }
    }

    /// Adds the losses of a pass's logits; dL/dlogits, where these are.
    ///
    /// # Errors
    /// `BPEFT_NOT_FINITE` without a step for a loss that the host sees; what the objective refuses.
    pub(super) fn add(
        &mut self,
        logits: &Tensor,
        parts: &[MemberLogits<'_>],
        objective: &dyn Objective,
    ) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if let (Some(average), Some(logits)) = (objective.average(), logits.array()) {
            return self.add_on_gpu(logits, parts, average);
        }
        let values = logits.to_vec()?;
        let mut dlogits = Vec::with_capacity(values.len());
        for part in parts {
            let (logits, weight) = (&values[part.range.clone()], part.row_weight);
            let loss = objective.evaluate(logits, part.batch, weight)?;
            if !loss.nll_sum.is_finite() {
                return Err(Error::NotFinite {
                    step: 0,
                    what: "loss",
                    layer: "the loss".into(),
                });
            }
            self.nll_sum += loss.nll_sum;
            self.correct += loss.correct;
            dlogits.extend(loss.dlogits);
        }
        let count = dlogits.len();
        wrap(dlogits, count)
    }

    #[cfg(feature = "cuda")]
    fn add_on_gpu(
        &mut self,
        logits: &Array,
        parts: &[MemberLogits<'_>],
        average: Average,
    ) -> Result<Tensor> {
        let mut dlogits = Array::zeros(logits.gpu(), logits.len())?;
        let tally = self.take_tally(logits.gpu())?;
        let tally = self.tally.insert(tally);
        for MemberLogits {
            range,
            batch,
            row_weight,
        } in parts
        {
            require_labels(batch)?;
            let samples = range.len() / batch.answers().len();
            let rows = Labelled {
                offsets: batch.answer_offsets(),
                labels: batch.labels(),
                weight: row_weight / samples as f32,
                samples,
                is_of_mean: average == Average::Logits,
            };
            cross_entropy::add_on_gpu((logits, range.clone()), rows, &mut dlogits, tally)?;
        }
        Ok(dlogits.into())
    }

    /// Where a GPU adds up what is read at the end of a step.
    #[cfg(feature = "cuda")]
    pub(super) fn take_tally(&mut self, gpu: Gpu) -> Result<Tally> {
        match self.tally.take() {
            Some(tally) => Ok(tally),
            None => Tally::new(gpu, self.parameters.members()),
        }
    }

    /// Σ NLL and the rows that were right, of the losses that the host saw.
    pub(super) fn losses(&self) -> (f64, usize) {
        (self.nll_sum, self.correct)
    }

    /// All of it in the host's memory; waits for what a GPU adds.
    ///
    /// # Errors
    /// `BPEFT_DEVICE` when something of it failed.
    pub(super) fn fetch(self) -> Result<Gradients> {
        let (nll_sum, correct) = self.losses();
        #[cfg(feature = "cuda")]
        let (nll_sum, correct) = match &self.tally {
            Some(tally) => {
                let read = tally.read()?;
                (nll_sum + read.nll_sum, correct + read.correct)
            }
            None => (nll_sum, correct),
        };
        self.parameters.fetch()?;
        Ok(Gradients {
            parameters: self.parameters,
            drawn: self.drawn,
            nll_sum,
            correct,
        })
    }
}
