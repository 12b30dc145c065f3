//! AVX-512 with byte, word and quadword instructions; a vector is one register.

#![expect(
    unsafe_code,
    reason = "calls of vector instructions are unsafe; an `Available` proves that they are there"
)]

use std::arch::x86_64 as x86;

use super::avx2;
use super::avx512_halves::{ALTERNATELY, INTERLEAVED, high_halves, rounded};
use super::level::{Level, WIDTH, pair_axpy_apart};

/// `NATIVE`: with AVX-512 BF16, which rounds subnormal numbers to zero.
pub(super) struct Avx512<const NATIVE: bool>;

impl<const NATIVE: bool> Level for Avx512<NATIVE> {
    const TILE_ROWS: usize = 8;
    type Vector = x86::__m512;

    #[inline(always)]
    fn fused(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    fn load(values: &[f32; WIDTH]) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`); sixteen floats are readable.
        unsafe { x86::_mm512_loadu_ps(values.as_ptr()) }
    }

    #[inline(always)]
    fn store(vector: Self::Vector, values: &mut [f32; WIDTH]) {
        // SAFETY: the instruction set is there (`run_on`); sixteen floats are writable.
        unsafe { x86::_mm512_storeu_ps(values.as_mut_ptr(), vector) }
    }

    #[inline(always)]
    fn axpy(factor: f32, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe { x86::_mm512_fmadd_ps(x86::_mm512_set1_ps(factor), b, c) }
    }

    #[inline(always)]
    fn fma(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe { x86::_mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn flip(vector: Self::Vector, bits: u16) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe { x86::_mm512_mask_xor_ps(vector, bits, vector, x86::_mm512_set1_ps(-0.0)) }
    }

    #[inline(always)]
    fn clear(vector: Self::Vector, bits: u16) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe { x86::_mm512_maskz_mov_ps(!bits, vector) }
    }

    #[inline(always)]
    fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe { x86::_mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn larger(a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`). The second operand is what a NaN leaves.
        unsafe { x86::_mm512_max_ps(b, a) }
    }

    #[inline(always)]
    fn smaller(a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`). The second operand is what a NaN leaves.
        unsafe { x86::_mm512_min_ps(b, a) }
    }

    #[inline(always)]
    fn reciprocal(a: Self::Vector) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe { x86::_mm512_div_ps(x86::_mm512_set1_ps(1.0), a) }
    }

    #[inline(always)]
    fn times_power(a: Self::Vector, n: Self::Vector) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe { x86::_mm512_scalef_ps(a, n) }
    }

    #[inline(always)]
    fn sum(vector: Self::Vector) -> f32 {
        // SAFETY: the instruction set is there (`run_on`), and AVX2 with it.
        unsafe {
            let high = x86::_mm512_extractf32x8_ps::<1>(vector);
            avx2::sum_of_eight(x86::_mm256_add_ps(
                x86::_mm512_castps512_ps256(vector),
                high,
            ))
        }
    }

    #[inline(always)]
    fn largest(vector: Self::Vector) -> f32 {
        // SAFETY: the instruction set is there (`run_on`), and AVX2 with it.
        unsafe {
            let high = x86::_mm512_extractf32x8_ps::<1>(vector);
            avx2::largest_of_eight(x86::_mm256_max_ps(
                high,
                x86::_mm512_castps512_ps256(vector),
            ))
        }
    }

    #[inline(always)]
    fn multiply(a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe { x86::_mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn scale(factor: f32, a: Self::Vector) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe { x86::_mm512_mul_ps(x86::_mm512_set1_ps(factor), a) }
    }

    #[inline(always)]
    fn splat(value: f32) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe { x86::_mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn bytes(bytes: [u8; WIDTH]) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`); both are 16 plain bytes.
        unsafe {
            let bytes = std::mem::transmute::<[u8; WIDTH], x86::__m128i>(bytes);
            x86::_mm512_cvtepi32_ps(x86::_mm512_cvtepu8_epi32(bytes))
        }
    }

    #[inline(always)]
    fn signed_bytes(bytes: [u8; WIDTH]) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`); both are 16 plain bytes.
        unsafe {
            let bytes = std::mem::transmute::<[u8; WIDTH], x86::__m128i>(bytes);
            x86::_mm512_cvtepi32_ps(x86::_mm512_cvtepi8_epi32(bytes))
        }
    }

    #[inline(always)]
    fn half(bits: u16) -> f32 {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe { x86::_mm_cvtss_f32(x86::_mm_cvtph_ps(x86::_mm_cvtsi32_si128(i32::from(bits)))) }
    }

    #[inline(always)]
    fn bf16_pairs(values: &[f32; 2 * WIDTH]) -> [u32; WIDTH] {
        // SAFETY: the instruction set is there (`run_on`); all are plain bytes.
        unsafe {
            if NATIVE {
                let [first, second]: [x86::__m512; 2] = std::mem::transmute(*values);
                let both = x86::_mm512_cvtne2ps_pbh(second, first);
                return std::mem::transmute::<x86::__m512bh, [u32; WIDTH]>(both);
            }
            let halves: [x86::__m512; 2] = std::mem::transmute(*values);
            high_halves([rounded(halves[0]), rounded(halves[1])])
        }
    }

    #[inline(always)]
    fn bf16_columns(first: &[f32; WIDTH], second: &[f32; WIDTH]) -> [u32; WIDTH] {
        // SAFETY: the instruction set is there (`run_on`); all are plain bytes.
        unsafe {
            let (first, second) = (Self::load(first), Self::load(second));
            if NATIVE {
                let both = x86::_mm512_cvtne2ps_pbh(second, first);
                let order = x86::_mm512_loadu_si512(INTERLEAVED.as_ptr().cast());
                let both = std::mem::transmute::<x86::__m512bh, x86::__m512i>(both);
                let words = x86::_mm512_permutexvar_epi16(order, both);
                return std::mem::transmute::<x86::__m512i, [u32; WIDTH]>(words);
            }
            let low = x86::_mm512_srli_epi32::<16>(rounded(first));
            // 0xf8: low | (second & high half)
            let high = x86::_mm512_set1_epi32(-0x1_0000);
            std::mem::transmute(x86::_mm512_ternarylogic_epi32::<0xf8>(
                low,
                rounded(second),
                high,
            ))
        }
    }

    const PAIRS: bool = NATIVE;

    #[inline(always)]
    fn pair_axpy(pair: u32, pairs: &[u32; WIDTH], c: Self::Vector) -> Self::Vector {
        if !NATIVE {
            return pair_axpy_apart::<Self>(pair, pairs, c);
        }
        // SAFETY: the instruction set is there (`run_on`); all are plain bytes.
        unsafe {
            let pair = x86::_mm512_set1_epi32(pair.cast_signed());
            let pairs = x86::_mm512_loadu_si512(pairs.as_ptr().cast());
            let [pair, pairs] =
                std::mem::transmute::<[x86::__m512i; 2], [x86::__m512bh; 2]>([pair, pairs]);
            x86::_mm512_dpbf16_ps(c, pair, pairs)
        }
    }

    #[inline(always)]
    fn int8_quads(values: &[f32; 4 * WIDTH], factor: f32) -> [u32; WIDTH] {
        // SAFETY: the instruction set is there (`run_on`); all are plain bytes.
        unsafe {
            let quarters: [x86::__m512; 4] = std::mem::transmute(*values);
            let factor = x86::_mm512_set1_ps(factor);
            let mut levels = [x86::_mm_setzero_si128(); 4];
            for (levels, values) in levels.iter_mut().zip(quarters) {
                // The conversion rounds to nearest, ties to even.
                let integers = x86::_mm512_cvtps_epi32(x86::_mm512_mul_ps(values, factor));
                *levels = x86::_mm512_cvtepi32_epi8(integers);
            }
            std::mem::transmute(levels)
        }
    }

    const LOOKS_UP: bool = true;

    #[inline(always)]
    fn bf16_pairs_of(table: Self::Vector, indices: &[u8; 2 * WIDTH]) -> [u32; WIDTH] {
        // SAFETY: the instruction set is there (`run_on`); all are plain bytes.
        unsafe {
            let table = if NATIVE {
                std::mem::transmute::<x86::__m256bh, x86::__m256i>(x86::_mm512_cvtneps_pbh(table))
            } else {
                x86::_mm512_cvtepi32_epi16(x86::_mm512_srli_epi32::<16>(rounded(table)))
            };
            let indices = std::mem::transmute::<[u8; 2 * WIDTH], x86::__m256i>(*indices);
            let indices = x86::_mm512_cvtepu8_epi16(indices);
            let table = x86::_mm512_castsi256_si512(table);
            std::mem::transmute(x86::_mm512_permutexvar_epi16(indices, table))
        }
    }

    #[inline(always)]
    fn int8_quads_of(
        table: Self::Vector,
        factor: f32,
        indices: &[u8; 2 * WIDTH],
    ) -> [u32; WIDTH / 2] {
        // SAFETY: the instruction set is there (`run_on`); all are plain bytes.
        unsafe {
            // As in `int8_quads`.
            let integers = x86::_mm512_cvtps_epi32(Self::scale(factor, table));
            let levels = x86::_mm256_broadcastsi128_si256(x86::_mm512_cvtepi32_epi8(integers));
            let indices = std::mem::transmute::<[u8; 2 * WIDTH], x86::__m256i>(*indices);
            std::mem::transmute(x86::_mm256_shuffle_epi8(levels, indices))
        }
    }

    #[inline(always)]
    fn floats_of(table: Self::Vector, indices: &[u8; 2 * WIDTH]) -> [u32; 2 * WIDTH] {
        // SAFETY: the instruction set is there (`run_on`); all are plain bytes.
        unsafe {
            let halves = std::mem::transmute::<[u8; 2 * WIDTH], [x86::__m128i; 2]>(*indices);
            std::mem::transmute([
                x86::_mm512_permutexvar_ps(x86::_mm512_cvtepu8_epi32(halves[0]), table),
                x86::_mm512_permutexvar_ps(x86::_mm512_cvtepu8_epi32(halves[1]), table),
            ])
        }
    }

    #[inline(always)]
    fn rounded_floats_of(table: Self::Vector, indices: &[u8; 2 * WIDTH]) -> [u32; 2 * WIDTH] {
        // SAFETY: the instruction set is there (`run_on`).
        let table = unsafe {
            let high = x86::_mm512_set1_epi32(-0x1_0000);
            x86::_mm512_castsi512_ps(x86::_mm512_and_si512(rounded(table), high))
        };
        Self::floats_of(table, indices)
    }

    #[inline(always)]
    fn int16_pairs_of(table: Self::Vector, factor: f32, indices: &[u8; 2 * WIDTH]) -> [u32; WIDTH] {
        // SAFETY: the instruction set is there (`run_on`); all are plain bytes.
        unsafe {
            let levels = Self::int8_quads_of(table, factor, indices);
            let levels = std::mem::transmute::<[u32; WIDTH / 2], x86::__m256i>(levels);
            std::mem::transmute(x86::_mm512_cvtepi8_epi16(levels))
        }
    }

    #[inline(always)]
    fn interleave(first: &[u32; WIDTH], second: &[u32; WIDTH]) -> [[u32; WIDTH]; 2] {
        // SAFETY: the instruction set is there (`run_on`); all are plain bytes.
        unsafe {
            let first = x86::_mm512_loadu_si512(first.as_ptr().cast());
            let second = x86::_mm512_loadu_si512(second.as_ptr().cast());
            let [low, high] = ALTERNATELY.each_ref().map(|order| order.as_ptr().cast());
            let low = x86::_mm512_loadu_si512(low);
            let high = x86::_mm512_loadu_si512(high);
            std::mem::transmute([
                x86::_mm512_permutex2var_epi16(first, low, second),
                x86::_mm512_permutex2var_epi16(first, high, second),
            ])
        }
    }

    /// Sixteen registers, in four rounds of exchanges: of words, of pairs, of quarters, of halves.
    #[inline(always)]
    fn transpose(square: &[[u32; WIDTH]; WIDTH]) -> [[u32; WIDTH]; WIDTH] {
        use x86::{
            __m512i, _mm512_shuffle_i32x4 as quarters, _mm512_unpackhi_epi32 as high_words,
            _mm512_unpackhi_epi64 as high_pairs, _mm512_unpacklo_epi32 as low_words,
            _mm512_unpacklo_epi64 as low_pairs,
        };
        // SAFETY: the instruction set is there (`run_on`); rows and registers are 64 plain bytes
        // each.
        unsafe {
            let rows: [__m512i; WIDTH] = std::mem::transmute(*square);
            let mut words = rows;
            for i in (0..WIDTH).step_by(2) {
                words[i] = low_words(rows[i], rows[i + 1]);
                words[i + 1] = high_words(rows[i], rows[i + 1]);
            }
            // Register 4·g + c: column c of each quarter, of the rows of group g.
            let mut pairs = words;
            for group in (0..WIDTH).step_by(4) {
                pairs[group] = low_pairs(words[group], words[group + 2]);
                pairs[group + 1] = high_pairs(words[group], words[group + 2]);
                pairs[group + 2] = low_pairs(words[group + 1], words[group + 3]);
                pairs[group + 3] = high_pairs(words[group + 1], words[group + 3]);
            }
            let mut columns = pairs;
            for c in 0..4 {
                let [a, b, e, f] = [pairs[c], pairs[4 + c], pairs[8 + c], pairs[12 + c]];
                let even = [quarters::<0x88>(a, b), quarters::<0x88>(e, f)];
                let odd = [quarters::<0xdd>(a, b), quarters::<0xdd>(e, f)];
                columns[c] = quarters::<0x88>(even[0], even[1]);
                columns[4 + c] = quarters::<0x88>(odd[0], odd[1]);
                columns[8 + c] = quarters::<0xdd>(even[0], even[1]);
                columns[12 + c] = quarters::<0xdd>(odd[0], odd[1]);
            }
            std::mem::transmute(columns)
        }
    }
}
