//! The integer tiles on NEON, four depths per step.
//!
//! NEON multiplies signed by signed bytes. Levels of x come plus 128 and lose that here; so that
//! sums have the bits of every other path, 128·(sum of the weights) is added to each at the end.
//!
//! With dot products (`sdot`, of Armv8.4 and most of 8.2): quarters of 12 × 8 sums in 24 registers.
//! Without them: `smull` makes eight products of 16 bits, of at most 127·128, and `sadalp` adds the
//! pairs to 32 bits; a column then has two sums until the end.
#![expect(unsafe_code, reason = "vector instructions")]

use std::arch::aarch64::{
    int8x16_t, int32x4_t, vaddq_s32, vcvtq_f32_s32, vdupq_n_s8, vdupq_n_s32, vget_low_s8,
    vmull_high_s8, vmull_s8, vpadalq_s16, vpaddlq_s8, vpaddq_s32, vshlq_n_s32,
};
use std::arch::asm;
use std::mem::transmute;

use super::heights::{Height, at_height, in_parts};
use super::kernel::{Accumulators, TileKernel};
use super::neon::{QUARTER, quarter_of, store_quarter};
use crate::gemm::step::{PANEL_WIDTH, PanelStep};
use crate::isa::{Available, Isa};

/// Takes 128 from four unsigned bytes.
const SIGNS: u32 = 0x8080_8080;

/// Proof that this machine has NEON with dot products.
#[derive(Clone, Copy)]
pub(super) struct NeonDot(());

impl NeonDot {
    /// Where they come with the instruction set.
    pub(super) fn of(isa: Available) -> Option<Self> {
        isa.has_dot_products().then_some(Self(()))
    }
}

impl TileKernel for NeonDot {
    fn tile(self, height: Height, x: &[u32], panel: &[PanelStep], sums: &mut Accumulators) {
        for quarter in 0..PANEL_WIDTH / QUARTER {
            // SAFETY: a value of `Self` exists only where the machine has the instructions.
            unsafe { at_height!(height, H => dot_tile::<H>(x, panel, quarter, sums)) }
        }
    }
}

#[target_feature(enable = "neon,dotprod")]
fn dot_tile<const H: usize>(
    x: &[u32],
    panel: &[PanelStep],
    quarter: usize,
    out: &mut Accumulators,
) {
    let mut sums = [[vdupq_n_s32(0); 2]; H];
    let mut weights = [vdupq_n_s32(0); 2];
    for (x, step) in x.as_chunks::<H>().0.iter().zip(panel) {
        let w = bytes_of(step, quarter);
        let (four_sums, other_sums) = sums.as_chunks_mut::<4>();
        let (fours, others) = x.as_chunks::<4>();
        for ([a, b, c, d], x) in four_sums.iter_mut().zip(fours) {
            let x = signed(*x);
            *a = dots::<0>(*a, w, x);
            *b = dots::<1>(*b, w, x);
            *c = dots::<2>(*c, w, x);
            *d = dots::<3>(*d, w, x);
        }
        for (sum, x) in other_sums.iter_mut().zip(others) {
            *sum = dots::<0>(*sum, w, signed([*x; 4]));
        }
        weights = dots::<0>(weights, w, vdupq_n_s8(1));
    }
    for (sum, row) in sums.into_iter().zip(&mut out.0) {
        store(sum, weights, row, quarter);
    }
}

/// `sum_j + Σ_depths w_j·x[LANE]` of eight columns.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dots<const LANE: i32>(sum: [int32x4_t; 2], w: [int8x16_t; 2], x: int8x16_t) -> [int32x4_t; 2] {
    [dot::<LANE>(sum[0], w[0], x), dot::<LANE>(sum[1], w[1], x)]
}

/// The same of four columns, by the instruction; its intrinsic is not stable yet.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot<const LANE: i32>(mut sum: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: the instruction reads and writes these registers alone.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {w:v}.16b, {x:v}.4b[{lane}]",
            sum = inout(vreg) sum,
            w = in(vreg) w,
            x = in(vreg) x,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// Proof that this machine has NEON.
