//! The rows that a product multiplies, in the order in which tiles read them.
//!
//! Rows are cut into tiles of the heights [`HEIGHTS`] from the top. A tile of height h holds h words
//! per step of depth, one of each row, so that it is read as one stream; since all rows take as many
//! steps, the tile that begins at row i begins at word i·steps. A row of several parts, each for a
//! weight of its own, begins a new word with each part.

use std::ops::Range;

use rayon::prelude::*;

use super::format::{self, Format};
use super::outliers::Outliers;
use super::{Dispatch, HEIGHTS, MR};
use crate::kernels::cpu::fresh::fresh;
use crate::kernels::cpu::prefetch;
use crate::kernels::cpu::rows::row;
use crate::kernels::cpu::simd::{self, Level};

/// Words of a row that are transposed together.
const WORDS: usize = 16;

/// m rows, staged for a path and a format.
#[derive(Debug)]
pub struct Operand {
    words: Vec<u32>,
    pub(super) rows: usize,
    /// Values of a row, part by part.
    pub(super) parts: Vec<usize>,
    /// Words of a row.
    pub(super) steps: usize,
    pub(super) format: Format,
    pub(super) dispatch: Dispatch,
    /// For int8: the scale of every row.
    scales: Vec<f32>,
    /// For int8: inputs that were too large for it.
    pub(super) outliers: Outliers,
}

/// The rows of an operand; they may be computed while they are staged, instead of being written and read again.
pub(crate) trait Rows: Sync {
    /// Row `index`; `room`, as long as a row, is for one that is computed.
    fn row<'r, L: Level>(&'r self, index: usize, room: &'r mut [f32]) -> &'r [f32];

    /// Asks for what row `index` of `width` values is made of, if there is such a row.
    fn prefetch(&self, _index: usize, _width: usize) {}
}

/// Matrices of equally many rows, side by side: their values and columns.
pub(crate) struct Beside<'a>(pub(crate) &'a [(&'a [f32], usize)]);

impl Rows for Beside<'_> {
    #[inline(always)]
    fn row<'r, L: Level>(&'r self, index: usize, room: &'r mut [f32]) -> &'r [f32] {
        if let [(values, width)] = self.0 {
            return row(values, index, *width);
        }
        let mut rest = &mut *room;
        for (values, width) in self.0 {
            let (mine, after) = rest.split_at_mut(*width);
            mine.copy_from_slice(row(values, index, *width));
            rest = after;
        }
        room
    }

    #[inline(always)]
    fn prefetch(&self, index: usize, _width: usize) {
        for (values, width) in self.0 {
            prefetch::row(values, index, *width);
        }
    }
}

/// m computed rows, (m, depth).
pub(crate) fn collect<R: Rows>(source: &R, (m, depth): (usize, usize)) -> Vec<f32> {
    let mut values = fresh(m * depth);
    let rows = values.par_chunks_mut(depth).enumerate();
    rows.for_each_init(
        || vec![0.0; depth],
        |room, (index, out)| {
            simd::run(Collect {
                source,
                index,
                room,
                out,
            });
        },
    );
    values
}

struct Collect<'a, R> {
    source: &'a R,
    index: usize,
    room: &'a mut [f32],
    out: &'a mut [f32],
}

impl<R: Rows> simd::Kernel for Collect<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let row = self.source.row::<L>(self.index, self.room);
        self.out.copy_from_slice(row);
    }
}

impl Operand {
    /// Stages rows whose parts have the lengths `parts`.
    pub(super) fn stage<R: Rows>(
        dispatch: Dispatch,
        format: Format,
        source: &R,
        (rows, parts): (usize, &[usize]),
    ) -> Self {
        let depth = parts.iter().sum();
        let steps = format.steps(parts);
        let mut words = fresh(rows * steps);
        let is_int8 = format == Format::Int8Quad;
        let mut scales = vec![0.0; rows];
        let level = dispatch.level();
        let stage = |first: usize, words: &mut [u32], scales: &mut [f32], room: &mut Room| {
            let stage = Stage {
                source,
                first,
                parts,
                format,
                words,
                scales,
                room,
            };
            simd::run_on(level, stage);
        };
        let room = |height| Room::of(height, depth, steps);
        let whole = rows / MR * MR;
        let (tall, mut words_left) = words[..rows * steps].split_at_mut(whole * steps);
        let (tall_scales, mut scales_left) = scales.split_at_mut(whole);
        tall.par_chunks_mut((MR * steps).max(1))
            .zip(tall_scales.par_chunks_mut(MR))
            .enumerate()
            .for_each_init(
                || room(MR),
                |room, (tile, (words, scales))| stage(tile * MR, words, scales, room),
            );
        let mut room = room(tile_height(rows - whole));
        for tile in tiles(whole..rows) {
            let (words, rest) = words_left.split_at_mut(tile.len() * steps);
            let (scales, scales_rest) = scales_left.split_at_mut(tile.len());
            stage(tile.start, words, scales, &mut room);
            (words_left, scales_left) = (rest, scales_rest);
        }
        if !is_int8 {
            scales.clear();
        }
        Self {
            words,
            rows,
            parts: parts.to_vec(),
            steps,
            format,
            dispatch,
            scales,
            outliers: Outliers::default(),
        }
    }

