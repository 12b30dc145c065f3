//! How products are cut into tasks and tiles.
//!
//! A task is a rectangle of `out`: some panels by some rows. It decodes its panels and walks the rows
//! in bands that stay in the second-level cache. Where the cuts fall changes no bit of the result,
//! so they may follow the number of threads; every cut of the rows decodes the panels again, which the
//! choice of cuts weighs against threads that wait.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use super::epilogue::{Finish, PanelTerms};
use super::operand::{Operand, tiles};
use super::panel::{self, Panels, Step};
use super::shared::Out;
use super::{Addend, Block, Epilogue, Kernel, MR, NR, Update};
use crate::Result;
use crate::kernels::cpu::{prefetch, simd};

/// Rows of a band.
const BAND: usize = 8 * MR;
/// Most steps of the panels of a task: 384 KiB.
const TASK_STEPS: usize = 3072;
/// Rows that are multiplied in about the time in which their panel is decoded.
const DECODING: usize = 2 * MR;
/// Multiply-adds below which waking other threads takes longer than the product.
const SERIAL_WORK: usize = 1 << 17;

/// A product to compute; lengths are checked by the caller.
pub(super) struct Product<'a> {
    pub(super) panels: Panels<'a>,
    pub(super) operand: &'a Operand,
    pub(super) epilogue: &'a Epilogue<'a>,
    pub(super) cols: usize,
}

/// A rectangle of `out`.
pub(super) struct Task {
    /// From a multiple of [`MR`] on, so that no tile of an operand lies in two tasks.
    pub(super) rows: Range<usize>,
    pub(super) panels: Range<usize>,
}

/// What is done with a tile, whichever this machine has.
pub(super) trait Work {
    fn run<K: Kernel>(self, kernel: K);
}

/// Disjoint rectangles that cover (rows, cols); `group` neighbouring panels, of `steps` together, stay in one.
pub(super) fn tasks(
    (rows, cols): (usize, usize),
    (group, steps): (usize, usize),
    threads: usize,
) -> Vec<Task> {
    let all = cols.div_ceil(NR);
    let groups = all.div_ceil(group);
    let (size, task_rows) = task_size((rows, groups), TASK_STEPS / steps, threads);
    let mut tasks = Vec::new();
    for panel in (0..all).step_by(size * group) {
        for row in (0..rows).step_by(task_rows) {
            tasks.push(Task {
                rows: row..rows.min(row + task_rows),
                panels: panel..all.min(panel + size * group),
            });
        }
    }
    tasks
}

/// Groups of panels and rows of the tasks with which the busiest thread is done first; the larger tasks where
/// that is equal.
fn task_size((rows, groups): (usize, usize), most: usize, threads: usize) -> (usize, usize) {
    let tiles = rows.div_ceil(MR).max(1);
    let most = most.clamp(1, groups.max(1));
    let (mut best, mut soonest, mut last_height) = ((1, MR), usize::MAX, 0);
    for cuts in 1..=tiles.min(threads) {
        let height = tiles.div_ceil(cuts);
        if height == last_height {
            continue; // cut alike before
        }
        last_height = height;
        let (task_rows, pieces) = (height * MR, tiles.div_ceil(height));
        for size in (1..=most).rev() {
            let rounds = (groups.div_ceil(size) * pieces).div_ceil(threads);
            let busiest = rounds * size * (task_rows.min(rows) + DECODING);
            if busiest < soonest {
                (best, soonest) = ((size, task_rows), busiest);
            }
        }
    }
    best
}

/// Runs the tasks of a product with that many multiply-adds on the current rayon pool.
pub(super) fn run_all(
    tasks: impl Fn(usize) -> Vec<Task>,
    work: usize,
    run: impl Fn(Task) + Sync + Send,
) {
    let threads = rayon::current_num_threads();
    if threads == 1 || work < SERIAL_WORK {
        tasks(1).into_iter().for_each(run);
    } else {
        tasks(threads).into_par_iter().with_max_len(1).for_each(run);
    }
}

