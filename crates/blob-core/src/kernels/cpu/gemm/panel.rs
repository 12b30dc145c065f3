//! Panels of a weight: 32 columns of the product by its whole depth, decoded from the stored rows.
//!
//! ```text
//! forward    column c is row c of W:     32 rows are decoded side by side and transposed
//! backward   column c is column c of W:  a step is a run of one row, or of two rows in bf16
//! ```

mod tables;

use rayon::prelude::*;

use super::format::{self, Format};
use super::{FrozenMatrix, NR};
use crate::kernels::cpu::decode::Target;
use crate::kernels::cpu::simd::{self, Level, Path};
use crate::weights::StoredMatrix;
use tables::look_up;

/// One step of depth of a panel: a word for each of its 32 columns.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Step(pub(super) [u32; NR]);

impl Step {
    pub(super) const ZERO: Self = Self([0; NR]);
}

/// Values of a row that are decoded at once: the largest block of any type.
const RUN: usize = 256;

/// Rows that are decoded at once on the way back; even, so that pairs stay whole.
const ROWS: usize = 16;

/// What a product multiplies with.
#[derive(Clone, Copy)]
pub(super) enum Weights<'a> {
    /// Wᵀ
    Forward(&'a FrozenMatrix),
    /// Matrices of equally many columns, one below the other.
    Backward(&'a [&'a FrozenMatrix]),
}

/// The panels of weights in one format.
#[derive(Clone, Copy)]
pub(super) struct Panels<'a> {
    pub(super) weights: Weights<'a>,
    pub(super) format: Format,
}

/// Memory for one decoded run of 32 rows.
#[derive(Default)]
pub(super) struct Scratch {
    values: Vec<f32>,
    words: Vec<[u32; 16]>,
}

impl Panels<'_> {
    /// Depths of the matrices.
    pub(super) fn parts(&self) -> Vec<usize> {
        match self.weights {
            Weights::Forward(matrix) => vec![matrix.columns()],
            Weights::Backward(stack) => stack.iter().map(|matrix| matrix.rows()).collect(),
        }
    }

    /// Panels that are decoded together, because they share the blocks of the stored type.
    pub(super) fn group(&self) -> usize {
        match self.weights {
            Weights::Forward(_) => 1,
            Weights::Backward(stack) => {
                let group = |matrix: &&FrozenMatrix| matrix.stored.kind().block().0.div_ceil(NR);
                stack.iter().map(group).max().unwrap_or(1) // all are powers of two
            }
        }
    }

    /// For int8: scale and 128·(sum of levels) of the columns of a panel.
    pub(super) fn column_terms(&self, panel: usize) -> [[f32; NR]; 2] {
        let mut terms = [[0.0; NR]; 2];
        if let (Weights::Forward(matrix), Format::Int8Quad) = (self.weights, self.format) {
            let rows = matrix.int8_rows.iter().skip(panel * NR);
            for (column, row) in rows.take(NR).enumerate() {
                terms[0][column] = row.scale;
                terms[1][column] = 128.0 * row.level_sum as f32;
            }
        }
        terms
    }

    /// Writes the panels `first..first + count`, one after another, `steps` each.
    pub(super) fn fill(
        &self,
        level: Path,
        (first, count): (usize, usize),
        (out, steps): (&mut [Step], usize),
        scratch: &mut Scratch,
    ) {
        match self.weights {
            Weights::Forward(matrix) => {
                for (panel, steps) in out.chunks_exact_mut(steps).take(count).enumerate() {
                    simd::run_on(
                        level,
                        Forward {
                            matrix,
                            format: self.format,
                            panel: first + panel,
                            steps,
                            scratch: &mut *scratch,
                        },
                    );
                }
            }
            Weights::Backward(stack) => {
                let mut first_step = 0;
                for matrix in stack {
                    simd::run_on(
                        level,
                        Backward {
                            matrix,
                            format: self.format,
                            first,
                            count,
                            steps: &mut *out,
                            first_step,
                            panel_steps: steps,
                            scratch: &mut *scratch,
                        },
                    );
                    first_step += self.format.steps(&[matrix.rows()]);
                }
            }
        }
    }
}

