//! ScalaBL: a Gaussian over the r scales of each layer (arXiv:2506.21408 §3).
//!
//! ```text
//! W = W₀ + s·B·diag(λ)·V        q(λ_i) = N(μ_i, σ_i²)        p(λ_i) = N(0, σp²)
//!
//! V, B, ln μ, ln σ ← AdamW(∇ E_q[NLL]; η)
//! ln μ ← ln μ − η'·π·μ·∂KL(q‖p)/∂μ          ln σ ← ln σ − η'·π·σ·∂KL(q‖p)/∂σ
//! ```
//!
//! η = lr·λ(t), η' = kl_lr·λ(t), π as of BLoB. The adapter holds A = diag(μ)V
//! (`adapter/scales.rs`); with G the gradient of a draw A_s = diag(f)A and q_i = Σ_k G_ik A_ik,
//!
//! ```text
//! ∂V = diag(μ∘f)·G        ∂ln μ = q        ∂ln σ = q∘(f − 1)         f = 1 + σ∘ε/μ
//! ```
//!
//! summed over the draws of a step, each with one ε for the whole batch. Published code minimises
//! KL(p‖q), which widens q without bound where a scale is far from 0. Decay acts on V and B, and
//! clipping goes by their gradient.

use serde::{Deserialize, Serialize};

use super::{
    DRAWN_WHOLE, Method, PointConfig, PointUpdate, Sampling, Statistic, Step, UpdateReport,
    check_not_negative, check_samples, require_gaussian,
};
use crate::adapter::{Adapter, Factor, Gaussian, Parameters};
use crate::kl::{GaussianKl, KlForm, PriorStd};
use crate::noise::Stream;
use crate::objective::Average;
use crate::optim::KlCycle;
use crate::{Error, Result};

/// The settings of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScalaBlConfig {
    /// AdamW on everything.
    pub point: PointConfig,
    /// σp.
    pub prior_std: f64,
    /// Peak rate of the KL's SGD.
    pub kl_lr: f64,
    /// π.
    pub kl_cycle: KlCycle,
    /// Draws per step.
    pub train_samples: u32,
    /// How they are averaged.
    pub average: Average,
}

impl ScalaBlConfig {
    /// Checks every rule that the engine relies on.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`.
    pub fn check(&self) -> Result<()> {
        PriorStd::new(self.prior_std)?;
        self.kl_cycle.check()?;
        check_not_negative("kl_lr", self.kl_lr)?;
        check_samples(self.train_samples, DRAWN_WHOLE)
    }
}

/// AdamW on the likelihood, then SGD on the divergence.
pub struct ScalaBl {
    config: ScalaBlConfig,
    kl: GaussianKl,
    adamw: PointUpdate,
}

impl ScalaBl {
    /// Fresh moments for an adapter with Gaussian scales.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`; also for another kind of adapter.
    pub fn new(config: ScalaBlConfig, adapter: &Adapter) -> Result<Self> {
        config.check()?;
        let rule = "must be a Gaussian over scales for ScalaBL";
        require_gaussian(adapter, Gaussian::Scales, rule)?;
        Ok(Self {
            kl: GaussianKl::new(PriorStd::new(config.prior_std)?, KlForm::Exact),
            adamw: PointUpdate::of_all(config.point, adapter)?,
            config,
        })
    }

