//! The rows that a product multiplies, in the order in which tiles read them.
//!
//! Rows are cut into tiles from the top. A tile of height h holds h words per step of depth, one of
//! each row, so that it is read as one stream; since all rows take as many steps, the tile that
//! begins at row i begins at word i·steps. A row of several parts, each for a weight of its own,
//! begins a new word with each part.

#![expect(unsafe_code, reason = "an operand's memory holds nothing before")]

use std::ops::Range;

use rayon::prelude::*;

use super::depth::Depth;
use super::rows::RowSource;
use super::staging::{StageTile, StagingScratch};
use crate::gemm::outliers::Outliers;
use crate::gemm::tiles::{Height, MAX_HEIGHT, TileRows, tiles};
use crate::isa::Available;
use crate::output::Unwritten;
use crate::simd;

/// m rows, staged for an instruction set and a format.
#[derive(Debug)]
pub struct Operand {
    words: Vec<u32>,
    rows: usize,
    depth: Depth,
    /// Words of a row.
    steps: usize,
    isa: Available,
    /// For int8: the scale of every row.
    scales: Vec<f32>,
    /// For int8: inputs that were too large for it.
    pub(in super::super) outliers: Outliers,
}

impl Operand {
    /// Rows that were staged elsewhere, `depth.steps()` words each.
    pub(in super::super) fn of_words(isa: Available, depth: Depth, words: Vec<u32>) -> Self {
        let steps = depth.steps();
        Self {
            rows: words.len() / steps.max(1),
            words,
            depth,
            steps,
            isa,
            scales: Vec::new(),
            outliers: Outliers::default(),
        }
    }

    /// Stages rows.
    pub(in super::super) fn stage<R: RowSource>(
        isa: Available,
        depth: Depth,
        source: &R,
        rows: usize,
    ) -> Self {
        let steps = depth.steps();
        let mut staged = Unwritten::new(rows * steps);
        let mut scales = vec![0.0; rows];
        let stage = |tile, words: &mut [_], scales: &mut [f32], scratch: &mut StagingScratch| {
            let stage = StageTile {
                source,
                tile,
                depth: &depth,
                words,
                scales,
                scratch,
            };
            simd::run_on(isa, stage);
        };
        let whole = rows / MAX_HEIGHT * MAX_HEIGHT;
        let (tall, mut words_left) = staged.slots().split_at_mut(whole * steps);
        let (tall_scales, mut scales_left) = scales.split_at_mut(whole);
        let tallest = Height::within(MAX_HEIGHT);
        tall.par_chunks_mut((MAX_HEIGHT * steps).max(1))
            .zip(tall_scales.par_chunks_mut(MAX_HEIGHT))
            .enumerate()
            .for_each_init(
                || StagingScratch::new(tallest, &depth),
                |scratch, (index, (words, scales))| {
                    let tile = TileRows {
                        first: index * MAX_HEIGHT,
                        height: tallest,
                    };
                    stage(tile, words, scales, scratch);
                },
            );
        let mut scratch = StagingScratch::new(Height::within(rows - whole), &depth);
        for tile in tiles(whole..rows) {
            let height = tile.height.rows();
            let (words, words_rest) = words_left.split_at_mut(height * steps);
            let (scales, scales_rest) = scales_left.split_at_mut(height);
            stage(tile, words, scales, &mut scratch);
            (words_left, scales_left) = (words_rest, scales_rest);
        }
        let scales = if depth.format.is_int8() {
            scales
        } else {
            Vec::new()
        };
        Self {
            // SAFETY: tiles cover the rows, and each writes all of its words.
            words: unsafe { staged.assume_written() },
            rows,
            depth,
            steps,
            isa,
            scales,
            outliers: Outliers::default(),
        }
    }

    /// m
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// What its rows hold.
    pub(in super::super) fn depth(&self) -> &Depth {
        &self.depth
    }

    /// Words of a row.
    pub(in super::super) fn steps(&self) -> usize {
        self.steps
    }

    /// The instruction set that it was staged for.
    pub(in super::super) fn isa(&self) -> Available {
        self.isa
    }

    /// For int8: the scales of some rows.
    pub(in super::super) fn scales_of(&self, rows: Range<usize>) -> Option<&[f32]> {
        (!self.scales.is_empty()).then(|| &self.scales[rows])
    }

    /// The words of a tile.
    pub(in super::super) fn tile(&self, tile: TileRows) -> &[u32] {
        let Range { start, end } = tile.range();
        &self.words[start * self.steps..end * self.steps]
    }
}
