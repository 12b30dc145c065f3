//! Packed matrix product for weights that never change.
//!
//! ```text
//! out (m, cols) = x (m, depth) · Pᵀ        P (cols, depth), packed once
//! ```
//! A frozen layer packs its weight W (n, k) twice: `P = W` for the forward pass `y = x·Wᵀ`, and
//! `P = Wᵀ` for the backward pass `dx = dy·W`.
//!
//! **Determinism.** Every element of `out` is one chain of multiply-adds over the depth in
//! ascending order (steps of two depths for [`Dispatch::Avx512Bf16`]), whatever tile it falls in.
//! On one dispatch path the bits of a row depend on that row of x and on P alone: not on m, on the
//! row's place in the batch, or on the number of threads. Paths differ from each other by rounding.

mod dispatch;
mod pack;
mod product;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod tile_avx2;
#[cfg(target_arch = "x86_64")]
mod tile_avx512;
#[cfg(target_arch = "x86_64")]
mod tile_avx512_bf16;
mod tile_portable;

pub use dispatch::{Dispatch, dispatch};

use crate::{Error, Result};
use pack::Step;
use product::Product;

/// Columns of a panel, and of a tile.
const NR: usize = 32;
/// Rows of the tallest tile: 12 × 32 results fill 24 of the 32 vector registers of AVX-512.
const MR: usize = 12;
/// Most steps of depth per pass: a panel's slice (48 KiB) and a tile's rows (18 KiB) stay close.
const KC: usize = 384;
/// The operands of one row of x in one pass, from the front; an odd number of cache lines long, so
/// that the rows of a tile do not compete for the same cache sets.
type StagedRow = [u32; KC + 16];

/// The results of one tile; the first `height` rows are in use.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Block([[f32; NR]; MR]);

/// One implementation of the tile.
///
/// Staged x and panels hold 32-bit operands: an `f32`, or two neighbouring depths in bf16.
trait Kernel: Copy + Sync {
    /// Depths in one step: 1, or 2 where a step is a pair of bf16.
    const DEPTHS_PER_STEP: usize = 1;
    /// Whether panels stored as bf16 pairs are widened to `f32` steps before the tile sees them.
    const WIDENS: bool = false;

    /// Rewrites a piece of a row of x as operands, zeros after its end.
    fn stage(self, x: &[f32], staged: &mut [u32]) {
        pack::stage_floats(x, staged);
    }

    /// `block[i] += Σ_t x[i][t] · panel[t]` for i < height, height in {1, 2, 4, 8, 12}.
    fn tile(self, height: usize, x: &[StagedRow], panel: &[Step], block: &mut Block);
}

/// What the operands of a product are rounded to; sums are `f32` in either case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Precision {
    /// Operands as they are.
    F32,
    /// Operands rounded to bfloat16, to nearest, ties to even.
    Bf16,
}

impl Precision {
    /// "f32" or "bf16".
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}

/// P (cols, depth), laid out in panels of 32 columns: `[cols / 32][step][32]`, zeros at the edges.
#[derive(Debug)]
pub struct PackedMatrix {
    panels: Vec<Step>,
    cols: usize,
    depth: usize,
    precision: Precision,
}

impl PackedMatrix {
    /// Packs W (n, k), row-major, for `y = x·Wᵀ`: (m, k) → (m, n).
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when n or k is 0, or W does not hold n·k values.
    pub fn pack(w: &[f32], n: usize, k: usize, precision: Precision) -> Result<Self> {
        check_weight(w, n, k)?;
        Ok(Self {
            panels: pack::panels(n, k, precision, |column, depth| w[column * k + depth]),
            cols: n,
            depth: k,
            precision,
        })
    }

    /// Packs W (n, k), row-major, for `dx = dy·W`: (m, n) → (m, k).
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when n or k is 0, or W does not hold n·k values.
    pub fn pack_transposed(w: &[f32], n: usize, k: usize, precision: Precision) -> Result<Self> {
        check_weight(w, n, k)?;
        Ok(Self {
            panels: pack::panels(k, n, precision, |column, depth| w[depth * k + column]),
            cols: k,
            depth: n,
            precision,
        })
    }

    /// `out = x·Pᵀ`, or `out += x·Pᵀ` when `accumulate`: (m, depth) → (m, cols).
    ///
    /// Runs on the current rayon pool, on the fastest path of this machine.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when x does not hold m·depth values or `out` m·cols.
    pub fn multiply(&self, x: &[f32], m: usize, out: &mut [f32], accumulate: bool) -> Result<()> {
        self.multiply_with(dispatch(), x, m, out, accumulate)
    }

    /// [`Self::multiply`] on a given path, to compare paths on one machine.
    ///
    /// # Errors
    /// As [`Self::multiply`]; also when this machine does not have the path.
    pub fn multiply_with(
        &self,
        dispatch: Dispatch,
        x: &[f32],
        m: usize,
        out: &mut [f32],
        accumulate: bool,
    ) -> Result<()> {
        check_length("x", x.len(), ("m", m), ("depth", self.depth))?;
        check_length("out", out.len(), ("m", m), ("cols", self.cols))?;
        let product = Product {
            panels: &self.panels,
            cols: self.cols,
            depth: self.depth,
            x,
            accumulate,
        };
        dispatch.run(self.precision, &product, out)
    }

    /// Columns of the output.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Columns of x: what the product sums over.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Memory held by the panels.
    pub fn bytes(&self) -> usize {
        std::mem::size_of_val(self.panels.as_slice())
    }

    /// What the operands are rounded to.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The path that [`Self::multiply`] takes on this machine.
    pub fn dispatch(&self) -> Dispatch {
        match (dispatch(), self.precision) {
            (Dispatch::Avx512Bf16, Precision::F32) => Dispatch::Avx512,
            (path, _) => path,
        }
    }
}

fn check_weight(w: &[f32], n: usize, k: usize) -> Result<()> {
    if n == 0 || k == 0 {
        return Err(Error::InvalidInput(format!(
            "a packed weight must have at least one row and one column, got ({n}, {k})"
        )));
    }
    check_length("a packed weight", w.len(), ("n", n), ("k", k))
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
