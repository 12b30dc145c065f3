//! Panels of four-bit weights: a run of 32 values is looked up in the table of its sixteen, which
//! alone are computed and rounded.

use std::ops::Range;

use crate::decode::four_bits::{RUN_LENGTH, Run, Runs};
use crate::gemm::format::Format;
use crate::gemm::int8;
use crate::gemm::matrix::FrozenMatrix;
use crate::gemm::step::PANEL_WIDTH;
use crate::simd::{Level, WIDTH};

// A run of one row is its part of one panel, and two vectors of words in bf16.
const _: () = assert!(RUN_LENGTH == PANEL_WIDTH && RUN_LENGTH == 2 * WIDTH);

/// Whether rows are runs with a table each, and to look them up is fast.
#[inline(always)]
pub(super) fn looks_up<L: Level>(matrix: &FrozenMatrix) -> bool {
    L::LOOKS_UP && matrix.stored().kind().has_runs()
}

/// Words of some columns of a row, from the tables of its blocks.
#[inline(always)]
pub(super) fn look_up<L: Level>(
    matrix: &FrozenMatrix,
    row: usize,
    columns: &Range<usize>,
    format: Format,
    words: &mut [u32],
) {
    let row = TableRow::of(matrix, row);
    let runs = columns.start / RUN_LENGTH..columns.end / RUN_LENGTH;
    if format == Format::Int8Quad {
        let inverse = int8::inverse(row.int8_scale.unwrap_or_default());
        for (index, words) in runs.zip(words.as_chunks_mut().0) {
            let run = row.runs.run::<L>(index);
            *words = L::int8_quads_of(run.table, inverse, &run.indices);
        }
    } else {
        for (index, words) in runs.zip(words.as_chunks_mut().0) {
            *words = row.bf16_pairs::<L>(index);
        }
    }
}

/// A row of blocks.
pub(super) struct TableRow<'a> {
    runs: Runs<'a>,
    int8_scale: Option<f32>,
}

impl<'a> TableRow<'a> {
    #[inline(always)]
    pub(super) fn of(matrix: &'a FrozenMatrix, row: usize) -> Self {
        Self {
            runs: matrix.stored().runs(row),
            int8_scale: matrix.int8_rows().get(row).map(|row| row.scale),
        }
    }

    /// A run's values as products see them, rounded to bf16.
    #[inline(always)]
    pub(super) fn bf16_pairs<L: Level>(&self, index: usize) -> [u32; WIDTH] {
        let Run { mut table, indices } = self.runs.run::<L>(index);
        if let Some(scale) = self.int8_scale {
            table = L::scale(scale, int8::levels::<L>(table, int8::inverse(scale)));
        }
        L::bf16_pairs_of(table, &indices)
    }
}
