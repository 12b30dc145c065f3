//! IVON: the improved variational online Newton method (Shen et al., arXiv:2402.17641, algorithm
//! 1), as IVON-LoRA uses it on every factor (arXiv:2411.04421).
//!
//! The posterior is N(m, v) with v = 1/(λ(h + δ)) over A and B; λ is the effective sample size, δ
//! the weight decay (of the prior N(0, 1/(λδ))). One update, from the gradients ĝ_s of the mean NLL
//! at the draws m + n_s, n_s ~ N(0, v), s = 1 … S:
//!
//! ```text
//! g = mean ĝ_s      ĥ = λ(h + δ)·mean(n_s ĝ_s)                                    Price's theorem
//! ḡ ← β₁ḡ + (1 − β₁)g
//! h ← β₂h + (1 − β₂)ĥ + ½(1 − β₂)²(h − ĥ)²/(h + δ)                                stays positive
//! m ← m − η·clip( (ḡ/(1 − β₁ᵗ) + δm)/(h + δ), ±ξ )
//! ```
//!
//! The adapter's σ is kept at √v, so that its predictions need no word of the method. A trained
//! head has no variance, and so no estimate ĥ: its h stays as it began.

use serde::{Deserialize, Serialize};

#[cfg(feature = "cuda")]
use super::StepOnGpu;
use super::{
    DRAWN_WHOLE, Method, Sampling, Statistic, Step, UpdateReport, check_not_negative,
    check_samples, norms, require_gaussian,
};
use crate::adapter::{Adapter, Factor, Gaussian, Sigma};
use crate::buffer::Buffer;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::optimizer::{self, Lengths};
#[cfg(feature = "cuda")]
use crate::kernels::cuda::{Gpu, draws};
use crate::noise::Stream;
use crate::objective::Average;
use crate::optim::Schedule;
use crate::{Error, Result};

/// The settings of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IvonConfig {
    /// η.
    pub lr: f64,
    /// λ(t) of the rate.
    pub schedule: Schedule,
    /// λ.
    pub effective_rows: f64,
    /// δ.
    pub weight_decay: f64,
    /// h at the start.
    pub initial_hessian: f64,
    /// β₁.
    pub beta1: f64,
    /// β₂.
    pub beta2: f64,
    /// ξ; 0 = no clipping.
    pub clip: f64,
    /// S.
    pub train_samples: u32,
}

impl IvonConfig {
    /// Checks every rule that the engine relies on.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`.
    pub fn check(&self) -> Result<()> {
        let invalid = |field, rule, value: String| Err(Error::InvalidConfig { field, rule, value });
        for (field, value) in [
            ("lr", self.lr),
            ("weight_decay", self.weight_decay),
            ("clip", self.clip),
        ] {
            check_not_negative(field, value)?;
        }
        for (field, value) in [
            ("effective_rows", self.effective_rows),
            ("initial_hessian", self.initial_hessian),
        ] {
            if !(value.is_finite() && value > 0.0) {
                return invalid(field, "must be positive and finite", value.to_string());
            }
        }
        for (field, value) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&value) {
                return invalid(field, "must be at least 0 and below 1", value.to_string());
            }
        }
        check_samples(self.train_samples, DRAWN_WHOLE)?;
        self.schedule.check()
    }
}

/// ḡ and h of every factor.
pub struct Ivon {
    config: IvonConfig,
    momentum: Buffer,
    hessian: Buffer,
}

impl Ivon {
    /// At its start, for an adapter with σ = ρ² over A and B.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`; also for another kind of adapter.
    pub fn new(config: IvonConfig, adapter: &Adapter) -> Result<Self> {
        config.check()?;
        let rule = "must be a Gaussian over A and B for IVON";
        require_gaussian(adapter, Gaussian::AAndB, rule)?;
        if adapter.sigma() != Some(Sigma::Square) {
            return Err(Error::InvalidConfig {
                field: "sigma",
                rule: "must be rho squared for IVON, which writes it",
                value: (adapter.sigma()).map_or("none".into(), |sigma| format!("{sigma:?}")),
            });
        }
        let parameters = adapter.parameters();
        let len = parameters.layout().point_len() * parameters.members();
        Ok(Self {
            config,
            momentum: Buffer::zeros(len),
            hessian: vec![config.initial_hessian as f32; len].into(),
        })
    }

    /// η of update `t`.
    fn rate(&self, t: u64) -> f64 {
        self.config.lr * self.config.schedule.factor(t)
    }

    /// 1 − β₁ᵗ
    fn debias(&self, t: u64) -> f64 {
        1.0 - self.config.beta1.powi(t.min(i32::MAX as u64) as i32)
    }

    /// 1/√(λ(h + δ))
    fn std(&self, hessian: f32) -> f32 {
        let curvature = f64::from(hessian) + self.config.weight_decay;
        (1.0 / (self.config.effective_rows * curvature).sqrt()) as f32
    }

    /// Writes √σ into every ρ of the adapter.
    fn write_rho(&self, adapter: &mut Adapter) {
        let parameters = adapter.parameters_mut();
        let layout = parameters.layout().clone();
        let points = layout.point_len();
        for member in 0..parameters.members() {
            let hessian = &self.hessian.host()[member * points..(member + 1) * points];
            let values = parameters.member_mut(member);
            for &site in layout.terms().keys() {
                for (factor, rho) in [(Factor::A, Factor::Rho), (Factor::B, Factor::RhoB)] {
                    let ranges = (layout.range(site, factor), layout.range(site, rho));
                    let (Some(of), Some(to)) = ranges else {
                        continue;
                    };
                    for (rho, &h) in values[to].iter_mut().zip(&hessian[of]) {
                        *rho = self.std(h).sqrt();
                    }
                }
            }
        }
    }
}

