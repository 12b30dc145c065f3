//! A panel of Wᵀ: 32 rows of W, decoded side by side and transposed.

use super::four_bits;
use super::scratch::DecodeScratch;
use crate::decode::Target;
use crate::gemm::format::{self, Format};
use crate::gemm::int8;
use crate::gemm::matrix::FrozenMatrix;
use crate::gemm::step::{PANEL_WIDTH, PanelStep};
use crate::simd::{self, Level, WIDTH};

/// Depths that are decoded at once: the largest block of any type.
const DEPTHS: usize = 256;

pub(super) struct ForwardPanel<'a, 's> {
    pub(super) matrix: &'a FrozenMatrix,
    pub(super) format: Format,
    pub(super) panel: usize,
    pub(super) steps: &'s mut [PanelStep],
    pub(super) scratch: &'s mut DecodeScratch,
}

impl simd::Kernel for ForwardPanel<'_, '_> {
    type Output = ();
    const ROUNDS: bool = true;

    #[inline(always)]
    fn run<L: Level>(self) {
        let Self { matrix, format, .. } = self;
        let (n, k) = (matrix.rows(), matrix.columns());
        let words_per_row = DEPTHS / format.depths();
        let DecodeScratch { values, words } = self.scratch;
        values.resize(values.len().max(PANEL_WIDTH * DEPTHS), 0.0);
        words.resize(PANEL_WIDTH * DEPTHS / WIDTH, [0; WIDTH]);
        let words = &mut words[..PANEL_WIDTH * words_per_row / WIDTH];
        words.fill([0; WIDTH]); // for what lies past the last row or column
        let rows = self.panel * PANEL_WIDTH..n.min((self.panel + 1) * PANEL_WIDTH);
        let values = &mut values[..rows.len() * DEPTHS];
        let looks_up = four_bits::looks_up::<L>(matrix);
        let prefetch = |from: usize| {
            let columns = from..from + DEPTHS;
            rows.clone()
                .for_each(|row| matrix.stored().prefetch(row, &columns));
        };
        if looks_up {
            prefetch(0);
        }
        let parts = self.steps.chunks_mut(words_per_row);
        for (from, steps) in (0..k).step_by(DEPTHS).zip(parts) {
            let columns = from..k.min(from + DEPTHS);
            if columns.len() < DEPTHS {
                words.fill([0; WIDTH]);
            }
            if looks_up {
                prefetch(from + DEPTHS);
                let words = words.as_flattened_mut().chunks_exact_mut(words_per_row);
                for (row, words) in rows.clone().zip(words) {
                    four_bits::look_up::<L>(matrix, row, &columns, format, words);
                }
            } else {
                let target = Target {
                    values: &mut *values,
                    stride: DEPTHS,
                };
                if format.is_int8() {
                    matrix.stored().decode::<L>(rows.start, &columns, target);
                } else {
                    matrix.decode::<L>(rows.start, &columns, target);
                }
                let words = words.as_flattened_mut().chunks_exact_mut(words_per_row);
                let decoded = values.chunks_exact(DEPTHS).zip(rows.clone());
                for ((values, row), words) in decoded.zip(words) {
                    let values = &values[..columns.len()];
                    if format.is_int8() {
                        let scale = matrix.int8_rows()[row].scale;
                        int8::write_levels::<L>(format, values, scale, words);
                    } else {
                        format::write_words::<L>(format, values, words);
                    }
                }
            }
            for (block, steps) in steps.chunks_mut(WIDTH).enumerate() {
                for half in 0..2 {
                    let rows = std::array::from_fn(|row| {
                        words[(WIDTH * half + row) * (words_per_row / WIDTH) + block]
                    });
                    let transposed = L::transpose(&rows);
                    for (step, row) in steps.iter_mut().zip(&transposed) {
                        step.0[WIDTH * half..WIDTH * half + WIDTH].copy_from_slice(row);
                    }
                }
            }
        }
    }
}
