//! The update of a step by kernels, on the GPU that has its gradients: one wait, at its end.
//!
//! Gradients, moments and parameters stay there. What the host decides on the processor before it
//! changes anything, kernels decide here: where the loss or a gradient is not finite, the update
//! leaves everything as it was, and the host learns of it when it reads the step's sums.

use super::sums::Sums;
use super::{StepReport, Trainer};
use crate::Result;
use crate::adapter::{Adapter, Factor, Sigma};
use crate::kernels::cuda::{Gpu, Tally, optimizer};
use crate::method::{StepOnGpu, Update};

/// What became of an update.
pub(super) enum Outcome {
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
    /// Update `t` of what a GPU has summed over so many rows and tokens.
    pub(super) fn update_on_gpu(
        &mut self,
        (gpu, t): (Gpu, u64),
        adapter: &mut Adapter,
        mut sums: Sums,
        (rows, tokens): (usize, usize),
    ) -> Result<Outcome> {
        if sums.drawn.is_some() {
            return Ok(Outcome::Left(sums));
        }
        let mut tally = sums.take_tally(gpu)?;
        let mut step = StepOnGpu {
            t,
            gradients: &mut sums.parameters,
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
                nll: nll_sum / rows as f64,
                correct: correct + read.correct,
                rows,
                tokens,
                sigma_mean: weights.map(|count| read.sigma_sum / count.max(1) as f64),
                update: Update {
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
    optimizer::sigma_sum(tally, &rho, &w, sigma == Sigma::Softplus)?;
    Ok(Some(rho.iter().map(ExactSizeIterator::len).sum()))
}
