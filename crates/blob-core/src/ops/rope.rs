//! Rotary positions (Su et al. 2021, arXiv:2104.09864), in the order of Hugging Face's Llama:
//! element i of a head turns with element i + c/2.
//!
//! ```text
//! y_i       = x_i·cos φ_pi − x_{i+c/2}·sin φ_pi
//! y_{i+c/2} = x_{i+c/2}·cos φ_pi + x_i·sin φ_pi        φ_pi = p·ω_i,  0 ≤ i < c/2
//! ```
//!
//! A rotation's adjoint is its inverse: the same with −φ. `p` is the position in the segment.
//! Shapes: `n` tokens, `c` width of one head.

use std::sync::{Arc, PoisonError, RwLock};

use candle_core::Tensor;

use super::{contract, read, wrap};
use crate::kernels::cpu::rope as cpu;
use crate::{Error, Result};

/// Fewest positions that angles are computed for.
const FEWEST: usize = 512;

/// Cosines and sines of the positions below [`RopeTables::len`], computed when first needed.
#[derive(Debug)]
pub struct RopeTables {
    frequencies: Vec<f64>,
    max_len: usize,
    angles: RwLock<Arc<Angles>>,
}

/// Angles in f64, tables in f32.
#[derive(Debug, Default)]
struct Angles {
    cos: Vec<f32>, // (positions, c/2)
    sin: Vec<f32>, // (positions, c/2)
}

/// Tables for the positions below `max_len`; `frequencies` holds ω (c/2), in radians per position.
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when there is no frequency, or one is not finite.
pub fn tables(frequencies: &[f64], max_len: usize) -> Result<RopeTables> {
    if frequencies.is_empty() || frequencies.iter().any(|frequency| !frequency.is_finite()) {
        return Err(Error::InvalidInput(format!(
            "rotary frequencies must be finite and at least one, got {frequencies:?}"
        )));
    }
    Ok(RopeTables {
        frequencies: frequencies.to_vec(),
        max_len,
        angles: RwLock::default(),
    })
}

impl RopeTables {
    /// Positions that may have angles.
    pub fn len(&self) -> usize {
        self.max_len
    }

    /// Whether no position may have angles.
    pub fn is_empty(&self) -> bool {
        self.max_len == 0
    }

    /// Angles of the positions below `len`, and of those up to a power of two, so that growing is rare.
    fn below(&self, len: usize) -> Result<Arc<Angles>> {
        if len > self.max_len {
            return Err(Error::InvalidInput(format!(
                "a segment must have at most {} tokens (rotary tables), got {len}",
                self.max_len
            )));
        }
        let pairs = self.frequencies.len();
        let covers = |angles: &Angles| angles.cos.len() >= len * pairs;
        let angles = Arc::clone(&self.angles.read().unwrap_or_else(PoisonError::into_inner));
        if covers(&angles) {
            return Ok(angles);
        }
        let mut angles = self.angles.write().unwrap_or_else(PoisonError::into_inner);
        if !covers(&angles) {
            let len = len.max(FEWEST).next_power_of_two().min(self.max_len);
            *angles = Arc::new(Angles::new(&self.frequencies, len));
        }
        Ok(Arc::clone(&angles))
    }
}

impl Angles {
    fn new(frequencies: &[f64], len: usize) -> Self {
        let mut angles = Self::default();
        for position in 0..len {
            for frequency in frequencies {
                let (sin, cos) = (position as f64 * frequency).sin_cos();
                angles.cos.push(cos as f32);
                angles.sin.push(sin as f32);
            }
        }
        angles
    }
}

/// x (n, heads·c) → (n, heads·c), each head of each row turned to the row's position (n).
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when the shapes do not fit, or a position is past the tables.
pub fn rotate(x: &Tensor, heads: usize, tables: &RopeTables, positions: &[u32]) -> Result<Tensor> {
    turn(x, heads, tables, positions, 1.0)
}

/// The adjoint of [`rotate`]: dy (n, heads·c) → (n, heads·c).
///
/// # Errors
/// As [`rotate`].
pub fn rotate_back(
    dy: &Tensor,
    heads: usize,
    tables: &RopeTables,
    positions: &[u32],
) -> Result<Tensor> {
    turn(dy, heads, tables, positions, -1.0)
}

fn turn(
    x: &Tensor,
    heads: usize,
    tables: &RopeTables,
    positions: &[u32],
    sign: f32,
) -> Result<Tensor> {
    let pairs = tables.frequencies.len();
    let (n, width) = contract::matrix("x of the rotation", x)?;
    contract::shape("x of the rotation", x, &[n, heads * 2 * pairs])?;
    if positions.len() != n {
        return Err(Error::InvalidInput(format!(
            "rows must have one position each, got {} for {n}",
            positions.len()
        )));
    }
    let longest = positions.iter().max().map_or(0, |last| *last as usize + 1);
    let tables = tables.below(longest)?;
    let angles = cpu::Angles {
        cos: &tables.cos,
        sin: &tables.sin,
        pairs,
    };
    let y = cpu::rotate(&read(x)?, positions, angles, sign);
    wrap(y, (n, width))
}

