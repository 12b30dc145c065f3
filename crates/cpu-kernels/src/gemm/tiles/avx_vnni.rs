//! The integer tile on AVX-VNNI, four depths per instruction.
//!
//! `vpdpbusd` as in AVX-512 VNNI, of 256 bits: exact.
#![expect(unsafe_code, reason = "calls beyond the baseline instructions")]

use std::arch::x86_64::{
    __m256i, _mm256_cvtepi32_ps, _mm256_dpbusd_avx_epi32, _mm256_set1_epi32, _mm256_setzero_si256,
};

use super::halves::tile_by_halves;
use super::heights::{Height, in_parts};
use super::kernel::{Accumulators, TileKernel};
use crate::gemm::step::PanelStep;

tile_by_halves! {
    /// Proof that this machine has AVX-VNNI.
    AvxVnni of AvxVnni with "avx2,avxvnni", __m256i: _mm256_setzero_si256();
    spread |x| _mm256_set1_epi32(x.cast_signed());
    add |sum, x, w| _mm256_dpbusd_avx_epi32(sum, x, w);
    floats |sum| _mm256_cvtepi32_ps(sum)
}