#[derive(Clone, Copy)]
pub(super) struct NeonLong(());

impl NeonLong {
    /// Where the instruction set includes it.
    pub(super) fn of(isa: Available) -> Option<Self> {
        isa.includes(Isa::Neon).then_some(Self(()))
    }
}

impl TileKernel for NeonLong {
    fn tile(self, height: Height, x: &[u32], panel: &[PanelStep], sums: &mut Accumulators) {
        for quarter in 0..PANEL_WIDTH / QUARTER {
            // SAFETY: a value of `Self` exists only where the machine has the instructions.
            unsafe {
                let weights = weight_sums(panel, quarter);
                in_parts!(height, ALL, FROM, PART => {
                    long_tile::<ALL, FROM, PART>(x, panel, quarter, weights, sums);
                });
            }
        }
    }
}

/// Rows `FROM..FROM + PART` of the `ALL` and a quarter of the columns.
#[target_feature(enable = "neon")]
fn long_tile<const ALL: usize, const FROM: usize, const PART: usize>(
    x: &[u32],
    panel: &[PanelStep],
    quarter: usize,
    weights: [int32x4_t; 2],
    out: &mut Accumulators,
) {
    let mut sums = [[[vdupq_n_s32(0); 2]; 2]; PART];
    for (x, step) in x.as_chunks::<ALL>().0.iter().zip(panel) {
        let words = bytes_of(step, quarter);
        for (sums, x) in sums.iter_mut().zip(&x[FROM..]) {
            let x = signed([*x; 4]);
            for (sums, w) in sums.iter_mut().zip(words) {
                let low = vmull_s8(vget_low_s8(w), vget_low_s8(x));
                let high = vmull_high_s8(w, x);
                *sums = [vpadalq_s16(sums[0], low), vpadalq_s16(sums[1], high)];
            }
        }
    }
    for ([first, second], row) in sums.into_iter().zip(&mut out.0[FROM..]) {
        let sums = [
            vpaddq_s32(first[0], first[1]),
            vpaddq_s32(second[0], second[1]),
        ];
        store(sums, weights, row, quarter);
    }
}

/// Σ of the weights of each column.
#[target_feature(enable = "neon")]
fn weight_sums(panel: &[PanelStep], quarter: usize) -> [int32x4_t; 2] {
    let mut sums = [vdupq_n_s32(0); 2];
    for step in panel {
        for (sum, w) in sums.iter_mut().zip(bytes_of(step, quarter)) {
            *sum = vpadalq_s16(*sum, vpaddlq_s8(w));
        }
    }
    sums
}

/// Levels of x without their 128.
#[inline(always)]
fn signed(words: [u32; 4]) -> int8x16_t {
    // SAFETY: both are 16 plain bytes.
    unsafe { transmute(words.map(|word| word ^ SIGNS)) }
}

/// The weights of a step's columns `8·quarter..8·quarter + 8`.
#[inline(always)]
fn bytes_of(step: &PanelStep, quarter: usize) -> [int8x16_t; 2] {
    // SAFETY: both are 32 plain bytes.
    unsafe { transmute(quarter_of(step, quarter)) }
}

/// Writes sums, and what x without its 128 left out, to columns of a row.
#[inline]
#[target_feature(enable = "neon")]
fn store(
    sums: [int32x4_t; 2],
    weights: [int32x4_t; 2],
    row: &mut [f32; PANEL_WIDTH],
    quarter: usize,
) {
    let low = vaddq_s32(sums[0], vshlq_n_s32::<7>(weights[0]));
    let high = vaddq_s32(sums[1], vshlq_n_s32::<7>(weights[1]));
    store_quarter([vcvtq_f32_s32(low), vcvtq_f32_s32(high)], row, quarter);
}
