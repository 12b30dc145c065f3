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
    /// By a function that makes the words of a run.
    macro_rules! look_up_by {
        (|$index:ident| $words:expr) => {{
            for ($index, words) in runs.zip(words.as_chunks_mut().0) {
                *words = $words;
            }
        }};
    }
    let inverse = int8::inverse(row.int8_scale.unwrap_or_default());
    match format {
        Format::Int8Quad => look_up_by!(|index| {
            let run = row.runs.run::<L>(index);
            L::int8_quads_of(run.table, inverse, &run.indices)
        }),
        Format::Int16Pair => look_up_by!(|index| {
            let run = row.runs.run::<L>(index);
            L::int16_pairs_of(run.table, inverse, &run.indices)
        }),
        Format::Bf16Pair => look_up_by!(|index| row.bf16_pairs::<L>(index)),
        Format::Float | Format::RoundedFloat => {
            look_up_by!(|index| row.floats::<L>(format, index));
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
        let Run { table, indices } = self.run::<L>(index);
        L::bf16_pairs_of(table, &indices)
    }

    /// The same as floats, which are not rounded for [`Format::Float`].
    #[inline(always)]
    pub(super) fn floats<L: Level>(&self, format: Format, index: usize) -> [u32; RUN_LENGTH] {
        let Run { table, indices } = self.run::<L>(index);
        match format {
            Format::Float => L::floats_of(table, &indices),
            Format::RoundedFloat => L::rounded_floats_of(table, &indices),
            Format::Bf16Pair | Format::Int8Quad | Format::Int16Pair => {
                unreachable!("these words hold several depths")
            }
        }
    }

    /// A run, its table as products see it.
    #[inline(always)]
    fn run<L: Level>(&self, index: usize) -> Run<L> {
        let mut run = self.runs.run::<L>(index);
        if let Some(scale) = self.int8_scale {
            run.table = L::scale(scale, int8::levels::<L>(run.table, int8::inverse(scale)));
        }
        run
    }
}
