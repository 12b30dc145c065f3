//! Writing the tiles of an operand.

use std::mem::MaybeUninit;

use super::depth::Depth;
use super::rows::RowSource;
use crate::gemm::format;
use crate::gemm::int8;
use crate::gemm::tiles::{Height, TileRows, at_height};
use crate::simd::{self, Level, WIDTH};

/// Memory for the tiles of one thread, up to a height.
pub(super) struct StagingScratch {
    row: Vec<f32>,
    /// Words of a tile, row after row.
    words: Vec<u32>,
}

impl StagingScratch {
    pub(super) fn new(height: Height, depth: &Depth) -> Self {
        Self {
            row: vec![0.0; depth.values()],
            words: vec![0; height.rows() * depth.steps().next_multiple_of(WIDTH)],
        }
    }
}

/// Writes one tile.
pub(super) struct StageTile<'a, R> {
    pub(super) source: &'a R,
    pub(super) tile: TileRows,
    pub(super) depth: &'a Depth,
    /// To be written.
    pub(super) words: &'a mut [MaybeUninit<u32>],
    /// For int8: one of each row, to be written.
    pub(super) scales: &'a mut [f32],
    pub(super) scratch: &'a mut StagingScratch,
}

impl<R: RowSource> simd::Kernel for StageTile<'_, R> {
    type Output = ();
    const ROUNDS: bool = true;

    /// Row after row first, since rows lie far apart; then transposed.
    #[inline(always)]
    fn run<L: Level>(mut self) {
        let steps = self.words.len() / self.tile.height.rows();
        let stride = steps.next_multiple_of(WIDTH);
        self.write_rows::<L>(stride);
        at_height!(self.tile.height, H => self.write_tile::<L, H>(stride));
    }
}

impl<R: RowSource> StageTile<'_, R> {
    /// The words of each row, in the scratch; compiled once for all heights.
    #[inline(always)]
    fn write_rows<L: Level>(&mut self, stride: usize) {
        let Self { depth, scratch, .. } = self;
        let rows = scratch.words.chunks_exact_mut(stride);
        let rows = rows.take(self.tile.height.rows());
        for (index, (words, scale)) in rows.zip(&mut *self.scales).enumerate() {
            let row = self.tile.first + index;
            self.source.prefetch(row + 1, scratch.row.len());
            let x = self.source.row::<L>(row, &mut scratch.row);
            if depth.format.is_int8() {
                *scale = int8::scale_of(x);
                int8::write_levels::<L>(depth.format, x, *scale, words);
                int8::add_128(depth.format, words);
            } else {
                let (mut x, mut words) = (x, words);
                for &part in &depth.parts {
                    let (values, x_rest) = x.split_at(part);
                    let (mine, words_rest) = words.split_at_mut(depth.format.words(part));
                    format::write_words::<L>(depth.format, values, mine);
                    (x, words) = (x_rest, words_rest);
                }
            }
        }
    }

    /// A tile of height H from the words of its rows.
    #[inline(always)]
    fn write_tile<L: Level, const H: usize>(self, stride: usize) {
        for (at, words) in self.words.chunks_mut(WIDTH * H).enumerate() {
            let mut square = [[0; WIDTH]; WIDTH];
            let rows = self.scratch.words.chunks_exact(stride).take(H);
            for (square, row) in square.iter_mut().zip(rows) {
                *square = row.as_chunks().0[at];
            }
            write_steps::<H>(&L::transpose(&square), words);
        }
    }
}

/// Writes the rows of a tile, 32 values each, as the sixteen steps of [`format::Format::Bf16Pair`]
/// that they are.
#[inline(always)]
pub(in super::super) fn write_bf16_tile<L: Level>(
    height: Height,
    rows: &[[f32; 2 * WIDTH]],
    words: &mut [MaybeUninit<u32>],
) {
    let mut square = [[0; WIDTH]; WIDTH];
    for (square, row) in square.iter_mut().zip(rows) {
        *square = L::bf16_pairs(row);
    }
    let steps = L::transpose(&square);
    at_height!(height, H => write_steps::<H>(&steps, words));
}

/// The first H words of as many steps as there is room for, one after another.
#[inline(always)]
fn write_steps<const H: usize>(steps: &[[u32; WIDTH]; WIDTH], words: &mut [MaybeUninit<u32>]) {
    for (index, step) in steps.iter().take(words.len() / H).enumerate() {
        let words = &mut words[index * H..];
        if let Some(words) = words.first_chunk_mut::<WIDTH>() {
            words.write_copy_of_slice(step); // what is too much is overwritten by the next
        } else {
            words[..H].write_copy_of_slice(&step[..H]);
        }
    }
}
