//! KL divergence of the diagonal Gaussian posterior to its prior, with its gradient.
//!
//! ```text
//! KL = Σ [ ln(σp + c) − ln(σ + c) + (σ² + μ²)/(2σp² + c) − ½ ]         c = 0 exact, 1e-6 reference
//! ∂μ = 2μ/(2σp² + c)      ∂σ = 2σ/(2σp² + c) − 1/(σ + c)      ∂ρ = ∂σ · dσ/dρ
//! ```
//!
//! BLoB, arXiv:2406.11675 §3; the reference adds c in three places. Summed over all weights, in
//! nats, in f64; scales are weights, too. With c = 0 it vanishes iff μ = 0 and σ = σp.

mod forecast;

use candle_core::Tensor;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

#[cfg(feature = "cuda")]
use crate::adapter::Sigma;
use crate::adapter::{Adapter, Factor, Gaussian};
#[cfg(feature = "cuda")]
use crate::kernels::cuda::{Gpu, optimizer::Kl};
use crate::{Error, Result};

pub use forecast::{Dynamics, Forecast};

/// Which of the two forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KlForm {
    /// The divergence itself.
    Exact,
    /// With the reference's c = 1e-6.
    Reference,
}

/// A standard deviation that has been checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PriorStd(f64);

impl PriorStd {
    /// # Errors
    /// `BPEFT_INVALID_CONFIG` unless positive and finite.
    pub fn new(value: f64) -> Result<Self> {
        if value.is_finite() && value > 0.0 {
            return Ok(Self(value));
        }
        Err(Error::InvalidConfig {
            field: "prior_std",
            rule: "must be positive",
            value: value.to_string(),
        })
    }

    /// σp.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// The divergence to one prior.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GaussianKl {
    prior_std: f64,
    c: f64,
    denominator: f64,
}

impl GaussianKl {
    /// To N(0, `prior_std`²).
    pub fn new(prior_std: PriorStd, form: KlForm) -> Self {
        let c = match form {
            KlForm::Exact => 0.0,
            KlForm::Reference => 1e-6,
        };
        Self {
            prior_std: prior_std.0,
            c,
            denominator: 2.0 * prior_std.0 * prior_std.0 + c,
        }
    }

    /// As kernels of a GPU take it, with how σ follows from ρ.
    ///
    /// # Errors
    /// As [`Sigma::is_softplus`].
    #[cfg(feature = "cuda")]
    pub(crate) fn for_kernels(&self, sigma: Sigma, gpu: Gpu) -> Result<Kl> {
        Ok(Kl {
            prior_std: self.prior_std,
            c: self.c,
            denominator: self.denominator,
            is_softplus: u32::from(sigma.is_softplus(gpu)?),
            unused: 0,
        })
    }

    /// Its slopes under a weight w as kernels of a context take them: 2w/D, w, c.
    #[cfg(feature = "cuda")]
    pub(crate) fn slopes(&self, weight: f64) -> [f32; 3] {
        [2.0 * weight / self.denominator, weight, self.c].map(|it| it as f32)
    }

    /// One weight's term, in nats.
    #[inline]
    pub fn value(&self, mean: f64, std: f64) -> f64 {
        (self.prior_std + self.c).ln() - (std + self.c).ln()
            + (std * std + mean * mean) / self.denominator
            - 0.5
    }

    /// [`Self::value`] of all entries, summed, by plain operations.
    pub(crate) fn plain(&self, mean: &Tensor, std: &Tensor) -> Result<Tensor> {
        let squares = ((std.sqr()? + mean.sqr()?)? / self.denominator)?;
        let each = (squares - (std + self.c)?.log()?)?;
        let constant = (self.prior_std + self.c).ln() - 0.5;
        Ok((each + constant)?.sum_all()?)
    }

    /// ∂/∂μ.
    #[inline]
    pub fn by_mean(&self, mean: f64) -> f64 {
        2.0 * mean / self.denominator
    }

    /// ∂/∂σ.
    #[inline]
    pub fn by_std(&self, std: f64) -> f64 {
        2.0 * std / self.denominator - 1.0 / (std + self.c)
    }

