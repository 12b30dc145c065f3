//! Two products of the same rows that become one matrix: out = C(x·Wᵀ, x·W'ᵀ), element by element.
//!
//! A task has the same panels of both weights, and combines their tiles while they are in the nearest cache:
//! neither product is written. In pairs of bf16 the result becomes the operand of the next product at once.
//! Tiles and sums are those of a product alone, and so are the bits.
#![expect(
    unsafe_code,
    reason = "tiles write their own pieces of a shared matrix"
)]

use std::marker::PhantomData;
use std::ops::Range;

use super::epilogue::PanelTerms;
use super::format::{Format, Precision};
use super::operand::{Operand, tiles, write_pairs};
use super::panel::{Panels, Weights};
use super::product::{Task, Work, bands, run_all, tasks, with_prepared};
use super::shared::Out;
use super::{Block, Direction, FrozenMatrix, Kernel, MR, NR, check_length, check_staged};
use crate::kernels::cpu::fresh::fresh;
use crate::kernels::cpu::simd::{self, Level, WIDTH};
use crate::{Error, Result};

/// What becomes of two products.
pub(crate) trait Combine: Sync {
    /// Sixteen elements of each.
    fn combine<L: Level>(first: L::Vector, second: L::Vector) -> L::Vector;
}

/// A combined product.
pub(crate) enum Combined {
    /// (m, n)
    Matrix(Vec<f32>),
    /// Staged for products of its precision.
    Staged(Operand),
}

impl FrozenMatrix {
    /// C(x·Wᵀ, x·W'ᵀ) of a staged x, (m, n): staged where the tiles can write that. Both products, rounded to bf16, go to
    /// the halves of the words of `factors` (m, n), the first to the low one.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when the weights differ in shape or precision, when the operand was staged for others, or
    /// for `int8-mixed`, whose large inputs are products of their own.
    pub(crate) fn multiply_both<C: Combine>(
        &self,
        other: &Self,
        operand: &Operand,
        factors: Option<&mut [u32]>,
    ) -> Result<Combined> {
        let kind = |matrix: &Self| (matrix.rows(), matrix.columns(), matrix.precision.name());
        if kind(self) != kind(other) || self.precision == Precision::Int8Mixed {
            return Err(Error::InvalidInput(format!(
                "weights that are multiplied at once must be alike and not in int8-mixed, got {:?} and {:?}",
                kind(self),
                kind(other)
            )));
        }
        let format = operand
            .dispatch
            .format(self.precision, Direction::Forward)?;
        let panels = [self, other].map(|matrix| Panels {
            weights: Weights::Forward(matrix),
            format,
        });
        check_staged(operand, panels[0])?;
        let (rows, cols) = (operand.rows, self.rows());
        if let Some(factors) = &factors {
            check_length("factors", factors.len(), ("m", rows), ("columns", cols))?;
        }
        let mut combined = if format == Format::Bf16Pair && cols.is_multiple_of(NR) {
            Combined::Staged(Operand::of_pairs(operand.dispatch, (rows, cols)))
        } else {
            Combined::Matrix(fresh(rows * cols))
        };
        let to = match &mut combined {
            Combined::Matrix(values) => To::Matrix(Out::new(values, cols)),
            Combined::Staged(staged) => To::Pairs(Out::new(staged.words_mut(), cols / 2)),
        };
        let work = Both {
            combine: PhantomData::<C>,
            panels,
            operand,
            cols,
            to,
            factors: factors.map(|factors| Out::new(factors, cols)),
        };
        operand.dispatch.run(format, work)?;
        Ok(combined)
    }
}

/// Where the result goes.
enum To<'a> {
    Matrix(Out<'a>),
    /// The words of an operand; a tile's are one piece from its first row on.
    Pairs(Out<'a, u32>),
}

struct Both<'a, C> {
    combine: PhantomData<C>,
    panels: [Panels<'a>; 2],
    operand: &'a Operand,
    cols: usize,
    to: To<'a>,
    factors: Option<Out<'a, u32>>,
}

impl<C: Combine> Work for Both<'_, C> {
    fn run<K: Kernel>(self, kernel: K) {
        let Self { operand, cols, .. } = self;
        let depth = operand.parts.iter().sum::<usize>();
        run_all(
            |threads| tasks((operand.rows, cols), (1, 2 * operand.steps), threads),
            2 * operand.rows * cols * depth,
            |task| self.run_task(kernel, &task),
        );
    }
}