impl Method for Ivon {
    fn sampling(&self) -> Sampling {
        Sampling {
            samples: self.config.train_samples,
            sharing: None,
        }
    }

    fn average(&self) -> Average {
        Average::LogLikelihood
    }

    fn drawn(&self, adapter: &Adapter, streams: &[Stream]) -> Option<Adapter> {
        let mut adapter = adapter.clone();
        self.write_rho(&mut adapter);
        Some(adapter.drawn_for_step(streams, self.config.train_samples))
    }

    #[cfg(feature = "cuda")]
    fn drawn_on_gpu(
        &self,
        gpu: Gpu,
        adapter: &Adapter,
        streams: &[Stream],
    ) -> Result<Option<Adapter>> {
        if adapter.deviations().is_some() {
            return Ok(self.drawn(adapter, streams));
        }
        let IvonConfig {
            effective_rows,
            weight_decay,
            train_samples,
            ..
        } = self.config;
        let hessian = self.hessian.on(gpu)?;
        let rho = draws::ivon_rho(gpu, &hessian, [effective_rows, weight_decay])?;
        adapter
            .drawn_for_step_on(gpu, streams, train_samples, Some(&rho))
            .map(Some)
    }

    fn update(&mut self, adapter: &mut Adapter, step: &Step<'_>) -> Result<UpdateReport> {
        let Some(drawn) = step.drawn else {
            return Err(Error::InvalidInput(
                "IVON must be given the draws of its step, got none".into(),
            ));
        };
        let norms = norms(step.gradients, step.t)?;
        let grad_norm = norms.iter().sum::<f64>() / norms.len() as f64;
        let IvonConfig {
            beta1, beta2, clip, ..
        } = self.config;
        let (lambda, delta) = (self.config.effective_rows, self.config.weight_decay);
        let (lr, debias) = (self.rate(step.t), self.debias(step.t));
        let points = step.gradients.layout().point_len();
        let factors = step.gradients.layout().low_rank_len();
        let samples = self.config.train_samples as usize;
        for member in 0..adapter.parameters().members() {
            let of_member = member * points..(member + 1) * points;
            let momentum = &mut self.momentum.host_mut()[of_member.clone()];
            let hessian = &mut self.hessian.host_mut()[of_member];
            let means = &mut adapter.parameters_mut().member_mut(member)[..points];
            let draws = (member * samples..(member + 1) * samples)
                .map(|draw| (step.gradients.member(draw), drawn.parameters().member(draw)));
            let draws: Vec<_> = draws.collect();
            for (i, ((mean, bar), h)) in means.iter_mut().zip(momentum).zip(hessian).enumerate() {
                let (m, before) = (f64::from(*mean), f64::from(*h));
                // The objective is the mean over the draws: its gradients hold the 1/S already.
                let (mut g, mut products) = (0.0, 0.0);
                for (gradient, at) in &draws {
                    g += f64::from(gradient[i]);
                    products += f64::from(gradient[i]) * (f64::from(at[i]) - m);
                }
                let estimate = lambda * (before + delta) * products;
                let (rest1, rest2) = (1.0 - beta1, 1.0 - beta2);
                let correction =
                    0.5 * rest2 * rest2 * (before - estimate).powi(2) / (before + delta);
                let after = if i < factors {
                    beta2 * before + rest2 * estimate + correction
                } else {
                    before
                };
                let average = beta1 * f64::from(*bar) + rest1 * g;
                let newton = (average / debias + delta * m) / (after + delta);
                let newton = if clip > 0.0 {
                    newton.clamp(-clip, clip)
                } else {
                    newton
                };
                *bar = average as f32;
                *h = after as f32;
                *mean = (m - lr * newton) as f32;
            }
        }
        self.write_rho(adapter);
        Ok(UpdateReport {
            lr,
            grad_norm,
            ..UpdateReport::default()
        })
    }

    #[cfg(feature = "cuda")]
    fn update_on_gpu(
        &mut self,
        adapter: &mut Adapter,
        step: &mut StepOnGpu<'_>,
    ) -> Result<Option<UpdateReport>> {
        let Some(drawn) = step.drawn else {
            return Ok(None);
        };
        let gpu = step.tally.gpu();
        let of = adapter.drawing(self.config.train_samples, gpu)?;
        let constants = draws::Ivon {
            lr: self.rate(step.t),
            lambda: self.config.effective_rows,
            delta: self.config.weight_decay,
            beta1: self.config.beta1,
            beta2: self.config.beta2,
            clip: self.config.clip,
            debias: self.debias(step.t),
        };
        let gradients = step.gradients.values().on(gpu)?;
        let drawn_values = drawn.parameters().values().on(gpu)?;
        let changed = [
            adapter.parameters_mut().change_on(gpu)?,
            self.momentum.change_on(gpu)?,
            self.hessian.change_on(gpu)?,
        ];
        let lengths = Lengths {
            gradients: of.members * of.samples,
            len: of.drawn_len,
            counted: of.points,
        };
        optimizer::clip(step.tally, &gradients, lengths, 0.0)?;
        let passed = [&drawn_values, &gradients];
        draws::ivon(step.tally, (of, constants), changed, passed)?;
        Ok(Some(UpdateReport {
            lr: constants.lr,
            ..UpdateReport::default()
        }))
    }

    fn statistics(&mut self) -> Vec<Statistic<'_>> {
        let of = |name, values| Statistic { name, values };
        vec![
            of("momentum", &mut self.momentum),
            of("hessian", &mut self.hessian),
        ]
    }
}
