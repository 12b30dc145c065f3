//! The tile on AVX-512 BF16: 12 × 32 sums in 24 registers, two depths per instruction.
//!
//! `vdpbf16ps` adds both products of a pair to an `f32` sum and treats subnormal numbers as zero.
#![expect(unsafe_code, reason = "calls beyond the baseline instructions")]

use std::arch::x86_64::{__m512bh, _mm512_dpbf16_ps, _mm512_set1_epi32, _mm512_setzero_ps};
use std::mem::transmute;

use super::panel::Step;
use super::tile_avx512::store;
use super::{Block, Kernel};

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
    fn tile(self, height: usize, x: &[u32], panel: &[Step], block: &mut Block) {
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

#[target_feature(enable = "avx512f,avx512bf16")]
fn tile<const H: usize>(x: &[u32], panel: &[Step], block: &mut Block) {
    let mut sums = [[_mm512_setzero_ps(); 2]; H];
    for (x, step) in x.as_chunks::<H>().0.iter().zip(panel) {
        // SAFETY: both are 128 plain bytes.
        let [w0, w1]: [__m512bh; 2] = unsafe { transmute(step.0) };
        for (sum, x) in sums.iter_mut().zip(x) {
            // SAFETY: both are 64 plain bytes.
            let x: __m512bh = unsafe { transmute(_mm512_set1_epi32(x.cast_signed())) };
            sum[0] = _mm512_dpbf16_ps(sum[0], x, w0);
            sum[1] = _mm512_dpbf16_ps(sum[1], x, w1);
        }
    }
    for (sum, row) in sums.into_iter().zip(&mut block.0) {
        *row = store(sum);
    }
}
