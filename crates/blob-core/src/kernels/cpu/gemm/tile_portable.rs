//! The tile in plain Rust.

use super::pack::Step;
use super::{Block, Kernel, NR, StagedRow};

#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Kernel for Portable {
    fn tile(self, height: usize, x: &[StagedRow], panel: &[Step], block: &mut Block) {
        for (sums, row) in block.0.iter_mut().take(height).zip(x) {
            add_row(row, panel, sums);
        }
    }
}

/// `sums += row · panel`; multiply, then add, since a fused one would be a library call.
fn add_row(row: &[u32], panel: &[Step], sums: &mut [f32; NR]) {
    let mut local = *sums;
    for (&x, step) in row.iter().zip(panel) {
        let x = f32::from_bits(x);
        for (sum, &w) in local.iter_mut().zip(&step.0) {
            *sum += x * f32::from_bits(w);
        }
    }
    *sums = local;
}
