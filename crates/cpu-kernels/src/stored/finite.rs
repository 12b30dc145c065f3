//! Whether weights are finite, told from their bits without decoding them.
//!
//! A floating-point number is NaN or infinite where all bits of its exponent are set. In a block of
//! quantised numbers only the scales can be that: they are floats, and a finite f16 times an
//! integer of eight bits is a finite f32.

use rayon::prelude::*;

use super::{StoredMatrix, TensorType};

const F32_EXPONENT: u32 = 0x7F80_0000;
const F16_EXPONENT: u16 = 0x7C00;
const BF16_EXPONENT: u16 = 0x7F80;

/// Rows that one task of the pool looks through.
const ROWS_PER_TASK: usize = 32;

impl StoredMatrix {
    /// The first row with a value or a scale that is NaN or infinite.
    pub fn first_row_not_finite(&self) -> Option<usize> {
        (0..self.rows())
            .into_par_iter()
            .with_min_len(ROWS_PER_TASK)
            .find_first(|row| !self.kind().is_finite(self.row_bytes(*row)))
    }
}

impl TensorType {
    /// Whether whole blocks hold finite numbers only.
    fn is_finite(self, bytes: &[u8]) -> bool {
        let scales: &[usize] = match self {
            Self::F32 => {
                let (words, _) = bytes.as_chunks();
                let is_bad =
                    |word: &[u8; 4]| u32::from_le_bytes(*word) & F32_EXPONENT == F32_EXPONENT;
                return !any(words, is_bad);
            }
            Self::F16 | Self::Bf16 => {
                let exponent = if self == Self::F16 {
                    F16_EXPONENT
                } else {
                    BF16_EXPONENT
                };
                let (words, _) = bytes.as_chunks();
                let is_bad = |word: &[u8; 2]| u16::from_le_bytes(*word) & exponent == exponent;
                return !any(words, is_bad);
            }
            // f16 scales, by their places in the block
            Self::Q4_0 | Self::Q5_0 | Self::Q8_0 => &[0],
            Self::Q4_1 | Self::Q5_1 | Self::Q4K | Self::Q5K => &[0, 2],
            Self::Q2K => &[80, 82],
            Self::Q3K => &[108],
            Self::Q6K => &[208],
            Self::Nf4 => {
                let (blocks, _) = bytes.as_chunks::<36>();
                let scale = |block: &[u8; 36]| {
                    block
                        .first_chunk()
                        .map_or(0.0, |it| f32::from_le_bytes(*it))
                };
                return blocks.iter().all(|block| scale(block).is_finite());
            }
        };
        let is_finite = |scale: &[u8]| {
            let scale = scale.first_chunk().map_or(0, |it| u16::from_le_bytes(*it));
            scale & F16_EXPONENT != F16_EXPONENT
        };
        bytes
            .chunks_exact(self.block().1)
            .all(|block| scales.iter().all(|at| is_finite(&block[*at..])))
    }
}

/// Whether some word is bad; all are looked at, which vectors do faster than stopping early.
fn any<T>(words: &[T], is_bad: impl Fn(&T) -> bool) -> bool {
    words.iter().fold(false, |bad, word| bad | is_bad(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPES: [TensorType; 14] = [
        TensorType::F32,
        TensorType::F16,
        TensorType::Bf16,
        TensorType::Q4_0,
        TensorType::Q4_1,
        TensorType::Q5_0,
        TensorType::Q5_1,
        TensorType::Q8_0,
        TensorType::Q2K,
        TensorType::Q3K,
        TensorType::Q4K,
        TensorType::Q5K,
        TensorType::Q6K,
        TensorType::Nf4,
    ];

    /// Whatever stands at any place of a row's second block: what is found is what decoding gives.
    #[test]
    fn a_row_is_finite_where_what_it_decodes_to_is() {
        for kind in TYPES {
            let (values, bytes) = kind.block();
            let mut found = 0;
            for at in (0..bytes).step_by(2) {
                for poison in [0x7E00_u16, 0x7C00, 0xFC00, 0x7FC0, 0x7F80, 0x3C00] {
                    let mut stored = vec![0; 3 * bytes];
                    stored[bytes + at..bytes + at + 2].copy_from_slice(&poison.to_le_bytes());
                    let matrix = StoredMatrix::owned(stored, kind, (3, values)).unwrap();
                    let mut row = vec![0.0; values];
                    matrix.row(1, &mut row);
                    let is_finite = row.iter().all(|value| value.is_finite());
                    let expected = (!is_finite).then_some(1);
                    let name = kind.name();
                    assert_eq!(
                        matrix.first_row_not_finite(),
                        expected,
                        "{name}, {at}, {poison:x}"
                    );
                    found += usize::from(!is_finite);
                }
            }
            assert!(found > 1, "{} was never poisoned", kind.name());
        }
    }
}