/// A task's rows, cut so that they stay in the second-level cache beside its panels.
pub(super) fn bands(rows: &Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
    let end = rows.end;
    let band = move |from: usize| from..end.min(from + BAND);
    rows.clone().step_by(BAND).map(band)
}

/// Decoded panels, one after another, and their parts of the epilogue.
#[derive(Default)]
pub(super) struct Prepared {
    steps: Vec<Step>,
    terms: Vec<PanelTerms>,
    decode: panel::Scratch,
}

impl Prepared {
    /// Decodes panels of `steps` each; `cols` and `updates` are those of the whole product.
    pub(super) fn prepare(
        &mut self,
        (panels, range): (Panels<'_>, &Range<usize>),
        (level, steps): (simd::Path, usize),
        (updates, cols): (&[Update<'_>], usize),
    ) {
        let needed = range.len() * steps;
        if self.steps.len() < needed {
            self.steps.resize(needed, Step::ZERO);
        }
        let out = (&mut self.steps[..needed], steps);
        panels.fill(level, (range.start, range.len()), out, &mut self.decode);
        let most = range.len().max(self.terms.len());
        self.terms.resize_with(most, PanelTerms::default);
        for (panel, terms) in range.clone().zip(&mut self.terms) {
            terms.set(updates, panel, cols, panels.column_terms(panel));
        }
    }

    /// The panels that were prepared, of `steps` each.
    pub(super) fn panels(&self, steps: usize) -> impl Iterator<Item = (&[Step], &PanelTerms)> {
        self.steps.chunks_exact(steps).zip(&self.terms)
    }
}

thread_local! {
    /// Kept from one product to the next: fresh pages are slow.
    static PREPARED: RefCell<[Prepared; 2]> = RefCell::default();
}

/// Runs with this thread's memory for the panels of two products.
pub(super) fn with_prepared(run: impl FnOnce(&mut [Prepared; 2])) {
    PREPARED.with_borrow_mut(run);
}

/// The whole of `out`.
struct Whole<'a> {
    product: &'a Product<'a>,
    out: &'a mut [f32],
}

impl Work for Whole<'_> {
    fn run<K: Kernel>(self, kernel: K) {
        let Self { product, out } = self;
        let (operand, cols) = (product.operand, product.cols);
        let out = Out::new(out, cols);
        let depth = operand.parts.iter().sum::<usize>();
        let group = product.panels.group();
        let groups = (group, operand.steps * group);
        run_all(
            |threads| tasks((operand.rows, cols), groups, threads),
            operand.rows * cols * depth,
            |task| product.run_task(kernel, &task, &out),
        );
    }
}

impl Product<'_> {
    /// Computes `out` (m, cols) on the current rayon pool, on the path that the operand was staged for.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when this machine does not have the path.
    pub(super) fn run(&self, out: &mut [f32]) -> Result<()> {
        let work = Whole { product: self, out };
        self.operand.dispatch.run(self.panels.format, work)
    }

    fn run_task<K: Kernel>(&self, kernel: K, task: &Task, out: &Out<'_>) {
        with_prepared(|[prepared, _]| {
            let (level, steps) = (self.operand.dispatch.level(), self.operand.steps);
            let updates = (self.epilogue.updates, self.cols);
            prepared.prepare((self.panels, &task.panels), (level, steps), updates);
            let mut block = Block([[0.0; NR]; MR]);
            for band in bands(&task.rows) {
                for (panel, (steps, terms)) in task.panels.clone().zip(prepared.panels(steps)) {
                    for rows in tiles(band.clone()) {
                        let x = self.operand.tile(rows.clone());
                        self.prefetch(rows.clone(), panel, out);
                        kernel.tile(rows.len(), x, steps, &mut block);
                        self.finish(level, &mut block, rows, (panel, terms), out);
                    }
                }
            }
        });
    }

