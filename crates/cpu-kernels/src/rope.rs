//! Rotary positions, head by head; equations in `ops::rope`.

#![expect(unsafe_code, reason = "a result's memory holds nothing before")]

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::output::Unwritten;
use super::simd::{self, Kernel, Level};

/// Rows per parallel piece.
const PIECE: usize = 16;

/// Cosines and sines, (positions, c/2) each.
#[derive(Clone, Copy)]
pub struct Angles<'a> {
    /// (positions, c/2)
    pub cos: &'a [f32],
    /// (positions, c/2)
    pub sin: &'a [f32],
    /// `c/2`.
    pub pairs: usize,
}

/// y (n, heads·c): each row of x turned by `sign` times the angles of its position.
///
/// # Panics
/// Unless the lengths fit.
pub fn rotate(x: &[f32], positions: &[u32], angles: Angles<'_>, sign: f32) -> Vec<f32> {
    let width = x.len() / positions.len().max(1);
    if width == 0 {
        return Vec::new();
    }
    assert!(x.len() == positions.len() * width && width.is_multiple_of(2 * angles.pairs));
    let mut y = Unwritten::new(x.len());
    (
        x.par_chunks(PIECE * width),
        positions.par_chunks(PIECE),
        y.slots().par_chunks_mut(PIECE * width),
    )
        .into_par_iter()
        .for_each(|(x, positions, y)| {
            simd::run(Rotate {
                x,
                positions,
                angles,
                sign,
                y,
            });
        });
    // SAFETY: pieces cover all rows, heads cover a row, and each writes both of its halves.
    unsafe { y.assume_written() }
}

struct Rotate<'a> {
    x: &'a [f32],
    positions: &'a [u32],
    angles: Angles<'a>,
    sign: f32,
    y: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let width = self.x.len() / self.positions.len();
        let rows = self
            .x
            .chunks_exact(width)
            .zip(self.y.chunks_exact_mut(width));
        for ((x, y), &position) in rows.zip(self.positions) {
            let pairs = self.angles.pairs;
            let cos = &self.angles.cos[position as usize * pairs..][..pairs];
            let sin = &self.angles.sin[position as usize * pairs..][..pairs];
            for (x, y) in x.chunks_exact(2 * pairs).zip(y.chunks_exact_mut(2 * pairs)) {
                let (x_first, x_second) = x.split_at(pairs);
                let (y_first, y_second) = y.split_at_mut(pairs);
                for i in 0..pairs {
                    let sin = self.sign * sin[i];
                    y_first[i].write(L::fused(x_first[i], cos[i], -x_second[i] * sin));
                    y_second[i].write(L::fused(x_second[i], cos[i], x_first[i] * sin));
                }
            }
        }
    }
}
