//! Several weights behind one input, in the backward pass: their products are summed.
//!
//! ```text
//! dx (m, k) = Σ_i dy_i (m, n_i)·W_i = [dy_1 | dy_2 | …]·[W_1; W_2; …]
//! ```
//! The sum is one product over all depths: dx is written once, and its rows are staged together.

use super::check;
use super::epilogue::Epilogue;
use super::format::Format;
use super::matrix::FrozenMatrix;
use super::packing::{Operand, PanelSource, Part, RowSource, SideBySide, WeightPanels};
use super::precision::Direction;
use super::product::Product;
use crate::isa::{self, Available};
use crate::{InvalidInput, Result};

/// Weights (n_i, k), one below the other.
pub struct StackedWeights<'a> {
    matrices: &'a [&'a FrozenMatrix],
    first: &'a FrozenMatrix,
}

impl<'a> StackedWeights<'a> {
    /// Of these weights.
    ///
    /// # Errors
    /// `InvalidInput` when there is none, or k or the precision differs.
    pub fn new(matrices: &'a [&'a FrozenMatrix]) -> Result<Self> {
        let fits = |first: &FrozenMatrix, other: &FrozenMatrix| {
            (other.columns(), other.precision()) == (first.columns(), first.precision())
        };
        match matrices.first() {
            Some(first) if matrices.iter().all(|other| fits(first, other)) => {
                Ok(Self { matrices, first })
            }
            _ => Err(InvalidInput(format!(
                "stacked weights must have equally many columns and one precision, got {:?}",
                matrices
                    .iter()
                    .map(|matrix| (matrix.columns(), matrix.precision().name()))
                    .collect::<Vec<_>>()
            ))),
        }
    }

    /// k
    pub(super) fn columns(&self) -> usize {
        self.first.columns()
    }

    /// Brings m rows [dy_1 | dy_2 | …], a part for each weight, into the order in which tiles read
    /// them.
    pub fn stage_parts(&self, parts: &[Part<'_>], m: usize) -> Operand {
        self.stage(&SideBySide(parts), m)
    }

    /// [`Self::stage_parts`] of rows that are computed while they are staged.
    pub(crate) fn stage(&self, rows: &impl RowSource, m: usize) -> Operand {
        self.stage_on(isa::chosen(), rows, m)
    }

    /// [`Self::stage`] for a given instruction set.
    pub(super) fn stage_on(&self, isa: Available, rows: &impl RowSource, m: usize) -> Operand {
        Operand::stage(isa, self.panels(isa).depth(), rows, m)
    }

    fn panels(&self, isa: Available) -> WeightPanels<'a> {
        WeightPanels {
            source: PanelSource::Backward(self.matrices),
            format: Format::of(isa, self.first.precision(), Direction::Backward),
        }
    }

    /// Σ_i dy_i·W_i (m, k), and what `epilogue` adds; as [`FrozenMatrix::product`].
    ///
    /// # Errors
    /// `InvalidInput` when the operand was staged for other weights, or a length does not
    /// fit; also for an epilogue that adds what the result holds.
    pub fn product(&self, operand: &Operand, epilogue: &Epilogue<'_>) -> Result<Vec<f32>> {
        self.of(operand, epilogue)?.run()
    }

    fn of<'p>(&self, operand: &'p Operand, epilogue: &'p Epilogue<'p>) -> Result<Product<'p>>
    where
        'a: 'p,
    {
        let panels = self.panels(operand.isa());
        check::staged(operand, panels)?;
        Product::new(panels, operand, epilogue, self.columns())
    }
}
