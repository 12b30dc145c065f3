//! Draws of a training step by a kernel, on the GPU that has the means.

use std::sync::Arc;

use super::Adapter;
use crate::Result;
#[cfg(doc)]
use crate::adapter::Sigma;
use crate::adapter::{Layout, LoraConfig, Parameters};
use crate::kernels::cuda::draws::{self, Drawing, Rho, Sources};
use crate::kernels::cuda::{Array, Gpu};
use crate::noise::{NoiseKey, Stream};

impl Adapter {
    /// How `samples` draws of each member lie beside it.
    ///
    /// # Errors
    /// As [`Sigma::is_softplus`].
    pub(crate) fn drawing(&self, samples: u32, gpu: Gpu) -> Result<Drawing> {
        let own = self.parameters.layout();
        let is_softplus = self.sigma().map(|sigma| sigma.is_softplus(gpu));
        Ok(Drawing {
            members: self.parameters.members(),
            samples: samples as usize,
            len: own.len(),
            drawn_len: own.len() - own.low_rank_len(),
            points: own.point_len(),
            factors: own.low_rank_len(),
            is_softplus: is_softplus.transpose()?.unwrap_or(false),
        })
    }

    /// [`Self::drawn_for_step`] of a Gaussian over A and B, by a kernel. `rho`: of every point, in
    /// the place of the adapter's own.
    ///
    /// # Errors
    /// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`.
    pub(crate) fn drawn_for_step_on(
        &self,
        gpu: Gpu,
        streams: &[Stream],
        samples: u32,
        rho: Option<&Array>,
    ) -> Result<Self> {
        let own = self.parameters.layout();
        let layout = Layout::new(own.terms().clone(), None, own.own_layers().clone());
        let factors = layout.parameters().iter();
        let (starts, tags) = factors
            .filter_map(|parameter| {
                let key = NoiseKey {
                    slot: parameter.site.slot(),
                    purpose: parameter.factor.purpose()?,
                    sample: 0,
                };
                Some((parameter.range.start as u32, key.word()))
            })
            .unzip();
        let sources = Sources {
            keys: streams.iter().map(|stream| stream.key()).collect(),
            starts,
            tags,
        };
        let rho = rho.map_or(Rho::OfAdapter, Rho::In);
        let w = self.parameters.values().on(gpu)?;
        let values = draws::draw(&w, rho, self.drawing(samples, gpu)?, &sources)?;
        let members = streams.len() * samples as usize;
        let config = LoraConfig {
            posterior: None,
            members,
            ..self.config.clone()
        };
        let parameters = Parameters::of_array(Arc::new(layout), members, values);
        Ok(Self::of_parameters(config, parameters))
    }
}
