//! Where a decoder's weights come from.

use crate::Result;
use crate::weights::{Checkpoint, HostTensor, StoredMatrix, Summary};

/// A file, or a seed.
pub trait WeightSource {
    /// The tensor of a Hugging Face name, checked against `shape`.
    ///
    /// # Errors
    /// `BPEFT_MODEL_CORRUPT` when it is missing or has another shape.
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<HostTensor>;

    /// The matrix of a Hugging Face name as it is stored, checked against `shape`.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    fn matrix(&self, name: &str, shape: [usize; 2]) -> Result<StoredMatrix> {
        StoredMatrix::from_tensor(&self.tensor(name, &shape)?)
    }

    /// What is stored, for people.
    fn summary(&self) -> Summary;
}

impl WeightSource for Checkpoint {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<HostTensor> {
        self.tensor(name, shape)
    }

    fn matrix(&self, name: &str, shape: [usize; 2]) -> Result<StoredMatrix> {
        self.stored(name, &shape)
    }

    fn summary(&self) -> Summary {
        self.summary()
    }
}
