//! The tile on AVX2 with FMA.
#![expect(unsafe_code, reason = "calls beyond the baseline instructions")]

use std::arch::x86_64::{__m256, _mm256_fmadd_ps, _mm256_set1_ps, _mm256_setzero_ps};

use super::halves::tile_by_halves;
use super::heights::{Height, in_parts};
use super::kernel::{Accumulators, TileKernel};
use crate::gemm::step::PanelStep;

tile_by_halves! {
    /// Proof that this machine has AVX2 and FMA.
    Avx2 of Avx2 with "avx2,fma", __m256: _mm256_setzero_ps();
    spread |x| _mm256_set1_ps(f32::from_bits(*x));
    add |sum, x, w| _mm256_fmadd_ps(x, w, sum);
    floats |sum| sum
}
