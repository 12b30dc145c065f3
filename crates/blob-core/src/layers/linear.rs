//! A frozen linear layer with an optional low-rank term: y = x·W₀ᵀ + term(x).
//!
//! `W₀` (m, k) has no gradient, so the backward pass needs the input for the term alone, and there the
//! caller hands it in again. The term, a
//! residual and the sum over several layers with one input are added inside the product.

use candle_core::Tensor;

use crate::adapter::Site;
use crate::kernels::cpu::gemm::{
    Addend, Direction, Epilogue, FrozenMatrix, Operand, Precision, Rows, Update,
};
use crate::ops::low_rank::{Kept, LowRankGradient, Term};
use crate::ops::{fresh, read, wrap};
use crate::weights::StoredMatrix;
use crate::{Error, Result};

/// `W₀`, as it is stored.
pub struct FrozenLinear {
    weight: FrozenMatrix,
}

/// A term on its way back: what it kept, its input (n, k), and where its gradients go.
pub(crate) type TermBackward<'a> = (&'a Term<'a>, &'a Kept, &'a Tensor, &'a mut LowRankGradient);

/// dL/dx of an input that several layers share: the first one writes it, the others add.
#[derive(Default)]
pub(crate) struct InputGradient(Option<Vec<f32>>);

impl InputGradient {
    /// What was summed elsewhere.
    pub(crate) fn of(sum: &Tensor) -> Result<Self> {
        Ok(Self(Some(read(sum)?.to_vec())))
    }

    /// The sum so far, (n, k).
    pub(crate) fn into_tensor(self, columns: usize) -> Result<Option<Tensor>> {
        self.0
            .map(|values| {
                let rows = values.len() / columns;
                wrap(values, (rows, columns))
            })
            .transpose()
    }

    /// The sum so far, (n·k).
    pub(crate) fn values(&self) -> &[f32] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl FrozenLinear {
    /// Takes a weight of shape (m, k).
    pub fn new(weight: StoredMatrix, precision: Precision) -> Result<Self> {
        let weight = FrozenMatrix::new(weight, precision)?;
        Ok(Self { weight })
    }

    /// The name of the type that the weight is stored in.
    pub fn type_name(&self) -> &'static str {
        self.weight.type_name()
    }

    /// Bytes of the weight in memory.
    pub fn bytes(&self) -> usize {
        self.weight.bytes()
    }

    /// Brings an input (n, k) into the products' order; layers with one input share it.
    pub(crate) fn stage(&self, x: &Tensor) -> Result<Operand> {
        self.weight.stage(Direction::Forward, &read(x)?, x.dim(0)?)
    }

    /// [`Self::stage`] of n rows that are computed on the way.
    pub(crate) fn stage_rows(&self, rows: &impl Rows, n: usize) -> Result<Operand> {
        self.weight.stage_rows(Direction::Forward, rows, n)
    }

    /// (n, k) → (n, m), and what the term needs for its adjoint; `addend` (n, m) is added. The input itself
    /// is for the term alone.
    pub(crate) fn forward(
        &self,
        (x, staged): (Option<&Tensor>, &Operand),
        term: Option<&Term>,
        addend: Option<&Tensor>,
    ) -> Result<(Tensor, Option<Kept>)> {
        let (rows, outputs) = (staged.rows(), self.weight.rows());
        let kept = match (term, x) {
            (Some(term), Some(x)) => Some(term.down(&read(x)?)),
            (Some(term), None) => {
                return Err(Error::InvalidInput(format!(
                    "{} must be given its input, got none",
                    term.site.path()
                )));
            }
            (None, _) => None,
        };
        let b = term.map(Term::b_transposed).unwrap_or_default();
        let updates: Vec<Update> = match (term, &kept) {
            (Some(term), Some(kept)) => vec![term.update(kept, &b)],
            _ => Vec::new(),
        };
        let addend = addend.map(read).transpose()?;
        let epilogue = Epilogue {
            updates: &updates,
            addend: addend.as_deref().map_or(Addend::None, Addend::Matrix),
        };
        let mut y = fresh(rows * outputs);
        self.weight
            .multiply(Direction::Forward, staged, &mut y, &epilogue)?;
        drop(updates);
        Ok((wrap(y, (rows, outputs))?, kept))
    }

    /// Adds dL/dx (n, k) of dL/dy (n, m) to `dx`, unless it is unwanted, and the term's gradients to its own.
    pub(crate) fn backward(
        &self,
        dy: &Tensor,
        term: Option<TermBackward<'_>>,
        dx: Option<&mut InputGradient>,
    ) -> Result<()> {
        let rows = dy.dim(0)?;
        let values = read(dy)?;
        let term = match term {
            Some((term, kept, x, gradient)) => {
                let adjoint = term.backward(kept, (&read(x)?, &values), gradient);
                Some((term, kept, adjoint))
            }
            None => None,
        };
        let Some(dx) = dx else { return Ok(()) };
        let updates = match &term {
            Some((term, kept, adjoint)) => term.adjoint_updates(kept, adjoint),
            None => Vec::new(),
        };
        let staged = self.weight.stage(Direction::Backward, &values, rows)?;
        let sum = self.add_backward(&staged, &updates, dx)?;
        if let Some((term, kept, adjoint)) = &term {
            term.add_dropped(kept, adjoint, sum);
        }
        Ok(())
    }

    /// Adds dL/dx of n rows of dL/dy, which are computed on the way, to `dx`, where there is no term.
    pub(crate) fn backward_rows(
        &self,
        dy: &impl Rows,
        n: usize,
        dx: &mut InputGradient,
    ) -> Result<()> {
        let staged = self.weight.stage_rows(Direction::Backward, dy, n)?;
        self.add_backward(&staged, &[], dx)?;
        Ok(())
    }

    fn add_backward<'d>(
        &self,
        dy: &Operand,
        updates: &[Update<'_>],
        dx: &'d mut InputGradient,
    ) -> Result<&'d mut Vec<f32>> {
        let addend = if dx.0.is_some() {
            Addend::Out
        } else {
            Addend::None
        };
        let epilogue = Epilogue { updates, addend };
        let length = dy.rows() * self.weight.columns();
        let sum = dx.0.get_or_insert_with(|| fresh(length));
        self.weight
            .multiply(Direction::Backward, dy, sum, &epilogue)?;
        Ok(sum)
    }
}

/// Gradients of every adapted site.
pub type Gradients = std::collections::BTreeMap<Site, LowRankGradient>;
