//! RMS norm, row by row; equations in `ops::norm`.

use std::mem::MaybeUninit;

use super::gemm::{FrozenMatrix, Operand, RowSource};
use super::norm_rows::{self, RowNorm};
use super::output::Slot;
use super::rows::row;
use super::simd::Level;
use super::{lanes, prefetch};
use crate::Result;

/// The frozen parameters of a norm.
#[derive(Clone, Copy)]
pub struct RmsNorm<'a> {
    /// w, (d)
    pub weight: &'a [f32],
    /// ε
    pub eps: f32,
}

impl RmsNorm<'_> {
    /// s of a row.
    #[inline(always)]
    fn inv_rms<L: Level>(self, x: &[f32]) -> f32 {
        1.0 / (lanes::dot::<L>(x, x) / self.weight.len() as f32 + self.eps).sqrt()
    }
}

impl RowNorm for RmsNorm<'_> {
    type Scratch = ();

    #[inline(always)]
    fn width(self) -> usize {
        self.weight.len()
    }

    #[inline(always)]
    fn scratch(self) {}

    #[inline(always)]
    fn row<L: Level>(self, x: &[f32], y: &mut [impl Slot]) {
        let inv_rms = self.inv_rms::<L>(x);
        for ((y, x), weight) in y.iter_mut().zip(x).zip(self.weight) {
            y.put(x * inv_rms * weight);
        }
    }

    #[inline(always)]
    fn row_back<L: Level>(
        self,
        [x, dy, addend]: [&[f32]; 3],
        (): &mut (),
        dx: &mut [MaybeUninit<f32>],
    ) {
        let weight = self.weight;
        let inv_rms = self.inv_rms::<L>(x);
        let mean = lanes::dot3::<L>(weight, dy, x) / weight.len() as f32;
        let along_x = -inv_rms * inv_rms * mean;
        let inputs = x.iter().zip(dy).zip(weight).zip(addend);
        for (dx, (((x, dy), weight), addend)) in dx.iter_mut().zip(inputs) {
            dx.write(addend + inv_rms * L::fused(*x, along_x, weight * dy));
        }
    }
}

/// y (n, d) of x (n, d).
pub fn forward(norm: RmsNorm<'_>, x: &[f32]) -> Vec<f32> {
    norm_rows::forward(norm, x)
}

/// dx (n, d) from x, dy and what is added to it (n, d each).
pub fn backward(norm: RmsNorm<'_>, inputs: [&[f32]; 3]) -> Vec<f32> {
    norm_rows::backward(norm, inputs)
}

/// The rows of y, for a product that is their only reader.
pub struct NormedRows<'a> {
    /// What makes them of x.
    pub norm: RmsNorm<'a>,
    /// (n, d)
    pub x: &'a [f32],
}

impl NormedRows<'_> {
    /// n rows, computed while they are staged for a weight's forward product.
    ///
    /// # Errors
    /// As [`FrozenMatrix::stage`].
    pub fn staged_for(&self, weight: &FrozenMatrix, n: usize) -> Result<Operand> {
        weight.stage_rows(self, n)
    }
}

impl RowSource for NormedRows<'_> {
    #[inline(always)]
    fn row<'r, L: Level>(&'r self, index: usize, buffer: &'r mut [f32]) -> &'r [f32] {
        let x = row(self.x, index, buffer.len());
        self.norm.row::<L>(x, buffer);
        buffer
    }

    #[inline(always)]
    fn prefetch(&self, index: usize, width: usize) {
        prefetch::row(self.x, index, width);
    }
}
