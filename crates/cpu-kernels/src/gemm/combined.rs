//! Two products of the same rows that become one matrix: out = C(x·Wᵀ, x·W'ᵀ), element by element.
//!
//! A task has the same panels of both weights, and combines their tiles while they are in the
//! nearest cache: neither product is written. In pairs of bf16 the result becomes the operand of
//! the next product at once. Tiles and sums are those of a product alone, and so are the bits.

#![expect(
    unsafe_code,
    reason = "tiles write their own pieces of shared matrices"
)]

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::check;
use super::finish::PanelEpilogue;
use super::format::Format;
use super::matrix::FrozenMatrix;
use super::packing::{Depth, Operand, PanelSource, WeightPanels, write_bf16_tile};
use super::precision::{Direction, Precision};
use super::running::{Preparation, run_all, with_prepared};
use super::step::PANEL_WIDTH;
use super::tasks::{Extent, Task};
use super::tiles::{self, Accumulators, TileKernel, TileRows, TileWork};
use crate::output::Unwritten;
use crate::shared_matrix::SharedMatrix;
use crate::simd::{self, Level, WIDTH};
use crate::{InvalidInput, Result};

/// What becomes of two products.
pub(crate) trait Combine: Sync {
    /// Sixteen elements of each.
    fn combine<L: Level>(first: L::Vector, second: L::Vector) -> L::Vector;
}

/// A combined product.
pub enum Combined {
    /// (m, n)
    Matrix(Vec<f32>),
    /// Staged for products of its precision.
    Staged(Operand),
}

impl FrozenMatrix {
    /// C(x·Wᵀ, x·W'ᵀ) of a staged x, (m, n): staged where the tiles can write that. With
    /// `keeps_products`, also both products rounded to bf16, in the halves of words (m, n), the
    /// first in the low one.
    ///
    /// # Errors
    /// `InvalidInput` when the weights differ in shape or precision, when the operand was
    /// staged for others, or for `int8-mixed`, whose large inputs are products of their own.
    pub(crate) fn multiply_combined<C: Combine>(
        &self,
        other: &Self,
        operand: &Operand,
        keeps_products: bool,
    ) -> Result<(Combined, Option<Vec<u32>>)> {
        let kind = |matrix: &Self| (matrix.rows(), matrix.columns(), matrix.precision().name());
        if kind(self) != kind(other) || self.precision() == Precision::Int8Mixed {
            return Err(InvalidInput(format!(
                "weights that are multiplied at once must be alike and not in int8-mixed, \
                 got {:?} and {:?}",
                kind(self),
                kind(other)
            )));
        }
        let (isa, rows, columns) = (operand.isa(), operand.rows(), self.rows());
        let format = Format::of(isa, self.precision(), Direction::Forward);
        let panels = [self, other].map(|matrix| WeightPanels {
            source: PanelSource::Forward(matrix),
            format,
        });
        check::staged(operand, panels[0])?;
        let is_staged = format == Format::Bf16Pair && columns.is_multiple_of(PANEL_WIDTH);
        let mut staged = is_staged.then(|| Unwritten::new(rows * columns / 2));
        let mut matrix = Unwritten::new(if is_staged { 0 } else { rows * columns });
        let mut products = keeps_products.then(|| Unwritten::new(rows * columns));
        let to = match &mut staged {
            Some(staged) => Destination::Staged(SharedMatrix::new(staged.slots(), columns / 2)),
            None => Destination::Matrix(SharedMatrix::new(matrix.slots(), columns)),
        };
        let work = CombinedProduct {
            combine: PhantomData::<C>,
            panels,
            operand,
            columns,
            to,
            products: products
                .as_mut()
                .map(|products| SharedMatrix::new(products.slots(), columns)),
        };
        tiles::run(isa, format, work)?;
        // SAFETY: tasks cover the matrices, tiles cover a task, and each writes all of its
        // elements.
        let products = products.map(|products| unsafe { products.assume_written() });
        let combined = match staged {
            Some(words) => {
                let parts = vec![columns];
                // SAFETY: as above.
                let words = unsafe { words.assume_written() };
                Combined::Staged(Operand::of_words(isa, Depth { format, parts }, words))
            }
            // SAFETY: as above.
            None => Combined::Matrix(unsafe { matrix.assume_written() }),
        };
        Ok((combined, products))
    }
}

/// Where the result goes.
enum Destination<'a> {
    Matrix(SharedMatrix<'a, MaybeUninit<f32>>),
    /// The words of an operand; a tile's are one piece from its first row on.
    Staged(SharedMatrix<'a, MaybeUninit<u32>>),
}

struct CombinedProduct<'a, C> {
    combine: PhantomData<C>,
    panels: [WeightPanels<'a>; 2],
    operand: &'a Operand,
    columns: usize,
    to: Destination<'a>,
    products: Option<SharedMatrix<'a, MaybeUninit<u32>>>,
}

impl<C: Combine> TileWork for CombinedProduct<'_, C> {
    fn run<K: TileKernel>(self, kernel: K) {
        let Self {
            operand, columns, ..
        } = self;
        let extent = Extent {
            rows: operand.rows(),
            columns,
            group: 1,
            steps: 2 * operand.steps(),
        };
        let work = 2 * extent.rows * columns * operand.depth().values();
        run_all(&extent, work, |task| {
            // SAFETY: tasks are disjoint rectangles, each is run once, and nobody else has the
            // results.
            unsafe { self.run_task(kernel, &task) }
        });
    }
}

