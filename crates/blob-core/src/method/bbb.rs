//! Bayes by backprop (Blundell et al., arXiv:1505.05424): one Gaussian draw of the weights per
//! batch, and the evidence bound under one optimizer; the baseline of BLoB (arXiv:2406.11675 §4.1).
//!
//! ```text
//! L = E_q[ mean NLL ] + KL(q ‖ p)/N                 N rows of the training set: −ELBO/N, in nats
//! ∂L/∂M = g + ∂KL/∂M /N      ∂L/∂ρ = (g ∘ E + ∂KL/∂σ /N) ∘ dσ/dρ       θ = M + σ ∘ E,  g = ∂NLL/∂θ
//! ```
//!
//! AdamW takes these gradients for M, B and ρ alike; decay acts on M and B alone, since ρ = 0 is no
//! prior. Over A the draw is one coherent sample of the pass (`NoiseSharing::Shared`); over A and B
//! both factors are drawn as a whole. Of S draws, g is the mean over them.

use serde::{Deserialize, Serialize};

use super::{
    DRAWN_IN_PASS, DRAWN_WHOLE, Method, PointConfig, PointUpdate, Sampling, Statistic, Step,
    UpdateReport, check_samples,
};
#[cfg(feature = "cuda")]
use super::{StepOnGpu, members};
use crate::adapter::{Adapter, Gaussian, LowRankRef, Parameters, Sigma};
#[cfg(feature = "cuda")]
use crate::kernels::cuda::{Gpu, draws, optimizer};
use crate::kl::{GaussianKl, KlForm, PriorStd};
use crate::noise::Stream;
use crate::objective::Average;
use crate::pass::NoiseSharing;
use crate::{Error, Result};

/// The settings of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BbbConfig {
    /// AdamW on M, B and ρ.
    pub point: PointConfig,
    /// σp.
    pub prior_std: f64,
    /// N.
    pub rows: u64,
    /// S.
    pub train_samples: u32,
}

/// AdamW on the gradient of the evidence bound.
pub struct Bbb {
    config: BbbConfig,
    kl: GaussianKl,
    adamw: PointUpdate,
    sigma: Sigma,
    over: Gaussian,
}

impl Bbb {
    /// Fresh moments for a Gaussian adapter.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`; also when the adapter is a point estimate.
    pub fn new(config: BbbConfig, adapter: &Adapter) -> Result<Self> {
        let Some(posterior) = adapter.config().posterior else {
            return Err(Error::InvalidConfig {
                field: "posterior",
                rule: "must be a Gaussian for Bayes by backprop",
                value: "null".into(),
            });
        };
        let most = match posterior.over {
            Gaussian::A => DRAWN_IN_PASS,
            Gaussian::AAndB => DRAWN_WHOLE,
            Gaussian::Scales | Gaussian::Context => {
                return Err(Error::InvalidConfig {
                    field: "posterior",
                    rule: "must be a Gaussian over factors for Bayes by backprop",
                    value: posterior.over.name().into(),
                });
            }
        };
        check_samples(config.train_samples, most)?;
        let prior_std = PriorStd::new(config.prior_std)?;
        Ok(Self {
            config,
            kl: GaussianKl::new(prior_std, KlForm::Exact),
            adamw: PointUpdate::of_all(config.point, adapter)?,
            sigma: posterior.sigma,
            over: posterior.over,
        })
    }

    /// 1/N
    fn weight(&self) -> f64 {
        1.0 / self.config.rows.max(1) as f64
    }

    /// ∂NLL/∂(M, B, ρ), of what the passes ran with.
    fn of_nll(&self, adapter: &Adapter, step: &Step<'_>) -> Parameters {
        let Some(drawn) = step.drawn else {
            return step.gradients.clone();
        };
        let (parameters, samples) = (adapter.parameters(), self.config.train_samples as usize);
        let (points, factors) = (
            parameters.layout().point_len(),
            parameters.layout().low_rank_len(),
        );
        let mut sum = parameters.zeros_like();
        for member in 0..parameters.members() {
            let (means, rho) = parameters.member(member).split_at(points);
            let (of_means, of_rho) = sum.member_mut(member).split_at_mut(points);
            for draw in member * samples..(member + 1) * samples {
                let (gradient, at) = (step.gradients.member(draw), drawn.parameters().member(draw));
                for (sum, gradient) in of_means.iter_mut().zip(gradient) {
                    *sum += gradient;
                }
                // A Gaussian over A and B has a ρ for every factor, in the same order.
                for i in 0..factors {
                    let std = self.sigma.of(rho[i]);
                    if std > 0.0 {
                        let e = (at[i] - means[i]) / std;
                        of_rho[i] += gradient[i] * e * self.sigma.slope(rho[i]);
                    }
                }
            }
        }
        sum
    }

