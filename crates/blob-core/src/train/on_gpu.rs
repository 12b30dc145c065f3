//! The update of a step by kernels, on the GPU that has its gradients: one wait, at its end.
//!
//! Gradients, moments and parameters stay there. What the host decides on the processor before it
//! changes anything, kernels decide here: where the loss or a gradient is not finite, the update
//! leaves everything as it was, and the host learns of it when it reads the step's sums.

use super::shared::{Counts, Share};
use super::sums::Sums;
use super::{StepReport, Trainer, parameter_not_finite};
use crate::Result;
use crate::abort::Abort;
use crate::adapter::{Adapter, Factor};
use crate::backbone::Backbone;
use crate::kernels::cuda::{Gpu, Tally, optimizer};
use crate::method::{StepOnGpu, UpdateReport, gradient_not_finite};
use crate::ops::Device;

/// What became of an update.
enum Outcome {
    /// The method has no kernels for it; nothing has changed.
    Left(Sums),
    /// The loss is not finite; nothing has changed.
    LossNotFinite,
    /// A gradient is not finite; nothing has changed.
    GradientNotFinite(Sums),
    /// It is done, and a parameter is not finite.
    ParameterNotFinite,
    /// It is done.
    Done(StepReport),
}

impl Trainer {
    /// The next update, on the GPU that has its sums; these, where the host is to make it.
    pub(super) fn updated_on_gpu(
        &mut self,
        backbone: &Backbone,
        adapter: &mut Adapter,
        share: &Share<'_>,
        mut sums: Sums,
        abort: &Abort,
    ) -> Result<std::result::Result<StepReport, Sums>> {
        let gpu = match backbone.device() {
            Device::Cuda(gpu) if self.adds_on(gpu) => gpu,
            _ => return Ok(Err(sums)),
        };
        let t = self.step + 1;
        let counts = self.add_up_on(gpu, &mut sums, share, abort)?;
        match self.update_on_gpu(gpu, t, adapter, sums, counts)? {
            Outcome::Left(sums) => Ok(Err(sums)),
            Outcome::LossNotFinite => Err(self.locate(backbone, adapter, share, abort)),
            Outcome::GradientNotFinite(sums) => {
                Err(gradient_not_finite(&sums.fetch()?.parameters, t))
            }
            Outcome::ParameterNotFinite => Err(parameter_not_finite(adapter, t)),
            Outcome::Done(report) => {
                self.step = t;
                Ok(Ok(report))
            }
        }
    }

    /// Update `t` of what a GPU has summed.
    fn update_on_gpu(
        &mut self,
        gpu: Gpu,
        t: u64,
        adapter: &mut Adapter,
        mut sums: Sums,
        counts: Counts,
    ) -> Result<Outcome> {
        let mut tally = sums.take_tally(gpu)?;
        let mut step = StepOnGpu {
            t,
            gradients: &mut sums.parameters,
            drawn: sums.drawn.as_ref(),
            tally: &mut tally,
        };
        let Some(update) = self.method.update_on_gpu(adapter, &mut step)? else {
            sums.tally = Some(tally);
            return Ok(Outcome::Left(sums));
        };
        let weights = examine(adapter, &mut tally)?;
        let read = tally.read()?;
        let (of_host, correct) = sums.losses();
        let nll_sum = of_host + read.nll_sum;
        Ok(if !nll_sum.is_finite() {
            Outcome::LossNotFinite
        } else if !read.grad_norm.is_finite() {
            Outcome::GradientNotFinite(sums)
        } else if !read.squares.is_finite() {
            Outcome::ParameterNotFinite
        } else {
            Outcome::Done(StepReport {
                step: t,
                nll: nll_sum / counts.rows as f64,
                correct: correct + read.correct,
                rows: counts.rows,
                tokens: counts.tokens,
                sigma_mean: weights.map(|count| read.sigma_sum / count.max(1) as f64),
                update: UpdateReport {
                    grad_norm: read.grad_norm,
                    kl: update.kl.map(|_| read.kl),
                    ..update
                },
            })
        })
    }
}

/// Sums over the new parameters; of how many weights σ is one, if there is any.
fn examine(adapter: &Adapter, tally: &mut Tally) -> Result<Option<usize>> {
    let (sigma, parameters) = (adapter.sigma(), adapter.parameters());
    let w = parameters.values().on(tally.gpu())?;
    optimizer::squares(tally, &w)?;
    let Some(sigma) = sigma else {
        return Ok(None);
    };
    let len = parameters.layout().len();
    let runs = [Factor::Rho, Factor::RhoB].map(|factor| parameters.layout().run(factor));
    let members = 0..parameters.members();
    let of_member = |member: usize| {
        let runs = runs.clone().into_iter().filter(|run| !run.is_empty());
        runs.map(move |run| member * len + run.start..member * len + run.end)
    };
    let rho: Vec<_> = members.flat_map(of_member).collect();
    if rho.is_empty() {
        return Ok(None);
    }
    let is_softplus = sigma.is_softplus(tally.gpu())?;
    optimizer::sigma_sum(tally, &rho, &w, is_softplus)?;
    Ok(Some(rho.iter().map(ExactSizeIterator::len).sum()))
}
