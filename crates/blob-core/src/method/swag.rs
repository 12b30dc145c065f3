//! SWAG: moments of the trajectory (Maddox et al., arXiv:1902.02476 algorithm 1), of the factors of
//! LoRA (SWAG-LoRA, arXiv:2405.03425).
//!
//! AdamW by its schedule for `start` updates, then at the constant rate `lr`; after every `every`
//! updates from there on a θ_i is collected, i = 1 … n:
//!
//! ```text
//! θ̄_i = θ̄_{i−1} + (θ_i − θ̄_{i−1})/i                                running mean
//! S_i = S_{i−1} + (θ_i − θ̄_{i−1})(θ_i − θ̄_i)      σ² = S_n/n          Welford's, exact in f32
//! d_i = θ_i − θ̄_i                                                     the last K ≤ n of them
//! θ_s = θ̄_n + √(c/2)·(σ∘z₁ + (1/√(K−1)) Σ_k d_k z₂k)                 c = 1: the paper's
//! ```
//!
//! Training has the point adapter; the posterior is made of it when it is asked for. A trained head
//! answers with its mean.

use serde::{Deserialize, Serialize};

#[cfg(feature = "cuda")]
use super::StepOnGpu;
use super::{Method, PointConfig, PointUpdate, Statistic, Step, UpdateReport, check_not_negative};
use crate::adapter::{Adapter, Factor, Gaussian, LoraConfig, Posterior, Sigma};
use crate::buffer::Buffer;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::optimizer;
use crate::{Error, Result};

/// The settings of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SwagConfig {
    /// AdamW on A and B.
    pub point: PointConfig,
    /// Updates before the constant rate.
    pub start: u64,
    /// Updates from one collected θ to the next.
    pub every: u64,
    /// The constant rate.
    pub lr: f64,
    /// K.
    pub deviations: u32,
    /// c.
    pub scale: f64,
}

/// Names of the deviations in saved states; as many as there can be.
const NAMES: [&str; 20] = [
    "deviation_0",
    "deviation_1",
    "deviation_2",
    "deviation_3",
    "deviation_4",
    "deviation_5",
    "deviation_6",
    "deviation_7",
    "deviation_8",
    "deviation_9",
    "deviation_10",
    "deviation_11",
    "deviation_12",
    "deviation_13",
    "deviation_14",
    "deviation_15",
    "deviation_16",
    "deviation_17",
    "deviation_18",
    "deviation_19",
];

impl SwagConfig {
    /// Checks every rule that the engine relies on.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`.
    pub fn check(&self) -> Result<()> {
        let invalid = |field, rule, value: String| Err(Error::InvalidConfig { field, rule, value });
        if self.every == 0 {
            return invalid("every", "must be at least 1", self.every.to_string());
        }
        if !(2..=NAMES.len()).contains(&(self.deviations as usize)) {
            let value = self.deviations.to_string();
            return invalid("deviations", "must be between 2 and 20", value);
        }
        for (field, value) in [("lr", self.lr), ("scale", self.scale)] {
            check_not_negative(field, value)?;
        }
        self.point.check()
    }

    /// η of update `t`.
    fn rate(&self, t: u64) -> f64 {
        if t <= self.start {
            self.point.rate(t)
        } else {
            self.lr
        }
    }

    /// Whether θ is collected after update `t`.
    fn collects(&self, t: u64) -> bool {
        t > self.start && (t - self.start).is_multiple_of(self.every)
    }

    /// n after update `t`.
    fn collected(&self, t: u64) -> u64 {
        t.saturating_sub(self.start) / self.every
    }
}

/// AdamW, and the moments of where it goes.
pub struct Swag {
    config: SwagConfig,
    point: PointUpdate,
    mean: Buffer,
    scatter: Buffer,
    deviations: Vec<Buffer>,
}

impl Swag {
    /// At its start, for a point adapter.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`; also for another kind of adapter.
    pub fn new(config: SwagConfig, adapter: &Adapter) -> Result<Self> {
        config.check()?;
        if let Some(sigma) = adapter.sigma() {
            return Err(Error::InvalidConfig {
                field: "posterior",
                rule: "must be none while SWAG trains",
                value: format!("{sigma:?}"),
            });
        }
        let values = Buffer::zeros(adapter.parameters().values().host().len());
        Ok(Self {
            point: PointUpdate::new(config.point, adapter)?,
            deviations: vec![values.clone(); config.deviations as usize],
            scatter: values.clone(),
            mean: values,
            config,
        })
    }

