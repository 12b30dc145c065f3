//! Maximum likelihood: AdamW on A and B with the gradient of the mean NLL.
//!
//! Clipping scales the whole gradient of A and B to at most `max_grad_norm`, as PyTorch does:
//! min(1, c / (‖g‖ + 1e-6)). MAP is the same with weight decay.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Method, NamedMoments, Update, norm};
use crate::adapter::{Adapter, Site};
use crate::layers::Gradients;
use crate::optim::{AdamW, Moments, Schedule};
use crate::pass::NoiseSharing;
use crate::{Error, Result};

/// AdamW's settings of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MleConfig {
    /// Peak rate.
    pub lr: f64,
    /// λ(t) of all rates.
    pub schedule: Schedule,
    /// Decoupled decay.
    pub weight_decay: f64,
    /// ε.
    pub adam_epsilon: f64,
    /// Largest gradient norm; 0 = no clipping.
    pub max_grad_norm: f64,
}

impl MleConfig {
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
            if !(value.is_finite() && value >= 0.0) {
                let (rule, value) = ("must be at least 0 and finite", value.to_string());
                return Err(Error::InvalidConfig { field, rule, value });
            }
        }
        self.schedule.check()
    }
}

/// AdamW on A and B.
pub struct Mle {
    config: MleConfig,
    adamw: AdamW,
    moments: Vec<(Site, [Moments; 2])>,
}

impl Mle {
    /// Fresh moments for an adapter.
    pub fn new(config: MleConfig, adapter: &Adapter) -> Result<Self> {
        config.check()?;
        let moments = adapter
            .terms()
            .map(|(site, term)| {
                (
                    *site,
                    [Moments::zeros(term.a.len()), Moments::zeros(term.b.len())],
                )
            })
            .collect();
        let adamw = AdamW {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: config.adam_epsilon,
            weight_decay: config.weight_decay,
        };
        Ok(Self {
            config,
            adamw,
            moments,
        })
    }

    /// λ of update `t`.
    pub(super) fn factor(&self, t: u64) -> f64 {
        self.config.schedule.factor(t)
    }
}

impl Method for Mle {
    fn sampling(&self) -> Option<(u32, NoiseSharing)> {
        None
    }

    fn update(&mut self, adapter: &mut Adapter, gradients: &Gradients, t: u64) -> Result<Update> {
        let grad_norm = norm(gradients).map_err(|site| Error::NotFinite {
            step: t,
            what: "gradient",
            layer: site.path(),
        })?;
        let limit = self.config.max_grad_norm;
        let scale = if limit > 0.0 {
            (limit / (grad_norm + 1e-6)).min(1.0) as f32
        } else {
            1.0
        };
        let lr = self.config.lr * self.factor(t);
        let adamw = self.adamw;
        let tensors: Vec<_> = adapter.terms_mut().zip(&mut self.moments).collect();
        tensors
            .into_par_iter()
            .for_each(|((site, term), (_, [a, b]))| {
                if let Some(gradient) = gradients.get(site) {
                    adamw.update(&mut term.a, (&gradient.a, scale), a, lr, t);
                    adamw.update(&mut term.b, (&gradient.b, scale), b, lr, t);
                }
            });
        Ok(Update {
            lr,
            grad_norm,
            ..Update::default()
        })
    }

    fn moments(&mut self) -> Vec<NamedMoments<'_>> {
        self.moments
            .iter_mut()
            .flat_map(|(site, [a, b])| {
                [
                    (format!("{}.lora_A", site.path()), a),
                    (format!("{}.lora_B", site.path()), b),
                ]
            })
            .collect()
    }
}
