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

use candle_core::{self as candle, D};

use super::{Device, Implementation, Operation, Tensor, read, reference, shapes, wrap};
use crate::buffer::Buffer;
use crate::kernels::cpu::rope as cpu;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::pointwise as cuda;
use crate::{Error, Result};

/// Fewest positions that angles are computed for.
const FEWEST: usize = 512;

/// Cosines and sines of the positions below [`RopeTables::len`], computed when first needed.
#[derive(Debug)]
pub struct RopeTables {
    frequencies: Vec<f64>,
    max_len: usize,
    device: Device,
    angles: RwLock<Arc<Angles>>,
}

/// Angles in f64, tables in f32.
#[derive(Debug, Default)]
struct Angles {
    cos: Buffer, // (positions, c/2)
    sin: Buffer, // (positions, c/2)
}

/// Tables for the positions below `max_len` on a device; `frequencies` holds ω (c/2), in radians
/// per position.
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when there is no frequency, or one is not finite.
pub fn tables(frequencies: &[f64], max_len: usize, device: Device) -> Result<RopeTables> {
    if frequencies.is_empty() || frequencies.iter().any(|frequency| !frequency.is_finite()) {
        return Err(Error::InvalidInput(format!(
            "rotary frequencies must be finite and at least one, got {frequencies:?}"
        )));
    }
    Ok(RopeTables {
        frequencies: frequencies.to_vec(),
        max_len,
        device,
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

    /// Angles of the positions below `len`, and of those up to a power of two, so that growing is
    /// rare.
    fn below(&self, len: usize) -> Result<Arc<Angles>> {
        self.check(len)?;
        let pairs = self.frequencies.len();
        let covers = |angles: &Angles| angles.cos.host().len() >= len * pairs;
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

    fn check(&self, len: usize) -> Result<()> {
        if len > self.max_len {
            return Err(Error::InvalidInput(format!(
                "a segment must have at most {} tokens (rotary tables), got {len}",
                self.max_len
            )));
        }
        Ok(())
    }

    /// [`rotate`] by plain operations, in the type of x, as Hugging Face writes it.
    fn reference(
        &self,
        x: &candle::Tensor,
        heads: usize,
        positions: &[u32],
    ) -> Result<candle::Tensor> {
        let ((n, width), pairs) = (x.dims2()?, self.frequencies.len());
        let host = &candle::Device::Cpu;
        let positions = candle::Tensor::new(positions, host)?.to_dtype(candle::DType::F64)?;
        let frequencies = candle::Tensor::new(self.frequencies.as_slice(), host)?;
        let angles = positions.reshape((n, 1, 1))?;
        let angles = angles.broadcast_mul(&frequencies.reshape((1, 1, pairs))?)?;
        let (cos, sin) = (
            angles.cos()?.to_dtype(x.dtype())?,
            angles.sin()?.to_dtype(x.dtype())?,
        );
        let by_head = x.reshape((n, heads, 2 * pairs))?;
        let first = by_head.narrow(D::Minus1, 0, pairs)?;
        let second = by_head.narrow(D::Minus1, pairs, pairs)?;
        let of_first = (first.broadcast_mul(&cos)? - second.broadcast_mul(&sin)?)?;
        let of_second = (second.broadcast_mul(&cos)? + first.broadcast_mul(&sin)?)?;
        let turned = candle::Tensor::cat(&[of_first, of_second], D::Minus1)?;
        Ok(turned.reshape((n, width))?)
    }
}

impl Angles {
    fn new(frequencies: &[f64], len: usize) -> Self {
        let (mut of_cos, mut of_sin) = (Vec::new(), Vec::new());
        for position in 0..len {
            for frequency in frequencies {
                let (sin, cos) = (position as f64 * frequency).sin_cos();
                of_cos.push(cos as f32);
                of_sin.push(sin as f32);
            }
        }
        let (cos, sin) = (of_cos.into(), of_sin.into());
        Self { cos, sin }
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
    let (n, width) = shapes::matrix("x of the rotation", x)?;
    shapes::check("x of the rotation", x, &[n, heads * 2 * pairs])?;
    if positions.len() != n {
        return Err(Error::InvalidInput(format!(
            "rows must have one position each, got {} for {n}",
            positions.len()
        )));
    }
    let longest = positions.iter().max().map_or(0, |last| *last as usize + 1);
    match tables.device.implementation(Operation::Rope) {
        Implementation::CpuKernel => {
            let angles = tables.below(longest)?;
            let angles = cpu::Angles {
                cos: angles.cos.host(),
                sin: angles.sin.host(),
                pairs,
            };
            wrap(cpu::rotate(&read(x)?, positions, angles, sign), (n, width))
        }
        #[cfg(feature = "cuda")]
        Implementation::CudaKernel(gpu) => {
            let angles = tables.below(longest)?;
            let angles = cuda::Angles {
                cos: &angles.cos.on(gpu)?,
                sin: &angles.sin.on(gpu)?,
                pairs,
            };
            Ok(cuda::rotate(gpu, &x.on(gpu)?, positions, angles, sign)?.into())
        }
        Implementation::Reference => {
            tables.check(longest)?;
            let x = x.host()?;
            if sign > 0.0 {
                return Ok(tables.reference(x, heads, positions)?.into());
            }
            // A rotation is linear: its adjoint is the same at any point.
            let forward = |x: &[candle::Tensor]| tables.reference(&x[0], heads, positions);
            let [dx] = reference::adjoint([&x.zeros_like()?], x, forward)?;
            Ok(dx.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::oracle::{
        assert_close, assert_gradient, assert_same_bits_on_any_thread_count, bits, devices, tensor,
    };
    use super::*;

    const FREQUENCIES: [f64; 3] = [1.0, 0.3, 0.01];
    const OFFSETS: [u32; 4] = [0, 4, 5, 12];

    fn positions(offsets: &[u32]) -> Vec<u32> {
        offsets
            .windows(2)
            .flat_map(|ends| 0..ends[1] - ends[0])
            .collect()
    }

    #[test]
    fn rotate_is_the_plain_composition_and_restarts_in_each_segment() {
        for (heads, device) in [1, 2]
            .into_iter()
            .flat_map(|n| devices().into_iter().map(move |d| (n, d)))
        {
            let tables = tables(&FREQUENCIES, 7, device).unwrap();
            let x = tensor(1, 12, heads * 6);
            let positions = positions(&OFFSETS);
            let y = rotate(&x, heads, &tables, &positions).unwrap();
            let x = x.to_dtype(candle::DType::F64).unwrap();
            let expected = tables.reference(&x, heads, &positions).unwrap();
            assert_close(&y, &expected, 1e-6);
        }
    }

    #[test]
    fn rotate_back_is_the_gradient_and_the_inverse() {
        for device in devices() {
            let tables = tables(&FREQUENCIES, 7, device).unwrap();
            let (x, dy) = (tensor(1, 12, 12), tensor(2, 12, 12));
            let positions = positions(&OFFSETS);
            let dx = rotate_back(&dy, 2, &tables, &positions).unwrap();
            assert_gradient(&dx, &x, &dy, |x| tables.reference(x, 2, &positions));
            let there = rotate(&x, 2, &tables, &positions).unwrap();
            let back = rotate_back(&there, 2, &tables, &positions).unwrap();
            assert_close(&back, &x, 1e-6);
        }
    }

    #[test]
    fn angles_grow_with_the_positions_and_do_not_change() {
        let tables = tables(&FREQUENCIES, 2000, Device::Cpu).unwrap();
        let positions = |tables: &RopeTables| tables.angles.read().unwrap().cos.host().len() / 3;
        assert_eq!(positions(&tables), 0);
        let mut last = tables.below(7).unwrap();
        assert_eq!(positions(&tables), 512);
        for (len, grown) in [(512, 512), (513, 1024), (40, 1024), (1500, 2000)] {
            let angles = tables.below(len).unwrap();
            assert_eq!(positions(&tables), grown);
            let [cos, sin] = [&angles.cos, &angles.sin].map(Buffer::host);
            assert!(cos.starts_with(last.cos.host()) && sin.starts_with(last.sin.host()));
            last = angles;
        }
        let expected = (1999.0 * FREQUENCIES[2]).sin_cos();
        let got = [&last.sin, &last.cos].map(|table| table.host()[1999 * 3 + 2]);
        assert_eq!(got, [expected.0 as f32, expected.1 as f32]);
    }

    #[test]
    fn neither_threads_nor_the_batch_change_a_bit() {
        let tables = tables(&FREQUENCIES, 300, Device::Cpu).unwrap();
        let x = tensor(1, 300, 12);
        let turned =
            |x: &Tensor, offsets: &[u32]| rotate(x, 2, &tables, &positions(offsets)).unwrap();
        assert_same_bits_on_any_thread_count(|| vec![turned(&x, &[0, 100, 300])]);
        let alone = turned(&x.narrow(0, 100, 200).unwrap().into(), &[0, 200]);
        let together = turned(&x, &[0, 100, 300]).narrow(0, 100, 200).unwrap();
        assert_eq!(bits(&alone), bits(&together));
    }

    #[test]
    fn a_segment_longer_than_the_tables_is_refused() {
        let tables = tables(&FREQUENCIES, 6, Device::Cpu).unwrap();
        let error = rotate(&tensor(1, 12, 6), 1, &tables, &positions(&OFFSETS)).unwrap_err();
        assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
        let text = "a segment must have at most 6 tokens (rotary tables), got 7";
        assert_eq!(error.to_string(), text);
        for frequencies in [&[][..], &[f64::NAN]] {
            assert!(super::tables(frequencies, 4, Device::Cpu).is_err());
        }
    }
}
