//! What norms of rows share: the rows are cut into pieces for the pool, and each is a row's work.

#![expect(unsafe_code, reason = "a result's memory holds nothing before")]

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::output::{Slot, Unwritten};
use super::simd::{self, Kernel, Level};

/// Rows per parallel piece.
const PIECE: usize = 8;

/// A norm with its parameters; what it computes of a row must be `#[inline(always)]`.
pub(crate) trait RowNorm: Copy + Send + Sync {
    /// Memory that the backward pass of a piece takes.
    type Scratch;

    /// d
    fn width(self) -> usize;

    /// That memory.
    fn scratch(self) -> Self::Scratch;

    /// y of x, one row.
    fn row<L: Level>(self, x: &[f32], y: &mut [impl Slot]);

    /// dx of x and dy, plus `addend`, one row; writes all of it.
    fn row_back<L: Level>(
        self,
        inputs: [&[f32]; 3],
        scratch: &mut Self::Scratch,
        dx: &mut [MaybeUninit<f32>],
    );
}

/// y (n, d) of x (n, d).
pub(crate) fn forward<N: RowNorm>(norm: N, x: &[f32]) -> Vec<f32> {
    let d = norm.width();
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
pub(crate) fn backward<N: RowNorm>(norm: N, [x, dy, addend]: [&[f32]; 3]) -> Vec<f32> {
    let d = norm.width();
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
            let inputs = [x, dy, addend];
            simd::run(Backward { norm, inputs, dx });
        });
    // SAFETY: as in `forward`.
    unsafe { dx.assume_written() }
}

struct Forward<'a, N> {
    norm: N,
    x: &'a [f32],
    y: &'a mut [MaybeUninit<f32>],
}

impl<N: RowNorm> Kernel for Forward<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let d = self.norm.width();
        let rows = self.x.chunks_exact(d).zip(self.y.chunks_exact_mut(d));
        for (x, y) in rows {
            self.norm.row::<L>(x, y);
        }
    }
}

struct Backward<'a, N> {
    norm: N,
    inputs: [&'a [f32]; 3],
    dx: &'a mut [MaybeUninit<f32>],
}

impl<N: RowNorm> Kernel for Backward<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let d = self.norm.width();
        let mut scratch = self.norm.scratch();
        let [x, dy, addend] = self.inputs.map(|values| values.chunks_exact(d));
        let rows = x.zip(dy).zip(addend).zip(self.dx.chunks_exact_mut(d));
        for (((x, dy), addend), dx) in rows {
            self.norm.row_back::<L>([x, dy, addend], &mut scratch, dx);
        }
    }
}
