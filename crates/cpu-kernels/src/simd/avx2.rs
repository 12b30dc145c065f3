//! AVX2 with FMA and half-precision conversion; a vector is two registers.

#![expect(
    unsafe_code,
    reason = "calls of vector instructions are unsafe; an `Available` proves that they are there"
)]

use std::arch::x86_64 as x86;

use super::avx2_words;
use super::level::{Level, WIDTH};

pub(super) struct Avx2;

/// The sum of the lanes, in halves.
#[inline(always)]
pub(super) fn sum_of_eight(vector: x86::__m256) -> f32 {
    // SAFETY: only called where the instruction set is there.
    unsafe {
        let low = x86::_mm256_castps256_ps128(vector);
        let four = x86::_mm_add_ps(low, x86::_mm256_extractf128_ps::<1>(vector));
        let two = x86::_mm_add_ps(four, x86::_mm_movehl_ps(four, four));
        let other = x86::_mm_shuffle_ps::<1>(two, two);
        x86::_mm_cvtss_f32(x86::_mm_add_ss(two, other))
    }
}

/// The largest lane, in halves; NaNs are passed over.
#[inline(always)]
pub(super) fn largest_of_eight(vector: x86::__m256) -> f32 {
    // SAFETY: only called where the instruction set is there. The second operand is what a NaN
    // leaves.
    unsafe {
        let low = x86::_mm256_castps256_ps128(vector);
        let four = x86::_mm_max_ps(x86::_mm256_extractf128_ps::<1>(vector), low);
        let two = x86::_mm_max_ps(x86::_mm_movehl_ps(four, four), four);
        let other = x86::_mm_shuffle_ps::<1>(two, two);
        x86::_mm_cvtss_f32(x86::_mm_max_ss(other, two))
    }
}

/// In two factors: 2ⁿ alone leaves the range of f32 at either end.
#[inline(always)]
fn times_power_of_eight(a: x86::__m256, n: x86::__m256) -> x86::__m256 {
    // SAFETY: only called where the instruction set is there.
    unsafe {
        let n = x86::_mm256_cvtps_epi32(n);
        let half = x86::_mm256_srai_epi32::<1>(n);
        let bias = x86::_mm256_set1_epi32(127);
        let mut product = a;
        for n in [half, x86::_mm256_sub_epi32(n, half)] {
            let bits = x86::_mm256_slli_epi32::<23>(x86::_mm256_add_epi32(n, bias));
            product = x86::_mm256_mul_ps(product, x86::_mm256_castsi256_ps(bits));
        }
        product
    }
}

impl Level for Avx2 {
    const TILE_ROWS: usize = 4;
    type Vector = [x86::__m256; 2];

    #[inline(always)]
    fn fused(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    fn load(values: &[f32; WIDTH]) -> Self::Vector {
        let [low, high] = [values[..8].as_ptr(), values[8..].as_ptr()];
        // SAFETY: the instruction set is there (`run_on`); eight floats are readable from each.
        unsafe { [x86::_mm256_loadu_ps(low), x86::_mm256_loadu_ps(high)] }
    }

    #[inline(always)]
    fn store([low, high]: Self::Vector, values: &mut [f32; WIDTH]) {
        let (first, second) = values.split_at_mut(8);
        // SAFETY: the instruction set is there (`run_on`); eight floats are writable from each.
        unsafe {
            x86::_mm256_storeu_ps(first.as_mut_ptr(), low);
            x86::_mm256_storeu_ps(second.as_mut_ptr(), high);
        }
    }

    #[inline(always)]
    fn axpy(factor: f32, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe {
            let factor = x86::_mm256_set1_ps(factor);
            [
                x86::_mm256_fmadd_ps(factor, b[0], c[0]),
                x86::_mm256_fmadd_ps(factor, b[1], c[1]),
            ]
        }
    }

    #[inline(always)]
    fn fma(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe {
            [
                x86::_mm256_fmadd_ps(a[0], b[0], c[0]),
                x86::_mm256_fmadd_ps(a[1], b[1], c[1]),
            ]
        }
    }

    #[inline(always)]
    fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe {
            [
                x86::_mm256_add_ps(a[0], b[0]),
                x86::_mm256_add_ps(a[1], b[1]),
            ]
        }
    }

