//! How a product is cut into tasks and tiles.
//!
//! A task is a rectangle of `out`: some panels by some rows. It decodes its panels and walks the rows
//! in bands that stay in the second-level cache. Where the cuts fall changes no bit of the result,
//! so they may follow the number of threads; rows are cut only where there are too few panels, since
//! every cut decodes the panels again.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use super::epilogue::{Finish, PanelTerms};
use super::format::Format;
use super::operand::{Operand, tile_height};
use super::panel::{self, Panels, Step};
use super::shared::Out;
use super::{Addend, Block, Epilogue, Kernel, MR, NR};
use crate::kernels::cpu::{prefetch, simd};

/// Rows of a band.
const BAND: usize = 8 * MR;
/// Most steps of the panels of a task: 384 KiB.
const TASK_STEPS: usize = 3072;
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
struct Task {
    rows: Range<usize>,
    panels: Range<usize>,
}

/// Memory that a thread keeps from one product to the next: fresh pages are slow.
#[derive(Default)]
struct Scratch {
    steps: Vec<Step>,
    decode: panel::Scratch,
    terms: Vec<PanelTerms>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Product<'_> {
    /// Computes `out` (m, cols) on the current rayon pool.
    pub(super) fn run<K: Kernel>(&self, kernel: K, out: &mut [f32]) {
        let out = Out::new(out, self.cols);
        let rows = self.operand.rows;
        let threads = rayon::current_num_threads();
        let depth = self.operand.parts.iter().sum::<usize>();
        if threads == 1 || rows * self.cols * depth < SERIAL_WORK {
            for task in self.tasks(1) {
                self.run_task(kernel, &task, &out);
            }
        } else {
            self.tasks(threads)
                .into_par_iter()
                .with_max_len(1)
                .for_each(|task| self.run_task(kernel, &task, &out));
        }
    }

    /// Disjoint rectangles that cover `out`.
    fn tasks(&self, threads: usize) -> Vec<Task> {
        let rows = self.operand.rows;
        let (group, all) = (self.panels.group(), self.cols.div_ceil(NR));
        let groups = all.div_ceil(group);
        let most = (TASK_STEPS / (self.operand.steps * group)).clamp(1, groups);
        // The size of task with the shortest busiest thread; the larger one where they are equal.
        let busiest = |size: usize| groups.div_ceil(size).div_ceil(threads) * size;
        let size = (1..=most)
            .rev()
            .min_by_key(|size| busiest(*size))
            .unwrap_or(1);
        let tiles = rows.div_ceil(MR);
        let row_tasks = (threads / groups.div_ceil(size)).clamp(1, tiles.max(1));
        let task_rows = tiles.div_ceil(row_tasks).max(1) * MR;
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

    fn run_task<K: Kernel>(&self, kernel: K, task: &Task, out: &Out<'_>) {
        SCRATCH.with_borrow_mut(|scratch| {
            let level = self.operand.dispatch.level();
            self.prepare(level, task, scratch);
            let steps = self.operand.steps;
            let mut block = Block([[0.0; NR]; MR]);
            for band in task.rows.clone().step_by(BAND) {
                let end = task.rows.end.min(band + BAND);
                for ((panel, steps), terms) in task
                    .panels
                    .clone()
                    .zip(scratch.steps.chunks_exact(steps))
                    .zip(&scratch.terms)
                {
                    let mut row = band;
                    while row < end {
                        let height = tile_height(end - row);
                        let x = self.operand.tile(row, height);
                        self.prefetch(row..row + height, panel, out);
                        kernel.tile(height, x, steps, &mut block);
                        self.finish(level, &mut block, row..row + height, (panel, terms), out);
                        row += height;
                    }
                }
            }
        });
    }

    /// Decodes the panels of a task, and cuts out their part of the epilogue.
    fn prepare(&self, level: simd::Path, task: &Task, scratch: &mut Scratch) {
        let steps = self.operand.steps;
        let needed = task.panels.len() * steps;
        if scratch.steps.len() < needed {
            scratch.steps.resize(needed, Step::ZERO);
        }
        let range = (task.panels.start, task.panels.len());
        let out = &mut scratch.steps[..needed];
        self.panels
            .fill(level, range, (out, steps), &mut scratch.decode);
        scratch.terms.resize_with(
            task.panels.len().max(scratch.terms.len()),
            PanelTerms::default,
        );
        for (panel, terms) in task.panels.clone().zip(&mut scratch.terms) {
            let columns = self.panels.column_terms(panel);
            terms.set(self.epilogue.updates, panel, self.cols, columns);
        }
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
        let is_int8 = self.panels.format == Format::Int8Quad;
        simd::run_on(
            level,
            Finish {
                block,
                terms,
                epilogue: self.epilogue,
                scales: is_int8.then(|| &self.operand.scales[rows.clone()]),
                rows,
                panel,
                cols: self.cols,
                out,
            },
        );
    }
}