/// What int8 needs to know of a row of W.
#[derive(Debug, Clone, Copy)]
pub(super) struct Int8Row {
    /// absmax / 127
    scale: f32,
    /// Σ of the levels.
    level_sum: i32,
}

/// Decodes rows as products see them; arguments as in [`StoredMatrix::decode`].
#[inline(always)]
fn decode<L: Level>(
    matrix: &FrozenMatrix,
    (first, from): (usize, usize),
    values: &mut [f32],
    (stride, width): (usize, usize),
) {
    let columns = from..from + width;
    matrix.stored.decode::<L>(
        first,
        &columns,
        Target {
            values: &mut *values,
            stride,
        },
    );
    if matrix.precision.is_int8() {
        let rows = matrix.int8_rows[first..].iter();
        for (values, row) in values.chunks_exact_mut(stride).zip(rows) {
            let inverse = format::inverse(row.scale);
            for value in &mut values[..width] {
                *value = format::int8_level(*value, inverse) * row.scale;
            }
        }
    }
}

struct Forward<'a, 's> {
    matrix: &'a FrozenMatrix,
    format: Format,
    panel: usize,
    steps: &'s mut [Step],
    scratch: &'s mut Scratch,
}

impl simd::Kernel for Forward<'_, '_> {
    type Output = ();
    const ROUNDS: bool = true;

    #[inline(always)]
    fn run<L: Level>(self) {
        let Self { matrix, format, .. } = self;
        let (n, k) = (matrix.rows(), matrix.columns());
        let words_per_row = RUN / format.depths();
        let Scratch { values, words } = self.scratch;
        values.resize(values.len().max(NR * RUN), 0.0);
        words.resize(NR * RUN / 16, [0; 16]);
        let words = &mut words[..NR * words_per_row / 16];
        words.fill([0; 16]); // for what lies past the last row or column
        let rows = self.panel * NR..n.min((self.panel + 1) * NR);
        let values = &mut values[..rows.len() * RUN];
        let looks_up =
            matrix.has_tables::<L>() && matches!(format, Format::Bf16Pair | Format::Int8Quad);
        if looks_up {
            rows.clone()
                .for_each(|row| matrix.stored.prefetch(row, &(0..RUN)));
        }
        for (from, steps) in (0..k)
            .step_by(RUN)
            .zip(self.steps.chunks_mut(words_per_row))
        {
            let width = RUN.min(k - from);
            if width < RUN {
                words.fill([0; 16]);
            }
            if looks_up {
                rows.clone()
                    .for_each(|row| matrix.stored.prefetch(row, &(from + RUN..from + 2 * RUN)));
                let words = words.as_flattened_mut().chunks_exact_mut(words_per_row);
                for (row, words) in rows.clone().zip(words) {
                    look_up::<L>(matrix, (row, from), width, format, words);
                }
            } else {
                let place = (rows.start, from);
                if format == Format::Int8Quad {
                    let columns = from..from + width;
                    matrix.stored.decode::<L>(
                        rows.start,
                        &columns,
                        Target {
                            values: &mut *values,
                            stride: RUN,
                        },
                    );
                } else {
                    decode::<L>(matrix, place, values, (RUN, width));
                }
                let words = words.as_flattened_mut().chunks_exact_mut(words_per_row);
                for ((values, row), words) in values.chunks_exact(RUN).zip(rows.clone()).zip(words)
                {
                    let values = &values[..width];
                    if format == Format::Int8Quad {
                        format::write_quads::<L>(values, matrix.int8_rows[row].scale, words);
                    } else {
                        format::write_words::<L>(format, values, words);
                    }
                }
            }
            for (block, steps) in steps.chunks_mut(16).enumerate() {
                for half in 0..2 {
                    let rows = std::array::from_fn(|row| {
                        words[(16 * half + row) * (words_per_row / 16) + block]
                    });
                    let transposed = L::transpose(&rows);
                    for (step, row) in steps.iter_mut().zip(&transposed) {
                        step.0[16 * half..16 * half + 16].copy_from_slice(row);
                    }
                }
            }
        }
    }
}

