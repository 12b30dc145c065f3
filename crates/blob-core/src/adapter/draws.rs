//! Coherent draws from a Gaussian adapter: each a point adapter of its own.
//!
//! ```text
//! θ_s = μ ± (σ ∘ E_s + D z_s)    per factor that is Gaussian; others stay; D: `deviations`
//! A_s = diag(1 ± σ∘ε_s/μ)·A      of Gaussian scales: `scales`
//! ```
//!
//! The draws are members of one adapter, so that a pass runs many at once
//! (`pass::BatchCopy::member`). `E_s` is what [`crate::ops::low_rank`] draws for the same sample,
//! so that a draw of a Gaussian `A` is that of `NoiseSharing::Shared`.

#[cfg(feature = "cuda")]
mod on_gpu;

use std::sync::Arc;

use super::{Adapter, Factor, Layout, LoraConfig, Parameters, Site};
use crate::noise::{NoiseKey, Purpose, Stream};

/// One draw: a posterior sample of one member.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw {
    /// Whose posterior.
    pub member: usize,
    /// Where the noise comes from.
    pub stream: Stream,
    /// Index of the sample.
    pub sample: u32,
    /// The sign of `E`: −1 for the second of a mirrored pair.
    pub sign: f32,
}

impl Factor {
    /// Of the noise of a Gaussian factor; `None`: it is never Gaussian by itself.
    pub(super) fn purpose(self) -> Option<Purpose> {
        match self {
            Self::A | Self::Rho | Self::Scale | Self::RhoScale => Some(Purpose::Gaussian),
            Self::B | Self::RhoB => Some(Purpose::GaussianB),
            Self::ContextIn
            | Self::ContextInBias
            | Self::ContextOut
            | Self::ContextOutBias
            | Self::Weight
            | Self::Bias => None,
        }
    }
}

impl Draw {
    /// `E` of a Gaussian factor, under the sign; 0 of one that is never Gaussian.
    pub fn gaussian(&self, site: Site, factor: Factor, len: usize) -> Vec<f32> {
        let mut values = vec![0.0; len];
        let Some(purpose) = factor.purpose() else {
            return values;
        };
        let key = NoiseKey {
            slot: site.slot(),
            purpose,
            sample: self.sample,
        };
        self.stream.fill_normal(&mut values, key);
        if self.sign < 0.0 {
            for e in &mut values {
                *e = -*e;
            }
        }
        values
    }
}

impl Adapter {
    /// Of each member `samples` draws from its stream, one member after another.
    #[must_use]
    pub fn drawn_for_step(&self, streams: &[Stream], samples: u32) -> Self {
        let members = streams.iter().enumerate();
        let draws: Vec<_> = members
            .flat_map(|(member, &stream)| {
                (0..samples).map(move |sample| Draw {
                    member,
                    stream,
                    sample,
                    sign: 1.0,
                })
            })
            .collect();
        self.drawn(&draws, 0)
    }

    /// A point adapter with one member per draw; layers of blocks below `from_block` stay at their
    /// mean.
    #[must_use]
    pub fn drawn(&self, draws: &[Draw], from_block: usize) -> Self {
        let config = LoraConfig {
            posterior: None,
            members: draws.len(),
            ..self.config.clone()
        };
        let own = self.parameters.layout();
        let (terms, own_layers) = (own.terms().clone(), own.own_layers().clone());
        let layout = Arc::new(Layout::new(terms, None, own_layers));
        let mut parameters = Parameters::zeros(Arc::clone(&layout), draws.len());
        for (index, draw) in draws.iter().enumerate() {
            let points = self.parameters.member(draw.member);
            let drawn = parameters.member_mut(index);
            // All but ρ, which may lie between them.
            for parameter in layout.parameters() {
                if let Some(from) = own.range(parameter.site, parameter.factor) {
                    drawn[parameter.range.clone()].copy_from_slice(&points[from]);
                }
            }
            let sampled = layout
                .terms()
                .keys()
                .filter(|site| site.block >= from_block);
            for &site in sampled {
                let (Some(term), Some(drawn), Some(sigma)) = (
                    self.parameters.term(draw.member, site),
                    parameters.term_mut(index, site),
                    self.sigma(),
                ) else {
                    continue;
                };
                let perturb = |values: &mut [f32], rho: Option<&[f32]>, factor| {
                    let Some(rho) = rho else { return };
                    let gaussian = draw.gaussian(site, factor, rho.len());
                    for ((value, e), &rho) in values.iter_mut().zip(gaussian).zip(rho) {
                        *value += e * sigma.of(rho);
                    }
                };
                perturb(drawn.a, term.rho, Factor::A);
                perturb(drawn.b, term.rho_b, Factor::B);
                if let Some(scales) = self.drawn_scales(draw, site) {
                    let rows = drawn.a.chunks_exact_mut(term.shape.inputs);
                    for (row, scale) in rows.zip(scales) {
                        for a in row {
                            *a *= scale;
                        }
                    }
                }
            }
            if let Some(deviations) = self.deviations() {
                deviations.add_to(parameters.member_mut(index), draw, from_block);
            }
        }
        Self::of_parameters(config, parameters)
    }
}
