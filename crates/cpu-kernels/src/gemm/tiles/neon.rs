//! The tile on NEON: quarters of 12 × 8 sums in 24 of 32 registers, a fused multiply-add per depth.
//!
//! Four rows' words of x are one register, of which each multiply-add takes a lane.
#![expect(unsafe_code, reason = "vector instructions")]

use std::arch::aarch64::{float32x4_t, vdupq_n_f32, vfmaq_laneq_f32};
use std::mem::transmute;

use super::heights::{Height, at_height};
use super::kernel::{Accumulators, TileKernel};
use crate::gemm::step::{PANEL_WIDTH, PanelStep};
use crate::isa::{Available, Isa};

/// Columns that a pass over the panel multiplies.
pub(super) const QUARTER: usize = PANEL_WIDTH / 4;

/// Proof that this machine has NEON.
#[derive(Clone, Copy)]
pub(super) struct Neon(());

impl Neon {
    /// Where the instruction set includes it.
    pub(super) fn of(isa: Available) -> Option<Self> {
        isa.includes(Isa::Neon).then_some(Self(()))
    }
}

impl TileKernel for Neon {
    fn tile(self, height: Height, x: &[u32], panel: &[PanelStep], sums: &mut Accumulators) {
        for quarter in 0..PANEL_WIDTH / QUARTER {
            // SAFETY: a value of `Self` exists only where the machine has the instructions.
            unsafe { at_height!(height, H => tile::<H>(x, panel, quarter, sums)) }
        }
    }
}

#[target_feature(enable = "neon")]
fn tile<const H: usize>(x: &[u32], panel: &[PanelStep], quarter: usize, out: &mut Accumulators) {
    let mut sums = [[vdupq_n_f32(0.0); 2]; H];
    for (x, step) in x.as_chunks::<H>().0.iter().zip(panel) {
        // SAFETY: both are 32 plain bytes.
        let w = unsafe { transmute::<[u32; QUARTER], [float32x4_t; 2]>(quarter_of(step, quarter)) };
        let (four_sums, other_sums) = sums.as_chunks_mut::<4>();
        let (fours, others) = x.as_chunks::<4>();
        for ([a, b, c, d], x) in four_sums.iter_mut().zip(fours) {
            *a = row::<0>(*a, w, *x);
            *b = row::<1>(*b, w, *x);
            *c = row::<2>(*c, w, *x);
            *d = row::<3>(*d, w, *x);
        }
        for (sum, x) in other_sums.iter_mut().zip(others) {
            *sum = row::<0>(*sum, w, [*x; 4]);
        }
    }
    for (sum, row) in sums.into_iter().zip(&mut out.0) {
        store_quarter(sum, row, quarter);
    }
}

/// `sum_j + x[LANE]·w_j`
#[inline]
#[target_feature(enable = "neon")]
fn row<const LANE: i32>(
    sum: [float32x4_t; 2],
    w: [float32x4_t; 2],
    x: [u32; 4],
) -> [float32x4_t; 2] {
    // SAFETY: both are 16 plain bytes.
    let x = unsafe { transmute::<[u32; 4], float32x4_t>(x) };
    [
        vfmaq_laneq_f32::<LANE>(sum[0], w[0], x),
        vfmaq_laneq_f32::<LANE>(sum[1], w[1], x),
    ]
}

/// The words of a step's columns `8·quarter..8·quarter + 8`.
#[inline(always)]
pub(super) fn quarter_of(step: &PanelStep, quarter: usize) -> [u32; QUARTER] {
    step.0.as_chunks().0[quarter]
}

/// Writes columns `8·quarter..8·quarter + 8` of a row.
#[inline(always)]
pub(super) fn store_quarter(sums: [float32x4_t; 2], row: &mut [f32; PANEL_WIDTH], quarter: usize) {
    // SAFETY: both are 32 plain bytes.
    let lanes = unsafe { transmute::<[float32x4_t; 2], [f32; QUARTER]>(sums) };
    row.as_chunks_mut().0[quarter] = lanes;
}
