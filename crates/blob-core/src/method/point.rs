//! AdamW on the point parameters A and B, with the gradient of the mean NLL.
//!
//! Clipping scales the whole gradient of A and B to at most `max_grad_norm`, as PyTorch does:
//! min(1, c / (‖g‖ + 1e-6)). Each member of an ensemble is clipped by itself.

#[cfg(feature = "cuda")]
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

#[cfg(feature = "cuda")]
use super::StepOnGpu;
use super::{Statistic, UpdateReport, check_not_negative, norms};
use crate::Result;
use crate::adapter::{Adapter, Parameters};
use crate::buffer::Buffer;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::optimizer::{self, Lengths, Span};
use crate::optim::{AdamW, AdamWConstants, Decay, Moments, Rates, ScaledGradient, Schedule};

/// AdamW's settings of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PointConfig {
    /// Peak rate.
    pub lr: f64,
    /// λ(t) of all rates.
    pub schedule: Schedule,
    /// Decoupled decay, which acts however small it is.
    pub weight_decay: f64,
    /// ε.
    pub adam_epsilon: f64,
    /// Largest gradient norm; 0 = no clipping.
    pub max_grad_norm: f64,
}

impl PointConfig {
    /// Checks every rule that the engine relies on.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`.
    pub fn check(&self) -> Result<()> {
        for (field, value) in [
            ("lr", self.lr),
            ("weight_decay", self.weight_decay),
            ("adam_epsilon", self.adam_epsilon),
            ("max_grad_norm", self.max_grad_norm),
        ] {
            check_not_negative(field, value)?;
        }
        self.schedule.check()
    }

    /// η of update `t`.
    pub(super) fn rate(&self, t: u64) -> f64 {
        self.lr * self.schedule.factor(t)
    }
}

/// AdamW on A and B, or on ρ too.
pub struct PointUpdate {
    config: PointConfig,
    adamw: AdamW,
    decay: Decay,
    /// Values of a member that it moves, from the first.
    covered: usize,
    first: Buffer,
    second: Buffer,
}

/// Values that one task updates.
const VALUES_PER_TASK: usize = 1 << 16;

impl PointUpdate {
    /// Fresh moments for an adapter.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`.
    pub fn new(config: PointConfig, adapter: &Adapter) -> Result<Self> {
        Self::covering(config, adapter, adapter.parameters().layout().point_len())
    }

    /// The same for all parameters: ρ moves by its gradient, is clipped by the same factor and does
    /// not decay.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`.
    pub fn of_all(config: PointConfig, adapter: &Adapter) -> Result<Self> {
        Self::covering(config, adapter, adapter.parameters().layout().trained_len())
    }

    fn covering(config: PointConfig, adapter: &Adapter, covered: usize) -> Result<Self> {
        config.check()?;
        let moments = Buffer::zeros(covered * adapter.parameters().members());
        let adamw = AdamW {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: config.adam_epsilon,
        };
        Ok(Self {
            config,
            adamw,
            decay: Decay::new(config.weight_decay, config.lr),
            covered,
            second: moments.clone(),
            first: moments,
        })
    }

    /// λ of update `t`.
    pub(super) fn factor(&self, t: u64) -> f64 {
        self.config.schedule.factor(t)
    }

    /// What clipping leaves of a gradient of this norm.
    fn kept(&self, norm: f64) -> f32 {
        let limit = self.config.max_grad_norm;
        if limit > 0.0 {
            (limit / (norm + 1e-6)).min(1.0) as f32
        } else {
            1.0
        }
    }

    /// Update `t` (from 1) of what it covers.
    ///
    /// # Errors
    /// `BPEFT_NOT_FINITE` before anything is changed, when a gradient (ρ's too) is not finite.
    pub fn update(
        &mut self,
        adapter: &mut Adapter,
        gradients: &Parameters,
        t: u64,
    ) -> Result<UpdateReport> {
        let config = self.config;
        self.update_at(adapter, gradients, t, |t| config.rate(t))
    }

    /// Of update `t`: of values that decay, and of the others.
    fn constants(&self, lr: f64, keep: f64, t: u64) -> [AdamWConstants; 2] {
        [keep, 1.0].map(|keep| self.adamw.constants(Rates { lr, keep }, t))
    }