    /// ∂NLL/∂(V, B, W, b, ln μ, ln σ) by the gradients of the draws.
    fn of_nll(&self, adapter: &Adapter, of_draws: &Parameters, drawn: &Adapter) -> Parameters {
        let (parameters, samples) = (adapter.parameters(), self.config.train_samples as usize);
        let (own, points) = (parameters.layout(), of_draws.layout());
        let mut sum = parameters.zeros_like();
        for member in 0..parameters.members() {
            let (means, sum) = (parameters.member(member), sum.member_mut(member));
            for draw in member * samples..(member + 1) * samples {
                let (gradient, at) = (of_draws.member(draw), drawn.parameters().member(draw));
                for parameter in points.parameters() {
                    let (site, factor) = (parameter.site, parameter.factor);
                    let Some(to) = own.range(site, factor) else {
                        continue;
                    };
                    let from = parameter.range.clone();
                    let scales = [Factor::Scale, Factor::RhoScale].map(|it| own.range(site, it));
                    let ([Some(log_mean), Some(rho)], Factor::A) = (scales, factor) else {
                        let pairs = sum[to].iter_mut().zip(&gradient[from]);
                        pairs.for_each(|(sum, g)| *sum += g);
                        continue;
                    };
                    let width = parameter.shape[1];
                    for i in 0..parameter.shape[0] {
                        let row = |start: usize| start + i * width..start + (i + 1) * width;
                        let (a, g) = (&means[row(to.start)], &gradient[row(from.start)]);
                        let f = ratio(&at[row(from.start)], a);
                        let by_scale = dot(g, a);
                        sum[log_mean.start + i] += by_scale as f32;
                        sum[rho.start + i] += (by_scale * (f - 1.0)) as f32;
                        let by_direction = f * f64::from(means[log_mean.start + i].exp());
                        for (sum, g) in sum[row(to.start)].iter_mut().zip(g) {
                            *sum += (by_direction * f64::from(*g)) as f32;
                        }
                    }
                }
            }
        }
        sum
    }

    /// The step of the divergence.
    fn descend(&self, adapter: &mut Adapter, rate: f64) {
        let layout = adapter.parameters().layout().clone();
        let runs = [Factor::Scale, Factor::RhoScale].map(|factor| layout.run(factor));
        let parameters = adapter.parameters_mut();
        for member in 0..parameters.members() {
            let values = parameters.member_mut(member);
            let of = |value: f32| f64::from(value.exp());
            for value in &mut values[runs[0].clone()] {
                *value -= (rate * self.kl.by_mean(of(*value)) * of(*value)) as f32;
            }
            for value in &mut values[runs[1].clone()] {
                *value -= (rate * self.kl.by_std(of(*value)) * of(*value)) as f32;
            }
        }
    }
}

/// f of a drawn row f·a; 1 of a row of zeros, which no scale changes.
fn ratio(drawn: &[f32], a: &[f32]) -> f64 {
    let square = dot(a, a);
    if square > 0.0 {
        dot(drawn, a) / square
    } else {
        1.0
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(&a, &b)| f64::from(a) * f64::from(b))
        .sum()
}

/// Changes every row of A by its μ.
fn each_row(adapter: &mut Adapter, change: impl Fn(&mut f32, f32)) {
    let layout = adapter.parameters().layout().clone();
    let parameters = adapter.parameters_mut();
    for member in 0..parameters.members() {
        for (&site, shape) in layout.terms() {
            let Some(range) = layout.range(site, Factor::Scale) else {
                continue;
            };
            let means = parameters.member(member)[range].to_vec();
            let Some(term) = parameters.term_mut(member, site) else {
                continue;
            };
            for (row, mean) in term.a.chunks_exact_mut(shape.inputs).zip(means) {
                let mean = mean.exp();
                for a in row {
                    change(a, mean);
                }
            }
        }
    }
}

impl Method for ScalaBl {
    fn sampling(&self) -> Sampling {
        Sampling {
            samples: self.config.train_samples,
            sharing: None,
        }
    }

    fn average(&self) -> Average {
        self.config.average
    }

    fn drawn(&self, adapter: &Adapter, streams: &[Stream]) -> Option<Adapter> {
        Some(adapter.drawn_for_step(streams, self.config.train_samples))
    }

    fn update(&mut self, adapter: &mut Adapter, step: &Step<'_>) -> Result<UpdateReport> {
        let Some(drawn) = step.drawn else {
            return Err(Error::InvalidInput(
                "ScalaBL must be given the draws of its step, got none".into(),
            ));
        };
        let gradients = self.of_nll(adapter, step.gradients, drawn);
        let mut next = adapter.clone();
        each_row(&mut next, |a, mean| *a /= mean);
        let update = self.adamw.update(&mut next, &gradients, step.t)?;
        let kl = self.kl.of(&next);
        let weight = self.config.kl_cycle.weight(step.t);
        let rate = self.config.kl_lr * self.adamw.factor(step.t);
        self.descend(&mut next, rate * weight);
        each_row(&mut next, |a, mean| *a *= mean);
        *adapter = next;
        Ok(update.with_kl(kl, weight, Some(rate)))
    }

    fn statistics(&mut self) -> Vec<Statistic<'_>> {
        self.adamw.statistics()
    }
}
