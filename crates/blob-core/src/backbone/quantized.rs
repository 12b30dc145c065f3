//! Quantising a model's block matrices when it is opened. Embeddings, norms and the head stay as
//! they are.

use super::WeightSource;
use super::weight_source::BLOCKS;
use crate::Result;
use crate::quantization::Quantization;
use crate::weights::{HostTensor, StoredMatrix, Summary};

/// A source whose block matrices are quantised as they are read.
#[derive(Debug)]
pub struct Quantized<S> {
    source: S,
    to: Quantization,
}

impl<S> Quantized<S> {
    /// `source`, quantised.
    pub fn new(source: S, to: Quantization) -> Self {
        Self { source, to }
    }
}

impl<S: WeightSource> WeightSource for Quantized<S> {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<HostTensor> {
        self.source.tensor(name, shape)
    }

    fn matrix(&self, name: &str, shape: [usize; 2]) -> Result<StoredMatrix> {
        let stored = self.source.matrix(name, shape)?;
        if name.starts_with(BLOCKS) {
            self.to.quantize(stored)
        } else {
            Ok(stored)
        }
    }

    fn summary(&self) -> Summary {
        self.source.summary()
    }
}
