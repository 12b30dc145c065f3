//! What a frozen weight can do: stage operands, and multiply by them.

use super::check;
use super::epilogue::Epilogue;
use super::format::Format;
use super::matrix::FrozenMatrix;
use super::outliers::Outliers;
use super::packing::{
    self, Depth, Operand, PanelSource, Part, RowSource, SideBySide, WeightPanels,
};
use super::precision::{Direction, Precision};
use super::product::Product;
use crate::Result;
use crate::isa::{self, Available, Isa};

impl FrozenMatrix {
    /// Brings m rows into the order in which tiles read them; products in one direction with
    /// weights of one precision may share the result.
    ///
    /// # Errors
    /// `InvalidInput` when x does not hold m·depth values.
    pub fn stage(&self, direction: Direction, x: &[f32], m: usize) -> Result<Operand> {
        self.stage_on(isa::chosen(), direction, x, m)
    }

    /// [`Self::stage`] for a given instruction set, to compare them on one machine.
    ///
    /// # Errors
    /// As [`Self::stage`]; also when this machine does not have it.
    pub fn stage_for(
        &self,
        isa: Isa,
        direction: Direction,
        x: &[f32],
        m: usize,
    ) -> Result<Operand> {
        self.stage_on(isa.available()?, direction, x, m)
    }

    fn stage_on(
        &self,
        isa: Available,
        direction: Direction,
        x: &[f32],
        m: usize,
    ) -> Result<Operand> {
        let depth = self.depth(isa, direction);
        let width = depth.values();
        check::matrix("the operand", x.len(), ["m", "depth"], [m, width])?;
        let outliers = if self.keeps_outliers(depth.format) {
            Outliers::of(x, width)
        } else {
            Outliers::default()
        };
        let values = &*outliers.taken_from(x);
        let rows = SideBySide(&[Part { values, width }]);
        let mut operand = Operand::stage(isa, depth, &rows, m);
        operand.outliers = outliers;
        Ok(operand)
    }

    /// [`Self::stage`] of m rows that are computed while they are staged, for the forward product.
    ///
    /// # Errors
    /// None today: the process uses an instruction set that the machine has.
    pub(crate) fn stage_rows(&self, rows: &impl RowSource, m: usize) -> Result<Operand> {
        let (isa, direction) = (isa::chosen(), Direction::Forward);
        let depth = self.depth(isa, direction);
        if self.keeps_outliers(depth.format) {
            // Outliers are looked for in all rows before one is written.
            let x = packing::collect(rows, m, depth.values());
            return self.stage(direction, &x, m);
        }
        Ok(Operand::stage(isa, depth, rows, m))
    }

    /// `out` (m, columns) = operand·P, and what `epilogue` adds; P is Wᵀ or W.
    ///
    /// Runs on the current rayon pool, on the instruction set that the operand was staged for.
    ///
    /// # Errors
    /// `InvalidInput` when the operand was staged for another depth or precision, or a
    /// length does not fit.
    pub fn multiply(
        &self,
        direction: Direction,
        operand: &Operand,
        out: &mut [f32],
        epilogue: &Epilogue<'_>,
    ) -> Result<()> {
        self.with_product(direction, operand, epilogue, |product| {
            product.run_into(out)
        })
    }

    /// [`Self::multiply`] into a new matrix (m, columns).
    ///
    /// # Errors
    /// As [`Self::multiply`]; also for an epilogue that adds what the result holds.
    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "the method is of one lifetime, the closure of any"
    )]
    pub fn product(
        &self,
        direction: Direction,
        operand: &Operand,
        epilogue: &Epilogue<'_>,
    ) -> Result<Vec<f32>> {
        self.with_product(direction, operand, epilogue, |product| product.run())
    }

    fn with_product<T>(
        &self,
        direction: Direction,
        operand: &Operand,
        epilogue: &Epilogue<'_>,
        run: impl FnOnce(&Product<'_>) -> Result<T>,
    ) -> Result<T> {
        let stack = [self];
        let (source, columns) = match direction {
            Direction::Forward => (PanelSource::Forward(self), self.rows()),
            Direction::Backward => (PanelSource::Backward(&stack), self.columns()),
        };
        let format = Format::of(operand.isa(), self.precision(), direction);
        let panels = WeightPanels { source, format };
        check::staged(operand, panels)?;
        let right = operand.outliers.columns_of(self);
        let updates = operand
            .outliers
            .before(epilogue.updates, operand.rows(), &right);
        let epilogue = Epilogue {
            updates: &updates,
            addend: epilogue.addend,
        };
        run(&Product::new(panels, operand, &epilogue, columns)?)
    }

    /// What an operand of its products holds.
    fn depth(&self, isa: Available, direction: Direction) -> Depth {
        let values = match direction {
            Direction::Forward => self.columns(),
            Direction::Backward => self.rows(),
        };
        Depth {
            format: Format::of(isa, self.precision(), direction),
            parts: vec![values],
        }
    }

    /// Whether large inputs are multiplied as they are.
    fn keeps_outliers(&self, format: Format) -> bool {
        format.is_int8() && self.precision() == Precision::Int8Mixed
    }
}