    /// Adds ∂KL/∂(M, ρ)/N.
    fn add_kl(&self, gradients: &mut Parameters, adapter: &Adapter) {
        let weight = self.weight();
        let add = |to: (&mut [f32], Option<&mut [f32]>), at: (&[f32], Option<&[f32]>)| {
            let (Some(of_rho), Some(rho)) = (to.1, at.1) else {
                return;
            };
            let means = to.0.iter_mut().zip(at.0);
            for ((of_mean, &mean), (of_rho, &rho)) in means.zip(of_rho.iter_mut().zip(rho)) {
                let by_std = self.kl.by_std(self.sigma.of(rho).into());
                *of_mean += (weight * self.kl.by_mean(mean.into())) as f32;
                *of_rho += (weight * by_std * f64::from(self.sigma.slope(rho))) as f32;
            }
        };
        for (to, at) in gradients.terms_with(adapter.parameters()) {
            let LowRankRef {
                a, b, rho, rho_b, ..
            } = at;
            add((to.a, to.rho), (a, rho));
            add((to.b, to.rho_b), (b, rho_b));
        }
    }
}

impl Method for Bbb {
    fn sampling(&self) -> Sampling {
        Sampling {
            samples: self.config.train_samples,
            sharing: (self.over == Gaussian::A).then_some(NoiseSharing::Shared),
        }
    }

    fn average(&self) -> Average {
        Average::LogLikelihood
    }

    fn drawn(&self, adapter: &Adapter, streams: &[Stream]) -> Option<Adapter> {
        let is_whole = self.over == Gaussian::AAndB;
        is_whole.then(|| adapter.drawn_for_step(streams, self.config.train_samples))
    }

    #[cfg(feature = "cuda")]
    fn drawn_on_gpu(
        &self,
        gpu: Gpu,
        adapter: &Adapter,
        streams: &[Stream],
    ) -> Result<Option<Adapter>> {
        if self.over == Gaussian::A || adapter.deviations().is_some() {
            return Ok(self.drawn(adapter, streams));
        }
        let samples = self.config.train_samples;
        adapter
            .drawn_for_step_on(gpu, streams, samples, None)
            .map(Some)
    }

    fn update(&mut self, adapter: &mut Adapter, step: &Step<'_>) -> Result<UpdateReport> {
        let mut gradients = self.of_nll(adapter, step);
        self.add_kl(&mut gradients, adapter);
        let update = self.adamw.update(adapter, &gradients, step.t)?;
        Ok(update.with_kl(self.kl.of(adapter), self.weight(), None))
    }

    #[cfg(feature = "cuda")]
    fn update_on_gpu(
        &mut self,
        adapter: &mut Adapter,
        step: &mut StepOnGpu<'_>,
    ) -> Result<Option<UpdateReport>> {
        let (gpu, members) = (step.tally.gpu(), members(adapter));
        let kl = self.kl.for_kernels(self.sigma, gpu)?;
        let w = adapter.parameters().values().on(gpu)?;
        if let Some(drawn) = step.drawn {
            let mut folded = adapter.parameters().zeros_like();
            let of = (&w, adapter.drawing(self.config.train_samples, gpu)?);
            let drawn = drawn.parameters().values().on(gpu)?;
            let gradients = step.gradients.values().on(gpu)?;
            draws::fold(of, [&drawn, &gradients], folded.change_on(gpu)?)?;
            *step.gradients = folded;
        }
        let sum = step.gradients.change_on(gpu)?;
        for member in &members {
            optimizer::kl_add(member, (&mut *sum, &w), kl, self.weight())?;
        }
        drop(w);
        let update = self.adamw.update_on_gpu(adapter, step)?;
        let w = adapter.parameters().values().on(gpu)?;
        optimizer::kl_sum(step.tally, &members, &w, kl)?;
        Ok(Some(update.with_kl(Some(0.0), self.weight(), None)))
    }

    fn statistics(&mut self) -> Vec<Statistic<'_>> {
        self.adamw.statistics()
    }
}