    /// Takes θ_i into the moments.
    fn collect(&mut self, adapter: &Adapter, i: u64) {
        let at = (i - 1) as usize % self.deviations.len();
        let theta = adapter.parameters().values().host();
        let moments = self.mean.host_mut().iter_mut();
        let moments = moments.zip(self.scatter.host_mut());
        let all = moments.zip(self.deviations[at].host_mut()).zip(theta);
        for (((mean, scatter), deviation), &theta) in all {
            let before = theta - *mean;
            *mean += before / i as f32;
            *deviation = theta - *mean;
            *scatter += before * *deviation;
        }
    }
}

impl Method for Swag {
    fn update(&mut self, adapter: &mut Adapter, step: &Step<'_>) -> Result<UpdateReport> {
        let (config, t) = (self.config, step.t);
        let rate = |t| config.rate(t);
        let update = self.point.update_at(adapter, step.gradients, t, rate)?;
        if config.collects(t) {
            self.collect(adapter, self.config.collected(step.t));
        }
        Ok(update)
    }

    #[cfg(feature = "cuda")]
    fn update_on_gpu(
        &mut self,
        adapter: &mut Adapter,
        step: &mut StepOnGpu<'_>,
    ) -> Result<Option<UpdateReport>> {
        let config = self.config;
        let rate = |t| config.rate(t);
        if !config.collects(step.t) {
            return self.point.update_on_gpu_at(adapter, step, rate).map(Some);
        }
        let (gpu, i) = (step.tally.gpu(), self.config.collected(step.t));
        let at = (i - 1) as usize % self.deviations.len();
        let moments = [
            self.mean.change_on(gpu)?,
            self.scatter.change_on(gpu)?,
            self.deviations[at].change_on(gpu)?,
        ];
        let update = self.point.update_on_gpu_at(adapter, step, rate)?;
        let theta = adapter.parameters().values().on(gpu)?;
        optimizer::collect(step.tally, &theta, moments, i as f32)?;
        Ok(Some(update))
    }

    fn posterior(&self, adapter: &Adapter, t: u64) -> Result<Option<Adapter>> {
        let n = self.config.collected(t);
        if n < 2 {
            return Ok(None);
        }
        let config = LoraConfig {
            posterior: Some(Posterior {
                sigma: Sigma::Square,
                init_eps: 1.0,
                over: Gaussian::AAndB,
            }),
            ..adapter.config().clone()
        };
        let half = (self.config.scale / 2.0).sqrt();
        let columns = self.deviations.len().min(n as usize);
        let weight = (half / ((columns - 1) as f64).sqrt()) as f32;
        let own = adapter.parameters().layout();
        let (len, low_rank) = (own.len(), own.low_rank_len());
        let (means, scatters) = (self.mean.host(), self.scatter.host());
        let mut posterior = adapter.with_gaussian(config)?;
        let layout = posterior.parameters().layout().clone();
        let mut all = Vec::new();
        for member in 0..adapter.parameters().members() {
            let of_member = member * len..(member + 1) * len;
            let (mean, scatter) = (&means[of_member.clone()], &scatters[of_member.clone()]);
            let values = posterior.parameters_mut().member_mut(member);
            for parameter in own.parameters() {
                let (site, from) = (parameter.site, parameter.range.clone());
                if let Some(to) = layout.range(site, parameter.factor) {
                    values[to].copy_from_slice(&mean[from.clone()]);
                }
                let rho = match parameter.factor {
                    Factor::A => layout.range(site, Factor::Rho),
                    Factor::B => layout.range(site, Factor::RhoB),
                    _ => None,
                };
                let Some(rho) = rho else { continue };
                for (rho, scatter) in values[rho].iter_mut().zip(&scatter[from]) {
                    let variance = f64::from(scatter.max(0.0)) / n as f64;
                    *rho = (half * variance.sqrt()).sqrt() as f32;
                }
            }
            for deviation in &self.deviations[..columns] {
                let values = deviation.host()[of_member.clone()][..low_rank].iter();
                all.push(values.map(|d| weight * d).collect());
            }
        }
        posterior.with_deviations(columns, &all).map(Some)
    }

    fn statistics(&mut self) -> Vec<Statistic<'_>> {
        let of = |name, values| Statistic { name, values };
        let mut all = self.point.statistics();
        all.push(of("mean", &mut self.mean));
        all.push(of("scatter", &mut self.scatter));
        let deviations = NAMES.iter().zip(&mut self.deviations);
        all.extend(deviations.map(|(name, values)| of(name, values)));
        all
    }
}
