//! One adapted layer's factors.

use std::collections::BTreeMap;

use super::{Factor, LoraConfig, Site, TermShape};
use crate::noise::{NoiseKey, Phase, Purpose, Stream};

/// The factors of one site, as files hold them; each ρ is there for what is Gaussian only.
#[derive(Debug, Clone, PartialEq)]
pub struct LowRank {
    /// r.
    pub rank: usize,
    /// k, the layer's inputs.
    pub inputs: usize,
    /// m, the layer's outputs.
    pub outputs: usize,
    /// `A`, or its mean `M`; (r, k).
    pub a: Vec<f32>,
    /// `B`, (m, r).
    pub b: Vec<f32>,
    /// ρ, (r, k).
    pub rho: Option<Vec<f32>>,
    /// ρ of a Gaussian `B`, (m, r).
    pub rho_b: Option<Vec<f32>>,
    /// What a posterior has beside them that is over neither, in the shapes of [`TermShape::of`].
    pub beside: BTreeMap<Factor, Vec<f32>>,
}

/// A [`LowRank`] where it lies in an adapter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LowRankRef<'a> {
    /// r, k and m.
    pub shape: TermShape,
    /// `A`, or its mean `M`; (r, k).
    pub a: &'a [f32],
    /// `B`, (m, r).
    pub b: &'a [f32],
    /// ρ, (r, k).
    pub rho: Option<&'a [f32]>,
    /// ρ of a Gaussian `B`, (m, r).
    pub rho_b: Option<&'a [f32]>,
}

impl LowRank {
    /// Its widths.
    pub fn shape(&self) -> TermShape {
        TermShape {
            rank: self.rank,
            inputs: self.inputs,
            outputs: self.outputs,
        }
    }

    /// The values of a factor, if they are there.
    pub fn get(&self, factor: Factor) -> Option<&Vec<f32>> {
        match factor {
            Factor::A => Some(&self.a),
            Factor::B => Some(&self.b),
            Factor::Rho => self.rho.as_ref(),
            Factor::RhoB => self.rho_b.as_ref(),
            other => self.beside.get(&other),
        }
    }
}

impl LowRankRef<'_> {
    /// A copy that stands alone, with nothing beside.
    pub fn to_owned(self) -> LowRank {
        LowRank {
            rank: self.shape.rank,
            inputs: self.shape.inputs,
            outputs: self.shape.outputs,
            a: self.a.to_vec(),
            b: self.b.to_vec(),
            rho: self.rho.map(<[f32]>::to_vec),
            rho_b: self.rho_b.map(<[f32]>::to_vec),
            beside: BTreeMap::new(),
        }
    }
}

/// One site's factors to be changed; shapes as in [`LowRankRef`]. Of gradients, what they are added
/// to.
#[derive(Debug)]
pub struct LowRankMut<'a> {
    /// `A` or `M`.
    pub a: &'a mut [f32],
    /// `B`.
    pub b: &'a mut [f32],
    /// ρ of `A`.
    pub rho: Option<&'a mut [f32]>,
    /// ρ of `B`.
    pub rho_b: Option<&'a mut [f32]>,
}

impl LowRankMut<'_> {
    /// Initial values of a member: a pure function of the seed and the site. `B` stays 0.
    pub(super) fn initialise(&mut self, site: Site, config: &LoraConfig, member: usize) {
        let seed = config.seed.wrapping_add(member as u64);
        let stream = Stream::new(seed, 0, Phase::Initialisation);
        let key = |purpose| NoiseKey {
            slot: site.slot(),
            purpose,
            sample: 0,
        };
        let inputs = self.a.len() / config.rank;
        let bound = 1.0 / (inputs as f32).sqrt();
        stream.fill_uniform(self.a, -bound..bound, key(Purpose::InitialA));
        if let (Some(rho), Some(posterior)) = (self.rho.as_deref_mut(), config.posterior) {
            let interval = posterior.sigma.initial(posterior.init_eps);
            stream.fill_uniform(rho, interval.clone(), key(Purpose::InitialRho));
            if let Some(rho) = self.rho_b.as_deref_mut() {
                stream.fill_uniform(rho, interval, key(Purpose::InitialRhoB));
            }
        }
    }
}
