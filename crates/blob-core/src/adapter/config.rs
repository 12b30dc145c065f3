//! What an adapter is: rank, scaling, where it sits, and its posterior.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{Factor, HeadConfig, Module};
#[cfg(feature = "cuda")]
use crate::kernels::cuda::Gpu;
use crate::listed::listed;
use crate::{Error, Result};

/// Ranks that a context may have: its network grows with their square.
const MOST_RANKS_OF_CONTEXT: usize = 64;

/// Members that one adapter may have.
const MOST_MEMBERS: usize = 64;

/// How the standard deviation follows from the trained parameter ρ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sigma {
    /// σ = ρ², the reference's default.
    Square,
    /// σ = ln(1 + e^ρ).
    Softplus,
    /// σ = e^ρ, of scales alone.
    Exp,
    /// σ = (1 + e^−ρ)⁻², of a context alone.
    SquaredLogistic,
}

impl Sigma {
    /// σ of ρ.
    #[inline]
    pub fn of(self, rho: f32) -> f32 {
        match self {
            Self::Square => rho * rho,
            Self::Softplus if rho > 20.0 => rho,
            Self::Softplus => rho.exp().ln_1p(),
            Self::Exp => rho.exp(),
            Self::SquaredLogistic => logistic(rho).powi(2),
        }
    }

    /// dσ/dρ: 2ρ; l, the logistic function of ρ; σ; or 2l²(1 − l).
    #[inline]
    pub fn slope(self, rho: f32) -> f32 {
        match self {
            Self::Square => 2.0 * rho,
            Self::Softplus => logistic(rho),
            Self::Exp => rho.exp(),
            Self::SquaredLogistic => 2.0 * self.of(rho) * (1.0 - logistic(rho)),
        }
    }

    /// As kernels of a GPU are told it, which compute two of them: softplus, else the square.
    ///
    /// # Errors
    /// `BPEFT_DEVICE` for the others.
    #[cfg(feature = "cuda")]
    pub(crate) fn is_softplus(self, gpu: Gpu) -> Result<bool> {
        match self {
            Self::Square => Ok(false),
            Self::Softplus => Ok(true),
            Self::Exp | Self::SquaredLogistic => Err(Error::Device {
                device: format!("{gpu:?}"),
                what: format!("it has no kernels for sigma = {self:?} of rho"),
                hint: "take --device cpu, or another method",
            }),
        }
    }

    /// The ρ of a σ above 0.
    pub fn rho(self, std: f32) -> f32 {
        match self {
            Self::Square => std.sqrt(),
            Self::Softplus if std > 20.0 => std,
            Self::Softplus => std.exp_m1().ln(),
            Self::Exp => std.ln(),
            Self::SquaredLogistic => -(std.sqrt().recip() - 1.0).ln(),
        }
    }

    /// The interval from which ρ starts, for `init_eps` = ε; of scales σ is in [ε/√2, ε).
    pub fn initial(self, eps: f32) -> Range<f32> {
        match self {
            Self::Square => eps / std::f32::consts::SQRT_2..eps,
            Self::Softplus if eps < 0.0 => eps - 1.0..eps,
            Self::Softplus => self.rho(eps * eps / 2.0)..self.rho(eps * eps),
            Self::Exp => self.rho(eps / std::f32::consts::SQRT_2)..self.rho(eps),
            // The network decides.
            Self::SquaredLogistic => 0.0..0.0,
        }
    }
}

fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

listed! {
    /// Which factors are Gaussian.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum Gaussian {
        /// `A`; `B` is a point.
        #[default]
        A,
        /// Both.
        #[serde(rename = "a-and-b")]
        AAndB,
        /// No factor, but a scale of each row of `A`.
        Scales,
        /// No factor, but a matrix between them that depends on the input (`context`).
        Context,
    }
}

impl Gaussian {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::AAndB => "A and B",
            Self::Scales => "scales",
            Self::Context => "a context",
        }
    }

    /// What an adapter has for it beside A and B, in the order of the layout.
    pub fn factors(self) -> &'static [Factor] {
        match self {
            Self::A => &[Factor::Rho],
            Self::AAndB => &[Factor::Rho, Factor::RhoB],
            Self::Scales => &[Factor::Scale, Factor::RhoScale],
            Self::Context => &[
                Factor::ContextIn,
                Factor::ContextInBias,
                Factor::ContextOut,
                Factor::ContextOutBias,
            ],
        }
    }

    /// How its σ may follow from its ρ.
    fn sigmas(self) -> &'static [Sigma] {
        match self {
            Self::A | Self::AAndB => &[Sigma::Square, Sigma::Softplus],
            Self::Scales => &[Sigma::Exp],
            Self::Context => &[Sigma::SquaredLogistic],
        }
    }

    /// How it does where that is no choice.
    pub(super) fn own_sigma(self) -> Option<Sigma> {
        match self.sigmas() {
            [one] => Some(*one),
            _ => None,
        }
    }

    /// Whether a sample is a draw of whole factors, which a pass does not make itself.
    pub fn is_drawn_whole(self) -> bool {
        match self {
            Self::AAndB | Self::Scales => true,
            Self::A | Self::Context => false,
        }
    }
}

