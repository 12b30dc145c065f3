//! Panels of a weight: 32 columns of the product by its whole depth, decoded from the stored rows.
//!
//! ```text
//! forward    column c is row c of W:     32 rows are decoded side by side and transposed
//! backward   column c is column c of W:  a step is a run of one row, or of two rows in bf16
//! ```

use super::format::{self, Format};
use super::{Direction, FrozenMatrix, NR, Precision};
use crate::kernels::cpu::simd::{self, Level, Path, bf16_bits};
use crate::weights::StoredMatrix;

/// One step of depth of a panel: a word for each of its 32 columns.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Step(pub(super) [u32; NR]);

impl Step {
    pub(super) const ZERO: Self = Self([0; NR]);
}

/// Values of a row that are decoded at once: the largest block of any type.
const RUN: usize = 256;

/// The panels of a weight in one direction and format.
#[derive(Clone, Copy)]
pub(super) struct Panels<'a> {
    pub(super) matrix: &'a FrozenMatrix,
    pub(super) direction: Direction,
    pub(super) format: Format,
}

/// Memory for one decoded run of 32 rows.
#[derive(Default)]
pub(super) struct Scratch {
    values: Vec<f32>,
    words: Vec<[u32; 16]>,
}

impl Panels<'_> {
    /// Steps of one panel.
    pub(super) fn steps(&self) -> usize {
        let (_, depth) = self.matrix.shape(self.direction);
        depth.div_ceil(self.format.depths())
    }

    /// Panels that are decoded together, because they share the blocks of the stored type.
    pub(super) fn group(&self) -> usize {
        match self.direction {
            Direction::Forward => 1,
            Direction::Backward => self.matrix.stored.block().div_ceil(NR),
        }
    }

    /// For int8: scale and 128·(sum of levels) of the columns of a panel.
    pub(super) fn column_terms(&self, level: Path, panel: usize, steps: &[Step]) -> [[f32; NR]; 2] {
        let mut terms = [[0.0; NR]; 2];
        if self.format == Format::Int8Quad {
            let scales = self.matrix.row_scales.iter().skip(panel * NR);
            for (term, scale) in terms[0].iter_mut().zip(scales) {
                *term = *scale;
            }
            terms[1] = simd::run_on(level, LevelSums(steps)).map(|sum| 128.0 * sum as f32);
        }
        terms
    }

    /// Writes the panels `first..first + count`, one after another, `steps()` each.
    pub(super) fn fill(
        &self,
        level: Path,
        (first, count): (usize, usize),
        out: &mut [Step],
        scratch: &mut Scratch,
    ) {
        match self.direction {
            Direction::Forward => {
                for (panel, steps) in out.chunks_exact_mut(self.steps()).take(count).enumerate() {
                    simd::run_on(
                        level,
                        Forward {
                            panels: *self,
                            panel: first + panel,
                            steps,
                            scratch: &mut *scratch,
                        },
                    );
                }
            }
            Direction::Backward => simd::run_on(
                level,
                Backward {
                    panels: *self,
                    first,
                    count,
                    steps: out,
                    scratch,
                },
            ),
        }
    }
}

/// Decodes `values.len()` values of a row from column `from`, a block's beginning, as products see them.
#[inline(always)]
fn decode<L: Level>(matrix: &FrozenMatrix, row: usize, from: usize, values: &mut [f32]) {
    matrix.stored.decode::<L>(row, from, values);
    if matrix.precision == Precision::Int8 {
        let scale = matrix.row_scales[row];
        let inverse = format::inverse(scale);
        for value in values {
            *value = format::int8_level(*value, inverse) * scale;
        }
    }
}

struct Forward<'a, 's> {
    panels: Panels<'a>,
    panel: usize,
    steps: &'s mut [Step],
    scratch: &'s mut Scratch,
}

