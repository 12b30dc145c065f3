//! What an instruction set offers to a body: vectors of sixteen floats.

/// 1.5·2²³: adding it leaves the nearest integer, ties to even, in the low bits of a float.
pub(crate) const ROUNDER: f32 = 12_582_912.0;

/// Floats in [`Level::Vector`].
pub const WIDTH: usize = 16;

/// An instruction set that a body is compiled for; only [`super::run`] picks one.
pub trait Level: Sized {
    /// Rows of a matrix tile whose accumulators, one vector each, fit the registers: 2, 4 or 8.
    const TILE_ROWS: usize;

    /// Sixteen floats in as many registers as they need: where a loop must not leave the registers,
    /// auto-vectorising is not enough.
    type Vector: Copy;

    /// `a·b + c`, in one rounding where the hardware has it.
    fn fused(a: f32, b: f32, c: f32) -> f32;

    /// Reads a vector.
    fn load(values: &[f32; WIDTH]) -> Self::Vector;

    /// Writes a vector.
    fn store(vector: Self::Vector, values: &mut [f32; WIDTH]);

    /// `factor·b + c`, lane by lane as [`Level::fused`].
    fn axpy(factor: f32, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// `a·b + c`, lane by lane as [`Level::fused`].
    fn fma(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// The lanes whose bit is set change their sign.
    fn flip(vector: Self::Vector, bits: u16) -> Self::Vector;

    /// The lanes whose bit is set become 0.
    fn clear(vector: Self::Vector, bits: u16) -> Self::Vector;

    /// `a + b`, lane by lane.
    fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `a < b ? b : a`, lane by lane: a NaN in `b` is passed over.
    fn larger(a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `b < a ? b : a`, lane by lane: a NaN in `b` is passed over.
    fn smaller(a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `1/a`, lane by lane, rounded once.
    fn reciprocal(a: Self::Vector) -> Self::Vector;

    /// `a·2ⁿ`, lane by lane, rounded once; for 0.5 < a < 2 and whole n, −152 < n < 130; a NaN in
    /// both stays.
    fn times_power(a: Self::Vector, n: Self::Vector) -> Self::Vector;

    /// The sum of the lanes, in halves: lane j and lane j + 8, then + 4, + 2, + 1.
    fn sum(vector: Self::Vector) -> f32;

    /// The largest lane, in halves; NaNs are passed over.
    fn largest(vector: Self::Vector) -> f32;

    /// `a·b`, lane by lane.
    fn multiply(a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `factor·a`, lane by lane.
    fn scale(factor: f32, a: Self::Vector) -> Self::Vector;

    /// One value in each lane.
    fn splat(value: f32) -> Self::Vector;

    /// Unsigned bytes as floats.
    fn bytes(bytes: [u8; WIDTH]) -> Self::Vector;

    /// Signed bytes as floats.
    fn signed_bytes(bytes: [u8; WIDTH]) -> Self::Vector;

    /// The value of an IEEE half, without a branch.
    ///
    /// Exponent and mantissa are moved into an `f32` whose exponent is 112 too low, which a product
    /// with 2¹¹² mends for subnormal numbers too; the largest exponent becomes that of ∞ and NaN.
    #[inline(always)]
    fn half(bits: u16) -> f32 {
        /// 2¹¹²
        const POWER: f32 = f32::from_bits((127 + 112) << 23);
        let bits = u32::from(bits);
        let size = f32::from_bits((bits & 0x7fff) << 13) * POWER;
        let special = if bits & 0x7c00 == 0x7c00 {
            0x7f80_0000
        } else {
            0
        };
        f32::from_bits(size.to_bits() | special | ((bits & 0x8000) << 16))
    }

    /// Values rounded to bf16 (to nearest, ties to even; NaN stays NaN), the first of a pair in the
    /// low half of its word.
    #[inline(always)]
    fn bf16_pairs(values: &[f32; 2 * WIDTH]) -> [u32; WIDTH] {
        std::array::from_fn(|pair| {
            (bf16_bits(values[2 * pair]) >> 16) | bf16_bits(values[2 * pair + 1])
        })
    }

    /// `first` and `second` rounded as by [`Level::bf16_pairs`], lane by lane the low and the high
    /// half of a word.
    #[inline(always)]
    fn bf16_columns(first: &[f32; WIDTH], second: &[f32; WIDTH]) -> [u32; WIDTH] {
        std::array::from_fn(|lane| (bf16_bits(first[lane]) >> 16) | bf16_bits(second[lane]))
    }

    /// Whether [`Level::pair_axpy`] is one instruction.
    const PAIRS: bool = false;

    /// `c + Σ a·b` over both halves of `pair` and of each lane of `pairs`.
    ///
    /// The hardware's instruction takes subnormal numbers for zero.
    #[inline(always)]
    fn pair_axpy(pair: u32, pairs: &[u32; WIDTH], c: Self::Vector) -> Self::Vector {
        pair_axpy_apart::<Self>(pair, pairs, c)
    }

    /// The nearest integers to `factor·values` (ties to even), which must be in −127…127, four to a
    /// word, the first in the lowest byte. What is not finite gives anything.
    #[inline(always)]
    fn int8_quads(values: &[f32; 4 * WIDTH], factor: f32) -> [u32; WIDTH] {
        std::array::from_fn(|word| {
            u32::from_le_bytes(std::array::from_fn(|byte| {
                let level = (values[4 * word + byte] * factor + ROUNDER) - ROUNDER;
                (level as i8).cast_unsigned()
            }))
        })
    }

    /// The same integers, two to a word of sixteen bits each, the first in the low half.
    #[inline(always)]
    fn int16_pairs(values: &[f32; 2 * WIDTH], factor: f32) -> [u32; WIDTH] {
        let mut words = [0; WIDTH];
        for (word, pair) in words.iter_mut().zip(values.as_chunks::<2>().0) {
            let level = |value: f32| {
                let level = ((value * factor + ROUNDER) - ROUNDER) as i16;
                u32::from(level.cast_unsigned())
            };
            *word = level(pair[0]) | level(pair[1]) << 16;
        }
        words
    }

    /// Whether looking values up in a table of sixteen is fast.
    const LOOKS_UP: bool = false;

    /// The bits of `table[indices_j]`; indices must be below 16.
    #[inline(always)]
    fn floats_of(table: Self::Vector, indices: &[u8; 2 * WIDTH]) -> [u32; 2 * WIDTH] {
        let mut values = [0.0; WIDTH];
        Self::store(table, &mut values);
        indices.map(|index| values[usize::from(index) % WIDTH].to_bits())
    }

    /// The same, rounded to bf16 as by [`Level::bf16_pairs`].
    #[inline(always)]
    fn rounded_floats_of(table: Self::Vector, indices: &[u8; 2 * WIDTH]) -> [u32; 2 * WIDTH] {
        let mut values = [0.0; WIDTH];
        Self::store(table, &mut values);
        indices.map(|index| bf16_bits(values[usize::from(index) % WIDTH]))
    }

    /// `table[indices_j]` as by [`Level::bf16_pairs`]; indices must be below 16.
    #[inline(always)]
    fn bf16_pairs_of(table: Self::Vector, indices: &[u8; 2 * WIDTH]) -> [u32; WIDTH] {
        let mut values = [0.0; WIDTH];
        Self::store(table, &mut values);
        Self::bf16_pairs(&indices.map(|index| values[usize::from(index) % WIDTH]))
    }

    /// `table[indices_j]` as by [`Level::int8_quads`], half as many; indices must be below 16.
    #[inline(always)]
    fn int8_quads_of(
        table: Self::Vector,
        factor: f32,
        indices: &[u8; 2 * WIDTH],
    ) -> [u32; WIDTH / 2] {
        let (mut table_values, mut values) = ([0.0; WIDTH], [0.0; 4 * WIDTH]);
        Self::store(table, &mut table_values);
        for (value, index) in values.iter_mut().zip(indices) {
            *value = table_values[usize::from(*index) % WIDTH];
        }
        let words = Self::int8_quads(&values, factor);
        std::array::from_fn(|word| words[word])
    }

    /// `table[indices_j]` as by [`Level::int16_pairs`]; indices must be below 16.
    #[inline(always)]
    fn int16_pairs_of(table: Self::Vector, factor: f32, indices: &[u8; 2 * WIDTH]) -> [u32; WIDTH] {
        let mut values = [0.0; WIDTH];
        Self::store(table, &mut values);
        Self::int16_pairs(
            &indices.map(|index| values[usize::from(index) % WIDTH]),
            factor,
        )
    }

    /// Halves of words alternately: of each lane of the result, the low half is from `first` and
    /// the high half from `second`.
    #[inline(always)]
    fn interleave(first: &[u32; WIDTH], second: &[u32; WIDTH]) -> [[u32; WIDTH]; 2] {
        let half =
            |words: &[u32; WIDTH], index: usize| (words[index / 2] >> (16 * (index % 2))) & 0xffff;
        std::array::from_fn(|part| {
            std::array::from_fn(|lane| {
                let index = WIDTH * part + lane;
                half(first, index) | (half(second, index) << 16)
            })
        })
    }

    /// The transpose of a square of words.
    #[inline(always)]
    fn transpose(square: &[[u32; WIDTH]; WIDTH]) -> [[u32; WIDTH]; WIDTH] {
        std::array::from_fn(|column| std::array::from_fn(|row| square[row][column]))
    }
}

/// The bits of an `f32` rounded to bf16 (to nearest, ties to even; NaN stays NaN), in the high
/// half.
///
/// Without a branch, so that loops over it vectorise.
#[inline(always)]
pub(crate) fn bf16_bits(value: f32) -> u32 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    let quiet = bits | 0x0040_0000;
    let is_nan = bits & 0x7fff_ffff > 0x7f80_0000;
    (if is_nan { quiet } else { rounded }) & 0xffff_0000
}

/// Writes values as [`Level::bf16_pairs`]; what the last word lacks is zero.
#[inline(always)]
pub(crate) fn write_bf16_pairs<L: Level>(values: &[f32], words: &mut [u32]) {
    let (whole, rest) = values.as_chunks();
    let (full, short) = words.split_at_mut(WIDTH * whole.len());
    for (words, values) in full.as_chunks_mut().0.iter_mut().zip(whole) {
        *words = L::bf16_pairs(values);
    }
    if !rest.is_empty() {
        let length = short.len().min(WIDTH);
        short[..length].copy_from_slice(&L::bf16_pairs(&padded(rest, 0.0))[..length]);
    }
}

/// [`Level::pair_axpy`] by multiply-adds of `f32`.
#[inline(always)]
pub(super) fn pair_axpy_apart<L: Level>(
    pair: u32,
    pairs: &[u32; WIDTH],
    c: L::Vector,
) -> L::Vector {
    let low = L::load(&pairs.map(|word| f32::from_bits(word << 16)));
    let high = L::load(&pairs.map(|word| f32::from_bits(word & 0xffff_0000)));
    let c = L::axpy(f32::from_bits(pair << 16), low, c);
    L::axpy(f32::from_bits(pair & 0xffff_0000), high, c)
}

/// The last values of a row, and then `neutral`.
#[inline(always)]
pub(crate) fn padded<T: Copy, const LANES: usize>(rest: &[T], neutral: T) -> [T; LANES] {
    let mut lanes = [neutral; LANES];
    lanes[..rest.len()].copy_from_slice(rest);
    lanes
}
