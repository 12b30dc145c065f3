//! Blocks of stored numbers to `f32`, the whole of them.
//!
//! A block holds `n` values of one row: a scale `d` (and a minimum `m`) in half precision, and
//! small integers `q` packed into nibbles and bit planes.
//!
//! ```text
//! Q4_0  Q5_0  Q8_0     n = 32    x = d·(q − 8 | 16 | 0)
//! Q4_1  Q5_1           n = 32    x = d·q + m
//! Q2_K  Q4_K  Q5_K     n = 256   x = (d·s)·q − (dmin·t)     s, t: small integers per sub-block
//! Q3_K  Q6_K           n = 256   x = (d·s)·(q − 4 | 32)
//! NF4                  n = 64    x = a·c_q     a in single precision, c the codes of `QLoRA`
//! ```
//!
//! NF4 is not ggml's and lives in memory only. Everything is little-endian, and the order of the
//! operations is ggml's, so the values are the same bits.

use super::bits::{all, half_at, lanes, nibble, six_bit_pair};
use super::nf4::nf4;
use crate::simd::Level;
use crate::stored::TensorType;

impl TensorType {
    /// Writes the numbers of each row's bytes to its values; both hold the same whole blocks.
    ///
    /// Inlined, so that its loops take on the caller's instruction set `L`; several rows at once,
    /// so that the type is looked at once.
    #[inline(always)]
    pub(crate) fn dequantize<'a, L: Level>(
        self,
        rows: impl Iterator<Item = (&'a [u8], &'a mut [f32])>,
    ) {
        /// Applies a function to each pair of `$bytes` bytes and `$values` values.
        macro_rules! each_block {
            ($bytes:literal, $values:literal, $block:expr) => {{
                for (bytes, values) in rows {
                    let blocks = bytes.as_chunks::<$bytes>().0;
                    for (bytes, values) in blocks.iter().zip(values.as_chunks_mut::<$values>().0) {
                        $block(bytes, values);
                    }
                }
            }};
        }
        /// Applies a function to each pair of `$bytes` bytes and a value.
        macro_rules! each_value {
            ($bytes:literal, $value:expr) => {{
                for (bytes, values) in rows {
                    for (bytes, value) in bytes.as_chunks::<$bytes>().0.iter().zip(values) {
                        *value = $value(*bytes);
                    }
                }
            }};
        }
        match self {
            Self::F32 => each_value!(4, f32::from_le_bytes),
            Self::F16 => each_value!(2, half::<L>),
            Self::Bf16 => each_value!(2, brain_float),
            Self::Q4_0 => each_block!(18, 32, q4_0::<L>),
            Self::Q4_1 => each_block!(20, 32, q4_1::<L>),
            Self::Q5_0 => each_block!(22, 32, q5_0::<L>),
            Self::Q5_1 => each_block!(24, 32, q5_1::<L>),
            Self::Q8_0 => each_block!(34, 32, q8_0::<L>),
            Self::Q2K => each_block!(84, 256, q2_k::<L>),
            Self::Q3K => each_block!(110, 256, q3_k::<L>),
            Self::Q4K => each_block!(144, 256, q4_k::<L>),
            Self::Q5K => each_block!(176, 256, q5_k::<L>),
            Self::Q6K => each_block!(210, 256, q6_k::<L>),
            Self::Nf4 => each_block!(36, 64, nf4),
        }
    }
}

#[inline(always)]
fn half<L: Level>(bytes: [u8; 2]) -> f32 {
    L::half(u16::from_le_bytes(bytes))
}

#[inline(always)]
fn brain_float(bytes: [u8; 2]) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)
}

/// Bit `i` of a bit plane, as the fifth bit of a 5-bit integer.
#[inline(always)]
fn fifth_bit(plane: &[u8], i: usize) -> u8 {
    ((plane[i / 8] >> (i % 8)) & 1) << 4
}

#[inline(always)]
fn q4_0<L: Level>(bytes: &[u8; 18], x: &mut [f32; 32]) {
    let (d, q) = (half_at::<L>(bytes, 0), lanes(bytes, 2));
    for (x, q) in x.as_chunks_mut().0.iter_mut().zip([q, q >> 4]) {
        let q = L::bytes((q & all(15)).to_le_bytes());
        L::store(L::scale(d, L::add(q, L::splat(-8.0))), x);
    }
}

#[inline(always)]
fn q4_1<L: Level>(bytes: &[u8; 20], x: &mut [f32; 32]) {
    let (d, m, q) = (
        half_at::<L>(bytes, 0),
        half_at::<L>(bytes, 2),
        lanes(bytes, 4),
    );
    for (x, q) in x.as_chunks_mut().0.iter_mut().zip([q, q >> 4]) {
        let q = L::bytes((q & all(15)).to_le_bytes());
        L::store(L::add(L::scale(d, q), L::splat(m)), x);
    }
}

#[inline(always)]
fn q5_0<L: Level>(bytes: &[u8; 22], x: &mut [f32; 32]) {
    let d = half_at::<L>(bytes, 0);
    for (i, x) in x.iter_mut().enumerate() {
        let q = nibble(&bytes[6..], i) | fifth_bit(&bytes[2..6], i);
        *x = (f32::from(q) - 16.0) * d;
    }
}

