//! The tile on AVX-512 BF16: 12 × 32 sums in 24 registers, two depths per instruction.
//!
//! `vdpbf16ps` adds both products of a pair to an `f32` sum and treats subnormal numbers as zero.
#![expect(unsafe_code, reason = "calls beyond the baseline instructions")]

use std::arch::x86_64::{__m512bh, _mm512_dpbf16_ps, _mm512_set1_epi32, _mm512_setzero_ps};
use std::mem::transmute;

use super::avx512::store;
use super::heights::{Height, at_height};
use super::kernel::{Accumulators, TileKernel};
use crate::gemm::step::PanelStep;
use crate::isa::{Available, Isa};

/// Proof that this machine has AVX-512 BF16.
#[derive(Clone, Copy)]
pub(super) struct Avx512Bf16(());

impl Avx512Bf16 {
    /// Where the instruction set includes it.
    pub(super) fn of(isa: Available) -> Option<Self> {
        isa.includes(Isa::Avx512Bf16).then_some(Self(()))
    }
}

impl TileKernel for Avx512Bf16 {
    fn tile(self, height: Height, x: &[u32], panel: &[PanelStep], sums: &mut Accumulators) {
        // SAFETY: a value of `Self` exists only where the machine has the instructions.
        unsafe { at_height!(height, H => tile::<H>(x, panel, sums)) }
    }
}

#[target_feature(enable = "avx512f,avx512bf16")]
fn tile<const H: usize>(x: &[u32], panel: &[PanelStep], out: &mut Accumulators) {
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
    for (sum, row) in sums.into_iter().zip(&mut out.0) {
        *row = store(sum);
    }
}
