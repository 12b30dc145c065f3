//! Methods: how an adapter is sampled in training, and how it is updated.
//!
//! A method is an adapter, an objective, an optimizer rule and a predictive (docs/adr/0004). What
//! differs in training is here: the draws of a step and the update; the predictive of every method is
//! the mean of softmax over the adapter's samples (one pass for a point estimate).

mod blob;
mod mle;

pub use blob::{Blob, BlobConfig};
pub use mle::{Mle, MleConfig};

use crate::Result;
use crate::adapter::{Adapter, Site};
use crate::layers::Gradients;
use crate::optim::Moments;
use crate::pass::NoiseSharing;

/// What an update did, for the step's report.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Update {
    /// AdamW's rate.
    pub lr: f64,
    /// L2 norm of the NLL gradient of M and B, before clipping.
    pub grad_norm: f64,
    /// KL to the prior, in nats, after the AdamW step.
    pub kl: Option<f64>,
    /// π.
    pub kl_weight: Option<f64>,
    /// The KL-SGD's rate.
    pub kl_lr: Option<f64>,
}

/// Moments of one tensor of the adapter, by the name they are saved under.
pub type NamedMoments<'a> = (String, &'a mut Moments);

/// The training side of a method.
pub trait Method: Send {
    /// Posterior samples per micro-batch and their signs; `None` runs at the mean.
    fn sampling(&self) -> Option<(u32, NoiseSharing)>;

    /// Update `t` (from 1) from the mean NLL gradients.
    ///
    /// # Errors
    /// `BPEFT_NOT_FINITE` before anything is changed, when a gradient is not finite.
    fn update(&mut self, adapter: &mut Adapter, gradients: &Gradients, t: u64) -> Result<Update>;

    /// The optimizer's moments, for checkpoints.
    fn moments(&mut self) -> Vec<NamedMoments<'_>>;
}

/// L2 norm of the gradients of A and B, in f64, and whether every gradient (ρ's too) is finite.
fn norm(gradients: &Gradients) -> std::result::Result<f64, Site> {
    let mut sum = 0.0;
    for (site, gradient) in gradients {
        let squares = |values: &[f32]| {
            values
                .iter()
                .map(|&g| f64::from(g) * f64::from(g))
                .sum::<f64>()
        };
        let of_rho = gradient.rho.as_deref().map_or(0.0, squares);
        let of_site = squares(&gradient.a) + squares(&gradient.b);
        if !(of_site + of_rho).is_finite() {
            return Err(*site);
        }
        sum += of_site;
    }
    Ok(sum.sqrt())
}