#[inline(always)]
fn q5_1<L: Level>(bytes: &[u8; 24], x: &mut [f32; 32]) {
    let (d, m) = (half_at::<L>(bytes, 0), half_at::<L>(bytes, 2));
    for (i, x) in x.iter_mut().enumerate() {
        let q = nibble(&bytes[8..], i) | fifth_bit(&bytes[4..8], i);
        *x = f32::from(q) * d + m;
    }
}

#[inline(always)]
fn q8_0<L: Level>(bytes: &[u8; 34], x: &mut [f32; 32]) {
    let d = half_at::<L>(bytes, 0);
    for (x, at) in x.as_chunks_mut().0.iter_mut().zip([2, 18]) {
        let q = L::signed_bytes(lanes(bytes, at).to_le_bytes());
        L::store(L::scale(d, q), x);
    }
}

/// Where value `i` of a 2- or 3-bit block lies: (byte, bit shift) of its two low bits, and its
/// scale.
#[inline(always)]
fn two_bit_place(i: usize) -> (usize, usize, usize) {
    let (half, quarter, lane) = (i / 128, i % 128 / 32, i % 32);
    (32 * half + lane, 2 * quarter, i / 16)
}

#[inline(always)]
fn q2_k<L: Level>(bytes: &[u8; 84], x: &mut [f32; 256]) {
    let (scales, q) = (&bytes[..16], &bytes[16..80]);
    let (d, dmin) = (half_at::<L>(bytes, 80), half_at::<L>(bytes, 82));
    for (i, x) in x.iter_mut().enumerate() {
        let (byte, shift, sub) = two_bit_place(i);
        let (scale, min) = (scales[sub] & 15, scales[sub] >> 4);
        *x = (d * f32::from(scale)) * f32::from((q[byte] >> shift) & 3) - dmin * f32::from(min);
    }
}

#[inline(always)]
fn q3_k<L: Level>(bytes: &[u8; 110], x: &mut [f32; 256]) {
    let (high, q, packed) = (&bytes[..32], &bytes[32..96], &bytes[96..108]);
    let d = half_at::<L>(bytes, 108);
    let scale = |sub: usize| {
        let low = (packed[sub % 8] >> (4 * (sub / 8))) & 15;
        let top = (packed[8 + sub % 4] >> (2 * (sub / 4))) & 3;
        f32::from(low | (top << 4)) - 32.0
    };
    for (i, x) in x.iter_mut().enumerate() {
        let (byte, shift, sub) = two_bit_place(i);
        let bits = ((q[byte] >> shift) & 3) | (((high[i % 32] >> (i / 32)) & 1) << 2);
        *x = (d * scale(sub)) * (f32::from(bits) - 4.0);
    }
}

#[inline(always)]
fn q4_k<L: Level>(bytes: &[u8; 144], x: &mut [f32; 256]) {
    let (d, dmin) = (half_at::<L>(bytes, 0), half_at::<L>(bytes, 2));
    let (packed, q) = (&bytes[4..16], &bytes[16..]);
    for (j, x) in x.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, min) = six_bit_pair(packed, j);
        for (x, at) in x.as_chunks_mut().0.iter_mut().zip([0, 16]) {
            let q = (lanes(q, 32 * (j / 2) + at) >> (4 * (j % 2))) & all(15);
            let q = L::bytes(q.to_le_bytes());
            L::store(L::add(L::scale(d * scale, q), L::splat(-(dmin * min))), x);
        }
    }
}

#[inline(always)]
fn q5_k<L: Level>(bytes: &[u8; 176], x: &mut [f32; 256]) {
    let (d, dmin) = (half_at::<L>(bytes, 0), half_at::<L>(bytes, 2));
    let (packed, high, q) = (&bytes[4..16], &bytes[16..48], &bytes[48..]);
    for (j, x) in x.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, min) = six_bit_pair(packed, j);
        for ((x, q), high) in x.iter_mut().zip(&q[32 * (j / 2)..]).zip(high) {
            let q = ((q >> (4 * (j % 2))) & 15) | (((high >> j) & 1) << 4);
            *x = (d * scale) * f32::from(q) - dmin * min;
        }
    }
}

#[inline(always)]
fn q6_k<L: Level>(bytes: &[u8; 210], x: &mut [f32; 256]) {
    let (low, high, scales) = (&bytes[..128], &bytes[128..192], &bytes[192..208]);
    let d = half_at::<L>(bytes, 208);
    for (i, x) in x.as_chunks_mut().0.iter_mut().enumerate() {
        let (half, quarter, side) = (i / 8, i % 8 / 2, i % 2);
        let nibbles = lanes(low, 64 * half + 32 * (quarter % 2) + 16 * side) >> (4 * (quarter / 2));
        let tops = lanes(high, 32 * half + 16 * side) >> (2 * quarter);
        let q = (nibbles & all(15)) | ((tops & all(3)) << 4);
        let q = L::add(L::bytes(q.to_le_bytes()), L::splat(-32.0));
        L::store(L::scale(d * f32::from(scales[i].cast_signed()), q), x);
    }
}
