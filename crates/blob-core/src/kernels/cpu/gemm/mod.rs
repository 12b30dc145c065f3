//! Matrix products with weights that never change.
//!
//! ```text
//! forward    y  (m, n) = x  (m, k)·Wᵀ          W (n, k), as the model's file stores it
//! backward   dx (m, k) = dy (m, n)·W
//! ```
//! W is never unpacked as a whole. A task decodes the panel that it is about to use, 32 columns of
//! the product by the whole depth, and multiplies all rows of the operand by it: decoding costs each
//! weight once per product, or once per piece of rows where many threads share it, and is repaid by the rows. Memory stays that of the file, and one copy
//! serves both directions. What follows the product (a residual, low-rank terms) is added while a
//! tile is in the nearest cache: [`Epilogue`].
//!
//! **Precision.** [`Precision::F32`] is exact in the operands, [`Precision::Bf16`] rounds both to
//! bfloat16, [`Precision::Int8`] rounds the forward product's operands to eight bits, per row of x and
//! per row of W (LLM.int8(), arXiv:2208.07339 §2.1), and goes back through the rounded weight in bf16;
//! [`Precision::Int8Mixed`] leaves large inputs as they are.
//! Sums are `f32`, or exact integers that become `f32` at the end.
//!
//! **Determinism.** Every element of the result is one chain of multiply-adds over the depth in
//! ascending order (steps of two depths for [`Dispatch::Avx512Bf16`]), whatever tile it falls in.
//! On one dispatch path the bits of a row depend on that row of x and on W alone: not on m, on the
//! row's place in the batch, or on the number of threads. Paths differ from each other by rounding;
//! integer products do not.

mod both;
mod dispatch;
mod epilogue;
mod format;
mod operand;
mod outliers;
mod panel;
mod product;
mod shared;
mod stack;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod tile_avx2;
#[cfg(target_arch = "x86_64")]
mod tile_avx2_int8;
#[cfg(target_arch = "x86_64")]
mod tile_avx512;
#[cfg(target_arch = "x86_64")]
mod tile_avx512_bf16;
#[cfg(target_arch = "x86_64")]
mod tile_avx512_vnni;
mod tile_portable;

pub(crate) use both::{Combine, Combined};
pub use dispatch::{Dispatch, dispatch, force};
pub use epilogue::{Addend, Epilogue, SignRows, Update};
pub use format::Precision;
pub(crate) use format::inverse;
pub use operand::Operand;
#[cfg(test)]
pub(crate) use operand::collect;
pub(crate) use operand::{Beside, Rows};
pub(crate) use stack::Stack;

use crate::weights::StoredMatrix;
use crate::{Error, Result};
use format::Format;
use outliers::Outliers;
use panel::{Int8Row, Panels, Step, Weights};
use product::Product;

/// Columns of a panel, and of a tile.
const NR: usize = 32;
/// Rows of the tallest tile: 12 × 32 results fill 24 of the 32 vector registers of AVX-512.
const MR: usize = 12;
/// Most depths of an integer product: so many of its largest terms fit 32 bits.
const MAX_INT8_DEPTH: usize = i32::MAX as usize / (255 * 127);
/// Tile heights; any number of rows is cut into these from the top.
const HEIGHTS: [usize; 5] = [MR, 8, 4, 2, 1];

/// The results of one tile; the first `height` rows are in use.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Block([[f32; NR]; MR]);

/// One implementation of the tile.
///
/// Operands are 32-bit words: one `f32`, two neighbouring depths in bf16, or four in int8.
trait Kernel: Copy + Sync {
    /// `block[i] = Σ_t x[t][i] · panel[t]` for i < height, height in [`HEIGHTS`]; x holds `height`
    /// words per step.
    fn tile(self, height: usize, x: &[u32], panel: &[Step], block: &mut Block);
}

/// Which way a product goes through the weight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// (m, k) → (m, n)
    Forward,
    /// (m, n) → (m, k)
    Backward,
}

/// W (n, k), ready to be multiplied with.
#[derive(Debug)]
pub struct FrozenMatrix {
    stored: StoredMatrix,
    precision: Precision,
    /// For int8: scale and sum of levels of every row.
    int8_rows: Vec<Int8Row>,
}

impl FrozenMatrix {
    /// Takes W as it is stored; int8 reads it once, for the rows' scales.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when n or k is 0, or k is more than integers can sum.
    pub fn new(stored: StoredMatrix, precision: Precision) -> Result<Self> {
        let (n, k) = (stored.rows(), stored.columns());
        if n == 0 || k == 0 {
            return Err(Error::InvalidInput(format!(
                "a weight must have at least one row and one column, got ({n}, {k})"
            )));
        }
        if precision.is_int8() && k > MAX_INT8_DEPTH {
            return Err(Error::InvalidInput(format!(
                "a weight must have at most {MAX_INT8_DEPTH} columns for products in int8, got {k}; use bf16"
            )));
        }
        let int8_rows = if precision.is_int8() {
            panel::int8_rows(&stored)
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
            panel::decode_row(self, row, values);
        }
        values
    }

