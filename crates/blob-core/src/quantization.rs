//! Stored matrices in fewer bits: what a model is quantised to when it is opened.
//!
//! ```text
//!         blocks of   bits per weight
//! q8_0    32          8.5    q = round(x/d),  d = max|x|/127
//! q4_k    256         4.5    (d·s)·q − (dmin·t),  s and t for 32 values each
//! int8    a row       8.5    q = round(x/d),  d = max|x|/127 of the row
//! nf4     64          4.5    x = a·c_q,  a = max|x|, c the quantiles of a normal variable
//! ```
//!
//! q8_0 and `q4_k` are ggml's formats and the encoders candle's. int8 is the weight's side of
//! LLM.int8() (arXiv:2208.07339 §2.1), kept as q8_0 whose blocks share their row's scale (in half
//! precision). nf4 is `QLoRA`'s (arXiv:2305.14314 §3), without double quantisation. A matrix whose
//! rows are no whole blocks of the format takes the next finer one that fits (`q4_k`, nf4 → q8_0 →
//! as stored), and one that is stored as small already stays as it is.

use rayon::prelude::*;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use half::f16;

use crate::kernels::cpu::decode::NF4;
use crate::kernels::cpu::gemm::inverse;
use crate::weights::{StoredMatrix, TensorType};
use crate::{Error, Result};

/// What block matrices are quantised to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantization {
    /// Eight bits, a scale for 32 values.
    Q8_0,
    /// Four bits, a scale and a minimum for 32 values.
    Q4K,
    /// Eight bits, a scale for each row.
    Int8,
    /// Four bits, normal quantiles, a scale for 64 values.
    Nf4,
}

impl Quantization {
    /// The matrix in the first of its formats that fits, unless it is stored as small already.
    ///
    /// # Errors
    /// `BPEFT_INTERNAL` when an encoder fails.
    pub fn quantize(self, stored: StoredMatrix) -> Result<StoredMatrix> {
        let (rows, columns) = (stored.rows(), stored.columns());
        let fitting = self
            .candidates()
            .iter()
            .find_map(|format| Some((*format, format.kind().bytes(columns)?)));
        let Some((format, row_bytes)) = fitting else {
            return Ok(stored);
        };
        if stored.bytes() <= row_bytes * rows {
            return Ok(stored);
        }
        let encoded = (0..rows)
            .into_par_iter()
            .map(|row| {
                let mut values = vec![0.0; columns];
                stored.row(row, &mut values);
                let bytes = format.encode(values)?;
                debug_assert_eq!(bytes.len(), row_bytes);
                Ok(bytes)
            })
            .collect::<Result<Vec<_>>>()?;
        let bytes = encoded.concat();
        Ok(StoredMatrix::owned(bytes, format.kind(), (rows, columns))?)
    }

    /// What to try, the wanted one first.
    fn candidates(self) -> &'static [Self] {
        match self {
            Self::Q8_0 => &[Self::Q8_0],
            Self::Q4K => &[Self::Q4K, Self::Q8_0],
            Self::Int8 => &[Self::Int8],
            Self::Nf4 => &[Self::Nf4, Self::Q8_0],
        }
    }

    /// How its result is stored.
    fn kind(self) -> TensorType {
        match self {
            Self::Q8_0 | Self::Int8 => TensorType::Q8_0,
            Self::Q4K => TensorType::Q4K,
            Self::Nf4 => TensorType::Nf4,
        }
    }

    /// The bytes of a row of whole blocks.
    fn encode(self, values: Vec<f32>) -> Result<Vec<u8>> {
        match self {
            Self::Q8_0 => by_candle(values, GgmlDType::Q8_0),
            Self::Q4K => by_candle(values, GgmlDType::Q4K),
            Self::Int8 => Ok(int8_row(&values)),
            Self::Nf4 => Ok(values.as_chunks().0.iter().flat_map(nf4_block).collect()),
        }
    }
}

fn by_candle(values: Vec<f32>, dtype: GgmlDType) -> Result<Vec<u8>> {
    let columns = values.len();
    let encode = || -> candle_core::Result<Vec<u8>> {
        let tensor = Tensor::from_vec(values, columns, &Device::Cpu)?;
        Ok(QTensor::quantize(&tensor, dtype)?.data()?.into_owned())
    };
    encode().map_err(Error::from)
}

/// The largest size; NaN if a value is NaN, so that its block becomes NaN and is not taken for a
/// number.
fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest, value| {
        let size = value.abs();
        if size > largest || size.is_nan() {
            size
        } else {
            largest
        }
    })
}

/// Blocks of q8_0 with one scale.
fn int8_row(values: &[f32]) -> Vec<u8> {
    let scale = f16::from_f32(largest(values) / 127.0);
    let inverse = inverse(scale.to_f32());
    let block = |values: &[f32; 32]| {
        let level = |value: f32| (value * inverse).round_ties_even().clamp(-127.0, 127.0);
        let levels = values.map(|value| (level(value) as i8).cast_unsigned());
        scale.to_le_bytes().into_iter().chain(levels)
    };
    values.as_chunks().0.iter().flat_map(block).collect()
}

