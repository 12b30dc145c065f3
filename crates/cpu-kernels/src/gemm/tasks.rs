//! How a product is cut into tasks.
//!
//! A task is a rectangle of the result: some panels by some rows. It decodes its panels and walks
//! the rows in bands that stay in the second-level cache. Where the cuts fall changes no bit of the
//! result, so they may follow the number of threads; every cut of the rows decodes the panels
//! again, which the choice of cuts weighs against threads that wait.

use std::ops::Range;

use super::step::PANEL_WIDTH;
use super::tiles::MAX_HEIGHT;

/// Rows of a band.
const BAND: usize = 8 * MAX_HEIGHT;
/// Most steps of the panels of a task: 384 KiB.
const TASK_STEPS: usize = 3072;
/// Rows that are multiplied in about the time in which their panel is decoded.
const DECODING: usize = 2 * MAX_HEIGHT;

/// A product, as far as its cuts depend on it.
pub(super) struct Extent {
    /// Rows of the result.
    pub(super) rows: usize,
    /// Columns of the result.
    pub(super) columns: usize,
    /// Neighbouring panels that stay in one task.
    pub(super) group: usize,
    /// Steps of depth of a panel.
    pub(super) steps: usize,
}

/// A rectangle of the result.
pub(super) struct Task {
    /// From a multiple of [`MAX_HEIGHT`] on, so that no tile of an operand lies in two tasks.
    pub(super) rows: Range<usize>,
    pub(super) panels: Range<usize>,
}

/// Sizes of the tasks but for those at the borders.
#[derive(Clone, Copy)]
struct TaskSize {
    groups: usize,
    rows: usize,
}

impl Extent {
    /// Disjoint rectangles that cover the result.
    pub(super) fn tasks(&self, threads: usize) -> Vec<Task> {
        let panels = self.columns.div_ceil(PANEL_WIDTH);
        let size = self.task_size(threads);
        let width = size.groups * self.group;
        let mut tasks = Vec::new();
        for panel in (0..panels).step_by(width) {
            for row in (0..self.rows).step_by(size.rows) {
                tasks.push(Task {
                    rows: row..self.rows.min(row + size.rows),
                    panels: panel..panels.min(panel + width),
                });
            }
        }
        tasks
    }

    /// The tasks with which the busiest thread is done first; the larger ones where that is equal.
    fn task_size(&self, threads: usize) -> TaskSize {
        let groups = self.columns.div_ceil(PANEL_WIDTH).div_ceil(self.group);
        let tiles = self.rows.div_ceil(MAX_HEIGHT).max(1);
        let most = (TASK_STEPS / (self.steps * self.group)).clamp(1, groups.max(1));
        let mut best = TaskSize {
            groups: 1,
            rows: MAX_HEIGHT,
        };
        let (mut soonest, mut last_height) = (usize::MAX, 0);
        for cuts in 1..=tiles.min(threads) {
            let height = tiles.div_ceil(cuts);
            if height == last_height {
                continue; // cut alike before
            }
            last_height = height;
            let (rows, pieces) = (height * MAX_HEIGHT, tiles.div_ceil(height));
            for size in (1..=most).rev() {
                let rounds = (groups.div_ceil(size) * pieces).div_ceil(threads);
                let busiest = rounds * size * (rows.min(self.rows) + DECODING);
                if busiest < soonest {
                    best = TaskSize { groups: size, rows };
                    soonest = busiest;
                }
            }
        }
        best
    }
}

impl Task {
    /// Its rows, cut so that they stay in the second-level cache beside its panels.
    pub(super) fn bands(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let end = self.rows.end;
        let band = move |from: usize| from..end.min(from + BAND);
        self.rows.clone().step_by(BAND).map(band)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(rows: usize, columns: usize, group: usize) -> Extent {
        Extent {
            rows,
            columns,
            group,
            steps: 288 / group,
        }
    }

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
        for (rows, columns) in shapes {
            for (group, threads) in [1, 2]
                .into_iter()
                .flat_map(|g| [1, 2, 7, 16].map(|t| (g, t)))
            {
                let panels = columns.div_ceil(PANEL_WIDTH);
                let mut times = vec![0; rows * panels];
                for task in extent(rows, columns, group).tasks(threads) {
                    assert!(task.panels.start % group == 0 && !task.panels.is_empty());
                    assert_eq!(task.rows.start % MAX_HEIGHT, 0, "a tile in two tasks");
                    let bands: Vec<usize> = task.bands().flatten().collect();
                    assert_eq!(bands, task.rows.clone().collect::<Vec<_>>());
                    for row in task.rows {
                        for panel in task.panels.clone() {
                            times[row * panels + panel] += 1;
                        }
                    }
                }
                let once = times.iter().all(|times| *times == 1);
                assert!(once, "({rows}, {columns}) by {threads} threads");
            }
        }
    }

    #[test]
    fn threads_are_kept_busy_and_panels_decoded_no_oftener_than_that_takes() {
        let busiest_and_decoded = |rows, columns, threads: usize| {
            let tasks = extent(rows, columns, 1).tasks(threads);
            let sizes = tasks.iter().map(|task| task.rows.len() * task.panels.len());
            let rounds = tasks.len().div_ceil(threads);
            let decoded: usize = tasks.iter().map(|task| task.panels.len()).sum();
            let busiest = rounds * sizes.max().unwrap_or(0);
            let mean = (rows * columns.div_ceil(PANEL_WIDTH)) as f64 / threads as f64;
            (
                busiest as f64 / mean,
                decoded / columns.div_ceil(PANEL_WIDTH),
            )
        };
        // Two threads: halves of the panels.
        for columns in [192, 576, 1536] {
            assert_eq!(busiest_and_decoded(512, columns, 2), (1.0, 1));
        }
        assert_eq!(extent(512, 576, 1).tasks(2).len(), 2);
        // Sixteen: 18 panels go twice around, which cutting the rows mends.
        for (rows, columns) in [(512, 576), (2048, 576), (512, 192), (2048, 1536)] {
            let (busiest, decoded) = busiest_and_decoded(rows, columns, 16);
            assert!(
                busiest < 1.3 && decoded <= 8,
                "({rows}, {columns}): {busiest}, {decoded}"
            );
        }
        let (busiest, decoded) = busiest_and_decoded(2048, 576, 128);
        assert!(busiest < 1.5 && decoded <= 32, "{busiest}, {decoded}");
        // One row: nothing to cut.
        assert_eq!(busiest_and_decoded(1, 576, 16).1, 1);
    }
}
