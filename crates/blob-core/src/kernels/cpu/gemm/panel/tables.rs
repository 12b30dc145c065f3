//! Panels of four-bit weights: a run of 32 values is looked up in the table of its sixteen, which alone are
//! computed and rounded.

use super::super::format::{self, Format};
use super::super::{FrozenMatrix, NR};
use super::Backward;
use crate::kernels::cpu::decode::four_bits::{Run, Runs};
use crate::kernels::cpu::simd::Level;

/// Rows whose bytes are asked for ahead of their use: they lie far apart, and memory takes as long as decoding these.
const AHEAD: usize = 32;

impl Backward<'_, '_> {
    /// Steps of two rows each, from the tables of their blocks.
    #[inline(always)]
    pub(super) fn look_up<L: Level>(self, width: usize) {
        let matrix = self.matrix;
        let (n, from) = (matrix.rows(), self.first * NR);
        for row in 0..AHEAD {
            matrix.stored.prefetch(row, &(from..from + width));
        }
        for step in 0..n.div_ceil(2) {
            let upper = Row::of(matrix, 2 * step);
            let lower = (2 * step + 1 < n).then(|| Row::of(matrix, 2 * step + 1));
            for row in 2 * step..2 * step + 2 {
                matrix.stored.prefetch(row + AHEAD, &(from..from + width));
            }
            for panel in 0..width / NR {
                let run = self.first + panel;
                let upper = upper.bf16_pairs::<L>(run);
                let lower = match &lower {
                    Some(lower) => lower.bf16_pairs::<L>(run),
                    None => [0; 16],
                };
                let words = L::interleave(&upper, &lower);
                let at = panel * self.panel_steps + self.first_step + step;
                let step = &mut self.steps[at].0;
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
    let row = Row::of(matrix, row);
    let runs = from / NR..(from + width) / NR;
    if format == Format::Int8Quad {
        let inverse = format::inverse(row.int8_scale.unwrap_or_default());
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
struct Row<'a> {
    runs: Runs<'a>,
    int8_scale: Option<f32>,
}

impl<'a> Row<'a> {
    #[inline(always)]
    fn of(matrix: &'a FrozenMatrix, row: usize) -> Self {
        Self {
            runs: matrix.stored.runs(row),
            int8_scale: matrix.int8_rows.get(row).map(|row| row.scale),
        }
    }

    /// A run's values as products see them, rounded to bf16.
    #[inline(always)]
    fn bf16_pairs<L: Level>(&self, index: usize) -> [u32; 16] {
        let Run { mut table, indices } = self.runs.run::<L>(index);
        if let Some(scale) = self.int8_scale {
            table = L::scale(
                scale,
                format::int8_levels::<L>(table, format::inverse(scale)),
            );
        }
        L::bf16_pairs_of(table, &indices)
    }
}

impl FrozenMatrix {
    /// Whether rows are runs of [`NR`] values with a table each, and to look them up is fast.
    #[inline(always)]
    pub(super) fn has_tables<L: Level>(&self) -> bool {
        L::LOOKS_UP && self.stored.kind().has_runs()
    }
}
