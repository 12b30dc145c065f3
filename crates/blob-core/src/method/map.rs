//! Maximum a posteriori: maximum likelihood under a Gaussian prior on A and B.
//!
//! ```text
//! L = mean NLL + 1/(2Nσp²) · Σ θ²          g ← ∇NLL + θ/(Nσp²)          N rows of the training set
//! ```
//!
//! The whole gradient is clipped and goes into AdamW, so that the optimum is that of L. Decoupled
//! decay is something else: it shrinks by η·λ per update whatever the curvature. The reference
//! calls that MAP, with 1e-4 · 1e-5 per update, which its optimizer loses in f32 (`optim::decay`).

use serde::{Deserialize, Serialize};

#[cfg(feature = "cuda")]
use super::StepOnGpu;
use super::{Method, PointConfig, PointUpdate, Statistic, Step, UpdateReport};
use crate::Result;
use crate::adapter::{Adapter, Parameters};
#[cfg(feature = "cuda")]
use crate::kernels::cuda::optimizer;
use crate::kl::PriorStd;

/// The settings of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MapConfig {
    /// AdamW on A and B.
    pub point: PointConfig,
    /// σp.
    pub prior_std: f64,
    /// N.
    pub rows: u64,
}

/// AdamW on the gradient of the log posterior.
pub struct Map {
    point: PointUpdate,
    /// 1/(Nσp²)
    pull: f32,
}

impl Map {
    /// Fresh moments for an adapter.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`.
    pub fn new(config: MapConfig, adapter: &Adapter) -> Result<Self> {
        let std = PriorStd::new(config.prior_std)?.get();
        let rows = config.rows.max(1) as f64;
        Ok(Self {
            point: PointUpdate::new(config.point, adapter)?,
            pull: (1.0 / (rows * std * std)) as f32,
        })
    }

    /// ∇NLL + θ/(Nσp²) of the low-rank factors; a trained head has no prior.
    fn gradients(&self, adapter: &Adapter, of_nll: &Parameters) -> Parameters {
        let mut sum = of_nll.clone();
        let points = sum.layout().low_rank_len();
        for member in 0..sum.members() {
            let theta = &adapter.parameters().member(member)[..points];
            let gradient = &mut sum.member_mut(member)[..points];
            for (g, theta) in gradient.iter_mut().zip(theta) {
                *g += self.pull * theta;
            }
        }
        sum
    }
}

impl Method for Map {
    fn update(&mut self, adapter: &mut Adapter, step: &Step<'_>) -> Result<UpdateReport> {
        let gradients = self.gradients(adapter, step.gradients);
        self.point.update(adapter, &gradients, step.t)
    }

    #[cfg(feature = "cuda")]
    fn update_on_gpu(
        &mut self,
        adapter: &mut Adapter,
        step: &mut StepOnGpu<'_>,
    ) -> Result<Option<UpdateReport>> {
        let (gpu, parameters) = (step.tally.gpu(), adapter.parameters());
        let theta = parameters.values().on(gpu)?;
        let sum = step.gradients.change_on(gpu)?;
        let (len, points) = (
            parameters.layout().len(),
            parameters.layout().low_rank_len(),
        );
        for member in 0..parameters.members() {
            let part = member * len..member * len + points;
            optimizer::add_scaled(sum, &theta, self.pull, part)?;
        }
        drop(theta);
        self.point.update_on_gpu(adapter, step).map(Some)
    }

    fn statistics(&mut self) -> Vec<Statistic<'_>> {
        self.point.statistics()
    }
}
