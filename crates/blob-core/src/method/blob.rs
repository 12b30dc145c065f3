//! BLoB: variational Bayes on `A` by backpropagation, with two optimizers (arXiv:2406.11675 §3).
//!
//! One update, in this order, with η = lr·λ and η' = kl_lr·λ:
//!
//! ```text
//! M, B ← AdamW(∇NLL; η)                          (ρ's NLL gradient is kept)
//! M    ← M − η'·π·∂KL/∂M                         (KL at the new M and the old ρ)
//! ρ    ← ρ − η'·(∂NLL/∂ρ + π·∂KL/∂ρ)
//! ```
//!
//! The reference builds AdamW before ρ exists, so ρ sees the whole ELBO gradient through SGD alone;
//! this is the published algorithm and stands in both protocols. `B` has no KL.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{
    DRAWN_IN_PASS, Method, PointConfig, PointUpdate, Sampling, Statistic, Step, UpdateReport,
    check_not_negative, check_samples, require_gaussian,
};
#[cfg(feature = "cuda")]
use super::{StepOnGpu, members};
use crate::Result;
use crate::adapter::{Adapter, Gaussian, LowRankMut, LowRankRef, Sigma};
#[cfg(feature = "cuda")]
use crate::kernels::cuda::optimizer;
use crate::kl::{GaussianKl, KlForm, PriorStd};
use crate::objective::Average;
use crate::optim::KlCycle;
use crate::pass::NoiseSharing;

/// The variational settings of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BlobConfig {
    /// AdamW on M and B.
    pub point: PointConfig,
    /// σp.
    pub prior_std: f64,
    /// Exact, or with the reference's constant.
    pub kl_form: KlForm,
    /// Peak rate of the second optimizer.
    pub kl_lr: f64,
    /// π.
    pub kl_cycle: KlCycle,
    /// Posterior samples per step.
    pub train_samples: u32,
    /// How they are averaged.
    pub average: Average,
    /// Which rows share their signs.
    pub noise: NoiseSharing,
}

impl BlobConfig {
    /// Checks every rule that the engine relies on.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`.
    pub fn check(&self) -> Result<()> {
        PriorStd::new(self.prior_std)?;
        self.kl_cycle.check()?;
        check_not_negative("kl_lr", self.kl_lr)?;
        check_samples(self.train_samples, DRAWN_IN_PASS)
    }
}

/// AdamW on M and B, then SGD on M and ρ.
pub struct Blob {
    config: BlobConfig,
    kl: GaussianKl,
    point: PointUpdate,
}

impl Blob {
    /// Fresh moments for a Gaussian adapter.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`; also when the adapter is a point estimate.
    pub fn new(config: BlobConfig, adapter: &Adapter) -> Result<Self> {
        config.check()?;
        require_gaussian(adapter, Gaussian::A, "must be a Gaussian over A for BLoB")?;
        let kl = GaussianKl::new(PriorStd::new(config.prior_std)?, config.kl_form);
        Ok(Self {
            config,
            kl,
            point: PointUpdate::new(config.point, adapter)?,
        })
    }
}

impl Method for Blob {
    fn sampling(&self) -> Sampling {
        Sampling {
            samples: self.config.train_samples,
            sharing: Some(self.config.noise),
        }
    }

    fn average(&self) -> Average {
        self.config.average
    }

    fn update(&mut self, adapter: &mut Adapter, step: &Step<'_>) -> Result<UpdateReport> {
        let &Step { t, gradients, .. } = step;
        let update = self.point.update(adapter, gradients, t)?;
        let kl = self.kl.of(adapter);
        let (weight, rate) = (
            self.config.kl_cycle.weight(t),
            self.config.kl_lr * self.point.factor(t),
        );
        if let Some(sigma) = adapter.sigma() {
            let descent = Descent {
                kl: self.kl,
                sigma,
                weight,
                rate,
            };
            let terms = adapter.parameters_mut().terms_with(gradients);
            terms
                .into_par_iter()
                .for_each(|(term, gradient)| descent.descend(term, gradient));
        }
        Ok(update.with_kl(kl, weight, Some(rate)))
    }

    #[cfg(feature = "cuda")]
    fn update_on_gpu(
        &mut self,
        adapter: &mut Adapter,
        step: &mut StepOnGpu<'_>,
    ) -> Result<Option<UpdateReport>> {
        let Some(sigma) = adapter.sigma() else {
            return Ok(None);
        };
        let (gpu, members) = (step.tally.gpu(), members(adapter));
        let kl = self.kl.for_kernels(sigma, gpu)?;
        let update = self.point.update_on_gpu(adapter, step)?;
        let gradient = step.gradients.values().on(gpu)?;
        let w = adapter.parameters_mut().change_on(gpu)?;
        optimizer::kl_sum(step.tally, &members, w, kl)?;
        let weight = self.config.kl_cycle.weight(step.t);
        let rate = self.config.kl_lr * self.point.factor(step.t);
        for member in &members {
            let values = (&mut *w, &gradient);
            optimizer::kl_sgd(step.tally, member, values, kl, [rate, weight])?;
        }
        Ok(Some(update.with_kl(Some(0.0), weight, Some(rate))))
    }

    fn statistics(&mut self) -> Vec<Statistic<'_>> {
        self.point.statistics()
    }
}

/// The SGD of one update.
#[derive(Clone, Copy)]
struct Descent {
    kl: GaussianKl,
    sigma: Sigma,
    /// π.
    weight: f64,
    /// η'.
    rate: f64,
}

impl Descent {
    fn descend(self, term: LowRankMut<'_>, gradient: LowRankRef<'_>) {
        let Self {
            kl, weight, rate, ..
        } = self;
        let rho = term.rho.into_iter().flatten();
        let of_nll = gradient.rho.unwrap_or_default();
        for ((mean, rho), &of_nll) in term.a.iter_mut().zip(rho).zip(of_nll) {
            let std = f64::from(self.sigma.of(*rho));
            let by_rho =
                weight * kl.by_std(std) * f64::from(self.sigma.slope(*rho)) + f64::from(of_nll);
            *mean -= (rate * weight * kl.by_mean((*mean).into())) as f32;
            *rho -= (rate * by_rho) as f32;
        }
    }
}
