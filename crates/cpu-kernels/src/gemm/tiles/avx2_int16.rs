//! The integer tile on AVX2: quarters of 6 × 16 sums in 12 registers, two depths per step.
//!
//! AVX2 multiplies unsigned by signed bytes too (`vpmaddubsw`), but adds the pairs in 16 bits,
//! where 2·255·127 does not fit. Of operands in 16 bits, `vpmaddwd` adds the pairs in 32, exactly.
#![expect(unsafe_code, reason = "calls beyond the baseline instructions")]

use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_cvtepi32_ps, _mm256_madd_epi16, _mm256_set1_epi32,
    _mm256_setzero_si256,
};
use std::mem::transmute;

use super::avx2::store_half;
use super::heights::{Height, in_parts};
use super::kernel::{Accumulators, TileKernel};
use crate::gemm::step::Step;
use crate::isa::{Available, Isa};

/// Proof that this machine has AVX2.
#[derive(Clone, Copy)]
pub(super) struct Avx2Int16(());

impl Avx2Int16 {
    /// Where the instruction set includes it.
    pub(super) fn of(isa: Available) -> Option<Self> {
        isa.includes(Isa::Avx2).then_some(Self(()))
    }
}

impl TileKernel for Avx2Int16 {
    fn tile(self, height: Height, x: &[u32], panel: &[Step], sums: &mut Accumulators) {
        // SAFETY: a value of `Self` exists only where the machine has the instructions.
        unsafe {
            half_tile::<0>(height, x, panel, sums);
            half_tile::<1>(height, x, panel, sums);
        }
    }
}

/// All rows of one half of the columns, in the parts that the table of heights says.
#[target_feature(enable = "avx2")]
fn half_tile<const HALF: usize>(
    height: Height,
    x: &[u32],
    panel: &[Step],
    sums: &mut Accumulators,
) {
    in_parts!(height, ALL, FROM, PART => tile::<ALL, FROM, PART, HALF>(x, panel, sums));
}

/// Rows `FROM..FROM + PART` of the `ALL` and columns `16·HALF..16·HALF + 16` of the tile.
#[target_feature(enable = "avx2")]
fn tile<const ALL: usize, const FROM: usize, const PART: usize, const HALF: usize>(
    x: &[u32],
    panel: &[Step],
    out: &mut Accumulators,
) {
    let mut sums = [[_mm256_setzero_si256(); 2]; PART];
    for (x, step) in x.as_chunks::<ALL>().0.iter().zip(panel) {
        // SAFETY: both are 128 plain bytes.
        let words: [[__m256i; 2]; 2] = unsafe { transmute(step.0) };
        let [w0, w1] = words[HALF];
        for (sum, x) in sums.iter_mut().zip(&x[FROM..]) {
            let x = _mm256_set1_epi32(x.cast_signed());
            sum[0] = _mm256_add_epi32(sum[0], _mm256_madd_epi16(x, w0));
            sum[1] = _mm256_add_epi32(sum[1], _mm256_madd_epi16(x, w1));
        }
    }
    for ([low, high], row) in sums.into_iter().zip(&mut out.0[FROM..]) {
        store_half::<HALF>([_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high)], row);
    }
}
