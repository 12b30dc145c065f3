//! Maximum likelihood: AdamW on A and B (LoRA, arXiv:2106.09685).

use serde::{Deserialize, Serialize};

#[cfg(feature = "cuda")]
use super::StepOnGpu;
use super::{Method, PointConfig, PointUpdate, Statistic, Step, UpdateReport};
use crate::Result;
use crate::adapter::Adapter;

/// The settings of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MleConfig {
    /// AdamW on A and B.
    pub point: PointConfig,
}

/// AdamW alone.
pub struct Mle {
    point: PointUpdate,
}

impl Mle {
    /// Fresh moments for an adapter.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`.
    pub fn new(config: MleConfig, adapter: &Adapter) -> Result<Self> {
        let point = PointUpdate::new(config.point, adapter)?;
        Ok(Self { point })
    }
}

impl Method for Mle {
    fn update(&mut self, adapter: &mut Adapter, step: &Step<'_>) -> Result<UpdateReport> {
        self.point.update(adapter, step.gradients, step.t)
    }

    #[cfg(feature = "cuda")]
    fn update_on_gpu(
        &mut self,
        adapter: &mut Adapter,
        step: &mut StepOnGpu<'_>,
    ) -> Result<Option<UpdateReport>> {
        self.point.update_on_gpu(adapter, step).map(Some)
    }

    fn statistics(&mut self) -> Vec<Statistic<'_>> {
        self.point.statistics()
    }
}
