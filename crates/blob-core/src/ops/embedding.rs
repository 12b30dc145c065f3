//! The frozen embedding: row `ids_t` of the table for token t, or a multiple of it (Gemma,
//! arXiv:2403.08295). Nothing flows back through it.

use super::Tensor;
use super::table::Table;
use crate::{Error, Result};

/// The table (V, d).
pub struct Embedding {
    table: Table,
    factor: f32,
}

impl Embedding {
    /// Of a table.
    pub fn new(table: Table) -> Self {
        Self { table, factor: 1.0 }
    }

    /// [`Self::new`], whose rows are given times a factor.
    pub fn scaled(table: Table, factor: f32) -> Self {
        Self { table, factor }
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
        let (vocab_size, _) = self.table.shape();
        if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab_size) {
            return Err(Error::InvalidInput(format!(
                "token ids must be below the vocabulary size {vocab_size}, got {id}"
            )));
        }
        self.table.rows(ids, self.factor)
    }
}

#[cfg(test)]
mod tests {
    use super::super::oracle::{bits, devices, tensor};
    use super::*;
    use crate::ops::Device;
    use crate::weights::{HostTensor, StoredMatrix};
    use candle_core as candle;

    fn table(table: &Tensor, device: Device) -> Table {
        let (shape, data) = (
            table.dims().to_vec(),
            table.flatten_all().unwrap().to_vec1().unwrap(),
        );
        let stored = StoredMatrix::from_tensor(&HostTensor { shape, data }).unwrap();
        Table::new(stored, device).unwrap()
    }

    #[test]
    fn each_token_gets_its_row() {
        let (rows, ids) = (tensor(1, 5, 3), [4, 0, 4, 1]);
        let index = candle::Tensor::new(&ids, &candle::Device::Cpu).unwrap();
        let expected = rows.index_select(&index, 0).unwrap();
        for device in devices() {
            let embedding = Embedding::new(table(&rows, device));
            let picked = embedding.forward(&ids).unwrap();
            assert_eq!(bits(&picked), bits(&expected), "{device:?}");
        }
    }

    #[test]
    fn a_factor_multiplies_the_rows() {
        let rows = tensor(1, 5, 3);
        for device in devices() {
            let plain = Embedding::new(table(&rows, device)).forward(&[3, 0]);
            let scaled = Embedding::scaled(table(&rows, device), 1.5).forward(&[3, 0]);
            let expected = (&*plain.unwrap() * 1.5).unwrap();
            assert_eq!(bits(&scaled.unwrap()), bits(&expected), "{device:?}");
        }
    }

    #[test]
    fn an_id_outside_of_the_vocabulary_is_refused() {
        let embedding = Embedding::new(table(&tensor(1, 5, 3), Device::Cpu));
        let error = embedding.forward(&[4, 5, 9]).unwrap_err();
        assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
        let text = "token ids must be below the vocabulary size 5, got 5";
        assert_eq!(error.to_string(), text);
    }
}