#[cfg(test)]
mod tests {
    use super::super::oracle::{
        assert_close, assert_gradient, assert_same_bits_on_any_thread_count, bits, tensor,
    };
    use super::*;
    use candle_core::{DType, Device};

    const FREQUENCIES: [f64; 3] = [1.0, 0.3, 0.01];
    const OFFSETS: [u32; 4] = [0, 4, 5, 12];

    fn positions(offsets: &[u32]) -> Vec<u32> {
        offsets
            .windows(2)
            .flat_map(|ends| 0..ends[1] - ends[0])
            .collect()
    }

    /// `x·cos + rotate_half(x)·sin`, as Hugging Face writes it, token by token.
    fn reference(x: &Tensor, heads: usize) -> candle_core::Result<Tensor> {
        let x = x.to_dtype(DType::F64)?;
        let (n, width) = x.dims2()?;
        let positions = OFFSETS.windows(2).flat_map(|ends| 0..ends[1] - ends[0]);
        let mut rows = Vec::new();
        for (token, position) in (0..n).zip(positions) {
            let angles = Tensor::new(&FREQUENCIES, &Device::Cpu)?;
            let angles = (Tensor::cat(&[&angles, &angles], 0)? * f64::from(position))?;
            let row = x.get(token)?.reshape((heads, width / heads))?;
            let (first, second) = (row.narrow(1, 0, 3)?, row.narrow(1, 3, 3)?);
            let half_turned = Tensor::cat(&[&second.neg()?, &first], 1)?;
            let turned = row.broadcast_mul(&angles.cos()?)?;
            let turned = (turned + half_turned.broadcast_mul(&angles.sin()?)?)?;
            rows.push(turned.flatten_all()?);
        }
        Tensor::stack(&rows, 0)
    }

    #[test]
    fn rotate_is_the_plain_composition_and_restarts_in_each_segment() {
        let tables = tables(&FREQUENCIES, 7).unwrap();
        for heads in [1, 2] {
            let x = tensor(1, 12, heads * 6);
            let y = rotate(&x, heads, &tables, &positions(&OFFSETS)).unwrap();
            assert_close(&y, &reference(&x, heads).unwrap(), 1e-6);
        }
    }

    #[test]
    fn rotate_back_is_the_gradient_and_the_inverse() {
        let tables = tables(&FREQUENCIES, 7).unwrap();
        let (x, dy) = (tensor(1, 12, 12), tensor(2, 12, 12));
        let dx = rotate_back(&dy, 2, &tables, &positions(&OFFSETS)).unwrap();
        assert_gradient(&dx, &x, &dy, |x| reference(x, 2));
        let there = rotate(&x, 2, &tables, &positions(&OFFSETS)).unwrap();
        assert_close(
            &rotate_back(&there, 2, &tables, &positions(&OFFSETS)).unwrap(),
            &x,
            1e-6,
        );
    }

    #[test]
    fn angles_grow_with_the_positions_and_do_not_change() {
        let tables = tables(&FREQUENCIES, 2000).unwrap();
        let positions = |tables: &RopeTables| tables.angles.read().unwrap().cos.len() / 3;
        assert_eq!(positions(&tables), 0);
        let mut last = tables.below(7).unwrap();
        assert_eq!(positions(&tables), 512);
        for (len, grown) in [(512, 512), (513, 1024), (40, 1024), (1500, 2000)] {
            let angles = tables.below(len).unwrap();
            assert_eq!(positions(&tables), grown);
            assert!(angles.cos.starts_with(&last.cos) && angles.sin.starts_with(&last.sin));
            last = angles;
        }
        let expected = (1999.0 * FREQUENCIES[2]).sin_cos();
        let got = (last.sin[1999 * 3 + 2], last.cos[1999 * 3 + 2]);
        assert_eq!(got, (expected.0 as f32, expected.1 as f32));
    }

    #[test]
    fn neither_threads_nor_the_batch_change_a_bit() {
        let tables = tables(&FREQUENCIES, 300).unwrap();
        let x = tensor(1, 300, 12);
        let turned =
            |x: &Tensor, offsets: &[u32]| rotate(x, 2, &tables, &positions(offsets)).unwrap();
        assert_same_bits_on_any_thread_count(|| vec![turned(&x, &[0, 100, 300])]);
        let alone = turned(&x.narrow(0, 100, 200).unwrap(), &[0, 200]);
        let together = turned(&x, &[0, 100, 300]).narrow(0, 100, 200).unwrap();
        assert_eq!(bits(&alone), bits(&together));
    }

    #[test]
    fn a_segment_longer_than_the_tables_is_refused() {
        let tables = tables(&FREQUENCIES, 6).unwrap();
        let error = rotate(&tensor(1, 12, 6), 1, &tables, &positions(&OFFSETS)).unwrap_err();
        assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
        let text = "a segment must have at most 6 tokens (rotary tables), got 7";
        assert_eq!(error.to_string(), text);
        assert!(super::tables(&[], 4).is_err() && super::tables(&[f64::NAN], 4).is_err());
    }
}