    /// The same at rates of one's own.
    pub(super) fn update_at(
        &mut self,
        adapter: &mut Adapter,
        gradients: &Parameters,
        t: u64,
        rate: impl Fn(u64) -> f64,
    ) -> Result<UpdateReport> {
        let members = gradients.members();
        let norms = norms(gradients, t)?;
        let points = gradients.layout().point_len();
        let lr = rate(t);
        let [decaying, others] = self.constants(lr, self.decay.keep(t, rate), t);
        for (member, &norm) in norms.iter().enumerate() {
            let scale = self.kept(norm);
            let start = member * self.covered;
            let weights = adapter.parameters_mut().member_mut(member);
            let first = &mut self.first.host_mut()[start..start + self.covered];
            let second = &mut self.second.host_mut()[start..start + self.covered];
            for (part, constants) in [(0..points, decaying), (points..self.covered, others)] {
                weights[part.clone()]
                    .par_chunks_mut(VALUES_PER_TASK)
                    .zip(gradients.member(member)[part.clone()].par_chunks(VALUES_PER_TASK))
                    .zip(first[part.clone()].par_chunks_mut(VALUES_PER_TASK))
                    .zip(second[part].par_chunks_mut(VALUES_PER_TASK))
                    .for_each(|(((weights, gradient), first), second)| {
                        let moments = Moments { first, second };
                        let gradient = ScaledGradient {
                            values: gradient,
                            scale,
                        };
                        AdamW::update(weights, gradient, moments, constants);
                    });
            }
        }
        Ok(UpdateReport {
            lr,
            grad_norm: norms.iter().sum::<f64>() / members as f64,
            ..UpdateReport::default()
        })
    }

    /// [`Self::update`] on the GPU that has the gradients; the norm is in the tally.
    ///
    /// # Errors
    /// As [`super::Method::update_on_gpu`].
    #[cfg(feature = "cuda")]
    pub(super) fn update_on_gpu(
        &mut self,
        adapter: &mut Adapter,
        step: &mut StepOnGpu<'_>,
    ) -> Result<UpdateReport> {
        let config = self.config;
        self.update_on_gpu_at(adapter, step, |t| config.rate(t))
    }

    /// The same at rates of one's own.
    #[cfg(feature = "cuda")]
    pub(super) fn update_on_gpu_at(
        &mut self,
        adapter: &mut Adapter,
        step: &mut StepOnGpu<'_>,
        rate: impl Fn(u64) -> f64,
    ) -> Result<UpdateReport> {
        let (t, gpu) = (step.t, step.tally.gpu());
        let layout = Arc::clone(adapter.parameters().layout());
        let (len, points, covered) = (layout.len(), layout.point_len(), self.covered);
        let members = adapter.parameters().members();
        let lr = rate(t);
        let [decaying, others] = self.constants(lr, self.decay.keep(t, rate), t);
        let gradient = step.gradients.values().on(gpu)?;
        let w = adapter.parameters_mut().change_on(gpu)?;
        let (first, second) = (self.first.change_on(gpu)?, self.second.change_on(gpu)?);
        optimizer::clip(
            step.tally,
            &gradient,
            Lengths {
                gradients: members,
                len,
                counted: points,
            },
            self.config.max_grad_norm,
        )?;
        for member in 0..members {
            for (part, constants) in [(0..points, decaying), (points..covered, others)] {
                let span = Span {
                    member,
                    values: member * len + part.start..member * len + part.end,
                    moments: member * covered + part.start,
                };
                let values = (&mut *w, &gradient);
                optimizer::adamw(
                    step.tally,
                    &span,
                    constants,
                    values,
                    [&mut *first, &mut *second],
                )?;
            }
        }
        Ok(UpdateReport {
            lr,
            ..UpdateReport::default()
        })
    }

    /// AdamW's moments, for checkpoints.
    pub fn statistics(&mut self) -> Vec<Statistic<'_>> {
        let of = |name, values| Statistic { name, values };
        vec![of("first", &mut self.first), of("second", &mut self.second)]
    }
}