    /// m rows of `depth` values in pairs of bf16, to be written by [`write_pairs`], tile by tile.
    pub(super) fn of_pairs(dispatch: Dispatch, (rows, depth): (usize, usize)) -> Self {
        let format = Format::Bf16Pair;
        let steps = format.steps(&[depth]);
        Self {
            words: fresh(rows * steps),
            rows,
            parts: vec![depth],
            steps,
            format,
            dispatch,
            scales: Vec::new(),
            outliers: Outliers::default(),
        }
    }

    /// All words, in rows of one step of one row.
    pub(super) fn words_mut(&mut self) -> &mut [u32] {
        &mut self.words[..self.rows * self.steps]
    }

    /// m
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// For int8: the scales of some rows.
    pub(super) fn scales_of(&self, rows: Range<usize>) -> Option<&[f32]> {
        (!self.scales.is_empty()).then(|| &self.scales[rows])
    }

    /// A tile.
    pub(super) fn tile(&self, rows: Range<usize>) -> &[u32] {
        &self.words[rows.start * self.steps..rows.end * self.steps]
    }
}

/// The tallest tile for what is left.
fn tile_height(rows: usize) -> usize {
    HEIGHTS
        .into_iter()
        .find(|height| *height <= rows)
        .unwrap_or(1)
}

/// The tiles of some rows, from a tile's first on.
#[inline(always)]
pub(super) fn tiles(rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let mut from = rows.start;
    std::iter::from_fn(move || {
        (from < rows.end).then(|| {
            let tile = from..from + tile_height(rows.end - from);
            from = tile.end;
            tile
        })
    })
}

/// Memory for the tiles of one thread, up to a height.
struct Room {
    row: Vec<f32>,
    /// Words of a tile, row after row.
    words: Vec<u32>,
}

impl Room {
    fn of(height: usize, depth: usize, steps: usize) -> Self {
        Self {
            row: vec![0.0; depth],
            words: vec![0; height * steps.next_multiple_of(WORDS)],
        }
    }
}

/// Writes one tile.
struct Stage<'a, R> {
    source: &'a R,
    /// Its first row.
    first: usize,
    parts: &'a [usize],
    format: Format,
    words: &'a mut [u32],
    /// One of each row.
    scales: &'a mut [f32],
    room: &'a mut Room,
}

impl<R: Rows> simd::Kernel for Stage<'_, R> {
    type Output = ();
    const ROUNDS: bool = true;

    #[inline(always)]
    fn run<L: Level>(self) {
        match self.scales.len() {
            MR => self.write::<L, MR>(),
            8 => self.write::<L, 8>(),
            4 => self.write::<L, 4>(),
            2 => self.write::<L, 2>(),
            _ => self.write::<L, 1>(),
        }
    }
}

impl<R: Rows> Stage<'_, R> {
    /// A tile of height H: row after row first, since rows lie far apart; then transposed.
    #[inline(always)]
    fn write<L: Level, const H: usize>(self) {
        let Self { parts, format, .. } = self;
        let steps = self.words.len() / H;
        let stride = steps.next_multiple_of(WORDS);
        let rows = self.room.words.chunks_exact_mut(stride).take(H);
        for (index, (words, scale)) in rows.zip(self.scales).enumerate() {
            let row = self.first + index;
            self.source.prefetch(row + 1, self.room.row.len());
            let x = self.source.row::<L>(row, &mut self.room.row);
            if format == Format::Int8Quad {
                *scale = format::int8_scale(x);
                format::write_quads::<L>(x, *scale, words);
                for word in words {
                    *word ^= 0x8080_8080; // plus 128
                }
            } else {
                let (mut x, mut words) = (x, words);
                for &part in parts {
                    let (values, x_rest) = x.split_at(part);
                    let (mine, words_rest) = words.split_at_mut(format.steps(&[part]));
                    format::write_words::<L>(format, values, mine);
                    (x, words) = (x_rest, words_rest);
                }
            }
        }
        for (at, words) in self.words.chunks_mut(WORDS * H).enumerate() {
            let mut square = [[0; WORDS]; WORDS];
            let rows = self.room.words.chunks_exact(stride).take(H);
            for (square, row) in square.iter_mut().zip(rows) {
                *square = row.as_chunks().0[at];
            }
            write_steps::<H>(&L::transpose(&square), words);
        }
    }
}

/// Writes the rows of a tile, 32 values each, as the sixteen steps of [`Format::Bf16Pair`] that they are.
#[inline(always)]
pub(super) fn write_pairs<L: Level>(rows: &[[f32; 2 * WORDS]], words: &mut [u32]) {
    let mut square = [[0; WORDS]; WORDS];
    for (square, row) in square.iter_mut().zip(rows) {
        *square = L::bf16_pairs(row);
    }
    let steps = L::transpose(&square);
    match rows.len() {
        MR => write_steps::<MR>(&steps, words),
        8 => write_steps::<8>(&steps, words),
        4 => write_steps::<4>(&steps, words),
        2 => write_steps::<2>(&steps, words),
        _ => write_steps::<1>(&steps, words),
    }
}

/// The first H words of as many steps as there is room for, one after another.
#[inline(always)]
fn write_steps<const H: usize>(steps: &[[u32; WORDS]; WORDS], words: &mut [u32]) {
    for (index, step) in steps.iter().take(words.len() / H).enumerate() {
        let words = &mut words[index * H..];
        if let Some(words) = words.first_chunk_mut() {
            *words = *step; // what is too much is overwritten by the next
        } else {
            words[..H].copy_from_slice(&step[..H]);
        }
    }
}
