//! The integer tile on AVX2, two depths per step.
//!
//! AVX2 multiplies unsigned by signed bytes too (`vpmaddubsw`), but adds the pairs in 16 bits,
//! where 2·255·127 does not fit. Of operands in 16 bits, `vpmaddwd` adds the pairs in 32, exactly.
#![expect(unsafe_code, reason = "calls beyond the baseline instructions")]

use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_cvtepi32_ps, _mm256_madd_epi16, _mm256_set1_epi32,
    _mm256_setzero_si256,
};

use super::halves::tile_by_halves;
use super::heights::{Height, in_parts};
use super::kernel::{Accumulators, TileKernel};
use crate::gemm::step::PanelStep;

tile_by_halves! {
    /// Proof that this machine has AVX2.
    Avx2Int16 of Avx2 with "avx2", __m256i: _mm256_setzero_si256();
    spread |x| _mm256_set1_epi32(x.cast_signed());
    add |sum, x, w| _mm256_add_epi32(sum, _mm256_madd_epi16(x, w));
    floats |sum| _mm256_cvtepi32_ps(sum)
}
