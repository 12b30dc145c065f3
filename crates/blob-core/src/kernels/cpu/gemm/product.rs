//! How a product is cut into tasks and tiles.
//!
//! A task is a rectangle of `out`. It stages its rows of x, one pass of depth at a time, and walks
//! the panels of its columns; a panel's slice is used by all rows before the next one is read.
//! Where the cuts fall changes no bit of the result, so they may follow the number of threads.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use super::pack::{self, Step};
use super::{Block, KC, Kernel, MR, NR, StagedRow};

/// Tile heights; a rectangle of any height is cut into these from the top.
const HEIGHTS: [usize; 5] = [MR, 8, 4, 2, 1];
/// Most rows of a task: their staged x takes 150 KiB of the second-level cache.
const TASK_ROWS: usize = 8 * MR;
/// Tasks per thread to aim at, so that a thread that is held up does not hold up the others.
const TASKS_PER_THREAD: usize = 6;
/// Multiply-adds below which waking other threads takes longer than the product.
const SERIAL_WORK: usize = 1 << 17;

/// A product to compute; lengths are checked by the caller.
pub(super) struct Product<'a> {
    pub(super) panels: &'a [Step],
    pub(super) cols: usize,
    pub(super) depth: usize,
    /// (m, depth)
    pub(super) x: &'a [f32],
    pub(super) accumulate: bool,
}

/// A rectangle of `out`.
struct Task<'o> {
    first_row: usize,
    first_panel: usize,
    /// The rectangle's part of each row.
    rows: Vec<&'o mut [f32]>,
}

/// Memory that a thread keeps from one product to the next: fresh pages are slow.
struct Scratch {
    x: Vec<StagedRow>,
    panel: Vec<Step>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const {
        RefCell::new(Scratch { x: Vec::new(), panel: Vec::new() })
    };
}

impl Product<'_> {
    /// Computes `out` (m, cols) on the current rayon pool.
    pub(super) fn run<K: Kernel>(&self, kernel: K, out: &mut [f32]) {
        let rows = out.len() / self.cols;
        let threads = rayon::current_num_threads();
        let serial = threads == 1 || rows * self.cols * self.depth < SERIAL_WORK;
        let (task_rows, task_panels) = self.task_size(rows, if serial { 1 } else { threads });
        let tasks = tasks(out, self.cols, task_rows, task_panels);
        if serial {
            for task in tasks {
                self.run_task(kernel, task);
            }
        } else {
            tasks
                .into_par_iter()
                .for_each(|task| self.run_task(kernel, task));
        }
    }

    /// Rows and panels of a task.
    fn task_size(&self, rows: usize, threads: usize) -> (usize, usize) {
        let tiles = rows.div_ceil(MR).max(1);
        let row_tasks = rows.div_ceil(TASK_ROWS).max(1);
        let task_rows = tiles.div_ceil(row_tasks) * MR;
        let panels = self.cols.div_ceil(NR);
        let column_tasks = (TASKS_PER_THREAD * threads).div_ceil(row_tasks);
        (task_rows, panels.div_ceil(column_tasks))
    }

    fn run_task<K: Kernel>(&self, kernel: K, mut task: Task) {
        SCRATCH.with_borrow_mut(|scratch| {
            if scratch.x.len() < task.rows.len() {
                scratch.x.resize(task.rows.len(), [0; _]);
            }
            for steps in passes(self.steps::<K>()) {
                self.run_pass(kernel, steps, &mut task, scratch);
            }
        });
    }

    /// Adds the steps of one pass to all rows and columns of a task.
    fn run_pass<K: Kernel>(
        &self,
        kernel: K,
        steps: Range<usize>,
        task: &mut Task,
        scratch: &mut Scratch,
    ) {
        let from = steps.start * K::DEPTHS_PER_STEP;
        let to = (steps.end * K::DEPTHS_PER_STEP).min(self.depth);
        for (i, staged) in scratch.x.iter_mut().take(task.rows.len()).enumerate() {
            let row = (task.first_row + i) * self.depth;
            kernel.stage(&self.x[row + from..row + to], &mut staged[..steps.len()]);
        }
        let adds = self.accumulate || steps.start > 0;
        let width = task.rows.first().map_or(0, |row| row.len());
        for column in (0..width).step_by(NR) {
            let panel = task.first_panel + column / NR;
            let panel = self.panel_slice::<K>(panel, &steps, &mut scratch.panel);
            let columns = column..(column + NR).min(width);
            let mut first = 0;
            for height in HEIGHTS {
                while task.rows.len() - first >= height {
                    let rows = &mut task.rows[first..first + height];
                    let x = &scratch.x[first..first + height];
                    run_tile(kernel, x, panel, rows, columns.clone(), adds);
                    first += height;
                }
            }
        }
    }

    /// Steps of the whole depth, as `K` counts them.
    fn steps<K: Kernel>(&self) -> usize {
        let stored = self.panels.len() / self.cols.div_ceil(NR);
        if K::WIDENS { 2 * stored } else { stored }
    }

    /// Some steps of a panel, widened into `scratch` where `K` asks for it.
    fn panel_slice<'s, K: Kernel>(
        &'s self,
        panel: usize,
        steps: &Range<usize>,
        scratch: &'s mut Vec<Step>,
    ) -> &'s [Step] {
        let stored = self.panels.len() / self.cols.div_ceil(NR);
        let panel = &self.panels[panel * stored..(panel + 1) * stored];
        if K::WIDENS {
            pack::widen(&panel[steps.start / 2..steps.end / 2], scratch);
            scratch
        } else {
            &panel[steps.clone()]
        }
    }
}

