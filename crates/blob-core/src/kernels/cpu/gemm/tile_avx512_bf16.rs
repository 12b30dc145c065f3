//! The tile on AVX-512 BF16: 12 × 32 sums in 24 registers, two depths per instruction.
//!
//! `vdpbf16ps` adds both products of a pair to an `f32` sum and treats subnormal numbers as zero.
#![expect(unsafe_code, reason = "calls beyond the baseline instructions")]

use std::arch::x86_64::{
    __m512, __m512bh, _mm512_cvtneps_pbh, _mm512_dpbf16_ps, _mm512_set1_epi32, _mm512_setzero_ps,
};
use std::mem::transmute;

use super::pack::Step;
use super::tile_avx512::{load, store};
use super::{Block, KC, Kernel, StagedRow};

/// Proof that this machine has AVX-512 BF16.
#[derive(Clone, Copy)]
pub(super) struct Avx512Bf16(());

impl Avx512Bf16 {
    pub(super) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16"))
            .then_some(Self(()))
    }
}

impl Kernel for Avx512Bf16 {
    const DEPTHS_PER_STEP: usize = 2;

    fn stage(self, x: &[f32], staged: &mut [u32]) {
        // SAFETY: a value of `Self` exists only where the machine has the instructions.
        unsafe { stage(x, staged) }
    }

    fn tile(self, height: usize, x: &[StagedRow], panel: &[Step], block: &mut Block) {
        // SAFETY: a value of `Self` exists only where the machine has the instructions.
        unsafe {
            match height {
                12 => tile::<12>(x, panel, block),
                8 => tile::<8>(x, panel, block),
                4 => tile::<4>(x, panel, block),
                2 => tile::<2>(x, panel, block),
                _ => tile::<1>(x, panel, block),
            }
        }
    }
}

/// Rounds values to bf16 (to nearest, ties to even) and pairs them.
#[target_feature(enable = "avx512f,avx512bf16")]
fn stage(x: &[f32], staged: &mut [u32]) {
    let whole = x.len() / 16;
    let (values, rest) = x.split_at(whole * 16);
    let (pairs, last_pairs) = staged.split_at_mut(whole * 8);
    for (values, pairs) in values.as_chunks().0.iter().zip(pairs.as_chunks_mut().0) {
        *pairs = round(*values);
    }
    let mut last = [0.0; 16];
    last[..rest.len()].copy_from_slice(rest);
    last_pairs.copy_from_slice(&round(last)[..last_pairs.len()]);
}

#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn round(values: [f32; 16]) -> [u32; 8] {
    // SAFETY: both are 64 plain bytes.
    let values: __m512 = unsafe { transmute(values) };
    // SAFETY: both are 32 plain bytes.
    unsafe { transmute(_mm512_cvtneps_pbh(values)) }
}

#[target_feature(enable = "avx512f,avx512bf16")]
fn tile<const H: usize>(x: &[StagedRow], panel: &[Step], block: &mut Block) {
    assert!(x.len() >= H && panel.len() <= KC);
    let mut sums = [[_mm512_setzero_ps(); 2]; H];
    for (sum, row) in sums.iter_mut().zip(&block.0) {
        *sum = load(*row);
    }
    for (t, step) in panel.iter().enumerate() {
        // SAFETY: both are 128 plain bytes.
        let [w0, w1]: [__m512bh; 2] = unsafe { transmute(step.0) };
        for (sum, row) in sums.iter_mut().zip(x) {
            // SAFETY: both are 64 plain bytes.
            let xi: __m512bh = unsafe { transmute(_mm512_set1_epi32(row[t].cast_signed())) };
            sum[0] = _mm512_dpbf16_ps(sum[0], xi, w0);
            sum[1] = _mm512_dpbf16_ps(sum[1], xi, w1);
        }
    }
    for (sum, row) in sums.iter().zip(&mut block.0) {
        *row = store(*sum);
    }
}
