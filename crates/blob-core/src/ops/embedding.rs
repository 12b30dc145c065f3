//! The frozen embedding: row `ids_t` of the table for token t, or a multiple of it (Gemma,
//! arXiv:2403.08295). Nothing flows back through it.

use candle_core as candle;
use rayon::prelude::*;

use super::linear::values;
use super::{Device, Implementation, Operation, Tensor, wrap};
use crate::weights::StoredMatrix;
use crate::{Error, Result};

/// The table (V, d), as it is stored.
pub struct Embedding {
    table: StoredMatrix,
    factor: Option<f32>,
    device: Device,
}

impl Embedding {
    /// Takes the table of a model on a device.
    pub fn new(table: StoredMatrix, device: Device) -> Self {
        Self {
            table,
            factor: None,
            device,
        }
    }

    /// [`Self::new`], whose rows are given times a factor.
    pub fn scaled(table: StoredMatrix, factor: f32, device: Device) -> Self {
        Self {
            factor: Some(factor),
            ..Self::new(table, device)
        }
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.table.bytes()
    }

    /// ids (T) → (T, d).
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when an id is not in the vocabulary.
    pub fn forward(&self, ids: &[u32]) -> Result<Tensor> {
        let (vocab_size, d) = (self.table.rows(), self.table.columns());
        if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab_size) {
            return Err(Error::InvalidInput(format!(
                "token ids must be below the vocabulary size {vocab_size}, got {id}"
            )));
        }
        let by = self.device.implementation(Operation::Embedding);
        if by == Implementation::Reference {
            let ids = candle::Tensor::new(ids, &candle::Device::Cpu)?;
            let rows = values(&self.table)?.index_select(&ids, 0)?;
            let factor = f64::from(self.factor.unwrap_or(1.0));
            return Ok((rows * factor)?.into());
        }
        let mut rows = vec![0.0; ids.len() * d];
        rows.par_chunks_exact_mut(d)
            .zip(ids)
            .for_each(|(row, &id)| {
                self.table.row(id as usize, row);
                if let Some(factor) = self.factor {
                    for value in row {
                        *value *= factor;
                    }
                }
            });
        self.device.place(wrap(rows, (ids.len(), d))?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::oracle::{bits, devices, tensor};
    use super::*;
    use crate::weights::HostTensor;

    fn stored(table: &Tensor) -> StoredMatrix {
        let (shape, data) = (
            table.dims().to_vec(),
            table.flatten_all().unwrap().to_vec1().unwrap(),
        );
        StoredMatrix::from_tensor(&HostTensor { shape, data }).unwrap()
    }

    #[test]
    fn each_token_gets_its_row() {
        let (table, ids) = (tensor(1, 5, 3), [4, 0, 4, 1]);
        let index = candle::Tensor::new(&ids, &candle::Device::Cpu).unwrap();
        let expected = table.index_select(&index, 0).unwrap();
        for device in devices() {
            let rows = Embedding::new(stored(&table), device)
                .forward(&ids)
                .unwrap();
            assert_eq!(bits(&rows), bits(&expected), "{device:?}");
        }
    }

    #[test]
    fn a_factor_multiplies_the_rows() {
        let table = tensor(1, 5, 3);
        for device in devices() {
            let plain = Embedding::new(stored(&table), device).forward(&[3, 0]);
            let scaled = Embedding::scaled(stored(&table), 1.5, device).forward(&[3, 0]);
            let expected = (&*plain.unwrap() * 1.5).unwrap();
            assert_eq!(bits(&scaled.unwrap()), bits(&expected), "{device:?}");
        }
    }

    #[test]
    fn an_id_outside_of_the_vocabulary_is_refused() {
        let embedding = Embedding::new(stored(&tensor(1, 5, 3)), Device::Cpu);
        let error = embedding.forward(&[4, 5, 9]).unwrap_err();
        assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
        let text = "token ids must be below the vocabulary size 5, got 5";
        assert_eq!(error.to_string(), text);
    }
}
