//! Several weights behind one input, on the way back: their products are summed.
//!
//! ```text
//! dx (m, k) = Σ_i dy_i (m, n_i)·W_i = [dy_1 | dy_2 | …]·[W_1; W_2; …]
//! ```
//! The sum is one product over all depths: dx is written once, and its rows are staged together.

use super::operand::{Operand, Rows};
use super::panel::{Panels, Weights};
use super::{Direction, Dispatch, Epilogue, FrozenMatrix, check_staged, dispatch, multiply};
use crate::{Error, Result};

/// Weights (n_i, k), one below the other.
pub(crate) struct Stack<'a> {
    matrices: &'a [&'a FrozenMatrix],
    first: &'a FrozenMatrix,
}

impl<'a> Stack<'a> {
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when there is none, or k or the precision differs.
    pub(crate) fn new(matrices: &'a [&'a FrozenMatrix]) -> Result<Self> {
        let fits = |first: &FrozenMatrix, other: &FrozenMatrix| {
            (other.columns(), other.precision) == (first.columns(), first.precision)
        };
        match matrices.first() {
            Some(first) if matrices.iter().all(|other| fits(first, other)) => {
                Ok(Self { matrices, first })
            }
            _ => Err(Error::InvalidInput(format!(
                "stacked weights must have equally many columns and one precision, got {:?}",
                matrices
                    .iter()
                    .map(|matrix| (matrix.columns(), matrix.precision.name()))
                    .collect::<Vec<_>>()
            ))),
        }
    }

    /// k
    pub(crate) fn columns(&self) -> usize {
        self.first.columns()
    }

    /// Brings m rows [dy_1 | dy_2 | …] into the order in which tiles read them.
    ///
    /// # Errors
    /// None today: the path of this process is one that the machine has.
    pub(crate) fn stage(&self, rows: &impl Rows, m: usize) -> Result<Operand> {
        self.stage_for(dispatch(), rows, m)
    }

    /// [`Self::stage`] for a given path.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when this machine does not have the path.
    pub(super) fn stage_for(
        &self,
        dispatch: Dispatch,
        rows: &impl Rows,
        m: usize,
    ) -> Result<Operand> {
        let panels = self.panels(dispatch)?;
        let parts = panels.parts();
        Ok(Operand::stage(dispatch, panels.format, rows, (m, &parts)))
    }

    fn panels(&self, dispatch: Dispatch) -> Result<Panels<'a>> {
        Ok(Panels {
            weights: Weights::Backward(self.matrices),
            format: dispatch.format(self.first.precision, Direction::Backward)?,
        })
    }

    /// `out` (m, k) = Σ_i dy_i·W_i, and what `epilogue` adds; as [`FrozenMatrix::multiply`].
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when the operand was staged for other weights, or a length does not fit.
    pub(crate) fn multiply(
        &self,
        operand: &Operand,
        out: &mut [f32],
        epilogue: &Epilogue<'_>,
    ) -> Result<()> {
        let panels = self.panels(operand.dispatch)?;
        check_staged(operand, panels)?;
        multiply((panels, self.columns()), operand, out, epilogue)
    }
}