    /// Brings m rows into the order in which tiles read them; products in one direction with weights
    /// of one precision may share the result.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when x does not hold m·depth values.
    pub fn stage(&self, direction: Direction, x: &[f32], m: usize) -> Result<Operand> {
        self.stage_for(dispatch(), direction, x, m)
    }

    /// [`Self::stage`] for a given path, to compare paths on one machine.
    ///
    /// # Errors
    /// As [`Self::stage`]; also when this machine does not have the path.
    pub fn stage_for(
        &self,
        dispatch: Dispatch,
        direction: Direction,
        x: &[f32],
        m: usize,
    ) -> Result<Operand> {
        let (_, depth) = self.shape(direction);
        check_length("the operand", x.len(), ("m", m), ("depth", depth))?;
        let format = dispatch.format(self.precision, direction)?;
        let outliers = if format == Format::Int8Quad && self.precision == Precision::Int8Mixed {
            Outliers::of(x, depth)
        } else {
            Outliers::default()
        };
        let values = outliers.taken_from(x);
        let rows = Beside(&[(&values, depth)]);
        let mut operand = Operand::stage(dispatch, format, &rows, (m, &[depth]));
        operand.outliers = outliers;
        Ok(operand)
    }

    /// [`Self::stage`] of m rows that are computed on the way, for the forward product.
    ///
    /// # Errors
    /// None today: the path of this process is one that the machine has.
    pub(crate) fn stage_rows(&self, rows: &impl Rows, m: usize) -> Result<Operand> {
        let (direction, depth) = (Direction::Forward, self.columns());
        let (dispatch, precision) = (dispatch(), self.precision);
        let format = dispatch.format(precision, direction)?;
        if format == Format::Int8Quad && precision == Precision::Int8Mixed {
            // Outliers are looked for in all rows before one is written.
            return self.stage(direction, &operand::collect(rows, (m, depth)), m);
        }
        Ok(Operand::stage(dispatch, format, rows, (m, &[depth])))
    }

    /// `out` (m, columns) = operand·P, and what `epilogue` adds; P is Wᵀ or W.
    ///
    /// Runs on the current rayon pool, on the path that the operand was staged for.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when the operand was staged for another depth or precision, or a length
    /// does not fit.
    pub fn multiply(
        &self,
        direction: Direction,
        operand: &Operand,
        out: &mut [f32],
        epilogue: &Epilogue<'_>,
    ) -> Result<()> {
        let stack = [self];
        let weights = match direction {
            Direction::Forward => Weights::Forward(self),
            Direction::Backward => Weights::Backward(&stack),
        };
        let format = operand.dispatch.format(self.precision, direction)?;
        let panels = Panels { weights, format };
        check_staged(operand, panels)?;
        let right = operand.outliers.columns_of(self);
        let updates = operand
            .outliers
            .before(epilogue.updates, operand.rows, &right);
        let epilogue = Epilogue {
            updates: &updates,
            addend: epilogue.addend,
        };
        let (cols, _) = self.shape(direction);
        multiply((panels, cols), operand, out, &epilogue)
    }

    /// Columns of the result and what the product sums over.
    fn shape(&self, direction: Direction) -> (usize, usize) {
        match direction {
            Direction::Forward => (self.rows(), self.columns()),
            Direction::Backward => (self.columns(), self.rows()),
        }
    }
}

/// `out` (m, cols) of an operand that was staged for the panels.
fn multiply(
    (panels, cols): (Panels<'_>, usize),
    operand: &Operand,
    out: &mut [f32],
    epilogue: &Epilogue<'_>,
) -> Result<()> {
    check_length("out", out.len(), ("m", operand.rows), ("columns", cols))?;
    epilogue.check(operand.rows, cols)?;
    let product = Product {
        panels,
        operand,
        epilogue,
        cols,
    };
    product.run(out)
}

fn check_staged(operand: &Operand, panels: Panels<'_>) -> Result<()> {
    let (format, depths) = (panels.format, panels.parts());
    if (operand.format, &operand.parts) == (format, &depths) {
        return Ok(());
    }
    Err(Error::InvalidInput(format!(
        "the operand must be staged as {format:?} of depth {depths:?}, got {:?} of depth {:?}",
        operand.format, operand.parts
    )))
}

fn check_length(
    what: &str,
    length: usize,
    (rows_name, rows): (&str, usize),
    (columns_name, columns): (&str, usize),
) -> Result<()> {
    if rows.checked_mul(columns) == Some(length) {
        return Ok(());
    }
    Err(Error::InvalidInput(format!(
        "{what} must hold {rows_name}·{columns_name} = {rows}·{columns} values, got {length}"
    )))
}
