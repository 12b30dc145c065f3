//! The tile in plain Rust.

use super::heights::Height;
use super::kernel::{Accumulators, TileKernel};
use crate::gemm::step::{PANEL_WIDTH, PanelStep};

#[derive(Clone, Copy)]
pub(super) struct PortableFloat;

impl TileKernel for PortableFloat {
    fn tile(self, height: Height, x: &[u32], panel: &[PanelStep], sums: &mut Accumulators) {
        for (row, sums) in sums.0.iter_mut().take(height.rows()).enumerate() {
            *sums = float_row(x.iter().skip(row).step_by(height.rows()), panel);
        }
    }
}

/// `row · panel`; multiply, then add, since a fused one would be a library call.
fn float_row<'a>(row: impl Iterator<Item = &'a u32>, panel: &[PanelStep]) -> [f32; PANEL_WIDTH] {
    let mut sums = [0.0; PANEL_WIDTH];
    for (&x, step) in row.zip(panel) {
        let x = f32::from_bits(x);
        for (sum, &w) in sums.iter_mut().zip(&step.0) {
            *sum += x * f32::from_bits(w);
        }
    }
    sums
}

#[derive(Clone, Copy)]
pub(super) struct PortableInt8;

impl TileKernel for PortableInt8 {
    fn tile(self, height: Height, x: &[u32], panel: &[PanelStep], sums: &mut Accumulators) {
        for (row, sums) in sums.0.iter_mut().take(height.rows()).enumerate() {
            *sums = int8_row(x.iter().skip(row).step_by(height.rows()), panel);
        }
    }
}

/// `row · panel` in integers: unsigned bytes of x, signed bytes of the panel; the sums become
/// `f32`. Nothing wraps (`MAX_INT8_DEPTH`); checks would keep the loop from becoming vectors.
fn int8_row<'a>(row: impl Iterator<Item = &'a u32>, panel: &[PanelStep]) -> [f32; PANEL_WIDTH] {
    let mut sums = [0i32; PANEL_WIDTH];
    for (&x, step) in row.zip(panel) {
        let x = x.to_le_bytes().map(i32::from);
        for (sum, &w) in sums.iter_mut().zip(&step.0) {
            let w = w.to_le_bytes().map(|w| i32::from(w.cast_signed()));
            for depth in 0..4 {
                *sum = sum.wrapping_add(x[depth].wrapping_mul(w[depth]));
            }
        }
    }
    sums.map(|sum| sum as f32)
}
