//! A matrix between A and B that depends on the input (C-LoRA, arXiv:2505.17773 §3): where its
//! parameters start, and what asks for a term without one. `ops::low_rank::context` computes it.
//!
//! They start as PyTorch's linear layers do, as in the published code: U(−1/√f, 1/√f) of f inputs,
//! weights and biases alike.

use super::{Adapter, CONTEXT_WIDTH, Gaussian};
use crate::noise::{NoiseKey, Phase, Purpose, Stream};
use crate::{Error, Result};

impl Adapter {
    /// Initial values of the network of every layer; a pure function of the seed and the site.
    pub(super) fn initialise_context(&mut self, member: usize) {
        if self.config.gaussian() != Some(Gaussian::Context) {
            return;
        }
        let seed = self.config.seed.wrapping_add(member as u64);
        let stream = Stream::new(seed, 0, Phase::Initialisation);
        let layout = self.parameters.layout().clone();
        for (&site, shape) in layout.terms() {
            let widths = [shape.rank, shape.rank, CONTEXT_WIDTH, CONTEXT_WIDTH];
            let factors = Gaussian::Context.factors().iter().zip(widths);
            for (index, (&factor, inputs)) in factors.enumerate() {
                let bound = 1.0 / (inputs as f32).sqrt();
                let mut values = vec![0.0; shape.of(factor).iter().product()];
                let key = NoiseKey {
                    slot: site.slot(),
                    purpose: Purpose::InitialContext,
                    sample: index as u32,
                };
                stream.fill_uniform(&mut values, -bound..bound, key);
                self.parameters.set_factor(member, site, factor, &values);
            }
        }
    }

    /// For what needs a low-rank term that is the same for every input.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` under a context.
    pub(crate) fn require_no_context(&self, what: &'static str) -> Result<()> {
        if self.config.gaussian() != Some(Gaussian::Context) {
            return Ok(());
        }
        Err(Error::InvalidInput(format!(
            "{what} must be given low-rank terms that are the same for every input, got those of \
             an adapter with a context"
        )))
    }
}
