//! A Gaussian over the scales of a term's directions (ScalaBL, arXiv:2506.21408 §3).
//!
//! ```text
//! ΔW = s·B·diag(λ)·V      λ_i ~ N(μ_i, σ_i²)      B (m, r)   V (r, k)
//! A  = diag(μ)·V          A_s = diag(1 + σ∘ε/μ)·A      ε ~ N(0, I_r) of each layer and sample
//! ```
//!
//! An adapter holds A, so that its mean is a plain low-rank term to all that reads it, with ln μ
//! and ρ = ln σ beside it; V = diag(μ)⁻¹A is formed where it is updated. The start is the
//! decomposition of the `A` that plain LoRA starts with, `A₀ = U diag(d) V`: μ = d and V. σ starts
//! in [ε/√2, ε).

use super::{Adapter, Draw, Factor, Gaussian, Site};
use crate::noise::{NoiseKey, Phase, Purpose, Stream};
use crate::spectrum::Spectrum;

/// What a singular value is at least, as a share of the largest: ln 0 is no number.
const NEGLIGIBLE: f64 = 1e-6;

impl Adapter {
    /// Makes of a fresh `A` its directions, and of its singular values the means of the scales.
    pub(super) fn initialise_scales(&mut self, member: usize) {
        let Some(posterior) = self.config.posterior else {
            return;
        };
        if posterior.over != Gaussian::Scales {
            return;
        }
        let rho = posterior.sigma.initial(posterior.init_eps);
        let interval = posterior.sigma.of(rho.start)..posterior.sigma.of(rho.end);
        let seed = self.config.seed.wrapping_add(member as u64);
        let stream = Stream::new(seed, 0, Phase::Initialisation);
        let layout = self.parameters.layout().clone();
        for (&site, shape) in layout.terms() {
            let Some(term) = self.parameters.term_mut(member, site) else {
                continue;
            };
            // The columns of A₀ᵀ: times their right singular vectors they are those of diag(d)V.
            let rows = term.a.chunks_exact(shape.inputs);
            let rows = rows.map(|row| row.iter().map(|&a| a.into()).collect());
            let Spectrum { columns, d, .. } = Spectrum::of(rows.collect());
            for (a, value) in term.a.iter_mut().zip(columns.iter().flatten()) {
                *a = *value as f32;
            }
            let floor = NEGLIGIBLE * d.first().copied().unwrap_or(1.0);
            let mut rho = vec![0.0; shape.rank];
            let key = NoiseKey {
                slot: site.slot(),
                purpose: Purpose::InitialRho,
                sample: 0,
            };
            stream.fill_uniform(&mut rho, interval.clone(), key);
            for value in &mut rho {
                *value = posterior.sigma.rho(*value);
            }
            let log_mean: Vec<_> = d.iter().map(|d| d.max(floor).ln() as f32).collect();
            for (factor, values) in [(Factor::Scale, log_mean), (Factor::RhoScale, rho)] {
                self.parameters.set_factor(member, site, factor, &values);
            }
        }
    }

    /// λ_s/μ of a draw at a site, where scales are Gaussian.
    pub(super) fn drawn_scales(&self, draw: &Draw, site: Site) -> Option<Vec<f32>> {
        let of = |factor| self.parameters.factor(draw.member, site, factor);
        let (log_mean, rho) = (of(Factor::Scale)?, of(Factor::RhoScale)?);
        let noise = draw.gaussian(site, Factor::Scale, rho.len());
        let scales = noise.iter().zip(log_mean).zip(rho);
        Some(
            scales
                .map(|((e, mean), rho)| 1.0 + e * (rho - mean).exp())
                .collect(),
        )
    }
}