struct Backward<'a, 's> {
    matrix: &'a FrozenMatrix,
    format: Format,
    first: usize,
    count: usize,
    steps: &'s mut [Step],
    /// Of the matrix, in each panel of `panel_steps`.
    first_step: usize,
    panel_steps: usize,
    scratch: &'s mut Scratch,
}

impl simd::Kernel for Backward<'_, '_> {
    type Output = ();
    const ROUNDS: bool = true;

    #[inline(always)]
    fn run<L: Level>(self) {
        let Self { matrix, format, .. } = self;
        let (n, k) = (matrix.rows(), matrix.columns());
        let from = self.first * NR;
        let (stride, width) = (self.count * NR, (self.count * NR).min(k - from));
        if matrix.has_tables::<L>() && format == Format::Bf16Pair {
            self.look_up::<L>(width);
            return;
        }
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
            let decoded = &mut values[..rows * stride];
            decode::<L>(matrix, (first, from), decoded, (stride, width));
            let pairs = values.chunks_exact(depths * stride);
            for (t, rows) in pairs.take(rows.div_ceil(depths)).enumerate() {
                let (upper, lower) = rows.split_at(stride);
                for panel in 0..self.count {
                    let columns = panel * NR..(panel + 1) * NR;
                    let at = panel * self.panel_steps + self.first_step + first / depths + t;
                    let step = &mut self.steps[at].0;
                    if format == Format::Bf16Pair {
                        let upper = upper[columns.clone()].as_chunks().0;
                        let lower = lower[columns].as_chunks().0;
                        let words = step.as_chunks_mut().0;
                        for (words, (upper, lower)) in words.iter_mut().zip(upper.iter().zip(lower))
                        {
                            *words = L::bf16_columns(upper, lower);
                        }
                    } else {
                        format::write_words::<L>(format, &upper[columns], step);
                    }
                }
            }
        }
    }
}

/// Decodes a whole row.
pub(super) fn decode_row(matrix: &FrozenMatrix, row: usize, values: &mut [f32]) {
    simd::run(DecodeRow {
        matrix,
        row,
        values,
    });
}

struct DecodeRow<'a> {
    matrix: &'a FrozenMatrix,
    row: usize,
    values: &'a mut [f32],
}

impl simd::Kernel for DecodeRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let width = self.values.len();
        decode::<L>(self.matrix, (self.row, 0), self.values, (width, width));
    }
}

/// Scale and sum of levels of every row.
pub(super) fn int8_rows(stored: &StoredMatrix) -> Vec<Int8Row> {
    (0..stored.rows())
        .into_par_iter()
        .map_init(
            || vec![0.0; stored.columns()],
            |values, row| {
                simd::run(MeasureRow {
                    stored,
                    row,
                    values,
                })
            },
        )
        .collect()
}

struct MeasureRow<'a> {
    stored: &'a StoredMatrix,
    row: usize,
    values: &'a mut [f32],
}

impl simd::Kernel for MeasureRow<'_> {
    type Output = Int8Row;

    #[inline(always)]
    fn run<L: Level>(self) -> Int8Row {
        let stride = self.values.len();
        self.stored.decode::<L>(
            self.row,
            &(0..stride),
            Target {
                values: &mut *self.values,
                stride,
            },
        );
        let scale = format::int8_scale(self.values);
        let inverse = format::inverse(scale);
        let mut level_sum = 0;
        for value in &*self.values {
            level_sum += format::int8_level(*value, inverse) as i32;
        }
        Int8Row { scale, level_sum }
    }
}
