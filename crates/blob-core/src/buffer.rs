//! `f32` state that is updated in place: factors, moments, gradients.
//!
//! Tensors never change; a buffer is what does. The parameters of a whole adapter lie in one
//! ([`crate::adapter::Layout`]), so that an update is one run over values, and a norm one reduction.

/// A flat run of `f32` values.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Buffer {
    values: Vec<f32>,
}

impl Buffer {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        Self {
            values: vec![0.0; len],
        }
    }

    /// The values, in the host's memory.
    pub fn host(&self) -> &[f32] {
        &self.values
    }

    /// [`Self::host`], to be changed.
    pub fn host_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }
}

impl From<Vec<f32>> for Buffer {
    fn from(values: Vec<f32>) -> Self {
        Self { values }
    }
}
