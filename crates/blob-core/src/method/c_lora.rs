//! C-LoRA: a Gaussian over a matrix between A and B that depends on the input
//! (arXiv:2505.17773 §3).
//!
//! ```text
//! h_t = E_t A x_t     q(E_t | z_t) = N(μ(z_t), σ(z_t)²)     p(E_ij) = N(0, σp²)     z_t = A x_t
//! L = E_q[ mean NLL ] + w·π·Σ_t KL(q(E_t | z_t) ‖ p)        summed over tokens, mean over layers
//!
//! A, B ← AdamW(∇L; η)        θ_E ← θ_E − η'·∇L
//! ```
//!
//! η = lr·λ(t), η' = context_lr·λ(t); θ_E are the networks that make μ and σ
//! (`ops::low_rank::context`). The published w is 1e-6, which leaves the width to the likelihood. A
//! factor of 2 or 4 that it gives the NLL of some sets is one of η', and none of AdamW's step. Its
//! choice of a checkpoint by the calibration of held-out rows is no part of this.

use serde::{Deserialize, Serialize};

#[cfg(feature = "cuda")]
use super::StepOnGpu;
use super::{
    DRAWN_IN_PASS, Method, PointConfig, PointUpdate, Sampling, Statistic, Step, UpdateReport,
    check_not_negative, check_samples, require_gaussian,
};
use crate::Result;
use crate::adapter::{Adapter, Gaussian};
#[cfg(feature = "cuda")]
use crate::kernels::cuda::optimizer;
use crate::kl::{GaussianKl, KlForm, PriorStd};
use crate::objective::Average;
use crate::optim::KlCycle;
use crate::pass::NoiseSharing;

/// The settings of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CLoraConfig {
    /// AdamW on A and B.
    pub point: PointConfig,
    /// σp.
    pub prior_std: f64,
    /// Peak rate of the networks' SGD.
    pub context_lr: f64,
    /// w.
    pub kl_weight: f64,
    /// π.
    pub kl_cycle: KlCycle,
    /// Samples per step.
    pub train_samples: u32,
    /// How they are averaged.
    pub average: Average,
    /// Which rows share their ε.
    pub noise: NoiseSharing,
}

impl CLoraConfig {
    /// Checks every rule that the engine relies on.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`.
    pub fn check(&self) -> Result<()> {
        PriorStd::new(self.prior_std)?;
        self.kl_cycle.check()?;
        check_not_negative("context_lr", self.context_lr)?;
        check_not_negative("kl_weight", self.kl_weight)?;
        check_samples(self.train_samples, DRAWN_IN_PASS)
    }
}

/// AdamW on A and B, SGD on the networks.
pub struct CLora {
    config: CLoraConfig,
    kl: GaussianKl,
    point: PointUpdate,
    layers: usize,
}

impl CLora {
    /// Fresh moments for an adapter with a context.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`; also for another kind of adapter.
    pub fn new(config: CLoraConfig, adapter: &Adapter) -> Result<Self> {
        config.check()?;
        let rule = "must be a Gaussian over a context for C-LoRA";
        require_gaussian(adapter, Gaussian::Context, rule)?;
        Ok(Self {
            kl: GaussianKl::new(PriorStd::new(config.prior_std)?, KlForm::Exact),
            point: PointUpdate::new(config.point, adapter)?,
            layers: adapter.parameters().layout().terms().len(),
            config,
        })
    }

    /// η' of update `t`.
    fn rate(&self, t: u64) -> f32 {
        (self.config.context_lr * self.point.factor(t)) as f32
    }
}

impl Method for CLora {
    fn sampling(&self) -> Sampling {
        Sampling {
            samples: self.config.train_samples,
            sharing: Some(self.config.noise),
        }
    }

    fn average(&self) -> Average {
        self.config.average
    }

    fn context_kl(&self, t: u64) -> Option<(GaussianKl, f64)> {
        let weight = self.config.kl_weight * self.config.kl_cycle.weight(t);
        let shares = self.layers as f64 * f64::from(self.config.train_samples);
        (weight > 0.0).then(|| (self.kl, weight / shares))
    }

    fn update(&mut self, adapter: &mut Adapter, step: &Step<'_>) -> Result<UpdateReport> {
        let update = self.point.update(adapter, step.gradients, step.t)?;
        let rate = self.rate(step.t);
        let layout = adapter.parameters().layout().clone();
        for &factor in Gaussian::Context.factors() {
            let run = layout.run(factor);
            for member in 0..adapter.parameters().members() {
                let weights = &mut adapter.parameters_mut().member_mut(member)[run.clone()];
                let gradients = &step.gradients.member(member)[run.clone()];
                for (weight, gradient) in weights.iter_mut().zip(gradients) {
                    *weight -= rate * gradient;
                }
            }
        }
        Ok(update)
    }

    #[cfg(feature = "cuda")]
    fn update_on_gpu(
        &mut self,
        adapter: &mut Adapter,
        step: &mut StepOnGpu<'_>,
    ) -> Result<Option<UpdateReport>> {
        let (gpu, rate) = (step.tally.gpu(), self.rate(step.t));
        let update = self.point.update_on_gpu(adapter, step)?;
        let layout = adapter.parameters().layout().clone();
        let members = adapter.parameters().members();
        let gradient = step.gradients.values().on(gpu)?;
        let w = adapter.parameters_mut().change_on(gpu)?;
        for member in 0..members {
            for &factor in Gaussian::Context.factors() {
                let (from, run) = (member * layout.len(), layout.run(factor));
                let part = from + run.start..from + run.end;
                let values = (&mut *w, &gradient);
                optimizer::sgd(step.tally, (member, part), values, rate)?;
            }
        }
        Ok(Some(update))
    }

    fn statistics(&mut self) -> Vec<Statistic<'_>> {
        self.point.statistics()
    }
}
