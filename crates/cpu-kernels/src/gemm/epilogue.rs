//! What is added to a product while a tile is in the nearest cache.
//!
//! ```text
//! out_ij = Σ_t x_it·P_tj + Σ_updates S_ij·( c·Σ_r left_ir·right_rj ) + addend_ij
//! ```
//! An update is a low-rank term: `s·h·Bᵀ` in the forward pass, `p·A` in the backward one. S are
//! Flipout's signs, of `((p ∘ T)(σ ∘ E)) ∘ S`, what dropout keeps, or ones (`marks`).

use std::ops::Range;

use super::check;
use crate::Result;
use crate::marks::{BITS_PER_WORD, Marks};

/// What is added last.
#[derive(Clone, Copy)]
pub enum Addend<'a> {
    /// Nothing: `out` is written.
    None,
    /// What `out` holds.
    Out,
    /// A matrix of the shape of `out`.
    Matrix(&'a [f32]),
}

/// `c·left·right` for some rows of the product.
#[derive(Clone)]
pub struct LowRankUpdate<'a> {
    /// The rows that it belongs to.
    pub rows: Range<usize>,
    /// (m, r) of the whole product; only `rows` are read.
    pub left: &'a [f32],
    /// (r, columns)
    pub right: &'a [f32],
    /// c
    pub factor: f32,
    /// S, (m, columns); `None` adds it as it is.
    pub marks: Option<Marks<'a>>,
}

/// All that is added.
pub struct Epilogue<'a> {
    /// Low-rank terms, in this order.
    pub updates: &'a [LowRankUpdate<'a>],
    /// Added last.
    pub addend: Addend<'a>,
}

impl Epilogue<'_> {
    /// The bare product.
    pub const NONE: Self = Epilogue {
        updates: &[],
        addend: Addend::None,
    };

    pub(super) fn check(&self, rows: usize, columns: usize) -> Result<()> {
        if let Addend::Matrix(matrix) = self.addend {
            check::matrix(
                "the addend",
                matrix.len(),
                ["m", "columns"],
                [rows, columns],
            )?;
        }
        for update in self.updates {
            let rank = update.right.len() / columns;
            check::matrix(
                "right",
                update.right.len(),
                ["r", "columns"],
                [rank, columns],
            )?;
            check::matrix("left", update.left.len(), ["m", "r"], [rows, rank])?;
            if let Some(Marks { bits, .. }) = update.marks {
                let stride = columns.div_ceil(BITS_PER_WORD);
                check::matrix("marks", bits.words.len(), ["m", "words"], [rows, stride])?;
                check::matrix("a row of marks", bits.stride, ["1", "words"], [1, stride])?;
            }
        }
        Ok(())
    }
}
