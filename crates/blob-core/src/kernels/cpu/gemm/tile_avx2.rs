//! The tile on AVX2 with FMA: quarters of 6 × 16 sums in 12 registers.
#![expect(unsafe_code, reason = "calls beyond the baseline instructions")]

use std::arch::x86_64::{__m256, _mm256_fmadd_ps, _mm256_set1_ps, _mm256_setzero_ps};
use std::mem::transmute;

use super::panel::Step;
use super::{Block, Kernel, NR};

/// Proof that this machine has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    pub(super) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

impl Kernel for Avx2 {
    fn tile(self, height: usize, x: &[u32], panel: &[Step], block: &mut Block) {
        // SAFETY: a value of `Self` exists only where the machine has the instructions.
        unsafe {
            half_tile::<0>(height, x, panel, block);
            half_tile::<1>(height, x, panel, block);
        }
    }
}

/// All rows of one half of the columns.
#[target_feature(enable = "avx2,fma")]
fn half_tile<const HALF: usize>(height: usize, x: &[u32], panel: &[Step], block: &mut Block) {
    match height {
        12 => {
            tile::<12, 0, 6, HALF>(x, panel, block);
            tile::<12, 6, 6, HALF>(x, panel, block);
        }
        8 => {
            tile::<8, 0, 4, HALF>(x, panel, block);
            tile::<8, 4, 4, HALF>(x, panel, block);
        }
        4 => tile::<4, 0, 4, HALF>(x, panel, block),
        2 => tile::<2, 0, 2, HALF>(x, panel, block),
        _ => tile::<1, 0, 1, HALF>(x, panel, block),
    }
}

/// Rows `FROM..FROM + H` of the `ALL` and columns `16·HALF..16·HALF + 16` of the block.
#[target_feature(enable = "avx2,fma")]
fn tile<const ALL: usize, const FROM: usize, const H: usize, const HALF: usize>(
    x: &[u32],
    panel: &[Step],
    block: &mut Block,
) {
    let mut sums = [[_mm256_setzero_ps(); 2]; H];
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
    for (sums, row) in sums.into_iter().zip(&mut block.0[FROM..]) {
        store_half::<HALF>(sums, row);
    }
}

/// Writes columns `16·HALF..16·HALF + 16` of a row.
#[inline(always)]
pub(super) fn store_half<const HALF: usize>(sums: [__m256; 2], row: &mut [f32; NR]) {
    // SAFETY: both are 64 plain bytes.
    let lanes: [f32; 16] = unsafe { transmute(sums) };
    row[16 * HALF..16 * HALF + 16].copy_from_slice(&lanes);
}

/// Two halves of a row of 32 values.
type Halves = [[__m256; 2]; 2];
