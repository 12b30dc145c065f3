//! A frozen weight, and its values as products see them.

use std::ops::Range;

use rayon::prelude::*;

use super::int8::{self, MAX_INT8_DEPTH};
use super::precision::Precision;
use crate::decode::Target;
use crate::simd::{self, Level};
use crate::stored::StoredMatrix;
use crate::{InvalidInput, Result};

/// W (n, k), ready to be multiplied with.
#[derive(Debug)]
pub struct FrozenMatrix {
    stored: StoredMatrix,
    precision: Precision,
    /// For int8: scale and sum of levels of every row.
    int8_rows: Vec<Int8Row>,
}

/// What int8 needs to know of a row of W.
#[derive(Debug, Clone, Copy)]
pub(super) struct Int8Row {
    /// absmax / 127
    pub(super) scale: f32,
    /// Σ of the levels.
    pub(super) level_sum: i32,
}

impl Int8Row {
    /// Its values as levels times the scale.
    #[inline(always)]
    fn round(self, values: &mut [f32]) {
        let inverse = int8::inverse(self.scale);
        for value in values {
            *value = int8::level(*value, inverse) * self.scale;
        }
    }
}

impl FrozenMatrix {
    /// Takes W as it is stored; int8 reads it once, for the rows' scales.
    ///
    /// # Errors
    /// `InvalidInput` when n or k is 0, or k is more than integers can sum.
    pub fn new(stored: StoredMatrix, precision: Precision) -> Result<Self> {
        let (n, k) = (stored.rows(), stored.columns());
        if n == 0 || k == 0 {
            return Err(InvalidInput(format!(
                "a weight must have at least one row and one column, got ({n}, {k})"
            )));
        }
        if precision.is_int8() && k > MAX_INT8_DEPTH {
            return Err(InvalidInput(format!(
                "a weight must have at most {MAX_INT8_DEPTH} columns for products in int8, \
                 got {k}; use bf16"
            )));
        }
        let int8_rows = if precision.is_int8() {
            int8_rows(&stored)
        } else {
            Vec::new()
        };
        Ok(Self {
            stored,
            precision,
            int8_rows,
        })
    }

    /// n
    pub fn rows(&self) -> usize {
        self.stored.rows()
    }

    /// k
    pub fn columns(&self) -> usize {
        self.stored.columns()
    }

    /// The name of the stored type.
    pub fn type_name(&self) -> &'static str {
        self.stored.type_name()
    }

    /// Bytes of the stored weight and what was added to it.
    pub fn bytes(&self) -> usize {
        self.stored.bytes() + size_of_val(self.int8_rows.as_slice())
    }

    /// What the operands are rounded to.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The values that products see, (n, k): dequantised, and rounded to eight bits for int8.
    pub fn values(&self) -> Vec<f32> {
        let k = self.columns();
        let mut values = vec![0.0; self.rows() * k];
        for (row, values) in values.chunks_exact_mut(k).enumerate() {
            self.stored.row(row, values);
            self.round(row, values);
        }
        values
    }

    /// Stored values of a row as products see them.
    pub(super) fn round(&self, row: usize, values: &mut [f32]) {
        if let Some(row) = self.int8_rows.get(row) {
            row.round(values);
        }
    }

    /// As its file stores it.
    pub(super) fn stored(&self) -> &StoredMatrix {
        &self.stored
    }

    /// One of every row for int8, else none.
    pub(super) fn int8_rows(&self) -> &[Int8Row] {
        &self.int8_rows
    }

    /// Parts of rows of [`Self::values`]; arguments as in [`StoredMatrix::decode`].
    #[inline(always)]
    pub(super) fn decode<L: Level>(
        &self,
        first_row: usize,
        columns: &Range<usize>,
        target: Target<'_>,
    ) {
        let Target { values, stride } = target;
        let whole = Target {
            values: &mut *values,
            stride,
        };
        self.stored.decode::<L>(first_row, columns, whole);
        if self.precision.is_int8() {
            let rows = self.int8_rows[first_row..].iter();
            for (values, row) in values.chunks_exact_mut(stride).zip(rows) {
                row.round(&mut values[..columns.len()]);
            }
        }
    }
}

/// Scale and sum of levels of every row.
fn int8_rows(stored: &StoredMatrix) -> Vec<Int8Row> {
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
        let Self {
            stored,
            row,
            values,
        } = self;
        let stride = values.len();
        let target = Target {
            values: &mut *values,
            stride,
        };
        stored.decode::<L>(row, &(0..stride), target);
        let scale = int8::scale_of(values);
        let inverse = int8::inverse(scale);
        let mut level_sum = 0;
        for value in &*values {
            level_sum += int8::level(*value, inverse) as i32;
        }
        Int8Row { scale, level_sum }
    }
}
