//! Words in registers of AVX2: rounding to bf16 and to eight bits, tables of sixteen, transposes.

#![expect(
    unsafe_code,
    reason = "calls of vector instructions are unsafe; an `Available` proves that they are there"
)]

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm256_add_epi32, _mm256_and_si256, _mm256_blendv_epi8,
    _mm256_castps_si256, _mm256_castsi256_si128, _mm256_cmpgt_epi32, _mm256_cvtepi8_epi16,
    _mm256_cvtps_epi32, _mm256_extracti128_si256, _mm256_loadu_si256, _mm256_mul_ps,
    _mm256_or_si256, _mm256_packs_epi16, _mm256_packs_epi32, _mm256_permute2x128_si256,
    _mm256_permute4x64_epi64, _mm256_permutevar8x32_epi32, _mm256_set1_epi32, _mm256_set1_ps,
    _mm256_setr_epi8, _mm256_setr_epi32, _mm256_setzero_si256, _mm256_shuffle_epi8,
    _mm256_srli_epi32, _mm256_unpackhi_epi8, _mm256_unpackhi_epi16, _mm256_unpackhi_epi32,
    _mm256_unpackhi_epi64, _mm256_unpacklo_epi8, _mm256_unpacklo_epi16, _mm256_unpacklo_epi32,
    _mm256_unpacklo_epi64,
};
use std::mem::transmute;

use super::level::WIDTH;

/// Floats rounded to bf16, as [`super::level::bf16_bits`].
#[inline(always)]
pub(super) fn rounded(values: __m256) -> __m256i {
    // SAFETY: only called where the instruction set is there.
    unsafe {
        let bits = _mm256_castps_si256(values);
        let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let bias = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
        let size = _mm256_and_si256(bits, _mm256_set1_epi32(0x7fff_ffff));
        let is_nan = _mm256_cmpgt_epi32(size, _mm256_set1_epi32(0x7f80_0000));
        let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
        let rounded = _mm256_blendv_epi8(_mm256_add_epi32(bits, bias), quiet, is_nan);
        _mm256_and_si256(rounded, _mm256_set1_epi32(-0x1_0000))
    }
}

/// The nearest integers to `factor·values`, ties to even, sixteen bits each.
#[inline(always)]
pub(super) fn levels([low, high]: [__m256; 2], factor: f32) -> __m256i {
    // SAFETY: only called where the instruction set is there.
    unsafe {
        let factor = _mm256_set1_ps(factor);
        let low = _mm256_cvtps_epi32(_mm256_mul_ps(low, factor));
        let high = _mm256_cvtps_epi32(_mm256_mul_ps(high, factor));
        _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(low, high))
    }
}

/// [`levels`] of four vectors, eight bits each.
#[inline(always)]
pub(super) fn quads(values: &[f32; 4 * WIDTH], factor: f32) -> [u32; WIDTH] {
    // SAFETY: only called where the instruction set is there; all are plain bytes.
    unsafe {
        let [a, b, c, d]: [[__m256; 2]; 4] = transmute(*values);
        let first = _mm256_packs_epi16(levels(a, factor), levels(b, factor));
        let second = _mm256_packs_epi16(levels(c, factor), levels(d, factor));
        transmute([
            _mm256_permute4x64_epi64::<0b11_01_10_00>(first),
            _mm256_permute4x64_epi64::<0b11_01_10_00>(second),
        ])
    }
}

/// [`levels`] of two vectors.
#[inline(always)]
pub(super) fn pairs(values: &[f32; 2 * WIDTH], factor: f32) -> [u32; WIDTH] {
    // SAFETY: only called where the instruction set is there; all are plain bytes.
    unsafe {
        let [a, b]: [[__m256; 2]; 2] = transmute(*values);
        transmute([levels(a, factor), levels(b, factor)])
    }
}

/// [`levels`] of a table's values that are looked up, eight bits each.
#[inline(always)]
pub(super) fn levels_of(table: [__m256; 2], factor: f32, indices: &[u8; 2 * WIDTH]) -> __m256i {
    // SAFETY: only called where the instruction set is there; 32 bytes are readable.
    unsafe {
        let words = levels(table, factor);
        let bytes = _mm256_packs_epi16(words, words);
        let bytes = _mm256_permute4x64_epi64::<0b10_00_10_00>(bytes);
        _mm256_shuffle_epi8(bytes, _mm256_loadu_si256(indices.as_ptr().cast()))
    }
}

/// Bytes to sixteen bits each.
#[inline(always)]
pub(super) fn widened(bytes: __m256i) -> [__m256i; 2] {
    // SAFETY: only called where the instruction set is there.
    unsafe {
        let low: __m128i = _mm256_castsi256_si128(bytes);
        let high = _mm256_extracti128_si256::<1>(bytes);
        [_mm256_cvtepi8_epi16(low), _mm256_cvtepi8_epi16(high)]
    }
}

