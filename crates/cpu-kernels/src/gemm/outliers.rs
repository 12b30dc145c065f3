//! Inputs that are too large for a row's eight bits: multiplied as they are.
//!
//! ```text
//! y_i = s_i·Σ_{j ∉ O_i} q_ij·Ŵ_:j + Σ_{j ∈ O_i} x_ij·Ŵ_:j        O_i = { j : |x_ij| ≥ 6 }
//! ```
//! LLM.int8() (arXiv:2208.07339 §3.2) takes whole columns, those with a large value in any row of
//! the batch. Here O belongs to a row, so that a row's result stays its own. The second sum is a
//! low-rank update with a row of `right` per large column of the batch: x_ij, or zero, times Ŵ_:j.
//! Its cost grows with these columns; there are few in the models that the method was made for.

use std::borrow::Cow;
use std::iter;

use rayon::prelude::*;

use super::epilogue::LowRankUpdate;
use super::matrix::FrozenMatrix;

/// What is large.
const THRESHOLD: f32 = 6.0;

fn is_large(value: f32) -> bool {
    value.abs() >= THRESHOLD
}

/// Looks at all of a row, since a loop that ends early is not vectorised: rows seldom have one.
fn has_large(row: &[f32]) -> bool {
    row.iter()
        .fold(false, |found, value| found | is_large(*value))
}

/// The large inputs of a batch.
#[derive(Debug, Default)]
pub(super) struct Outliers {
    /// Columns with one, ascending; r of them.
    columns: Vec<usize>,
    /// (m, r); zero where the input is small.
    values: Vec<f32>,
}

impl Outliers {
    /// Those of x (m, k).
    pub(super) fn of(x: &[f32], k: usize) -> Self {
        let mut columns: Vec<usize> = x
            .par_chunks(k)
            .filter(|row| has_large(row))
            .flat_map_iter(|row| (0..k).filter(|column| is_large(row[*column])))
            .collect();
        columns.sort_unstable();
        columns.dedup();
        let pick = |row: &[f32]| -> Vec<f32> {
            let large = |column: &usize| Some(row[*column]).filter(|value| is_large(*value));
            columns
                .iter()
                .map(|column| large(column).unwrap_or(0.0))
                .collect()
        };
        let values = if columns.is_empty() {
            Vec::new()
        } else {
            x.chunks_exact(k).flat_map(pick).collect()
        };
        Self { columns, values }
    }

    /// x without them: zeros in their places.
    pub(super) fn taken_from<'x>(&self, x: &'x [f32]) -> Cow<'x, [f32]> {
        if self.is_empty() {
            return x.into();
        }
        x.iter()
            .map(|value| if is_large(*value) { 0.0 } else { *value })
            .collect()
    }

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Their columns of Ŵ, (r, n).
    pub(super) fn columns_of(&self, matrix: &FrozenMatrix) -> Vec<f32> {
        let (n, r) = (matrix.rows(), self.columns.len());
        if r == 0 {
            return Vec::new();
        }
        let mut by_row = vec![0.0; n * r];
        by_row.par_chunks_mut(r).enumerate().for_each_init(
            || vec![0.0; matrix.columns()],
            |values, (row, picked)| {
                matrix.stored().row(row, values);
                for (picked, column) in picked.iter_mut().zip(&self.columns) {
                    *picked = values[*column];
                }
                matrix.round(row, picked);
            },
        );
        let mut right = vec![0.0; n * r];
        for (row, picked) in by_row.chunks_exact(r).enumerate() {
            for (column, value) in picked.iter().enumerate() {
                right[column * n + row] = *value;
            }
        }
        right
    }

    /// What they add to the product, and then `updates`.
    pub(super) fn before<'a>(
        &'a self,
        updates: &'a [LowRankUpdate<'a>],
        rows: usize,
        right: &'a [f32],
    ) -> Cow<'a, [LowRankUpdate<'a>]> {
        if self.is_empty() {
            return updates.into();
        }
        let own = LowRankUpdate {
            rows: 0..rows,
            left: &self.values,
            right,
            factor: 1.0,
            marks: None,
        };
        iter::once(own).chain(updates.iter().cloned()).collect()
    }
}