/// 64 values as their largest size, and the index of the nearest code for each.
fn nf4_block(values: &[f32; 64]) -> [u8; 36] {
    let largest = largest(values);
    let inverse = inverse(largest);
    let nearest = |value: f32| {
        let distance = |code: usize| (NF4[code] - value * inverse).abs();
        (1..16).fold(0, |best, code| {
            if distance(code) < distance(best) {
                code
            } else {
                best
            }
        }) as u8
    };
    let mut bytes = [0; 36];
    bytes[..4].copy_from_slice(&largest.to_le_bytes());
    for (values, packed) in values
        .as_chunks::<32>()
        .0
        .iter()
        .zip(bytes[4..].chunks_mut(16))
    {
        for (at, byte) in packed.iter_mut().enumerate() {
            *byte = nearest(values[at]) | (nearest(values[at + 16]) << 4);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::HostTensor;

    fn matrix(rows: usize, columns: usize) -> StoredMatrix {
        let data = (0..rows * columns)
            .map(|at| ((at * 37 % 101) as f32 - 50.0) * 0.013)
            .collect();
        let shape = vec![rows, columns];
        StoredMatrix::from_tensor(&HostTensor { shape, data }).unwrap()
    }

    fn one_row(data: Vec<f32>) -> StoredMatrix {
        let shape = vec![1, data.len()];
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
            let stored = to.quantize(plain.clone()).unwrap();
            assert_eq!(stored.type_name(), name);
            for index in 0..5 {
                let (before, after) = (row(&plain, index), row(&stored, index));
                // Half a level of the range −0.65…0.65, and what rounding the scales (six bits in
                // q4_k) adds.
                let bound = 0.5 * 1.3 / levels * 1.5;
                for (x, y) in before.iter().zip(&after) {
                    assert!((x - y).abs() <= bound, "{name}: {x} became {y}");
                }
                assert_ne!(before, after);
            }
        }
    }

    #[test]
    fn int8_has_one_scale_per_row_and_is_within_half_a_level() {
        let plain = matrix(3, 96);
        let stored = Quantization::Int8.quantize(plain.clone()).unwrap();
        assert_eq!(stored.type_name(), "Q8_0");
        for index in 0..3 {
            let (before, after) = (row(&plain, index), row(&stored, index));
            let scale = f16::from_f32(largest(&before) / 127.0).to_f32();
            for (x, y) in before.iter().zip(&after) {
                assert!((x - y).abs() <= 0.5 * scale * 1.0001 + 64.0 * 2f32.powi(-11) * scale);
                assert!(
                    ((y / scale).round() - y / scale).abs() < 1e-4,
                    "{y} is a level"
                );
            }
        }
        let zeros = Quantization::Int8.quantize(one_row(vec![0.0; 32]));
        assert_eq!(row(&zeros.unwrap(), 0), [0.0; 32]);
    }

    #[test]
    fn nf4_takes_the_nearest_code_of_each_value() {
        let plain = matrix(3, 192);
        let stored = Quantization::Nf4.quantize(plain.clone()).unwrap();
        assert_eq!(stored.type_name(), "NF4");
        for index in 0..3 {
            let (before, after) = (row(&plain, index), row(&stored, index));
            for (x, y) in before.chunks(64).zip(after.chunks(64)) {
                let size = largest(x);
                for (x, y) in x.iter().zip(y) {
                    let distance = |code: &f32| (code * size - x).abs();
                    let nearest = NF4.iter().map(distance).fold(f32::INFINITY, f32::min);
                    assert!(
                        (distance(&(y / size)) - nearest).abs() < 1e-6,
                        "{x} became {y}"
                    );
                }
            }
        }
        // The codes themselves, at any size, are kept.
        let data: Vec<f32> = (0..64).map(|at| 0.3 * NF4[at * 5 % 16]).collect();
        let codes = Quantization::Nf4.quantize(one_row(data.clone()));
        for (x, y) in row(&codes.unwrap(), 0).iter().zip(&data) {
            assert!((x - y).abs() < 1e-7, "{y} became {x}");
        }
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        for to in [Quantization::Int8, Quantization::Nf4] {
            for poison in [f32::NAN, f32::INFINITY] {
                let mut data = vec![0.1; 64];
                data[5] = poison;
                data[6] = 0.2;
                let values = row(&to.quantize(one_row(data)).unwrap(), 0);
                assert!(
                    !values[5].is_finite(),
                    "{to:?} made {} of {poison}",
                    values[5]
                );
            }
        }
    }

    #[test]
    fn what_does_not_fit_takes_the_next_finer_format_or_stays() {
        let name = |columns, to: Quantization| to.quantize(matrix(2, columns)).unwrap().type_name();
        assert_eq!(name(576, Quantization::Q4K), "Q8_0");
        assert_eq!(name(40, Quantization::Q4K), "F32");
        assert_eq!(name(96, Quantization::Nf4), "Q8_0");
        assert_eq!(name(40, Quantization::Int8), "F32");
        let small = Quantization::Q4K.quantize(matrix(2, 512)).unwrap();
        assert_eq!(
            Quantization::Q8_0.quantize(small).unwrap().type_name(),
            "Q4_K"
        );
    }
}
