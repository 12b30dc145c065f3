//! The rows that a product multiplies, in the order in which tiles read them.
//!
//! Rows are cut into tiles of the heights [`HEIGHTS`] from the top. A tile of height h holds h words
//! per step of depth, one of each row, so that it is read as one stream; since all rows take as many
//! steps, the tile that begins at row i begins at word i·steps.

use std::sync::Mutex;

use rayon::prelude::*;

use super::format::{self, Format};
use super::outliers::Outliers;
use super::{Dispatch, HEIGHTS, MR};
use crate::kernels::cpu::simd::{self, Level};

/// Words of a row that are transposed together.
const WORDS: usize = 16;
/// Words of a row that are written before the next row's.
const PIECE: usize = 256;

/// m rows, staged for a path and a format.
#[derive(Debug)]
pub struct Operand {
    words: Vec<u32>,
    pub(super) rows: usize,
    pub(super) depth: usize,
    pub(super) format: Format,
    pub(super) dispatch: Dispatch,
    /// For int8: the scale of every row.
    pub(super) scales: Vec<f32>,
    /// For int8: inputs that were too large for it.
    pub(super) outliers: Outliers,
}

/// Buffers of operands that are gone, to be used again: fresh pages are slow.
static FREE: Mutex<Vec<Vec<u32>>> = Mutex::new(Vec::new());
/// Most buffers that are kept.
const KEPT_BUFFERS: usize = 4;

impl Drop for Operand {
    fn drop(&mut self) {
        if let Ok(mut free) = FREE.lock()
            && free.len() < KEPT_BUFFERS
        {
            free.push(std::mem::take(&mut self.words));
        }
    }
}

/// A buffer of `length` words with anything in it.
fn buffer(length: usize) -> Vec<u32> {
    let kept = FREE.lock().ok().and_then(|mut free| {
        let index = free.iter().position(|words| words.len() >= length);
        index
            .map(|index| free.swap_remove(index))
            .or_else(|| free.pop())
    });
    let mut words = kept.unwrap_or_default();
    words.resize(length.max(words.len()), 0);
    words
}

impl Operand {
    pub(super) fn stage(
        dispatch: Dispatch,
        format: Format,
        x: &[f32],
        (rows, depth): (usize, usize),
    ) -> Self {
        let steps = depth.div_ceil(format.depths());
        let mut words = buffer(rows * steps);
        let is_int8 = format == Format::Int8Quad;
        let mut scales = vec![0.0; if is_int8 { rows } else { 0 }];
        let whole = rows / MR * MR;
        let (tall, short) = words[..rows * steps].split_at_mut(whole * steps);
        let (tall_scales, short_scales) = scales.split_at_mut(if is_int8 { whole } else { 0 });
        let level = dispatch.level();
        let stage = |x: &[f32], words: &mut [u32], scales: &mut [f32]| {
            simd::run_on(
                level,
                Stage {
                    x,
                    depth,
                    format,
                    words,
                    scales,
                },
            );
        };
        let tiles = x[..whole * depth]
            .par_chunks(MR * depth)
            .zip(tall.par_chunks_mut((MR * steps).max(1)));
        if is_int8 {
            tiles
                .zip(tall_scales.par_chunks_mut(MR))
                .for_each(|((x, words), scales)| stage(x, words, scales));
        } else {
            tiles.for_each(|(x, words)| stage(x, words, &mut []));
        }
        let (mut from, mut words_left, mut scales_left) = (whole, short, short_scales);
        while from < rows {
            let height = tile_height(rows - from);
            let (tile, rest) = words_left.split_at_mut(height * steps);
            let (tile_scales, rest_scales) =
                scales_left.split_at_mut(if is_int8 { height } else { 0 });
            stage(&x[from * depth..(from + height) * depth], tile, tile_scales);
            (from, words_left, scales_left) = (from + height, rest, rest_scales);
        }
        Self {
            words,
            rows,
            depth,
            format,
            dispatch,
            scales,
            outliers: Outliers::default(),
        }
    }

    /// The tile of `height` rows that begins at row `first`.
    pub(super) fn tile(&self, first: usize, height: usize) -> &[u32] {
        let steps = self.depth.div_ceil(self.format.depths());
        &self.words[first * steps..(first + height) * steps]
    }
}

/// The tallest tile for what is left.
pub(super) fn tile_height(rows: usize) -> usize {
    HEIGHTS
        .into_iter()
        .find(|height| *height <= rows)
        .unwrap_or(1)
}

/// Writes one tile.
struct Stage<'a> {
    /// (height, depth)
    x: &'a [f32],
    depth: usize,
    format: Format,
    words: &'a mut [u32],
    scales: &'a mut [f32],
}

impl simd::Kernel for Stage<'_> {
    type Output = ();
    const ROUNDS: bool = true;

    #[inline(always)]
    fn run<L: Level>(self) {
        match self.x.len() / self.depth {
            MR => self.write::<L, MR>(),
            8 => self.write::<L, 8>(),
            4 => self.write::<L, 4>(),
            2 => self.write::<L, 2>(),
            _ => self.write::<L, 1>(),
        }
    }
}

impl Stage<'_> {
    /// A tile of height H: row after row first, since rows lie far apart, in pieces that stay close; then transposed.
    #[inline(always)]
    fn write<L: Level, const H: usize>(self) {
        let Self {
            x, depth, format, ..
        } = self;
        let is_int8 = format == Format::Int8Quad;
        if is_int8 {
            for (scale, row) in self.scales.iter_mut().zip(x.chunks_exact(depth)) {
                *scale = format::int8_scale(row);
            }
        }
        let mut rows = [[0u32; PIECE]; H];
        let width = PIECE * format.depths();
        let pieces = self.words.chunks_mut(PIECE * H);
        for (from, words) in (0..depth).step_by(width).zip(pieces) {
            let range = from..depth.min(from + width);
            for (index, row) in rows.iter_mut().enumerate() {
                let x = &x[index * depth..][range.clone()];
                if is_int8 {
                    format::write_quads::<L>(x, self.scales[index], row);
                    for word in row {
                        *word ^= 0x8080_8080; // plus 128
                    }
                } else {
                    format::write_words::<L>(format, x, row);
                }
            }
            for (at, words) in words.chunks_mut(WORDS * H).enumerate() {
                let mut square = [[0; WORDS]; WORDS];
                for (square, row) in square.iter_mut().zip(&rows) {
                    *square = row.as_chunks().0[at];
                }
                write_steps::<H>(&L::transpose(&square), words);
            }
        }
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
