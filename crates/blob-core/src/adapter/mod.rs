//! Low-rank adapters: point estimates (LoRA) and Gaussians over `A` (BLoB), by the layers they sit on.
//!
//! ```text
//! W = W₀ + s·B·A      A (r, k)   B (m, r)   s = α / r         LoRA, arXiv:2106.09685 §4.1
//! A_ij ~ N(M_ij, σ_ij²)          σ = ρ² or ln(1 + e^ρ)        BLoB, arXiv:2406.11675 §3
//! ```
//!
//! `A` starts as U(−1/√k, 1/√k) (PyTorch's Kaiming-uniform with a = √5), `B` as 0, ρ as
//! U(ε/√2, ε) (square) or U(−ε−1, −ε) (softplus).

mod config;
mod low_rank;
pub mod peft;
mod site;

use std::collections::BTreeMap;

pub use config::{LoraConfig, Posterior, Sigma};
pub use low_rank::LowRank;
pub use site::{Module, Site};

use crate::backbone::DecoderConfig;
use crate::{Error, Result};

/// All low-rank terms of one fine-tuning, in order of their sites.
#[derive(Debug, Clone)]
pub struct Adapter {
    config: LoraConfig,
    terms: BTreeMap<Site, LowRank>,
}

impl Adapter {
    /// A fresh adapter for a decoder: `B = 0`, so the model's outputs are unchanged.
    pub fn new(config: LoraConfig, decoder: &DecoderConfig) -> Result<Self> {
        config.check()?;
        let terms = Site::all(&config.target_modules, decoder)
            .into_iter()
            .map(|site| {
                let (outputs, inputs) = site.shape(decoder);
                (site, LowRank::init(site, (outputs, inputs), &config))
            })
            .collect();
        Ok(Self { config, terms })
    }

    /// An adapter of given terms, as a file holds them.
    pub fn from_terms(config: LoraConfig, terms: BTreeMap<Site, LowRank>) -> Result<Self> {
        config.check()?;
        if terms.is_empty() {
            return Err(Error::InvalidInput(
                "an adapter must have at least one low-rank term, got 0".into(),
            ));
        }
        Ok(Self { config, terms })
    }

    /// The configuration.
    pub fn config(&self) -> &LoraConfig {
        &self.config
    }

    /// s = α / r.
    pub fn scaling(&self) -> f32 {
        self.config.scaling()
    }

    /// How σ follows from ρ; `None` for a point estimate.
    pub fn sigma(&self) -> Option<Sigma> {
        self.config.posterior.map(|posterior| posterior.sigma)
    }

    /// The term at a site, if the site is adapted.
    pub fn term(&self, site: Site) -> Option<&LowRank> {
        self.terms.get(&site)
    }

    /// All terms, in order of their sites.
    pub fn terms(&self) -> impl Iterator<Item = (&Site, &LowRank)> {
        self.terms.iter()
    }

    pub(crate) fn terms_mut(&mut self) -> impl Iterator<Item = (&Site, &mut LowRank)> {
        self.terms.iter_mut()
    }

    /// The first block with an adapted layer; the head's index (= number of blocks) when only the head is.
    pub fn first_block(&self) -> usize {
        self.terms.keys().next().map_or(0, |site| site.block)
    }

    /// Elements of A, B and ρ.
    pub fn trainable_parameters(&self) -> usize {
        self.terms
            .values()
            .map(|term| term.a.len() + term.b.len() + term.rho.as_ref().map_or(0, Vec::len))
            .sum()
    }

    /// The first site with a value of A, B or ρ that is not finite.
    pub fn first_not_finite(&self) -> Option<Site> {
        let is_finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
        let broken = |term: &LowRank| {
            !is_finite(&term.a) || !is_finite(&term.b) || !term.rho.as_deref().is_none_or(is_finite)
        };
        self.terms
            .iter()
            .find(|(_, term)| broken(term))
            .map(|(site, _)| *site)
    }

    /// Mean of σ over all weights; `None` for a point estimate.
    pub fn sigma_mean(&self) -> Option<f64> {
        let sigma = self.sigma()?;
        let (mut sum, mut count) = (0.0, 0usize);
        for rho in self.terms.values().filter_map(|term| term.rho.as_deref()) {
            sum += rho.iter().map(|&r| f64::from(sigma.of(r))).sum::<f64>();
            count += rho.len();
        }
        Some(sum / count.max(1) as f64)
    }
}
