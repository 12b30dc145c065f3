//! Tensors of a file that stay in memory as `f32`: norms, and what is small.

use rayon::prelude::*;

use super::{Checkpoint, HostTensor};
use crate::Result;

/// Rows that one task of the pool decodes.
const ROWS_PER_TASK: usize = 32;

impl Checkpoint {
    /// The tensor `name` in `f32`, which must have `shape`.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<HostTensor> {
        let mut data = vec![0.0; shape.iter().product()];
        let stored = self.stored(name, shape)?;
        data.par_chunks_mut(stored.columns().max(1))
            .with_min_len(ROWS_PER_TASK)
            .enumerate()
            .for_each(|(row, values)| stored.row(row, values));
        if let Some(offset) = self.norm_offset_of(name) {
            for value in &mut data {
                *value += offset;
            }
        }
        Ok(HostTensor {
            shape: shape.to_vec(),
            data,
        })
    }
}
