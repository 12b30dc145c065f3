//! The tile on AVX2 with FMA: quarters of 6 × 16 sums in 12 registers.
#![expect(unsafe_code, reason = "calls beyond the baseline instructions")]

use std::arch::x86_64::{__m256, _mm256_fmadd_ps, _mm256_set1_ps, _mm256_setzero_ps};
use std::mem::transmute;

use super::heights::{Height, in_parts};
use super::kernel::{Accumulators, TileKernel};
use crate::gemm::step::{PANEL_WIDTH, Step};
use crate::isa::{Available, Isa};

/// Proof that this machine has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    /// Where the instruction set includes it.
    pub(super) fn of(isa: Available) -> Option<Self> {
        isa.includes(Isa::Avx2).then_some(Self(()))
    }
}

impl TileKernel for Avx2 {
    fn tile(self, height: Height, x: &[u32], panel: &[Step], sums: &mut Accumulators) {
        // SAFETY: a value of `Self` exists only where the machine has the instructions.
        unsafe {
            half_tile::<0>(height, x, panel, sums);
            half_tile::<1>(height, x, panel, sums);
        }
    }
}

/// All rows of one half of the columns, in the parts that the table of heights says.
#[target_feature(enable = "avx2,fma")]
fn half_tile<const HALF: usize>(
    height: Height,
    x: &[u32],
    panel: &[Step],
    sums: &mut Accumulators,
) {
    in_parts!(height, ALL, FROM, PART => tile::<ALL, FROM, PART, HALF>(x, panel, sums));
}

/// Rows `FROM..FROM + PART` of the `ALL` and columns `16·HALF..16·HALF + 16` of the tile.
#[target_feature(enable = "avx2,fma")]
fn tile<const ALL: usize, const FROM: usize, const PART: usize, const HALF: usize>(
    x: &[u32],
    panel: &[Step],
    out: &mut Accumulators,
) {
    let mut sums = [[_mm256_setzero_ps(); 2]; PART];
    for (x, step) in x.as_chunks::<ALL>().0.iter().zip(panel) {
        // SAFETY: both are 128 plain bytes.
        let words: Halves = unsafe { transmute(step.0) };
        let [w0, w1] = words[HALF];
        for (sum, x) in sums.iter_mut().zip(&x[FROM..]) {
            let x = _mm256_set1_ps(f32::from_bits(*x));
            sum[0] = _mm256_fmadd_ps(x, w0, sum[0]);
            sum[1] = _mm256_fmadd_ps(x, w1, sum[1]);
        }
    }
    for (sums, row) in sums.into_iter().zip(&mut out.0[FROM..]) {
        store_half::<HALF>(sums, row);
    }
}

/// Writes columns `16·HALF..16·HALF + 16` of a row.
#[inline(always)]
pub(super) fn store_half<const HALF: usize>(sums: [__m256; 2], row: &mut [f32; PANEL_WIDTH]) {
    // SAFETY: both are 64 plain bytes.
    let lanes: [f32; 16] = unsafe { transmute(sums) };
    row[16 * HALF..16 * HALF + 16].copy_from_slice(&lanes);
}

/// Two halves of a row of 32 values.
type Halves = [[__m256; 2]; 2];