impl<C: Combine> Both<'_, C> {
    fn run_task<K: Kernel>(&self, kernel: K, task: &Task) {
        let (operand, cols) = (self.operand, self.cols);
        with_prepared(|prepared| {
            let (level, steps) = (operand.dispatch.level(), operand.steps);
            for (prepared, panels) in prepared.iter_mut().zip(self.panels) {
                prepared.prepare((panels, &task.panels), (level, steps), (&[], cols));
            }
            let [first, second] = prepared;
            let mut blocks = [Block([[0.0; NR]; MR]); 2];
            for band in bands(&task.rows) {
                let both = first.panels(steps).zip(second.panels(steps));
                for (panel, (first, second)) in task.panels.clone().zip(both) {
                    for rows in tiles(band.clone()) {
                        let x = operand.tile(rows.clone());
                        self.prefetch(rows.clone(), panel);
                        for (block, (steps, _)) in blocks.iter_mut().zip([first, second]) {
                            kernel.tile(rows.len(), x, steps, block);
                        }
                        let combined = CombineTiles {
                            both: self,
                            blocks: &mut blocks,
                            terms: [first.1, second.1],
                            scales: operand.scales_of(rows.clone()),
                            rows,
                            panel,
                        };
                        simd::run_on(level, combined);
                    }
                }
            }
        });
    }

    /// Brings close what a tile will write far apart, as `Product` does.
    #[inline(always)]
    fn prefetch(&self, rows: Range<usize>, panel: usize) {
        for row in rows {
            if let To::Matrix(out) = &self.to {
                out.prefetch(row, panel * NR);
            }
            if let Some(factors) = &self.factors {
                factors.prefetch(row, panel * NR);
            }
        }
    }
}

/// Combines two tiles and writes the result.
struct CombineTiles<'a, C> {
    both: &'a Both<'a, C>,
    blocks: &'a mut [Block; 2],
    terms: [&'a PanelTerms; 2],
    scales: Option<&'a [f32]>,
    /// Rows and panel of the result; no other thread has them.
    rows: Range<usize>,
    panel: usize,
}

impl<C: Combine> simd::Kernel for CombineTiles<'_, C> {
    type Output = ();
    const ROUNDS: bool = true;

    #[inline(always)]
    fn run<L: Level>(self) {
        let Self {
            both, rows, panel, ..
        } = self;
        let [first, second] = self.blocks;
        let height = rows.len();
        if let Some(scales) = self.scales {
            let [of_first, of_second] = self.terms;
            of_first.rescale(&mut first.0[..height], scales);
            of_second.rescale(&mut second.0[..height], scales);
        }
        let columns = panel * NR..both.cols.min((panel + 1) * NR);
        let tile = first.0[..height].iter_mut().zip(&second.0);
        for (row, (first, second)) in rows.clone().zip(tile) {
            let mut words = [[0; WIDTH]; NR / WIDTH];
            let halves = first.as_chunks_mut().0.iter_mut().zip(&mut words);
            for ((first, words), second) in halves.zip(second.as_chunks().0) {
                if both.factors.is_some() {
                    *words = L::bf16_columns(first, second);
                }
                L::store(C::combine::<L>(L::load(first), L::load(second)), first);
            }
            if let Some(factors) = &both.factors {
                // SAFETY: tasks are disjoint rectangles, and a task's tiles follow each other.
                let factors = unsafe { factors.piece(row, columns.clone()) };
                write(words.as_flattened(), factors);
            }
            if let To::Matrix(out) = &both.to {
                // SAFETY: as above.
                write(first, unsafe { out.piece(row, columns.clone()) });
            }
        }
        if let To::Pairs(words) = &both.to {
            // SAFETY: as above; the words of a tile's rows are its own, and a panel's are a piece of them.
            let words = unsafe { words.block(rows, panel * NR / 2..(panel + 1) * NR / 2) };
            write_pairs::<L>(&first.0[..height], words);
        }
    }
}

/// As many of a tile's row as the matrix has columns for.
#[inline(always)]
fn write<T: Copy>(row: &[T], out: &mut [T]) {
    match (row.first_chunk::<NR>(), out.first_chunk_mut::<NR>()) {
        (Some(row), Some(out)) => *out = *row,
        _ => out.copy_from_slice(&row[..out.len()]),
    }
}
