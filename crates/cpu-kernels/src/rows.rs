//! Whole rows. Copies of them are memory-bound and small, so one thread makes them.

#![expect(unsafe_code, reason = "a result's memory holds nothing before")]

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::output::Unwritten;
use super::simd::{self, Kernel, Level};

/// Elements per parallel piece of a sum.
const PIECE: usize = 8192;

/// Row `index` of a matrix with `width` columns.
#[inline(always)]
pub(crate) fn row<T>(values: &[T], index: usize, width: usize) -> &[T] {
    &values[index * width..][..width]
}

/// The rows `indices` of `x` (·, d), one after the other; every index must be in range.
pub fn gather(x: &[f32], d: usize, indices: &[u32]) -> Vec<f32> {
    let mut gathered = Vec::with_capacity(indices.len() * d);
    for &index in indices {
        gathered.extend_from_slice(&x[index as usize * d..][..d]);
    }
    gathered
}

/// Adds row b of `dy` (·, d) to row `indices[b]` of `dx` (·, d); every index must be in range.
pub fn scatter(dy: &[f32], d: usize, indices: &[u32], dx: &mut [f32]) {
    for (b, &index) in indices.iter().enumerate() {
        let source = &dy[b * d..][..d];
        for (target, source) in dx[index as usize * d..][..d].iter_mut().zip(source) {
            *target += source;
        }
    }
}

/// x + y, of one length.
///
/// # Panics
/// Unless it is one.
pub fn sum([x, y]: [&[f32]; 2]) -> Vec<f32> {
    assert_eq!(x.len(), y.len());
    let mut z = Unwritten::new(x.len());
    let pieces = (
        x.par_chunks(PIECE),
        y.par_chunks(PIECE),
        z.slots().par_chunks_mut(PIECE),
    );
    pieces
        .into_par_iter()
        .for_each(|(x, y, z)| simd::run(Sum { x, y, z }));
    // SAFETY: all have one length, and each piece is written as a whole.
    unsafe { z.assume_written() }
}

struct Sum<'a> {
    x: &'a [f32],
    y: &'a [f32],
    z: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        for ((z, x), y) in self.z.iter_mut().zip(self.x).zip(self.y) {
            z.write(x + y);
        }
    }
}
