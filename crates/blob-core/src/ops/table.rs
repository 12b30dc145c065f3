//! A frozen matrix of which rows are read: the embedding, and the head of a vocabulary.
//!
//! ```text
//! y_i = f·W_{id_i}
//! ```
//!
//! The matrix stays as it is stored; rows are decoded when they are asked for. Copies of a table
//! share its memory, as a tied head does with its embedding. Shapes: W (V, d), ids (n), y (n, d).

#[cfg(feature = "cuda")]
use std::sync::Arc;

use candle_core as candle;
use rayon::prelude::*;

use super::linear::values;
use super::{Device, Implementation, Operation, Tensor, shapes, wrap};
use crate::Result;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::blocks;
use crate::weights::StoredMatrix;

/// W.
#[derive(Clone)]
pub struct Table {
    held: Held,
    by: Implementation,
}

#[derive(Clone)]
enum Held {
    Host(StoredMatrix),
    #[cfg(feature = "cuda")]
    Cuda(Arc<blocks::Table>),
}

impl Table {
    /// Takes W as it is stored.
    ///
    /// # Errors
    /// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`.
    pub fn new(stored: StoredMatrix, device: Device) -> Result<Self> {
        let by = device.implementation(Operation::Embedding);
        let held = match by {
            Implementation::CpuKernel | Implementation::Reference => Held::Host(stored),
            #[cfg(feature = "cuda")]
            Implementation::CudaKernel(gpu) => {
                Held::Cuda(Arc::new(blocks::Table::new(gpu, &stored)?))
            }
        };
        Ok(Self { held, by })
    }

    /// (V, d)
    pub fn shape(&self) -> (usize, usize) {
        match &self.held {
            Held::Host(stored) => (stored.rows(), stored.columns()),
            #[cfg(feature = "cuda")]
            Held::Cuda(table) => table.shape(),
        }
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        match &self.held {
            Held::Host(stored) => stored.bytes(),
            #[cfg(feature = "cuda")]
            Held::Cuda(table) => table.bytes(),
        }
    }

    /// Its rows `ids`, times a factor.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when there is no such row.
    pub(super) fn rows(&self, ids: &[u32], factor: f32) -> Result<Tensor> {
        let (rows, d) = self.shape();
        shapes::indices("rows of the table", ids, rows)?;
        match self.by {
            Implementation::CpuKernel => {
                let (stored, mut rows) = (self.stored()?, vec![0.0; ids.len() * d]);
                rows.par_chunks_exact_mut(d)
                    .zip(ids)
                    .for_each(|(row, &id)| {
                        stored.row(id as usize, row);
                        if factor != 1.0 {
                            for value in row {
                                *value *= factor;
                            }
                        }
                    });
                wrap(rows, (ids.len(), d))
            }
            #[cfg(feature = "cuda")]
            Implementation::CudaKernel(_) => Ok(self.cuda()?.rows(ids, factor)?.into()),
            Implementation::Reference => {
                let ids = candle::Tensor::new(ids, &candle::Device::Cpu)?;
                let rows = values(self.stored()?)?.index_select(&ids, 0)?;
                Ok((rows * f64::from(factor))?.into())
            }
        }
    }

    /// As it is stored, where the host has it.
    #[cfg_attr(
        not(feature = "cuda"),
        expect(clippy::unnecessary_wraps, reason = "a GPU may have it")
    )]
    pub(super) fn stored(&self) -> Result<&StoredMatrix> {
        match &self.held {
            Held::Host(stored) => Ok(stored),
            #[cfg(feature = "cuda")]
            Held::Cuda(_) => Err(crate::Error::InvalidInput(
                "a table must lie in the host's memory, got one of a GPU".into(),
            )),
        }
    }

    /// In a GPU's memory, where it lies there.
    #[cfg(feature = "cuda")]
    pub(super) fn cuda(&self) -> Result<&blocks::Table> {
        match &self.held {
            Held::Host(_) => Err(crate::Error::InvalidInput(
                "a table must lie in a GPU's memory, got one of the host".into(),
            )),
            Held::Cuda(table) => Ok(table),
        }
    }
}
