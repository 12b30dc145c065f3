//! `f32` state that is updated in place: factors, moments, gradients.
//!
//! Tensors never change; a buffer is what does. The parameters of a whole adapter lie in one
//! ([`crate::adapter::Layout`]), so that an update is one run over values, and a norm one
//! reduction. A GPU gets a copy when it first reads one, which serves until the next change.

#[cfg(feature = "cuda")]
use std::sync::OnceLock;

#[cfg(feature = "cuda")]
use crate::Result;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::{Array, Gpu};

/// A flat run of `f32` values.
#[derive(Debug, Clone, Default)]
pub struct Buffer {
    values: Vec<f32>,
    #[cfg(feature = "cuda")]
    copy: OnceLock<Array>,
}

impl Buffer {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        vec![0.0; len].into()
    }

    /// The values, in the host's memory.
    pub fn host(&self) -> &[f32] {
        &self.values
    }

    /// [`Self::host`], to be changed.
    pub fn host_mut(&mut self) -> &mut [f32] {
        #[cfg(feature = "cuda")]
        {
            self.copy = OnceLock::new();
        }
        &mut self.values
    }

    /// The values, in a GPU's memory.
    ///
    /// # Errors
    /// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`.
    #[cfg(feature = "cuda")]
    pub(crate) fn on(&self, gpu: Gpu) -> Result<Array> {
        match self.copy.get() {
            Some(copy) if copy.gpu() == gpu => Ok(copy.clone()),
            Some(_) => Array::of_values(gpu, &self.values), // models on two GPUs ask in turn
            None => {
                let copy = Array::of_values(gpu, &self.values)?;
                Ok(self.copy.get_or_init(|| copy).clone())
            }
        }
    }
}

impl From<Vec<f32>> for Buffer {
    fn from(values: Vec<f32>) -> Self {
        Self {
            values,
            #[cfg(feature = "cuda")]
            copy: OnceLock::new(),
        }
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values
    }
}
