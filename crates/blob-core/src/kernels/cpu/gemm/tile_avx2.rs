//! The tile on AVX2 with FMA: quarters of 6 × 16 sums in 12 registers.
#![expect(unsafe_code, reason = "calls beyond the baseline instructions")]

use std::arch::x86_64::{__m256, _mm256_fmadd_ps, _mm256_set1_ps, _mm256_setzero_ps};
use std::mem::transmute;

use super::pack::Step;
use super::{Block, KC, Kernel, NR, StagedRow};

/// Proof that this machine has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    pub(super) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

impl Kernel for Avx2 {
    fn tile(self, height: usize, x: &[StagedRow], panel: &[Step], block: &mut Block) {
        // SAFETY: a value of `Self` exists only where the machine has the instructions.
        unsafe {
            half_tile::<0>(height, x, panel, block);
            half_tile::<1>(height, x, panel, block);
        }
    }
}

/// All rows of one half of the columns.
#[target_feature(enable = "avx2,fma")]
fn half_tile<const HALF: usize>(height: usize, x: &[StagedRow], panel: &[Step], block: &mut Block) {
    match height {
        12 => {
            tile::<6, HALF>(0, x, panel, block);
            tile::<6, HALF>(6, x, panel, block);
        }
        8 => {
            tile::<4, HALF>(0, x, panel, block);
            tile::<4, HALF>(4, x, panel, block);
        }
        4 => tile::<4, HALF>(0, x, panel, block),
        2 => tile::<2, HALF>(0, x, panel, block),
        _ => tile::<1, HALF>(0, x, panel, block),
    }
}

/// Rows `row..row + H` and columns `16·HALF..16·HALF + 16` of the block.
#[target_feature(enable = "avx2,fma")]
fn tile<const H: usize, const HALF: usize>(
    row: usize,
    x: &[StagedRow],
    panel: &[Step],
    block: &mut Block,
) {
    let x = &x[row..row + H];
    assert!(panel.len() <= KC);
    let results = &mut block.0[row..row + H];
    let mut sums = [[_mm256_setzero_ps(); 2]; H];
    for (sum, row) in sums.iter_mut().zip(results.iter()) {
        *sum = load(*row)[HALF];
    }
    for (t, step) in panel.iter().enumerate() {
        // SAFETY: both are 128 plain bytes.
        let words: Halves = unsafe { transmute(step.0) };
        let [w0, w1] = words[HALF];
        for (sum, row) in sums.iter_mut().zip(x) {
            let xi = _mm256_set1_ps(f32::from_bits(row[t]));
            sum[0] = _mm256_fmadd_ps(xi, w0, sum[0]);
            sum[1] = _mm256_fmadd_ps(xi, w1, sum[1]);
        }
    }
    for (sum, row) in sums.iter().zip(results) {
        let mut lanes = load(*row);
        lanes[HALF] = *sum;
        *row = store(lanes);
    }
}

/// Two half_tile of a row of 32 values.
type Halves = [[__m256; 2]; 2];

#[inline]
#[target_feature(enable = "avx2,fma")]
fn load(lanes: [f32; NR]) -> Halves {
    // SAFETY: both are 128 plain bytes.
    unsafe { transmute(lanes) }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn store(lanes: Halves) -> [f32; NR] {
    // SAFETY: both are 128 plain bytes.
    unsafe { transmute(lanes) }
}