    #[inline(always)]
    fn larger(a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`). The second operand is what a NaN leaves.
        unsafe {
            [
                x86::_mm256_max_ps(b[0], a[0]),
                x86::_mm256_max_ps(b[1], a[1]),
            ]
        }
    }

    #[inline(always)]
    fn smaller(a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`). The second operand is what a NaN leaves.
        unsafe {
            [
                x86::_mm256_min_ps(b[0], a[0]),
                x86::_mm256_min_ps(b[1], a[1]),
            ]
        }
    }

    #[inline(always)]
    fn reciprocal(a: Self::Vector) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe {
            let one = x86::_mm256_set1_ps(1.0);
            [x86::_mm256_div_ps(one, a[0]), x86::_mm256_div_ps(one, a[1])]
        }
    }

    #[inline(always)]
    fn times_power(a: Self::Vector, n: Self::Vector) -> Self::Vector {
        [
            times_power_of_eight(a[0], n[0]),
            times_power_of_eight(a[1], n[1]),
        ]
    }

    #[inline(always)]
    fn sum(vector: Self::Vector) -> f32 {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe { sum_of_eight(x86::_mm256_add_ps(vector[0], vector[1])) }
    }

    #[inline(always)]
    fn largest(vector: Self::Vector) -> f32 {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe { largest_of_eight(x86::_mm256_max_ps(vector[1], vector[0])) }
    }

    #[inline(always)]
    fn multiply(a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe {
            [
                x86::_mm256_mul_ps(a[0], b[0]),
                x86::_mm256_mul_ps(a[1], b[1]),
            ]
        }
    }

    #[inline(always)]
    fn scale(factor: f32, a: Self::Vector) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe {
            let factor = x86::_mm256_set1_ps(factor);
            [
                x86::_mm256_mul_ps(factor, a[0]),
                x86::_mm256_mul_ps(factor, a[1]),
            ]
        }
    }

    #[inline(always)]
    fn splat(value: f32) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe { [x86::_mm256_set1_ps(value); 2] }
    }

    #[inline(always)]
    fn bytes(bytes: [u8; WIDTH]) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`); both are 16 plain bytes.
        unsafe {
            let low = std::mem::transmute::<[u8; WIDTH], x86::__m128i>(bytes);
            let high = x86::_mm_srli_si128::<8>(low);
            [
                x86::_mm256_cvtepi32_ps(x86::_mm256_cvtepu8_epi32(low)),
                x86::_mm256_cvtepi32_ps(x86::_mm256_cvtepu8_epi32(high)),
            ]
        }
    }

    #[inline(always)]
    fn signed_bytes(bytes: [u8; WIDTH]) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`); both are 16 plain bytes.
        unsafe {
            let low = std::mem::transmute::<[u8; WIDTH], x86::__m128i>(bytes);
            let high = x86::_mm_srli_si128::<8>(low);
            [
                x86::_mm256_cvtepi32_ps(x86::_mm256_cvtepi8_epi32(low)),
                x86::_mm256_cvtepi32_ps(x86::_mm256_cvtepi8_epi32(high)),
            ]
        }
    }

    #[inline(always)]
    fn half(bits: u16) -> f32 {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe { x86::_mm_cvtss_f32(x86::_mm_cvtph_ps(x86::_mm_cvtsi32_si128(i32::from(bits)))) }
    }

    #[inline(always)]
    fn flip(vector: Self::Vector, bits: u16) -> Self::Vector {
        let masks: [f32; WIDTH] =
            std::array::from_fn(|lane| f32::from_bits(u32::from(bits >> lane & 1) << 31));
        let masks = Self::load(&masks);
        // SAFETY: the instruction set is there (`run_on`).
        unsafe {
            [
                x86::_mm256_xor_ps(vector[0], masks[0]),
                x86::_mm256_xor_ps(vector[1], masks[1]),
            ]
        }
    }

    #[inline(always)]
    fn clear(vector: Self::Vector, bits: u16) -> Self::Vector {
        let masks: [f32; WIDTH] =
            std::array::from_fn(|lane| f32::from_bits(u32::from(bits >> lane & 1).wrapping_neg()));
        let masks = Self::load(&masks);
        // SAFETY: the instruction set is there (`run_on`).
        unsafe {
            [
                x86::_mm256_andnot_ps(masks[0], vector[0]),
                x86::_mm256_andnot_ps(masks[1], vector[1]),
            ]
        }
    }

    #[inline(always)]
    fn int8_quads(values: &[f32; 4 * WIDTH], factor: f32) -> [u32; WIDTH] {
        avx2_words::quads(values, factor)
    }

    #[inline(always)]
    fn int16_pairs(values: &[f32; 2 * WIDTH], factor: f32) -> [u32; WIDTH] {
        avx2_words::pairs(values, factor)
    }

    const LOOKS_UP: bool = true;

    #[inline(always)]
    fn floats_of(table: Self::Vector, indices: &[u8; 2 * WIDTH]) -> [u32; 2 * WIDTH] {
        // SAFETY: the instruction set is there (`run_on`).
        let table = unsafe {
            [
                x86::_mm256_castps_si256(table[0]),
                x86::_mm256_castps_si256(table[1]),
            ]
        };
        avx2_words::looked_up::<false>(table, indices)
    }

    #[inline(always)]
    fn rounded_floats_of(table: Self::Vector, indices: &[u8; 2 * WIDTH]) -> [u32; 2 * WIDTH] {
        let table = [avx2_words::rounded(table[0]), avx2_words::rounded(table[1])];
        avx2_words::looked_up::<true>(table, indices)
    }

    #[inline(always)]
    fn int8_quads_of(
        table: Self::Vector,
        factor: f32,
        indices: &[u8; 2 * WIDTH],
    ) -> [u32; WIDTH / 2] {
        let levels = avx2_words::levels_of(table, factor, indices);
        // SAFETY: both are 32 plain bytes.
        unsafe { std::mem::transmute(levels) }
    }

    #[inline(always)]
    fn int16_pairs_of(table: Self::Vector, factor: f32, indices: &[u8; 2 * WIDTH]) -> [u32; WIDTH] {
        let levels = avx2_words::levels_of(table, factor, indices);
        // SAFETY: both are 64 plain bytes.
        unsafe { std::mem::transmute(avx2_words::widened(levels)) }
    }

    #[inline(always)]
    fn transpose(square: &[[u32; WIDTH]; WIDTH]) -> [[u32; WIDTH]; WIDTH] {
        avx2_words::transposed(square)
    }
}
