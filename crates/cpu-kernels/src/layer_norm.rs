//! Layer norm, row by row; equations in `ops::norm`.

#![expect(unsafe_code, reason = "a result's memory holds nothing before")]

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::lanes;
use super::output::Unwritten;
use super::simd::{self, Kernel, Level};

/// Rows per parallel piece.
const PIECE: usize = 8;

/// The frozen parameters of a norm.
#[derive(Clone, Copy)]
pub struct LayerNorm<'a> {
    /// w, (d)
    pub weight: &'a [f32],
    /// b, (d)
    pub bias: &'a [f32],
    /// ε
    pub eps: f32,
}

impl LayerNorm<'_> {
    /// m and s of a row.
    #[inline(always)]
    fn moments<L: Level>(self, x: &[f32]) -> (f32, f32) {
        let d = x.len() as f32;
        let mean = lanes::sum::<L>(x) / d;
        let variance = lanes::squares_around::<L>(x, mean) / d;
        (mean, 1.0 / (variance + self.eps).sqrt())
    }
}

/// y (n, d) of x (n, d).
///
/// # Panics
/// Unless the lengths fit.
pub fn forward(norm: LayerNorm<'_>, x: &[f32]) -> Vec<f32> {
    let d = norm.weight.len();
    assert!(x.len().is_multiple_of(d) && norm.bias.len() == d);
    let piece = PIECE * d;
    let mut y = Unwritten::new(x.len());
    (x.par_chunks(piece), y.slots().par_chunks_mut(piece))
        .into_par_iter()
        .for_each(|(x, y)| simd::run(Forward { norm, x, y }));
    // SAFETY: pieces of whole rows cover x and y alike, and each row is written as a whole.
    unsafe { y.assume_written() }
}

/// dx (n, d) from x, dy and what is added to it (n, d each).
pub fn backward(norm: LayerNorm<'_>, [x, dy, addend]: [&[f32]; 3]) -> Vec<f32> {
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

struct Forward<'a> {
    norm: LayerNorm<'a>,
    x: &'a [f32],
    y: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let LayerNorm { weight, bias, .. } = self.norm;
        let d = weight.len();
        for (x, y) in self.x.chunks_exact(d).zip(self.y.chunks_exact_mut(d)) {
            let (mean, inv_std) = self.norm.moments::<L>(x);
            let parameters = weight.iter().zip(bias);
            for ((y, x), (weight, bias)) in y.iter_mut().zip(x).zip(parameters) {
                y.write(L::fused((x - mean) * inv_std, *weight, *bias));
            }
        }
    }
}

struct Backward<'a> {
    norm: LayerNorm<'a>,
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
        let mut normed = vec![0.0; d];
        let rows = self
            .x
            .chunks_exact(d)
            .zip(self.dy.chunks_exact(d))
            .zip(self.addend.chunks_exact(d));
        for (((x, dy), addend), dx) in rows.zip(self.dx.chunks_exact_mut(d)) {
            let (mean, inv_std) = self.norm.moments::<L>(x);
            for (normed, x) in normed.iter_mut().zip(x) {
                *normed = (x - mean) * inv_std;
            }
            let of_dy = lanes::dot::<L>(weight, dy) / d as f32;
            let along_x = lanes::dot3::<L>(weight, dy, &normed) / d as f32;
            let inputs = normed.iter().zip(dy).zip(weight).zip(addend);
            for (dx, (((normed, dy), weight), addend)) in dx.iter_mut().zip(inputs) {
                let centred = L::fused(*normed, -along_x, weight * dy - of_dy);
                dx.write(L::fused(inv_std, centred, *addend));
            }
        }
    }
}
