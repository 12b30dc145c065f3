//! Where the rows of a product come from.

#![expect(
    unsafe_code,
    reason = "rows become a vector after each of them has been written"
)]

use std::mem::MaybeUninit;

use rayon::prelude::*;

use crate::output::Unwritten;
use crate::prefetch;
use crate::rows::row;
use crate::simd::{self, Level};

/// Rows that a product multiplies; they may be computed while they are staged, instead of being
/// written and read again.
pub(crate) trait RowSource: Sync {
    /// Row `index`; `buffer`, as long as a row, is for one that is computed.
    fn row<'r, L: Level>(&'r self, index: usize, buffer: &'r mut [f32]) -> &'r [f32];

    /// Asks for what row `index` of `width` values is made of, if there is such a row.
    fn prefetch(&self, _index: usize, _width: usize) {}
}

/// A matrix with `width` columns.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    /// Row after row.
    pub values: &'a [f32],
    /// Columns.
    pub width: usize,
}

/// Matrices of equally many rows, side by side.
pub(crate) struct SideBySide<'a>(pub(crate) &'a [Part<'a>]);

impl RowSource for SideBySide<'_> {
    #[inline(always)]
    fn row<'r, L: Level>(&'r self, index: usize, buffer: &'r mut [f32]) -> &'r [f32] {
        if let [Part { values, width }] = *self.0 {
            return row(values, index, width);
        }
        let mut rest = &mut *buffer;
        for Part { values, width } in self.0 {
            let (mine, after) = rest.split_at_mut(*width);
            mine.copy_from_slice(row(values, index, *width));
            rest = after;
        }
        buffer
    }

    #[inline(always)]
    fn prefetch(&self, index: usize, _width: usize) {
        for Part { values, width } in self.0 {
            prefetch::row(values, index, *width);
        }
    }
}

/// The first `rows` rows of a source, (rows, width).
pub(crate) fn collect<R: RowSource>(source: &R, rows: usize, width: usize) -> Vec<f32> {
    let mut values = Unwritten::new(rows * width);
    let rows = values.slots().par_chunks_mut(width).enumerate();
    rows.for_each_init(
        || vec![0.0; width],
        |buffer, (index, out)| {
            simd::run(Collect {
                source,
                index,
                buffer,
                out,
            });
        },
    );
    // SAFETY: `Collect` writes each row whole; the rows are all there is.
    unsafe { values.assume_written() }
}

struct Collect<'a, R> {
    source: &'a R,
    index: usize,
    buffer: &'a mut [f32],
    out: &'a mut [MaybeUninit<f32>],
}

impl<R: RowSource> simd::Kernel for Collect<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let row = self.source.row::<L>(self.index, self.buffer);
        self.out.write_copy_of_slice(row);
    }
}
