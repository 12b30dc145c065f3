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

use super::{Method, Mle, MleConfig, NamedMoments, Update};
use crate::adapter::Adapter;
use crate::kl::{GaussianKl, KlForm, PriorStd};
use crate::layers::Gradients;
use crate::objective::Average;
use crate::optim::KlCycle;
use crate::pass::NoiseSharing;
use crate::{Error, Result};

/// The variational settings of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlobConfig {
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
        if !(self.kl_lr.is_finite() && self.kl_lr >= 0.0) {
            let (rule, value) = ("must be at least 0 and finite", self.kl_lr.to_string());
            return Err(Error::InvalidConfig {
                field: "kl_lr",
                rule,
                value,
            });
        }
        if !(1..=1024).contains(&self.train_samples) {
            let (rule, value) = ("must be between 1 and 1024", self.train_samples.to_string());
            return Err(Error::InvalidConfig {
                field: "train_samples",
                rule,
                value,
            });
        }
        Ok(())
    }
}

/// AdamW on M and B, then SGD on M and ρ.
pub struct Blob {
    config: BlobConfig,
    kl: GaussianKl,
    point: Mle,
}

impl Blob {
    /// Fresh moments for a Gaussian adapter.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`; also when the adapter is a point estimate.
    pub fn new(config: BlobConfig, point: MleConfig, adapter: &Adapter) -> Result<Self> {
        config.check()?;
        if adapter.sigma().is_none() {
            let (rule, value) = ("must be set to train a posterior", "null".into());
            return Err(Error::InvalidConfig {
                field: "posterior",
                rule,
                value,
            });
        }
        let kl = GaussianKl::new(PriorStd::new(config.prior_std)?, config.kl_form);
        Ok(Self {
            config,
            kl,
            point: Mle::new(point, adapter)?,
        })
    }
}

impl Method for Blob {
    fn sampling(&self) -> Option<(u32, NoiseSharing)> {
        Some((self.config.train_samples, self.config.noise))
    }

    fn update(&mut self, adapter: &mut Adapter, gradients: &Gradients, t: u64) -> Result<Update> {
        let update = self.point.update(adapter, gradients, t)?;
        let kl = self.kl.of(adapter);
        let (weight, rate) = (
            self.config.kl_cycle.weight(t),
            self.config.kl_lr * self.point.factor(t),
        );
        if let Some(sigma) = adapter.sigma() {
            let kl = self.kl;
            let terms: Vec<_> = adapter.terms_mut().collect();
            terms.into_par_iter().for_each(|(site, term)| {
                let Some(rho) = &mut term.rho else { return };
                let of_nll = gradients
                    .get(site)
                    .and_then(|gradient| gradient.rho.as_deref());
                for (i, (mean, rho)) in term.a.iter_mut().zip(rho).enumerate() {
                    let std = f64::from(sigma.of(*rho));
                    let by_rho = weight * kl.by_std(std) * f64::from(sigma.slope(*rho))
                        + of_nll.map_or(0.0, |nll| f64::from(nll[i]));
                    *mean -= (rate * weight * kl.by_mean((*mean).into())) as f32;
                    *rho -= (rate * by_rho) as f32;
                }
            });
        }
        Ok(Update {
            kl,
            kl_weight: Some(weight),
            kl_lr: Some(rate),
            ..update
        })
    }

    fn moments(&mut self) -> Vec<NamedMoments<'_>> {
        self.point.moments()
    }
}