    /// Sum over an adapter's weights, in nats, of all members; `None` for a point estimate, and
    /// under a context, which has one for each input.
    pub fn of(&self, adapter: &Adapter) -> Option<f64> {
        if adapter.config().gaussian() == Some(Gaussian::Context) {
            return None;
        }
        let (sigma, parameters) = (adapter.sigma()?, adapter.parameters());
        let sites = parameters.layout().terms().keys();
        let members = 0..parameters.members();
        let places: Vec<_> = members
            .flat_map(|member| sites.clone().map(move |&site| (member, site)))
            .collect();
        let of_place = |(member, site)| {
            let values = |factor| parameters.factor(member, site, factor).unwrap_or_default();
            let of = |means, rho, mean: fn(f32) -> f32| {
                let weights = values(means).iter().zip(values(rho));
                let terms = weights.map(|(&m, &r)| self.value(mean(m).into(), sigma.of(r).into()));
                terms.sum::<f64>()
            };
            let of_factors = of(Factor::A, Factor::Rho, |m| m) + of(Factor::B, Factor::RhoB, |m| m);
            of_factors + of(Factor::Scale, Factor::RhoScale, f32::exp)
        };
        let sums: Vec<f64> = places.into_par_iter().map(of_place).collect();
        Some(sums.iter().sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vanishes_exactly_where_the_posterior_is_the_prior_and_only_there() {
        let kl = GaussianKl::new(PriorStd::new(0.2).unwrap(), KlForm::Exact);
        assert!(kl.value(0.0, 0.2).abs() < 1e-15);
        for (mean, std) in [(0.1, 0.2), (0.0, 0.1), (0.0, 0.3)] {
            assert!(kl.value(mean, std) > 1e-3);
        }
    }

    #[test]
    fn agrees_with_an_integral_of_the_definition() {
        // ∫ q ln(q/p) over ±10 σ by the trapezoid rule.
        let (mean, std, prior) = (0.13, 0.07, 0.2);
        let log_density = |x: f64, m: f64, s: f64| -0.5 * ((x - m) / s).powi(2) - s.ln();
        let h = std / 200.0;
        let integral: f64 = (-2000..=2000)
            .map(|i| {
                let x = mean + f64::from(i) * h;
                let (q, p) = (log_density(x, mean, std), log_density(x, 0.0, prior));
                (q - 0.5 * (2.0 * std::f64::consts::PI).ln()).exp() * (q - p) * h
            })
            .sum();
        let kl = GaussianKl::new(PriorStd::new(prior).unwrap(), KlForm::Exact);
        assert!(
            (kl.value(mean, std) - integral).abs() < 1e-9,
            "{} {integral}",
            kl.value(mean, std)
        );
    }

    #[test]
    fn gradients_are_the_differences_of_the_value_in_both_forms() {
        for form in [KlForm::Exact, KlForm::Reference] {
            let kl = GaussianKl::new(PriorStd::new(0.2).unwrap(), form);
            for (mean, std) in [(0.01, 0.002), (-0.3, 0.15), (0.05, 0.4)] {
                let h = 1e-6;
                let by_mean = (kl.value(mean + h, std) - kl.value(mean - h, std)) / (2.0 * h);
                let by_std = (kl.value(mean, std + h) - kl.value(mean, std - h)) / (2.0 * h);
                assert!((kl.by_mean(mean) - by_mean).abs() < 1e-6 * by_mean.abs().max(1.0));
                assert!((kl.by_std(std) - by_std).abs() < 1e-5 * by_std.abs().max(1.0));
            }
        }
    }

    /// To 30 digits by the equations, where c is as large as σ.
    #[test]
    fn the_reference_adds_its_constant_to_both_deviations_and_to_the_denominator() {
        let kl = GaussianKl::new(PriorStd::new(0.2).unwrap(), KlForm::Reference);
        for (mean, std, value, by_mean, by_std) in [
            (
                0.1,
                1e-6,
                11.137_928_902_489_76,
                2.499_968_750_390_62,
                -499_999.999_975_000_3,
            ),
            (
                -0.3,
                2e-6,
                11.732_451_294_575_343,
                -7.499_906_251_171_86,
                -333_333.333_283_334,
            ),
        ] {
            let near = |got: f64, expected: f64| (got / expected - 1.0).abs() < 1e-13;
            assert!(near(kl.value(mean, std), value), "{}", kl.value(mean, std));
            assert!(near(kl.by_mean(mean), by_mean), "{}", kl.by_mean(mean));
            assert!(near(kl.by_std(std), by_std), "{}", kl.by_std(std));
        }
    }

    #[test]
    fn refuses_a_prior_that_is_no_standard_deviation() {
        for value in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(
                PriorStd::new(value).unwrap_err().code(),
                "BPEFT_INVALID_CONFIG"
            );
        }
    }
}