/// `table[indices_j]`, words of the table's two registers; `HALVES`: their lower halves are zeros.
///
/// AVX2 looks bytes up, in sixteen of them: the table is cut into its words' first, second, third
/// and fourth bytes, and what they give is put together again.
#[inline(always)]
pub(super) fn looked_up<const HALVES: bool>(
    [low, high]: [__m256i; 2],
    indices: &[u8; 2 * WIDTH],
) -> [u32; 2 * WIDTH] {
    // SAFETY: only called where the instruction set is there; 32 bytes are readable, and all are
    // plain bytes.
    unsafe {
        let by_byte = _mm256_setr_epi8(
            0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, //
            0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,
        );
        let (low, high) = (
            _mm256_shuffle_epi8(low, by_byte),
            _mm256_shuffle_epi8(high, by_byte),
        );
        // A table's bytes in order, in both lanes, from words of the low and high register in turn.
        let even = _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5);
        let odd = _mm256_setr_epi32(2, 6, 3, 7, 2, 6, 3, 7);
        // Values 0 to 3 and 4 to 7 of each eight go to one lane each: unpacking keeps to lanes.
        let indices = _mm256_loadu_si256(indices.as_ptr().cast());
        let order = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
        let indices = _mm256_permutevar8x32_epi32(indices, order);
        let upper = _mm256_unpackhi_epi32(low, high);
        let third = _mm256_shuffle_epi8(_mm256_permutevar8x32_epi32(upper, even), indices);
        let fourth = _mm256_shuffle_epi8(_mm256_permutevar8x32_epi32(upper, odd), indices);
        let upper = [
            _mm256_unpacklo_epi8(third, fourth),
            _mm256_unpackhi_epi8(third, fourth),
        ];
        let mut lower = [_mm256_setzero_si256(); 2];
        if !HALVES {
            let words = _mm256_unpacklo_epi32(low, high);
            let first = _mm256_shuffle_epi8(_mm256_permutevar8x32_epi32(words, even), indices);
            let second = _mm256_shuffle_epi8(_mm256_permutevar8x32_epi32(words, odd), indices);
            lower = [
                _mm256_unpacklo_epi8(first, second),
                _mm256_unpackhi_epi8(first, second),
            ];
        }
        transmute([
            _mm256_unpacklo_epi16(lower[0], upper[0]),
            _mm256_unpackhi_epi16(lower[0], upper[0]),
            _mm256_unpacklo_epi16(lower[1], upper[1]),
            _mm256_unpackhi_epi16(lower[1], upper[1]),
        ])
    }
}

/// The transpose of a square of words, by squares of eight.
#[inline(always)]
pub(super) fn transposed(square: &[[u32; WIDTH]; WIDTH]) -> [[u32; WIDTH]; WIDTH] {
    let mut out = [[0; WIDTH]; WIDTH];
    for (row, column) in [(0, 0), (0, 8), (8, 0), (8, 8)] {
        let mut rows = [[0; 8]; 8];
        for (index, rows) in rows.iter_mut().enumerate() {
            rows.copy_from_slice(&square[row + index][column..column + 8]);
        }
        for (index, eight) in eight_transposed(&rows).iter().enumerate() {
            out[column + index][row..row + 8].copy_from_slice(eight);
        }
    }
    out
}

/// In three rounds of exchanges: of words, of pairs, of halves.
#[inline(always)]
fn eight_transposed(square: &[[u32; 8]; 8]) -> [[u32; 8]; 8] {
    // SAFETY: only called where the instruction set is there; rows and registers are 32 plain
    // bytes each.
    unsafe {
        let rows: [__m256i; 8] = transmute(*square);
        let mut words = rows;
        for i in (0..8).step_by(2) {
            words[i] = _mm256_unpacklo_epi32(rows[i], rows[i + 1]);
            words[i + 1] = _mm256_unpackhi_epi32(rows[i], rows[i + 1]);
        }
        // Register 4·g + c: column c of each half, of the rows of group g.
        let mut pairs = words;
        for group in [0, 4] {
            pairs[group] = _mm256_unpacklo_epi64(words[group], words[group + 2]);
            pairs[group + 1] = _mm256_unpackhi_epi64(words[group], words[group + 2]);
            pairs[group + 2] = _mm256_unpacklo_epi64(words[group + 1], words[group + 3]);
            pairs[group + 3] = _mm256_unpackhi_epi64(words[group + 1], words[group + 3]);
        }
        let mut columns = pairs;
        for c in 0..4 {
            columns[c] = _mm256_permute2x128_si256::<0x20>(pairs[c], pairs[4 + c]);
            columns[4 + c] = _mm256_permute2x128_si256::<0x31>(pairs[c], pairs[4 + c]);
        }
        transmute(columns)
    }
}
