//! The frozen embedding: row `ids_t` of the table for token t. Nothing flows back through it.

use candle_core::Tensor;
use rayon::prelude::*;

use super::wrap;
use crate::weights::StoredMatrix;
use crate::{Error, Result};

/// table (V, d), ids (T) → (T, d).
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when an id is not in the vocabulary.
pub fn gather(table: &StoredMatrix, ids: &[u32]) -> Result<Tensor> {
    let (vocab_size, d) = (table.rows(), table.columns());
    if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab_size) {
        return Err(Error::InvalidInput(format!(
            "token ids must be below the vocabulary size {vocab_size}, got {id}"
        )));
    }
    let mut rows = vec![0.0; ids.len() * d];
    rows.par_chunks_exact_mut(d)
        .zip(ids)
        .for_each(|(row, &id)| table.row(id as usize, row));
    wrap(rows, (ids.len(), d))
}

#[cfg(test)]
mod tests {
    use super::super::oracle::{bits, tensor};
    use super::*;
    use crate::weights::HostTensor;
    use candle_core::Device;

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
        let index = Tensor::new(&ids, &Device::Cpu).unwrap();
        let expected = table.index_select(&index, 0).unwrap();
        let rows = gather(&stored(&table), &ids).unwrap();
        assert_eq!(bits(&rows), bits(&expected));
    }

    #[test]
    fn an_id_outside_of_the_vocabulary_is_refused() {
        let error = gather(&stored(&tensor(1, 5, 3)), &[4, 5, 9]).unwrap_err();
        assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
        let text = "token ids must be below the vocabulary size 5, got 5";
        assert_eq!(error.to_string(), text);
    }
}
