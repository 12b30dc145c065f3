//! How fast tiles alone run: operands that are staged, panels that are decoded, nothing added.

use std::hint::black_box;

use super::format::Format;
use super::precision::{Direction, Precision};
use super::step::{PANEL_WIDTH, PanelStep};
use super::tasks::Extent;
use super::tiles::{self, Accumulators, TileKernel, TileWork};
use crate::Result;
use crate::isa::Isa;
use crate::rate::least_seconds;

/// 1.0 in `f32`, a number in each other format.
const WORD: u32 = 0x3f80_0000;

/// Operations per second (an addition or a multiplication each) of the tiles of a product
/// (m, k)·(k, n) on this thread, in the order in which one thread takes them: the best of some
/// runs.
///
/// # Errors
/// `InvalidInput` when this machine does not have the instruction set.
pub fn tile_rate(
    isa: Isa,
    precision: Precision,
    direction: Direction,
    [m, k, n]: [usize; 3],
) -> Result<f64> {
    let isa = isa.available()?;
    let format = Format::of(isa, precision, direction);
    let steps = format.words(k);
    let mut seconds = Ok(f64::INFINITY);
    let work = Tiles {
        extent: Extent {
            rows: m,
            columns: n,
            group: 1,
            steps,
        },
        x: vec![WORD; m * steps],
        panels: vec![PanelStep([WORD; PANEL_WIDTH]); n.div_ceil(PANEL_WIDTH) * steps],
        seconds: &mut seconds,
    };
    tiles::run(isa, format, work)?;
    Ok((2 * m * k * n) as f64 / seconds?)
}

struct Tiles<'a> {
    extent: Extent,
    x: Vec<u32>,
    /// As many as the largest task may have; each task begins with the first.
    panels: Vec<PanelStep>,
    seconds: &'a mut Result<f64>,
}

impl TileWork for Tiles<'_> {
    fn run<K: TileKernel>(self, kernel: K) {
        let steps = self.extent.steps;
        let tasks = self.extent.tasks(1);
        *self.seconds = least_seconds(|| {
            let mut sums = Accumulators::ZERO;
            for task in &tasks {
                for band in task.bands() {
                    for panel in self.panels.chunks_exact(steps).take(task.panels.len()) {
                        for tile in tiles::tiles(band.clone()) {
                            let rows = tile.range();
                            let x = &self.x[rows.start * steps..rows.end * steps];
                            kernel.tile(tile.height, x, panel, &mut sums);
                            black_box(&mut sums);
                        }
                    }
                }
            }
            Ok(())
        });
    }
}
