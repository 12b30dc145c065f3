//! One product: its tiles, and what is added to them.

#![expect(
    unsafe_code,
    reason = "the result's memory is written by several threads, and may hold nothing before"
)]

use std::mem::MaybeUninit;

use super::check;
use super::epilogue::{Addend, Epilogue};
use super::finish::{FinishTile, PanelEpilogue, TilePlace};
use super::packing::{Operand, WeightPanels};
use super::running::{Preparation, run_all, with_prepared};
use super::step::PANEL_WIDTH;
use super::tasks::{Extent, Task};
use super::tiles::{self, Accumulators, TileKernel, TileRows, TileWork};
use crate::output::Unwritten;
use crate::shared_matrix::SharedMatrix;
use crate::{InvalidInput, Result};
use crate::{prefetch, simd};

/// A product to compute.
pub(super) struct Product<'a> {
    panels: WeightPanels<'a>,
    operand: &'a Operand,
    epilogue: &'a Epilogue<'a>,
    /// Of the result.
    columns: usize,
}

/// Where a product's result goes.
enum Out<'o> {
    /// Over numbers, which [`Addend::Out`] reads.
    Numbers(&'o mut [f32]),
    /// Into memory that holds none.
    Unwritten(&'o mut [MaybeUninit<f32>]),
}

type Target<'o> = SharedMatrix<'o, MaybeUninit<f32>>;

impl<'a> Product<'a> {
    /// Of an operand that was staged for the panels ([`check::staged`]).
    ///
    /// # Errors
    /// `InvalidInput` when a length of the epilogue does not fit.
    pub(super) fn new(
        panels: WeightPanels<'a>,
        operand: &'a Operand,
        epilogue: &'a Epilogue<'a>,
        columns: usize,
    ) -> Result<Self> {
        epilogue.check(operand.rows(), columns)?;
        Ok(Self {
            panels,
            operand,
            epilogue,
            columns,
        })
    }

    /// Computes `out` (m, columns).
    ///
    /// # Errors
    /// `InvalidInput` when its length does not fit.
    pub(super) fn run_into(&self, out: &mut [f32]) -> Result<()> {
        check::matrix(
            "out",
            out.len(),
            ["m", "columns"],
            [self.operand.rows(), self.columns],
        )?;
        self.run_to(Out::Numbers(out))
    }

    /// A new matrix (m, columns).
    ///
    /// # Errors
    /// `InvalidInput` when something is to be added to what it holds.
    pub(super) fn run(&self) -> Result<Vec<f32>> {
        let mut out = Unwritten::new(self.operand.rows() * self.columns);
        self.run_to(Out::Unwritten(out.slots()))?;
        // SAFETY: tasks cover the matrix, tiles cover a task, and each writes all of its elements.
        Ok(unsafe { out.assume_written() })
    }

    /// Computes the product; the only way to tiles, so that [`Addend::Out`] never reads what nobody
    /// wrote.
    fn run_to(&self, out: Out<'_>) -> Result<()> {
        let out = match out {
            // SAFETY: a number is one of `MaybeUninit` too, and nothing else is written there.
            Out::Numbers(out) => unsafe {
                &mut *(std::ptr::from_mut(out) as *mut [MaybeUninit<f32>])
            },
            Out::Unwritten(_) if matches!(self.epilogue.addend, Addend::Out) => {
                return Err(InvalidInput(
                    "a new result must have an addend of its own or none, got Addend::Out".into(),
                ));
            }
            Out::Unwritten(out) => out,
        };
        let (isa, format) = (self.operand.isa(), self.panels.format);
        let out = SharedMatrix::new(out, self.columns);
        tiles::run(isa, format, Whole { product: self, out })
    }

    /// Computes a task's rectangle.
    ///
    /// # Safety
    /// No other reference to it may exist meanwhile, and [`Addend::Out`] is that of a result which
    /// holds numbers ([`Self::run_to`]).
    unsafe fn run_task<K: TileKernel>(&self, kernel: K, task: &Task, out: &Target<'_>) {
        let (operand, steps) = (self.operand, self.operand.steps());
        let preparation = Preparation {
            panels: self.panels,
            steps,
            updates: self.epilogue.updates,
            columns: self.columns,
        };
        with_prepared(|[prepared, _]| {
            prepared.prepare(operand.isa(), &preparation, &task.panels);
            let mut sums = Accumulators::ZERO;
            for band in task.bands() {
                let panels = task.panels.clone().zip(prepared.panels(steps));
                for (panel, (steps, terms)) in panels {
                    for tile in tiles::tiles(band.clone()) {
                        self.prefetch(tile, panel, out);
                        kernel.tile(tile.height, operand.tile(tile), steps, &mut sums);
                        // SAFETY: the tile is a part of the task, and tiles follow each other.
                        let place = unsafe {
                            TilePlace::new(out, self.epilogue, tile, panel, self.columns)
                        };
                        self.finish(&mut sums, tile, terms, place);
                    }
                }
            }
        });
    }

    /// Brings close what the epilogue of a tile reads and writes, while the tile is computed: its
    /// rows lie far apart, and their misses would otherwise be waited for.
    #[inline(always)]
    fn prefetch(&self, tile: TileRows, panel: usize, out: &Target<'_>) {
        for row in tile.range() {
            out.prefetch(row, panel * PANEL_WIDTH);
            if let Addend::Matrix(matrix) = self.epilogue.addend {
                let row = &matrix[row * self.columns..][..self.columns];
                let columns = panel * PANEL_WIDTH..self.columns.min((panel + 1) * PANEL_WIDTH);
                prefetch::read(&row[columns]);
            }
        }
    }

    /// Adds the epilogue to a tile and writes it.
    #[inline(always)]
    fn finish(
        &self,
        sums: &mut Accumulators,
        tile: TileRows,
        terms: &PanelEpilogue,
        place: TilePlace<'_>,
    ) {
        simd::run_on(
            self.operand.isa(),
            FinishTile {
                sums,
                terms,
                scales: self.operand.scales_of(tile.range()),
                place,
            },
        );
    }
}

/// The whole of a result; made by [`Product::run_to`] alone.
struct Whole<'a, 'o> {
    product: &'a Product<'a>,
    out: Target<'o>,
}

impl TileWork for Whole<'_, '_> {
    fn run<K: TileKernel>(self, kernel: K) {
        let Self { product, out } = self;
        let extent = Extent {
            rows: product.operand.rows(),
            columns: product.columns,
            group: product.panels.group(),
            steps: product.operand.steps(),
        };
        let work = extent.rows * extent.columns * product.operand.depth().values();
        run_all(&extent, work, |task| {
            // SAFETY: tasks are disjoint rectangles, each is run once, and nobody else has the
            // result; `Product::run_to` has refused `Addend::Out` where it holds no numbers.
            unsafe { product.run_task(kernel, &task, &out) }
        });
    }
}