/// A Gaussian over factors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Posterior {
    /// How σ follows from ρ.
    pub sigma: Sigma,
    /// ε of the initial σ, in [ε²/2, ε²). Below 0, with softplus alone: the reference's start,
    /// ρ in [ε − 1, ε), so that σ is of the order of 1.
    pub init_eps: f32,
    /// Over which of them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub over: Gaussian,
}

/// The shape of an adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoraConfig {
    /// r.
    pub rank: usize,
    /// α; the low-rank term is scaled by α / r.
    pub alpha: f32,
    /// Probability of dropping an input of the low-rank term in training, in [0, 1).
    pub dropout: f32,
    /// The adapted layers.
    pub target_modules: Vec<Module>,
    /// `None`: a point estimate.
    pub posterior: Option<Posterior>,
    /// Seed of the initial values.
    pub seed: u64,
    /// Members of an ensemble; 1 = a single adapter.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub members: usize,
    /// Of an encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadConfig>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn one() -> usize {
    1
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_one(members: &usize) -> bool {
    *members == 1
}

impl LoraConfig {
    /// s = α / r.
    pub fn scaling(&self) -> f32 {
        self.alpha / self.rank as f32
    }

    /// Which factors are Gaussian, if any.
    pub fn gaussian(&self) -> Option<Gaussian> {
        self.posterior.map(|posterior| posterior.over)
    }

    /// Checks every rule that the engine relies on.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG` with the first field that breaks its rule.
    pub fn check(&self) -> Result<()> {
        let invalid = |field, rule, value: String| Err(Error::InvalidConfig { field, rule, value });
        if self.rank == 0 || self.rank > 1024 {
            return invalid("rank", "must be between 1 and 1024", self.rank.to_string());
        }
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            return invalid("alpha", "must be positive", self.alpha.to_string());
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return invalid(
                "dropout",
                "must be at least 0 and below 1",
                self.dropout.to_string(),
            );
        }
        if !(1..=MOST_MEMBERS).contains(&self.members) {
            return invalid(
                "members",
                "must be between 1 and 64",
                self.members.to_string(),
            );
        }
        if self.target_modules.is_empty() {
            return invalid(
                "target_modules",
                "must name at least one layer",
                "[]".into(),
            );
        }
        match self.posterior {
            Some(Posterior { sigma, over, .. }) if !over.sigmas().contains(&sigma) => {
                let rule = "must be exp over scales, squared-logistic over a context, else neither";
                invalid("sigma", rule, format!("{sigma:?} over {}", over.name()))
            }
            Some(Posterior { over, .. })
                if over == Gaussian::Context && self.rank > MOST_RANKS_OF_CONTEXT =>
            {
                let rule = "must be at most 64 under a context, whose network has 2·rank² outputs";
                invalid("rank", rule, self.rank.to_string())
            }
            Some(Posterior {
                sigma, init_eps, ..
            }) if !(init_eps.is_finite()
                && (init_eps > 0.0 || (sigma == Sigma::Softplus && init_eps < 0.0))) =>
            {
                invalid(
                    "init_eps",
                    "must be positive, or below 0 with softplus",
                    init_eps.to_string(),
                )
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sigma_starts_small_whatever_it_is_of_rho() {
        for sigma in [Sigma::Square, Sigma::Softplus] {
            let rho = sigma.initial(0.05);
            assert!((sigma.of(rho.start) - 0.00125).abs() < 1e-6, "{sigma:?}");
            assert!((sigma.of(rho.end) - 0.0025).abs() < 1e-6, "{sigma:?}");
        }
    }

    #[test]
    fn softplus_below_zero_starts_as_the_reference_does() {
        let rho = Sigma::Softplus.initial(-0.05);
        assert_eq!(rho, -1.05..-0.05);
        assert!((Sigma::Softplus.of(rho.start) - 0.3001).abs() < 1e-4);
        assert!((Sigma::Softplus.of(rho.end) - 0.6685).abs() < 1e-4);
    }

    #[test]
    fn rho_is_the_inverse_of_sigma() {
        use Sigma::{Exp, Softplus, Square, SquaredLogistic};
        for sigma in [Square, Softplus, Exp, SquaredLogistic] {
            let most = if sigma == SquaredLogistic { 1.0 } else { 100.0 };
            let widths = [1e-6, 0.002, 0.2, 3.0, 30.0].into_iter();
            for std in widths.filter(|std| *std < most) {
                let found = sigma.of(sigma.rho(std));
                assert!((found / std - 1.0).abs() < 1e-3, "{sigma:?} {std} {found}");
            }
        }
    }
}
