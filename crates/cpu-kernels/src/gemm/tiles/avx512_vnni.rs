//! The integer tile on AVX-512 VNNI: 12 × 32 sums in 24 registers, four depths per instruction.
//!
//! `vpdpbusd` adds four products of an unsigned and a signed byte to a 32-bit integer, exactly.
#![expect(unsafe_code, reason = "calls beyond the baseline instructions")]

use std::arch::x86_64::{
    __m512i, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_set1_epi32, _mm512_setzero_si512,
};
use std::mem::transmute;

use super::avx512::store;
use super::heights::{Height, at_height};
use super::kernel::{Accumulators, TileKernel};
use crate::gemm::step::PanelStep;
use crate::isa::Available;

/// Proof that this machine has AVX-512 VNNI.
#[derive(Clone, Copy)]
pub(super) struct Avx512Vnni(());

impl Avx512Vnni {
    /// Where the instruction set includes it.
    pub(super) fn of(isa: Available) -> Option<Self> {
        isa.has_avx512_vnni().then_some(Self(()))
    }
}

impl TileKernel for Avx512Vnni {
    fn tile(self, height: Height, x: &[u32], panel: &[PanelStep], sums: &mut Accumulators) {
        // SAFETY: a value of `Self` exists only where the machine has the instructions.
        unsafe { at_height!(height, H => tile::<H>(x, panel, sums)) }
    }
}

#[target_feature(enable = "avx512f,avx512vnni")]
fn tile<const H: usize>(x: &[u32], panel: &[PanelStep], out: &mut Accumulators) {
    let mut sums = [[_mm512_setzero_si512(); 2]; H];
    for (x, step) in x.as_chunks::<H>().0.iter().zip(panel) {
        // SAFETY: both are 128 plain bytes.
        let [w0, w1]: [__m512i; 2] = unsafe { transmute(step.0) };
        for (sum, x) in sums.iter_mut().zip(x) {
            let x = _mm512_set1_epi32(x.cast_signed());
            sum[0] = _mm512_dpbusd_epi32(sum[0], x, w0);
            sum[1] = _mm512_dpbusd_epi32(sum[1], x, w1);
        }
    }
    for ([low, high], row) in sums.into_iter().zip(&mut out.0) {
        *row = store([_mm512_cvtepi32_ps(low), _mm512_cvtepi32_ps(high)]);
    }
}
