//! Where a decoder's weights come from.

use crate::weights::{Checkpoint, HostTensor, StoredMatrix, Summary};
use crate::{Error, Result};

/// What the names of the blocks' tensors begin with.
pub(super) const BLOCKS: &str = "model.layers.";

/// A file, or a seed.
pub trait WeightSource {
    /// The tensor of a Hugging Face name, checked against `shape`.
    ///
    /// # Errors
    /// `BPEFT_MODEL_CORRUPT` when it is missing or has another shape; `BPEFT_NOT_FINITE` when a
    /// file holds values for it that are not finite. Of the embedding and the head, whose rows
    /// are read as they are asked for, a pass says so.
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<HostTensor>;

    /// The matrix of a Hugging Face name as it is stored, checked against `shape`.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    fn matrix(&self, name: &str, shape: [usize; 2]) -> Result<StoredMatrix> {
        Ok(StoredMatrix::from_tensor(&self.tensor(name, &shape)?)?)
    }

    /// What is stored, for people.
    fn summary(&self) -> Summary;
}

impl WeightSource for Checkpoint {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<HostTensor> {
        let mut data = self.finite(name, shape)?.values();
        if let Some(offset) = self.norm_offset_of(name) {
            for value in &mut data {
                *value += offset;
            }
        }
        let shape = shape.to_vec();
        Ok(HostTensor { shape, data })
    }

    fn matrix(&self, name: &str, shape: [usize; 2]) -> Result<StoredMatrix> {
        if name.starts_with(BLOCKS) {
            self.finite(name, &shape)
        } else {
            self.stored(name, &shape)
        }
    }

    fn summary(&self) -> Summary {
        self.summary()
    }
}

impl Checkpoint {
    /// The tensor `name` as it is stored, looked through for what is not finite.
    fn finite(&self, name: &str, shape: &[usize]) -> Result<StoredMatrix> {
        let stored = self.stored(name, shape)?;
        match stored.first_row_not_finite() {
            None => Ok(stored),
            Some(row) => Err(Error::WeightNotFinite {
                path: self.path().to_owned(),
                tensor: self.config().published(name),
                row,
            }),
        }
    }
}
