//! Panels of four-bit weights: a run of 32 values is looked up in the table of its sixteen, which alone are
//! computed and rounded.

use super::super::format::{self, Format};
use super::super::{FrozenMatrix, NR};
use super::Backward;
use crate::kernels::cpu::simd::Level;
use crate::weights::Run;

/// Rows whose bytes are asked for ahead of their use: they lie far apart, and memory takes as long as decoding these.
const AHEAD: usize = 32;

impl Backward<'_, '_> {
    /// Steps of two rows each, from the tables of their blocks.
    #[inline(always)]
    pub(super) fn look_up<L: Level>(self, width: usize) {
        let matrix = self.panels.matrix;
        let (n, from) = (matrix.rows(), self.first * NR);
        let steps_per_panel = self.panels.steps();
        for row in 0..AHEAD {
            matrix.stored.prefetch(row, from, width);
        }
        for step in 0..n.div_ceil(2) {
            let rows = [2 * step, 2 * step + 1];
            for row in rows {
                matrix.stored.prefetch(row + AHEAD, from, width);
            }
            for panel in 0..width / NR {
                let run = self.first + panel;
                let mut pairs = [[0; 16]; 2];
                for (pairs, row) in pairs.iter_mut().zip(rows) {
                    if row < n {
                        let (table, indices) = matrix.table::<L>(row, run);
                        *pairs = L::bf16_pairs_of(table, &indices);
                    }
                }
                let words = L::interleave(&pairs[0], &pairs[1]);
                let step = &mut self.steps[panel * steps_per_panel + step].0;
                step.as_chunks_mut().0.copy_from_slice(&words);
            }
        }
    }
}

/// Words of the columns from `from` on, `width` of them, of a row, from the tables of its blocks.
#[inline(always)]
pub(super) fn look_up<L: Level>(
    matrix: &FrozenMatrix,
    (row, from): (usize, usize),
    width: usize,
    format: Format,
    words: &mut [u32],
) {
    let runs = from / NR..(from + width) / NR;
    if format == Format::Int8Quad {
        let inverse = format::inverse(matrix.int8_rows[row].scale);
        for (index, words) in runs.zip(words.as_chunks_mut().0) {
            let run = matrix.stored.run::<L>(row, index);
            *words = L::int8_quads_of(run.table, inverse, &run.indices);
        }
    } else {
        for (index, words) in runs.zip(words.as_chunks_mut().0) {
            let (table, indices) = matrix.table::<L>(row, index);
            *words = L::bf16_pairs_of(table, &indices);
        }
    }
}

impl FrozenMatrix {
    /// Whether rows are runs of [`NR`] values with a table each, and to look them up is fast.
    #[inline(always)]
    pub(super) fn has_tables<L: Level>(&self) -> bool {
        L::LOOKS_UP && self.stored.has_runs()
    }

    /// A run's values as products see them.
    #[inline(always)]
    fn table<L: Level>(&self, row: usize, run: usize) -> (L::Vector, [u8; NR]) {
        let Run { mut table, indices } = self.stored.run::<L>(row, run);
        if self.precision.is_int8() {
            let scale = self.int8_rows[row].scale;
            table = L::scale(
                scale,
                format::int8_levels::<L>(table, format::inverse(scale)),
            );
        }
        (table, indices)
    }
}
