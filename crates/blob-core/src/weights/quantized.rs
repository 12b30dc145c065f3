//! Quantising a model's block matrices when it is opened.
//!
//! ```text
//! q8_0    blocks of 32    d = max|x|/127,  q = round(x/d)                      8.5 bits per weight
//! q4_k    blocks of 256   (d·s)·q − (dmin·t), s and t for 32 values each       4.5 bits per weight
//! ```
//!
//! The formats are ggml's and the encoders candle's. A matrix whose rows are no whole blocks of the format takes the
//! next finer one that fits (q4_k → q8_0 → as stored), and one that is stored as small already stays
//! as it is. Embeddings, norms and the head are never touched.

use rayon::prelude::*;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use super::dequantize::TensorType;
use super::{HostTensor, StoredMatrix, Summary};
use crate::backbone::WeightSource;
use crate::{Error, Result};

/// What block matrices are quantised to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantization {
    /// Eight bits.
    Q8_0,
    /// Four bits.
    Q4K,
}

impl Quantization {
    /// The formats to try, the wanted one first.
    fn candidates(self) -> &'static [(TensorType, GgmlDType)] {
        const ALL: [(TensorType, GgmlDType); 2] = [
            (TensorType::Q4K, GgmlDType::Q4K),
            (TensorType::Q8_0, GgmlDType::Q8_0),
        ];
        match self {
            Self::Q4K => &ALL,
            Self::Q8_0 => &ALL[1..],
        }
    }
}

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
        if name.starts_with("model.layers.") {
            quantized(stored, self.to)
        } else {
            Ok(stored)
        }
    }

    fn summary(&self) -> Summary {
        self.source.summary()
    }
}

fn quantized(stored: StoredMatrix, to: Quantization) -> Result<StoredMatrix> {
    let columns = stored.columns();
    let fitting = to
        .candidates()
        .iter()
        .find_map(|(kind, dtype)| Some((*kind, *dtype, kind.bytes(columns)?)));
    let Some((kind, dtype, row_bytes)) = fitting else {
        return Ok(stored);
    };
    if stored.bytes() <= row_bytes * stored.rows() {
        return Ok(stored);
    }
    let rows = (0..stored.rows())
        .into_par_iter()
        .map(|row| {
            let mut values = vec![0.0; columns];
            stored.row(row, &mut values);
            let encode = || -> candle_core::Result<Vec<u8>> {
                let tensor = Tensor::from_vec(values, columns, &Device::Cpu)?;
                Ok(QTensor::quantize(&tensor, dtype)?.data()?.into_owned())
            };
            let bytes = encode().map_err(Error::from)?;
            debug_assert_eq!(bytes.len(), row_bytes);
            Ok(bytes)
        })
        .collect::<Result<Vec<_>>>()?;
    StoredMatrix::owned(rows.concat(), kind, (stored.rows(), columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: usize, columns: usize) -> StoredMatrix {
        let data = (0..rows * columns)
            .map(|at| ((at * 37 % 101) as f32 - 50.0) * 0.013)
            .collect();
        let shape = vec![rows, columns];
        StoredMatrix::from_tensor(&HostTensor { shape, data }).unwrap()
    }

    fn row(stored: &StoredMatrix, row: usize) -> Vec<f32> {
        let mut values = vec![0.0; stored.columns()];
        stored.row(row, &mut values);
        values
    }

    #[test]
    fn every_row_is_within_half_a_level_of_its_block() {
        let plain = matrix(5, 512);
        for (to, levels, name) in [
            (Quantization::Q8_0, 254.0, "Q8_0"),
            (Quantization::Q4K, 15.0, "Q4_K"),
        ] {
            let stored = quantized(plain.clone(), to).unwrap();
            assert_eq!(stored.type_name(), name);
            for index in 0..5 {
                let (before, after) = (row(&plain, index), row(&stored, index));
                // Half a level of the range −0.65…0.65, and what rounding the scales (six bits in q4_k) adds.
                let bound = 0.5 * 1.3 / levels * 1.5;
                for (x, y) in before.iter().zip(&after) {
                    assert!((x - y).abs() <= bound, "{name}: {x} became {y}");
                }
                assert_ne!(before, after);
            }
        }
    }

    #[test]
    fn what_does_not_fit_takes_the_next_finer_format_or_stays() {
        let name = |columns, to| quantized(matrix(2, columns), to).unwrap().type_name();
        assert_eq!(name(576, Quantization::Q4K), "Q8_0");
        assert_eq!(name(40, Quantization::Q4K), "F32");
        let small = quantized(matrix(2, 512), Quantization::Q4K).unwrap();
        assert_eq!(
            quantized(small, Quantization::Q8_0).unwrap().type_name(),
            "Q4_K"
        );
    }
}
