//! RMS norm, row by row; equations in `ops::rms_norm`.

use rayon::prelude::*;

use super::gemm::Rows;
use super::rows::row;
use super::simd::{self, Kernel, Level};
use super::{lanes, prefetch};

/// Rows per parallel piece.
const PIECE: usize = 8;

/// The frozen part of a norm.
#[derive(Clone, Copy)]
pub(crate) struct Norm<'a> {
    /// w, (d)
    pub(crate) weight: &'a [f32],
    /// ε
    pub(crate) eps: f32,
}

impl Norm<'_> {
    /// s of a row.
    #[inline(always)]
    fn inv_rms<L: Level>(self, x: &[f32]) -> f32 {
        1.0 / (lanes::dot::<L>(x, x) / self.weight.len() as f32 + self.eps).sqrt()
    }

    /// y of x, one row.
    #[inline(always)]
    fn normalise<L: Level>(self, x: &[f32], y: &mut [f32]) {
        let inv_rms = self.inv_rms::<L>(x);
        for ((y, x), weight) in y.iter_mut().zip(x).zip(self.weight) {
            *y = x * inv_rms * weight;
        }
    }
}

/// Writes `y` (n, d) of x (n, d).
pub(crate) fn forward(norm: Norm<'_>, x: &[f32], y: &mut [f32]) {
    let piece = PIECE * norm.weight.len();
    (x.par_chunks(piece), y.par_chunks_mut(piece))
        .into_par_iter()
        .for_each(|(x, y)| simd::run(Forward { norm, x, y }));
}

/// Writes `dx` (n, d) from x, dy and what is added to it (n, d each).
pub(crate) fn backward(norm: Norm<'_>, [x, dy, addend]: [&[f32]; 3], dx: &mut [f32]) {
    let piece = PIECE * norm.weight.len();
    (
        x.par_chunks(piece),
        dy.par_chunks(piece),
        addend.par_chunks(piece),
        dx.par_chunks_mut(piece),
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
}

/// The rows of y, for a product that is their only reader.
pub(crate) struct Normed<'a> {
    pub(crate) norm: Norm<'a>,
    /// (n, d)
    pub(crate) x: &'a [f32],
}

impl Rows for Normed<'_> {
    #[inline(always)]
    fn row<'r, L: Level>(&'r self, index: usize, room: &'r mut [f32]) -> &'r [f32] {
        let x = row(self.x, index, room.len());
        self.norm.normalise::<L>(x, room);
        room
    }

    #[inline(always)]
    fn prefetch(&self, index: usize, width: usize) {
        prefetch::row(self.x, index, width);
    }
}

struct Forward<'a> {
    norm: Norm<'a>,
    x: &'a [f32],
    y: &'a mut [f32],
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
    norm: Norm<'a>,
    x: &'a [f32],
    dy: &'a [f32],
    addend: &'a [f32],
    dx: &'a mut [f32],
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
                *dx = addend + inv_rms * L::fused(*x, along_x, weight * dy);
            }
        }
    }
}
