//! What the KL would do to a posterior over a run if there were no likelihood.
//!
//! ```text
//! μ ← μ − η_t·π_t·∂KL/∂μ      ρ ← ρ − η_t·π_t·∂KL/∂σ·dσ/dρ      η_t = kl_lr·λ(t),  t = 1 … T
//! ```
//!
//! The second half of BLoB's update (arXiv:2406.11675 §3) from one ρ and μ = 1; its equations are
//! linear in μ, so that the last μ is the factor that is left of any. Of scales (σ = e^ρ) ln μ
//! moves (`method::scalabl`), and it is what is left of 1.

use serde::Serialize;

use super::GaussianKl;
use crate::adapter::Sigma;
use crate::optim::{KlCycle, Schedule};

/// What the KL alone would do to a posterior over a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// Whole cycles, T / M.
    pub pulses: f64,
    /// Σ π_t.
    pub weight_sum: f64,
    /// σ of the first update.
    pub sigma_start: f64,
    /// σ of the last one.
    pub sigma_end: f64,
    /// Factor left on the mean, Π (1 − η_t π_t ∂²KL/∂μ²).
    pub shrink_end: f64,
}

/// The recursion of the KL's SGD step without a likelihood, from one ρ.
#[derive(Debug, Clone, Copy)]
pub struct Dynamics {
    /// The divergence.
    pub kl: GaussianKl,
    /// Peak rate of the KL's SGD.
    pub kl_lr: f64,
    /// π.
    pub cycle: KlCycle,
    /// λ.
    pub schedule: Schedule,
    /// σ of ρ.
    pub sigma: Sigma,
}

impl Dynamics {
    /// Runs `updates` updates from `rho`.
    pub fn run(&self, rho: f32, updates: u64) -> Forecast {
        let mut rho = rho;
        let mut mean = 1.0;
        let mut weight_sum = 0.0;
        let sigma_start = f64::from(self.sigma.of(rho));
        for t in 1..=updates {
            let weight = self.cycle.weight(t);
            let rate = self.kl_lr * self.schedule.factor(t) * weight;
            weight_sum += weight;
            let by_mean = rate * self.kl.by_mean(mean);
            if self.sigma == Sigma::Exp {
                mean *= (-by_mean * mean).exp();
            } else {
                mean -= by_mean;
            }
            let slope = f64::from(self.sigma.slope(rho));
            rho -= (rate * self.kl.by_std(self.sigma.of(rho).into()) * slope) as f32;
        }
        Forecast {
            pulses: (updates / self.cycle.length()) as f64,
            weight_sum,
            sigma_start,
            sigma_end: self.sigma.of(rho).into(),
            shrink_end: mean,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kl::{KlForm, PriorStd};

    #[test]
    fn alone_it_carries_any_posterior_to_the_prior() {
        let dynamics = Dynamics {
            kl: GaussianKl::new(PriorStd::new(0.2).unwrap(), KlForm::Exact),
            kl_lr: 0.01,
            cycle: KlCycle::Uniform { length: 1 },
            schedule: Schedule {
                total: u64::MAX,
                warmup: 0.0,
                warmup_start: 0,
                stride: 1,
            },
            sigma: Sigma::Square,
        };
        let forecast = dynamics.run(0.04, 5000);
        assert!(
            (forecast.sigma_end - 0.2).abs() < 1e-4 && forecast.shrink_end < 1e-6,
            "{forecast:?}"
        );
    }

    #[test]
    fn counts_whole_cycles_and_adds_up_their_weights() {
        let dynamics = |cycle| Dynamics {
            kl: GaussianKl::new(PriorStd::new(0.2).unwrap(), KlForm::Exact),
            kl_lr: 0.01,
            cycle,
            schedule: Schedule {
                total: 20,
                warmup: 0.0,
                warmup_start: 0,
                stride: 1,
            },
            sigma: Sigma::Square,
        };
        let pulse = dynamics(KlCycle::Pulse { length: 3 }).run(0.1, 8);
        assert_eq!(pulse.pulses, 2.0);
        assert!((pulse.weight_sum - (2.0 * 14.0 + 2.0 + 4.0) / 15.0).abs() < 1e-12);
        assert!((pulse.sigma_start - 0.01).abs() < 1e-8);
        let even = dynamics(KlCycle::Uniform { length: 4 }).run(0.1, 8);
        assert_eq!((even.pulses, even.weight_sum), (2.0, 2.0));
    }
}