impl simd::Kernel for Forward<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let Panels { matrix, format, .. } = self.panels;
        let (n, k) = (matrix.rows(), matrix.columns());
        let run = matrix.stored.block().max(16 * format.depths());
        let words_per_row = run / format.depths();
        let Scratch { values, words } = self.scratch;
        values.resize(RUN.max(run), 0.0);
        words.clear();
        words.resize(NR * words_per_row / 16, [0; 16]);
        for (from, steps) in (0..k)
            .step_by(run)
            .zip(self.steps.chunks_mut(words_per_row))
        {
            let to = k.min(from + run);
            if to - from < run {
                words.fill([0; 16]);
            }
            let rows = self.panel * NR..n.min((self.panel + 1) * NR);
            for (row, words) in rows.zip(words.chunks_exact_mut(words_per_row / 16)) {
                let values = &mut values[..to - from];
                let words = words.as_flattened_mut();
                if format == Format::Int8Quad {
                    matrix.stored.decode::<L>(row, from, values);
                    format::write_quads::<L>(values, matrix.row_scales[row], words);
                } else {
                    decode::<L>(matrix, row, from, values);
                    format::write_words::<L>(format, values, words);
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

/// Sums of the four levels of each word over the steps.
struct LevelSums<'a>(&'a [Step]);

impl simd::Kernel for LevelSums<'_> {
    type Output = [i32; NR];

    #[inline(always)]
    fn run<L: Level>(self) -> [i32; NR] {
        let mut sums = [0i32; NR];
        for step in self.0 {
            for (sum, word) in sums.iter_mut().zip(&step.0) {
                let word = word.cast_signed();
                *sum += ((word << 24) >> 24)
                    + ((word << 16) >> 24)
                    + ((word << 8) >> 24)
                    + (word >> 24);
            }
        }
        sums
    }
}

struct Backward<'a, 's> {
    panels: Panels<'a>,
    first: usize,
    count: usize,
    steps: &'s mut [Step],
    scratch: &'s mut Scratch,
}

impl simd::Kernel for Backward<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let Panels { matrix, format, .. } = self.panels;
        let (n, k) = (matrix.rows(), matrix.columns());
        let steps_per_panel = self.panels.steps();
        let from = self.first * NR;
        let width = (self.count * NR).min(k - from);
        let values = &mut self.scratch.values;
        values.clear();
        values.resize(2 * self.count * NR, 0.0);
        let (upper, lower) = values.split_at_mut(self.count * NR);
        for t in 0..steps_per_panel {
            let row = t * format.depths();
            decode::<L>(matrix, row, from, &mut upper[..width]);
            let is_pair = format == Format::Bf16Pair && row + 1 < n;
            if is_pair {
                decode::<L>(matrix, row + 1, from, &mut lower[..width]);
            } else {
                lower.fill(0.0);
            }
            let runs = upper
                .as_chunks::<NR>()
                .0
                .iter()
                .zip(lower.as_chunks::<NR>().0);
            for (panel, (upper, lower)) in runs.enumerate() {
                let step = &mut self.steps[panel * steps_per_panel + t].0;
                match format {
                    Format::Bf16Pair => {
                        for lane in 0..NR {
                            step[lane] = (bf16_bits(upper[lane]) >> 16) | bf16_bits(lower[lane]);
                        }
                    }
                    _ => format::write_words::<L>(format, upper, step),
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
        decode::<L>(self.matrix, self.row, 0, self.values);
    }
}

/// absmax / 127 of every row.
pub(super) fn row_scales(stored: &StoredMatrix) -> Vec<f32> {
    use rayon::prelude::*;

    (0..stored.rows())
        .into_par_iter()
        .map_init(
            || vec![0.0; stored.columns()],
            |values, row| {
                simd::run(RowScale {
                    stored,
                    row,
                    values,
                })
            },
        )
        .collect()
}

struct RowScale<'a> {
    stored: &'a StoredMatrix,
    row: usize,
    values: &'a mut [f32],
}

impl simd::Kernel for RowScale<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<L: Level>(self) -> f32 {
        self.stored.decode::<L>(self.row, 0, self.values);
        format::int8_scale(self.values)
    }
}