/// Cuts `out` into rectangles, in columns first, so that neighbours in the list share panels.
fn tasks(out: &mut [f32], cols: usize, task_rows: usize, task_panels: usize) -> Vec<Task<'_>> {
    let task_cols = task_panels * NR;
    let column_tasks = cols.div_ceil(task_cols);
    let mut by_column: Vec<Vec<Task>> = (0..column_tasks).map(|_| Vec::new()).collect();
    for (i, rows) in out.chunks_mut(task_rows * cols).enumerate() {
        for (j, tasks) in by_column.iter_mut().enumerate() {
            tasks.push(Task {
                first_row: i * task_rows,
                first_panel: j * task_panels,
                rows: Vec::with_capacity(rows.len() / cols),
            });
        }
        for row in rows.chunks_mut(cols) {
            for (piece, tasks) in row.chunks_mut(task_cols).zip(&mut by_column) {
                tasks[i].rows.push(piece);
            }
        }
    }
    by_column.into_iter().flatten().collect()
}

/// Equal passes of at most [`KC`] steps; all but the last are even, so that bf16 pairs stay whole.
fn passes(steps: usize) -> impl Iterator<Item = Range<usize>> {
    let length = steps.div_ceil(steps.div_ceil(KC)).next_multiple_of(2);
    (0..steps)
        .step_by(length)
        .map(move |from| from..(from + length).min(steps))
}

/// One tile: rows × columns of `out` over one pass.
fn run_tile<K: Kernel>(
    kernel: K,
    x: &[StagedRow],
    panel: &[Step],
    rows: &mut [&mut [f32]],
    columns: Range<usize>,
    adds: bool,
) {
    let mut block = Block([[0.0; NR]; MR]);
    let width = columns.len();
    if adds {
        for (sums, row) in block.0.iter_mut().zip(rows.iter()) {
            sums[..width].copy_from_slice(&row[columns.clone()]);
        }
    }
    kernel.tile(rows.len(), x, panel, &mut block);
    for (sums, row) in block.0.iter().zip(rows) {
        row[columns.clone()].copy_from_slice(&sums[..width]);
    }
}
