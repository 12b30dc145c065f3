//! The tile on AVX-512F: 12 × 32 sums in 24 registers, a fused multiply-add per depth.
#![expect(unsafe_code, reason = "calls beyond the baseline instructions")]

use std::arch::x86_64::{__m512, _mm512_fmadd_ps, _mm512_set1_ps, _mm512_setzero_ps};
use std::mem::transmute;

use super::heights::{Height, at_height};
use super::kernel::{Accumulators, TileKernel};
use crate::gemm::step::{PANEL_WIDTH, PanelStep};
use crate::isa::{Available, Isa};

/// Proof that this machine has AVX-512F.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    /// Where the instruction set includes it.
    pub(super) fn of(isa: Available) -> Option<Self> {
        isa.includes(Isa::Avx512).then_some(Self(()))
    }
}

impl TileKernel for Avx512 {
    fn tile(self, height: Height, x: &[u32], panel: &[PanelStep], sums: &mut Accumulators) {
        // SAFETY: a value of `Self` exists only where the machine has the instructions.
        unsafe { at_height!(height, H => tile::<H>(x, panel, sums)) }
    }
}

#[target_feature(enable = "avx512f")]
fn tile<const H: usize>(x: &[u32], panel: &[PanelStep], out: &mut Accumulators) {
    let mut sums = [[_mm512_setzero_ps(); 2]; H];
    for (x, step) in x.as_chunks::<H>().0.iter().zip(panel) {
        // SAFETY: both are 128 plain bytes.
        let [w0, w1]: [__m512; 2] = unsafe { transmute(step.0) };
        for (sum, x) in sums.iter_mut().zip(x) {
            let x = _mm512_set1_ps(f32::from_bits(*x));
            sum[0] = _mm512_fmadd_ps(x, w0, sum[0]);
            sum[1] = _mm512_fmadd_ps(x, w1, sum[1]);
        }
    }
    for (sum, row) in sums.into_iter().zip(&mut out.0) {
        *row = store(sum);
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store(lanes: [__m512; 2]) -> [f32; PANEL_WIDTH] {
    // SAFETY: both are 128 plain bytes.
    unsafe { transmute(lanes) }
}
