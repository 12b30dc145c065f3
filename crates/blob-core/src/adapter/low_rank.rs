//! One adapted layer's factors.

use super::{LoraConfig, Site};
use crate::noise::{Asker, Phase, Purpose, Stream};

/// The factors of one site; ρ is there for a Gaussian `A` only.
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
}

impl LowRank {
    /// Initial values: a pure function of the seed and the site.
    pub(super) fn init(site: Site, (outputs, inputs): (usize, usize), config: &LoraConfig) -> Self {
        let stream = Stream::new(config.seed, 0, Phase::Initialisation);
        let asker = |purpose| Asker {
            slot: site.slot(),
            purpose,
            sample: 0,
        };
        let bound = 1.0 / (inputs as f32).sqrt();
        let mut a = vec![0.0; config.rank * inputs];
        stream.fill_uniform(&mut a, (-bound, bound), asker(Purpose::InitialA));
        let rho = config.posterior.map(|posterior| {
            let mut rho = vec![0.0; config.rank * inputs];
            let interval = posterior.sigma.initial(posterior.init_eps);
            stream.fill_uniform(&mut rho, interval, asker(Purpose::InitialRho));
            rho
        });
        Self {
            rank: config.rank,
            inputs,
            outputs,
            a,
            b: vec![0.0; outputs * config.rank],
            rho,
        }
    }
}