    /// Brings close what the epilogue of a tile reads and writes, while the tile is computed: its rows lie
    /// far apart, and their misses would otherwise be waited for.
    #[inline(always)]
    fn prefetch(&self, rows: Range<usize>, panel: usize, out: &Out<'_>) {
        for row in rows {
            out.prefetch(row, panel * NR);
            if let Addend::Matrix(matrix) = self.epilogue.addend {
                let row = &matrix[row * self.cols..][..self.cols];
                prefetch::read(&row[panel * NR..self.cols.min((panel + 1) * NR)]);
            }
        }
    }

    /// Adds the epilogue to a tile and writes it.
    #[inline(always)]
    fn finish(
        &self,
        level: simd::Path,
        block: &mut Block,
        rows: Range<usize>,
        (panel, terms): (usize, &PanelTerms),
        out: &Out<'_>,
    ) {
        simd::run_on(
            level,
            Finish {
                block,
                terms,
                epilogue: self.epilogue,
                scales: self.operand.scales_of(rows.clone()),
                rows,
                panel,
                cols: self.cols,
                out,
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_cover_every_element_once() {
        let shapes: [(usize, usize); 7] = [
            (1, 1),
            (5, 31),
            (12, 64),
            (100, 33),
            (512, 576),
            (513, 1537),
            (0, 40),
        ];
        for (rows, cols) in shapes {
            for (group, threads) in [1, 2]
                .into_iter()
                .flat_map(|g| [1, 2, 7, 16].map(|t| (g, t)))
            {
                let mut times = vec![0; rows * cols.div_ceil(NR)];
                for task in tasks((rows, cols), (group, 288), threads) {
                    assert!(task.panels.start % group == 0 && !task.panels.is_empty());
                    assert_eq!(task.rows.start % MR, 0, "a tile in two tasks");
                    for row in task.rows {
                        for panel in task.panels.clone() {
                            times[row * cols.div_ceil(NR) + panel] += 1;
                        }
                    }
                }
                let once = times.iter().all(|times| *times == 1);
                assert!(once, "({rows}, {cols}) by {threads} threads");
            }
        }
    }

    #[test]
    fn threads_are_kept_busy_and_panels_decoded_no_oftener_than_that_takes() {
        let busiest_and_decoded = |rows, cols, threads: usize| {
            let tasks = tasks((rows, cols), (1, 288), threads);
            let sizes = tasks.iter().map(|task| task.rows.len() * task.panels.len());
            let rounds = tasks.len().div_ceil(threads);
            let decoded: usize = tasks.iter().map(|task| task.panels.len()).sum();
            let busiest = rounds * sizes.max().unwrap_or(0);
            let mean = (rows * cols.div_ceil(NR)) as f64 / threads as f64;
            (busiest as f64 / mean, decoded / cols.div_ceil(NR))
        };
        // Two threads: halves of the panels.
        for cols in [192, 576, 1536] {
            assert_eq!(busiest_and_decoded(512, cols, 2), (1.0, 1));
        }
        assert_eq!(tasks((512, 576), (1, 288), 2).len(), 2);
        // Sixteen: 18 panels go twice around, which cutting the rows mends.
        for (rows, cols) in [(512, 576), (2048, 576), (512, 192), (2048, 1536)] {
            let (busiest, decoded) = busiest_and_decoded(rows, cols, 16);
            assert!(
                busiest < 1.3 && decoded <= 8,
                "({rows}, {cols}): {busiest}, {decoded}"
            );
        }
        let (busiest, decoded) = busiest_and_decoded(2048, 576, 128);
        assert!(busiest < 1.5 && decoded <= 32, "{busiest}, {decoded}");
        // One row: nothing to cut.
        assert_eq!(busiest_and_decoded(1, 576, 16).1, 1);
    }
}
