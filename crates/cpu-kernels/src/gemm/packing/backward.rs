//! Panels of W: neighbouring ones at once, because they share the blocks of its rows.

use std::ops::Range;

use super::four_bits::{self, TableRow};
use super::scratch::DecodeScratch;
use crate::decode::Target;
use crate::gemm::format::{self, Format};
use crate::gemm::matrix::FrozenMatrix;
use crate::gemm::step::{PANEL_WIDTH, PanelStep};
use crate::simd::{self, Level, WIDTH};

/// Rows that are decoded at once; even, so that pairs stay whole.
const ROWS: usize = 16;

/// Rows whose bytes are asked for ahead of their use: they lie far apart, and memory takes as long
/// as decoding these.
const AHEAD: usize = 32;

const NEVER_LEVELS: &str = "gradients are never multiplied in eight bits";

pub(super) struct BackwardPanels<'a, 's> {
    pub(super) matrix: &'a FrozenMatrix,
    pub(super) format: Format,
    pub(super) panels: Range<usize>,
    pub(super) steps: &'s mut [PanelStep],
    /// Of the matrix, in each panel of `panel_steps`.
    pub(super) first_step: usize,
    pub(super) panel_steps: usize,
    pub(super) scratch: &'s mut DecodeScratch,
}

impl simd::Kernel for BackwardPanels<'_, '_> {
    type Output = ();
    const ROUNDS: bool = true;

    #[inline(always)]
    fn run<L: Level>(self) {
        let Self { matrix, format, .. } = self;
        if four_bits::looks_up::<L>(matrix) {
            match format {
                Format::Bf16Pair => self.look_up_pairs::<L>(),
                Format::Float | Format::RoundedFloat => self.look_up_floats::<L>(),
                Format::Int8Quad | Format::Int16Pair => unreachable!("{NEVER_LEVELS}"),
            }
            return;
        }
        let n = matrix.rows();
        let (columns, stride) = (self.columns(), self.panels.len() * PANEL_WIDTH);
        let values = &mut self.scratch.values;
        values.resize(values.len().max(ROWS * stride), 0.0);
        let values = &mut values[..ROWS * stride];
        values.fill(0.0); // for what lies past the last column
        let depths = format.depths();
        for first in (0..n).step_by(ROWS) {
            let rows = ROWS.min(n - first);
            if rows < ROWS {
                values.fill(0.0);
            }
            let target = Target {
                values: &mut values[..rows * stride],
                stride,
            };
            matrix.decode::<L>(first, &columns, target);
            let pairs = values.chunks_exact(depths * stride);
            for (t, rows) in pairs.take(rows.div_ceil(depths)).enumerate() {
                let (upper, lower) = rows.split_at(stride);
                for panel in 0..self.panels.len() {
                    let columns = panel * PANEL_WIDTH..(panel + 1) * PANEL_WIDTH;
                    let at = panel * self.panel_steps + self.first_step + first / depths + t;
                    let step = &mut self.steps[at].0;
                    match format {
                        Format::Bf16Pair => {
                            let upper = upper[columns.clone()].as_chunks().0;
                            let lower = lower[columns].as_chunks().0;
                            let words = step.as_chunks_mut().0.iter_mut();
                            for (words, (upper, lower)) in words.zip(upper.iter().zip(lower)) {
                                *words = L::bf16_columns(upper, lower);
                            }
                        }
                        Format::Float | Format::RoundedFloat => {
                            format::write_words::<L>(format, &upper[columns], step);
                        }
                        Format::Int8Quad | Format::Int16Pair => unreachable!("{NEVER_LEVELS}"),
                    }
                }
            }
        }
    }
}

impl BackwardPanels<'_, '_> {
    /// Columns of the matrix in the panels.
    #[inline(always)]
    fn columns(&self) -> Range<usize> {
        let end = self.panels.end * PANEL_WIDTH;
        self.panels.start * PANEL_WIDTH..end.min(self.matrix.columns())
    }

    /// Steps of a row each, from the tables of its blocks.
    #[inline(always)]
    fn look_up_floats<L: Level>(self) {
        let (matrix, columns) = (self.matrix, self.columns());
        for row in 0..AHEAD {
            matrix.stored().prefetch(row, &columns);
        }
        for step in 0..matrix.rows() {
            let row = TableRow::of(matrix, step);
            matrix.stored().prefetch(step + AHEAD, &columns);
            for panel in 0..columns.len() / PANEL_WIDTH {
                let at = panel * self.panel_steps + self.first_step + step;
                self.steps[at].0 = row.floats::<L>(self.format, self.panels.start + panel);
            }
        }
    }

    /// Steps of two rows each, from the tables of their blocks.
    #[inline(always)]
    fn look_up_pairs<L: Level>(self) {
        let (matrix, columns) = (self.matrix, self.columns());
        let n = matrix.rows();
        for row in 0..AHEAD {
            matrix.stored().prefetch(row, &columns);
        }
        for step in 0..n.div_ceil(2) {
            let upper = TableRow::of(matrix, 2 * step);
            let lower = (2 * step + 1 < n).then(|| TableRow::of(matrix, 2 * step + 1));
            for row in 2 * step..2 * step + 2 {
                matrix.stored().prefetch(row + AHEAD, &columns);
            }
            for panel in 0..columns.len() / PANEL_WIDTH {
                let run = self.panels.start + panel;
                let upper = upper.bf16_pairs::<L>(run);
                let lower = match &lower {
                    Some(lower) => lower.bf16_pairs::<L>(run),
                    None => [0; WIDTH],
                };
                let words = L::interleave(&upper, &lower);
                let at = panel * self.panel_steps + self.first_step + step;
                let step = &mut self.steps[at].0;
                step.as_chunks_mut().0.copy_from_slice(&words);
            }
        }
    }
}
