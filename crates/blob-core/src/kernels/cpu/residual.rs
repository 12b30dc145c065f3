//! Sums of two streams, element by element.

use rayon::prelude::*;

use super::simd::{self, Kernel, Level};

/// Elements per parallel piece.
const PIECE: usize = 16_384;

/// Writes `y = a + b`; all have one length.
pub(crate) fn add(a: &[f32], b: &[f32], y: &mut [f32]) {
    (
        a.par_chunks(PIECE),
        b.par_chunks(PIECE),
        y.par_chunks_mut(PIECE),
    )
        .into_par_iter()
        .for_each(|(a, b, y)| simd::run(Add { a, b, y }));
}

struct Add<'a> {
    a: &'a [f32],
    b: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        for ((y, a), b) in self.y.iter_mut().zip(self.a).zip(self.b) {
            *y = a + b;
        }
    }
}
