//! Operands of a product as 32-bit words: panels of the weight, staged rows of x.

use half::bf16;
use rayon::prelude::*;

use super::{NR, Precision};

/// One step of depth of a panel: for each of its 32 columns an `f32`, or two depths in bf16 with
/// the first in the low half.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Step(pub(super) [u32; NR]);

impl Step {
    pub(super) const ZERO: Self = Self([0; NR]);
}

/// Steps that a panel of `depth` takes.
fn stored_steps(depth: usize, precision: Precision) -> usize {
    match precision {
        Precision::F32 => depth,
        Precision::Bf16 => depth.div_ceil(2),
    }
}

/// Packs the matrix whose element (column, depth) is `at(column, depth)`.
pub(super) fn panels(
    cols: usize,
    depth: usize,
    precision: Precision,
    at: impl Fn(usize, usize) -> f32 + Sync,
) -> Vec<Step> {
    let steps = stored_steps(depth, precision);
    let mut panels = vec![Step::ZERO; cols.div_ceil(NR) * steps];
    panels
        .par_chunks_mut(steps)
        .enumerate()
        .for_each(|(panel, chunk)| {
            let first = panel * NR;
            for (t, step) in chunk.iter_mut().enumerate() {
                for (column, word) in (first..cols).zip(&mut step.0) {
                    *word = match precision {
                        Precision::F32 => at(column, t).to_bits(),
                        Precision::Bf16 => {
                            let second = 2 * t + 1;
                            let second = if second < depth {
                                at(column, second)
                            } else {
                                0.0
                            };
                            pair(at(column, 2 * t), second)
                        }
                    };
                }
            }
        });
    panels
}

/// Two values in bf16, the first in the low half; NaN stays NaN and ±∞ stays ±∞.
fn pair(first: f32, second: f32) -> u32 {
    u32::from(bf16::from_f32(first).to_bits()) | u32::from(bf16::from_f32(second).to_bits()) << 16
}

/// Rewrites steps of bf16 pairs as twice as many steps of `f32`.
pub(super) fn widen(pairs: &[Step], floats: &mut Vec<Step>) {
    floats.resize(2 * pairs.len(), Step::ZERO);
    for (pairs, [first, second]) in pairs.iter().zip(floats.as_chunks_mut().0) {
        for (pair, (first, second)) in pairs.0.iter().zip(first.0.iter_mut().zip(&mut second.0)) {
            *first = pair << 16;
            *second = pair & 0xffff_0000;
        }
    }
}

/// Stages values of x as they are, zeros after their end.
pub(super) fn stage_floats(x: &[f32], staged: &mut [u32]) {
    let (values, rest) = staged.split_at_mut(x.len());
    for (word, value) in values.iter_mut().zip(x) {
        *word = value.to_bits();
    }
    rest.fill(0);
}

/// Stages values of x rounded to bf16 and widened again, zeros after their end.
pub(super) fn stage_rounded(x: &[f32], staged: &mut [u32]) {
    let (values, rest) = staged.split_at_mut(x.len());
    for (word, &value) in values.iter_mut().zip(x) {
        *word = u32::from(bf16::from_f32(value).to_bits()) << 16;
    }
    rest.fill(0);
}
