//! Stored rows to `f32`, when a kernel needs them.
//!
//! | file | what it decodes |
//! |---|---|
//! | `blocks` | whole blocks of every type |
//! | `four_bits` | runs of 32 values: a table of sixteen numbers, and an index per value |
//! | `bits`, `nf4` | what both read: numbers packed into bytes, the codes of NF4 |

mod bits;
mod blocks;
pub(crate) mod four_bits;
mod nf4;
#[cfg(test)]
pub(crate) mod tests;

use std::ops::Range;

use rayon::prelude::*;

use self::four_bits::Runs;
pub use self::nf4::NF4;
use super::prefetch;
use super::simd::{self, Kernel, Level};
use crate::stored::StoredMatrix;

/// Rows that one task of the pool decodes.
const ROWS_PER_TASK: usize = 32;

/// Rows of `f32` in memory, `stride` apart; the first values of each are used.
pub(crate) struct Target<'a> {
    pub(crate) values: &'a mut [f32],
    pub(crate) stride: usize,
}

impl StoredMatrix {
    /// Some columns of as many rows, from `first_row` on, as `target` has rows for. The range
    /// begins at a block and ends at one, or at the end of the row.
    #[inline(always)]
    pub(crate) fn decode<L: Level>(
        &self,
        first_row: usize,
        columns: &Range<usize>,
        target: Target<'_>,
    ) {
        let Target { values, stride } = target;
        let (per_block, block_bytes) = self.kind().block();
        let skipped = columns.start / per_block * block_bytes;
        let length = columns.len() / per_block * block_bytes;
        let rows = values
            .chunks_exact_mut(stride)
            .enumerate()
            .map(|(index, values)| {
                let bytes = self.row_bytes(first_row + index);
                let bytes = &bytes[skipped..skipped + length];
                (bytes, &mut values[..columns.len()])
            });
        self.kind().dequantize::<L>(rows);
    }

    /// The runs of a row; none of a type without.
    #[inline(always)]
    pub(crate) fn runs(&self, row: usize) -> Runs<'_> {
        self.kind().runs(self.row_bytes(row))
    }

    /// Asks for the bytes of some columns of a row that will be read soon; any place is fine.
    #[inline(always)]
    pub(crate) fn prefetch(&self, row: usize, columns: &Range<usize>) {
        if row < self.rows() && columns.start < self.columns() {
            let (per_block, block_bytes) = self.kind().block();
            let bytes = &self.row_bytes(row)[columns.start / per_block * block_bytes..];
            let length = bytes
                .len()
                .min(columns.len().div_ceil(per_block) * block_bytes);
            prefetch::read(&bytes[..length]);
        }
    }

    /// All rows, one after another.
    pub fn values(&self) -> Vec<f32> {
        let mut all = vec![0.0; self.rows() * self.columns()];
        all.par_chunks_mut(self.columns().max(1))
            .with_min_len(ROWS_PER_TASK)
            .enumerate()
            .for_each(|(row, values)| self.row(row, values));
        all
    }

    /// A whole row.
    pub fn row(&self, row: usize, values: &mut [f32]) {
        simd::run(DecodeRow {
            matrix: self,
            row,
            values,
        });
    }
}

struct DecodeRow<'a> {
    matrix: &'a StoredMatrix,
    row: usize,
    values: &'a mut [f32],
}

impl Kernel for DecodeRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let Self {
            matrix,
            row,
            values,
        } = self;
        let stride = values.len();
        matrix.decode::<L>(row, &(0..stride), Target { values, stride });
    }
}