impl<C: Combine> CombinedProduct<'_, C> {
    /// Computes a task's rectangle.
    ///
    /// # Safety
    /// No other reference to it, in any of the results, may exist meanwhile.
    unsafe fn run_task<K: TileKernel>(&self, kernel: K, task: &Task) {
        let (operand, isa, steps) = (self.operand, self.operand.isa(), self.operand.steps());
        with_prepared(|prepared| {
            for (prepared, panels) in prepared.iter_mut().zip(self.panels) {
                let preparation = Preparation {
                    panels,
                    steps,
                    updates: &[],
                    columns: self.columns,
                };
                prepared.prepare(isa, &preparation, &task.panels);
            }
            let [first, second] = prepared;
            let mut sums = [Accumulators::ZERO; 2];
            for band in task.bands() {
                let pairs = first.panels(steps).zip(second.panels(steps));
                for (panel, (first, second)) in task.panels.clone().zip(pairs) {
                    for tile in tiles::tiles(band.clone()) {
                        let x = operand.tile(tile);
                        self.prefetch(tile, panel);
                        for (sums, (steps, _)) in sums.iter_mut().zip([first, second]) {
                            kernel.tile(tile.height, x, steps, sums);
                        }
                        let terms = [first.1, second.1];
                        // SAFETY: the tile is a part of the task, and tiles follow each other.
                        let combined =
                            unsafe { CombineTiles::new(self, &mut sums, terms, tile, panel) };
                        simd::run_on(isa, combined);
                    }
                }
            }
        });
    }

    /// Brings close what a tile will write far apart, as `Product` does.
    #[inline(always)]
    fn prefetch(&self, tile: TileRows, panel: usize) {
        for row in tile.range() {
            if let Destination::Matrix(out) = &self.to {
                out.prefetch(row, panel * PANEL_WIDTH);
            }
            if let Some(products) = &self.products {
                products.prefetch(row, panel * PANEL_WIDTH);
            }
        }
    }
}

/// Combines two tiles and writes the result.
struct CombineTiles<'a, C> {
    product: &'a CombinedProduct<'a, C>,
    sums: &'a mut [Accumulators; 2],
    terms: [&'a PanelEpilogue; 2],
    scales: Option<&'a [f32]>,
    /// Where they lie in the results.
    tile: TileRows,
    panel: usize,
}

impl<'a, C> CombineTiles<'a, C> {
    /// Two tiles of the same rows and panel.
    ///
    /// # Safety
    /// No other reference to these elements of the results may exist while it lives.
    #[inline(always)]
    unsafe fn new(
        product: &'a CombinedProduct<'a, C>,
        sums: &'a mut [Accumulators; 2],
        terms: [&'a PanelEpilogue; 2],
        tile: TileRows,
        panel: usize,
    ) -> Self {
        Self {
            product,
            sums,
            terms,
            scales: product.operand.scales_of(tile.range()),
            tile,
            panel,
        }
    }
}

impl<C: Combine> simd::Kernel for CombineTiles<'_, C> {
    type Output = ();
    const ROUNDS: bool = true;

    #[inline(always)]
    fn run<L: Level>(self) {
        let Self {
            product,
            tile,
            panel,
            ..
        } = self;
        let [first, second] = self.sums;
        let height = tile.height.rows();
        if let Some(scales) = self.scales {
            let [of_first, of_second] = self.terms;
            of_first.rescale(&mut first.0[..height], scales);
            of_second.rescale(&mut second.0[..height], scales);
        }
        let columns = panel * PANEL_WIDTH..product.columns.min((panel + 1) * PANEL_WIDTH);
        let rows = first.0[..height].iter_mut().zip(&second.0);
        for (row, (first, second)) in tile.range().zip(rows) {
            let mut words = [[0; WIDTH]; PANEL_WIDTH / WIDTH];
            let halves = first.as_chunks_mut().0.iter_mut().zip(&mut words);
            for ((first, words), second) in halves.zip(second.as_chunks().0) {
                if product.products.is_some() {
                    *words = L::bf16_columns(first, second);
                }
                L::store(C::combine::<L>(L::load(first), L::load(second)), first);
            }
            if let Some(products) = &product.products {
                // SAFETY: `CombineTiles::new` was promised so.
                let products = unsafe { products.row(row, columns.clone()) };
                if let Some(words) = words.as_flattened().first_chunk() {
                    write_row(words, products);
                }
            }
            if let Destination::Matrix(out) = &product.to {
                // SAFETY: the same.
                write_row(first, unsafe { out.row(row, columns.clone()) });
            }
        }
        if let Destination::Staged(words) = &product.to {
            let steps = panel * PANEL_WIDTH / 2..(panel + 1) * PANEL_WIDTH / 2;
            // SAFETY: the same; the words of a tile's rows are its own, and a panel's are a piece
            // of them.
            let words = unsafe { words.tile(tile.range(), steps) };
            write_bf16_tile::<L>(tile.height, &first.0[..height], words);
        }
    }
}

/// As many of a tile's row as the matrix has columns for.
#[inline(always)]
fn write_row<T: Copy>(row: &[T; PANEL_WIDTH], out: &mut [MaybeUninit<T>]) {
    if let Some(out) = out.first_chunk_mut::<PANEL_WIDTH>() {
        out.write_copy_of_slice(row);
    } else {
        out.write_copy_of_slice(&row[..out.len()]);
    }
}
