//! RMS norm, row by row; equations in `ops::rms_norm`.

use rayon::prelude::*;

use super::lanes;
use super::simd::{self, Kernel, Level};

/// Rows per parallel piece.
const PIECE: usize = 8;

/// Writes `y` (n, d) and `inv_rms` (n).
pub(crate) fn forward(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32], inv_rms: &mut [f32]) {
    let d = weight.len();
    (
        x.par_chunks(PIECE * d),
        y.par_chunks_mut(PIECE * d),
        inv_rms.par_chunks_mut(PIECE),
    )
        .into_par_iter()
        .for_each(|(x, y, inv_rms)| {
            simd::run(Forward {
                x,
                weight,
                eps,
                y,
                inv_rms,
            });
        });
}

/// Writes `dx` (n, d) from x (n, d), weight (d), inv_rms (n), dy (n, d) and what is added to it (n, d).
pub(crate) fn backward([x, weight, inv_rms, dy, addend]: [&[f32]; 5], dx: &mut [f32]) {
    let piece = PIECE * weight.len();
    (
        x.par_chunks(piece),
        inv_rms.par_chunks(PIECE),
        dy.par_chunks(piece),
        addend.par_chunks(piece),
        dx.par_chunks_mut(piece),
    )
        .into_par_iter()
        .for_each(|(x, inv_rms, dy, addend, dx)| {
            simd::run(Backward {
                x,
                weight,
                inv_rms,
                dy,
                addend,
                dx,
            });
        });
}

struct Forward<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    eps: f32,
    y: &'a mut [f32],
    inv_rms: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let d = self.weight.len();
        let rows = self
            .x
            .chunks_exact(d)
            .zip(self.y.chunks_exact_mut(d))
            .zip(self.inv_rms);
        for ((x, y), inv_rms) in rows {
            *inv_rms = 1.0 / (lanes::dot::<L>(x, x) / d as f32 + self.eps).sqrt();
            for ((y, x), weight) in y.iter_mut().zip(x).zip(self.weight) {
                *y = x * *inv_rms * weight;
            }
        }
    }
}

struct Backward<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    inv_rms: &'a [f32],
    dy: &'a [f32],
    addend: &'a [f32],
    dx: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let d = self.weight.len();
        let rows = self
            .x
            .chunks_exact(d)
            .zip(self.dy.chunks_exact(d))
            .zip(self.addend.chunks_exact(d))
            .zip(self.inv_rms);
        for ((((x, dy), addend), &inv_rms), dx) in rows.zip(self.dx.chunks_exact_mut(d)) {
            let mean = lanes::dot3::<L>(self.weight, dy, x) / d as f32;
            let along_x = -inv_rms * inv_rms * mean;
            let inputs = x.iter().zip(dy).zip(self.weight).zip(addend);
            for (dx, (((x, dy), weight), addend)) in dx.iter_mut().zip(inputs) {
                *dx = addend + inv_rms * L::fused(*x, along_x, weight * dy);
            }
        }
    }
}
