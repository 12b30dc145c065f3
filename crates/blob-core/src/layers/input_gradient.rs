//! dL/dx of an input that several layers share, as one product over all their outputs:
//! dx (n, k) = Σ_i dy_i (n, m_i)·W_i + the adjoints of their terms.

use candle_core::Tensor;

use super::FrozenLinear;
use crate::Result;
use crate::kernels::cpu::gemm::{
    Addend, Epilogue, FrozenMatrix, LowRankUpdate, Part, RowSource, SideBySide, Stack,
};
use crate::ops::low_rank::{Adjoint, Kept, Term};
use crate::ops::{contract, read, wrap};

/// The sum so far, (n, k); nothing before the first layer.
#[derive(Default)]
pub(crate) struct InputGradient(Option<Vec<f32>>);

/// A layer on its way back.
pub(crate) struct Returning<'a> {
    pub(crate) linear: &'a FrozenLinear,
    /// dL/dy, (n, m).
    pub(crate) dy: &'a Tensor,
    /// Its term, what that kept, and its part of dL/dx.
    pub(crate) term: Option<(Term<'a>, &'a Kept, Adjoint)>,
}

impl InputGradient {
    /// What was summed elsewhere.
    pub(crate) fn of(sum: &Tensor) -> Result<Self> {
        Ok(Self(Some(read(sum)?.to_vec())))
    }

    /// Adds what comes back through layers of equally many rows.
    pub(crate) fn add(&mut self, layers: &[Returning<'_>]) -> Result<()> {
        let Some(first) = layers.first() else {
            return Ok(());
        };
        let n = first.dy.dim(0)?;
        let (mut values, mut widths, mut updates) = (Vec::new(), Vec::new(), Vec::new());
        for Returning { linear, dy, term } in layers {
            let width = linear.weight().rows();
            contract::shape("dy of a linear layer", dy, &[n, width])?;
            values.push(read(dy)?);
            widths.push(width);
            if let Some((term, kept, adjoint)) = term {
                updates.extend(term.adjoint_updates(kept, adjoint));
            }
        }
        let values = values.iter().map(|values| &**values);
        let parts = values.zip(widths);
        let parts: Vec<_> = parts
            .map(|(values, width)| Part { values, width })
            .collect();
        let linears: Vec<_> = layers.iter().map(|layer| layer.linear).collect();
        let sum = self.add_products(&linears, (&SideBySide(&parts), n), &updates)?;
        for (term, kept, adjoint) in layers.iter().filter_map(|layer| layer.term.as_ref()) {
            term.add_dropped(kept, adjoint, sum);
        }
        Ok(())
    }

    /// Adds what comes back through layers without terms, of n rows [dy_1 | dy_2 | …] that are computed on the way.
    pub(crate) fn add_rows(
        &mut self,
        linears: &[&FrozenLinear],
        dy: &impl RowSource,
        n: usize,
    ) -> Result<()> {
        self.add_products(linears, (dy, n), &[])?;
        Ok(())
    }

    fn add_products(
        &mut self,
        linears: &[&FrozenLinear],
        (dy, n): (&impl RowSource, usize),
        updates: &[LowRankUpdate<'_>],
    ) -> Result<&mut Vec<f32>> {
        let weights: Vec<&FrozenMatrix> = linears.iter().map(|linear| linear.weight()).collect();
        let stack = Stack::new(&weights)?;
        let operand = stack.stage(dy, n);
        let sum = if let Some(mut sum) = self.0.take() {
            let addend = Addend::Out;
            stack.multiply(&operand, &mut sum, &Epilogue { updates, addend })?;
            sum
        } else {
            let addend = Addend::None;
            stack.product(&operand, &Epilogue { updates, addend })?
        };
        Ok(self.0.insert(sum))
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
