//! RMS norm, row by row; equations in `ops::norm`.

#![expect(unsafe_code, reason = "a result's memory holds nothing before")]

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::gemm::{FrozenMatrix, Operand, RowSource};
use super::output::{Slot, Unwritten};
use super::rows::row;
use super::simd::{self, Kernel, Level};
use super::{lanes, prefetch};
use crate::Result;

/// Rows per parallel piece.
const PIECE: usize = 8;

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

    /// y of x, one row.
    #[inline(always)]
    fn normalise<L: Level>(self, x: &[f32], y: &mut [impl Slot]) {
        let inv_rms = self.inv_rms::<L>(x);
        for ((y, x), weight) in y.iter_mut().zip(x).zip(self.weight) {
            y.put(x * inv_rms * weight);
        }
    }
}

/// y (n, d) of x (n, d).
pub fn forward(norm: RmsNorm<'_>, x: &[f32]) -> Vec<f32> {
    let d = norm.weight.len();
    assert!(x.len().is_multiple_of(d));
    let piece = PIECE * d;
    let mut y = Unwritten::new(x.len());
    (x.par_chunks(piece), y.slots().par_chunks_mut(piece))
        .into_par_iter()
        .for_each(|(x, y)| simd::run(Forward { norm, x, y }));
    // SAFETY: pieces of whole rows cover x and y alike, and each row is written as a whole.
    unsafe { y.assume_written() }
}

/// dx (n, d) from x, dy and what is added to it (n, d each).
pub fn backward(norm: RmsNorm<'_>, [x, dy, addend]: [&[f32]; 3]) -> Vec<f32> {
    let d = norm.weight.len();
    assert!(x.len().is_multiple_of(d) && [dy.len(), addend.len()] == [x.len(); 2]);
    let piece = PIECE * d;
    let mut dx = Unwritten::new(x.len());
    (
        x.par_chunks(piece),
        dy.par_chunks(piece),
        addend.par_chunks(piece),
        dx.slots().par_chunks_mut(piece),
    )
        .into_par_iter()
        .for_each(|(x, dy, addend, dx)| {
            simd::run(Backward {
                norm,
                x,
                dy,
                addend,
                dx,
            });
        });
    // SAFETY: as in `forward`.
    unsafe { dx.assume_written() }
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
        self.norm.normalise::<L>(x, buffer);
        buffer
    }

    #[inline(always)]
    fn prefetch(&self, index: usize, width: usize) {
        prefetch::row(self.x, index, width);
    }
}

struct Forward<'a> {
    norm: RmsNorm<'a>,
    x: &'a [f32],
    y: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let d = self.norm.weight.len();
        let rows = self.x.chunks_exact(d).zip(self.y.chunks_exact_mut(d));
        for (x, y) in rows {
            self.norm.normalise::<L>(x, y);
        }
    }
}

struct Backward<'a> {
    norm: RmsNorm<'a>,
    x: &'a [f32],
    dy: &'a [f32],
    addend: &'a [f32],
    dx: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let weight = self.norm.weight;
        let d = weight.len();
        let rows = self
            .x
            .chunks_exact(d)
            .zip(self.dy.chunks_exact(d))
            .zip(self.addend.chunks_exact(d));
        for (((x, dy), addend), dx) in rows.zip(self.dx.chunks_exact_mut(d)) {
            let inv_rms = self.norm.inv_rms::<L>(x);
            let mean = lanes::dot3::<L>(weight, dy, x) / d as f32;
            let along_x = -inv_rms * inv_rms * mean;
            let inputs = x.iter().zip(dy).zip(weight).zip(addend);
            for (dx, (((x, dy), weight), addend)) in dx.iter_mut().zip(inputs) {
                dx.write(addend + inv_rms * L::fused(*x, along_x, weight * dy));
            }
        }
    }
}
