//! What is added to a product while a tile is in the nearest cache.
//!
//! ```text
//! out_ij = Σ_t x_it·P_tj + Σ_updates ±( c·Σ_r left_ir·right_rj ) + addend_ij
//! ```
//! An update is a low-rank term: `s·h·Bᵀ` in the forward pass, `p·A` in the backward one, and with
//! Flipout `((p ∘ T)(σ ∘ E)) ∘ S`, whose sign is an element's own bit of S.

#![expect(
    unsafe_code,
    reason = "tiles write their own pieces of a shared matrix"
)]

use std::ops::Range;

use super::shared::Out;
use super::{Block, NR, check_length};
use crate::Result;
use crate::kernels::cpu::simd::{self, Level, WIDTH};

/// What is added last.
#[derive(Clone, Copy)]
pub enum Addend<'a> {
    /// Nothing: `out` is written.
    None,
    /// What `out` holds.
    Out,
    /// A matrix of the shape of `out`.
    Matrix(&'a [f32]),
}

/// Signs of a matrix, one bit each: bit j mod 32 of word j/32 of a row; 1 is −1.
#[derive(Clone, Copy)]
pub struct SignRows<'a> {
    /// Row after row.
    pub words: &'a [u32],
    /// Words of a row.
    pub stride: usize,
}

impl<'a> SignRows<'a> {
    /// The rows from `row` on.
    pub(crate) fn from(self, row: usize) -> Self {
        Self {
            words: &self.words[row * self.stride..],
            stride: self.stride,
        }
    }

    /// The words of a row.
    #[inline(always)]
    pub(crate) fn row(self, row: usize) -> &'a [u32] {
        &self.words[row * self.stride..][..self.stride]
    }

    /// Signs `16·index..16·index + 16` of a row.
    #[inline(always)]
    pub(crate) fn half_word(self, row: usize, index: usize) -> u16 {
        (self.words[row * self.stride + index / 2] >> (16 * (index % 2))) as u16
    }

    /// Whether an element's sign is −1.
    #[inline(always)]
    pub(crate) fn is_negative(self, row: usize, column: usize) -> bool {
        self.words[row * self.stride + column / 32] >> (column % 32) & 1 == 1
    }
}

/// `c·left·right` for some rows of the product.
#[derive(Clone)]
pub struct Update<'a> {
    /// The rows that it belongs to.
    pub rows: Range<usize>,
    /// (m, r) of the whole product; only `rows` are read.
    pub left: &'a [f32],
    /// (r, columns)
    pub right: &'a [f32],
    /// c
    pub factor: f32,
    /// S, (m, columns); `None` adds it as it is.
    pub signs: Option<SignRows<'a>>,
}

/// All that is added.
pub struct Epilogue<'a> {
    /// Low-rank terms, in this order.
    pub updates: &'a [Update<'a>],
    /// Added last.
    pub addend: Addend<'a>,
}

impl Epilogue<'_> {
    /// The bare product.
    pub const NONE: Self = Epilogue {
        updates: &[],
        addend: Addend::None,
    };

    pub(super) fn check(&self, rows: usize, cols: usize) -> Result<()> {
        if let Addend::Matrix(matrix) = self.addend {
            check_length("the addend", matrix.len(), ("m", rows), ("columns", cols))?;
        }
        for update in self.updates {
            let rank = update.right.len() / cols;
            check_length("right", update.right.len(), ("r", rank), ("columns", cols))?;
            check_length("left", update.left.len(), ("m", rows), ("r", rank))?;
            if let Some(signs) = update.signs {
                let stride = cols.div_ceil(NR);
                check_length("signs", signs.words.len(), ("m", rows), ("words", stride))?;
                check_length("a row of signs", signs.stride, ("1", 1), ("words", stride))?;
            }
        }
        Ok(())
    }
}

/// The columns of one panel, cut out of an epilogue.
#[derive(Default)]
pub(super) struct PanelTerms {
    /// r of each update.
    ranks: Vec<usize>,
    /// Rows of `right`, all updates one after another, zeros past the last column.
    rights: Vec<[f32; NR]>,
    /// For int8: scales, and 128·(sum of levels).
    columns: [[f32; NR]; 2],
}

impl PanelTerms {
    pub(super) fn set(
        &mut self,
        updates: &[Update<'_>],
        panel: usize,
        cols: usize,
        columns: [[f32; NR]; 2],
    ) {
        self.columns = columns;
        self.ranks.clear();
        self.rights.clear();
        let range = panel * NR..cols.min((panel + 1) * NR);
        for update in updates {
            self.ranks.push(update.right.len() / cols);
            for row in update.right.chunks_exact(cols) {
                self.rights.push(simd::padded(&row[range.clone()], 0.0));
            }
        }
    }

    /// For int8: sums of levels become values; `scales` are those of the rows.
    #[inline(always)]
    pub(super) fn rescale(&self, rows: &mut [[f32; NR]], scales: &[f32]) {
        let [column_scales, offsets] = &self.columns;
        for (lanes, scale) in rows.iter_mut().zip(scales) {
            for lane in 0..NR {
                lanes[lane] = (lanes[lane] - offsets[lane]) * (scale * column_scales[lane]);
            }
        }
    }
}

/// Finishes one tile and writes it.
pub(super) struct Finish<'a> {
    pub(super) block: &'a mut Block,
    pub(super) terms: &'a PanelTerms,
    pub(super) epilogue: &'a Epilogue<'a>,
    /// For int8: scales of the tile's rows.
    pub(super) scales: Option<&'a [f32]>,
    /// Rows and columns of `out`; no other thread has them.
    pub(super) rows: Range<usize>,
    pub(super) panel: usize,
    pub(super) cols: usize,
    pub(super) out: &'a Out<'a>,
}

impl simd::Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let rows = &mut self.block.0[..self.rows.len()];
        if let Some(scales) = self.scales {
            self.terms.rescale(rows, scales);
        }
        let mut rights = self.terms.rights.as_slice();
        for (update, rank) in self.epilogue.updates.iter().zip(&self.terms.ranks) {
            let (mine, rest) = rights.split_at(*rank);
            rights = rest;
            let range = self.rows.start.max(update.rows.start)..self.rows.end.min(update.rows.end);
            for row in range {
                let lanes = &mut rows[row - self.rows.start];
                let left = &update.left[row * rank..(row + 1) * rank];
                let sign = update
                    .signs
                    .map(|signs| signs.words[row * signs.stride + self.panel]);
                let sums = updated::<L>(load::<L>(lanes), (left, mine), update.factor, sign);
                store::<L>(sums, lanes);
            }
        }
        let columns = self.panel * NR..self.cols.min((self.panel + 1) * NR);
        for (lanes, row) in rows.iter_mut().zip(self.rows.clone()) {
            // SAFETY: tasks are disjoint rectangles, and a task's tiles follow each other.
            let out = unsafe { self.out.piece(row, columns.clone()) };
            let addend = match self.epilogue.addend {
                Addend::None => None,
                Addend::Out => Some(&*out),
                Addend::Matrix(matrix) => {
                    Some(&matrix[row * self.cols + columns.start..][..out.len()])
                }
            };
            if let Some(addend) = addend {
                if let Some(addend) = addend.first_chunk() {
                    let (sums, addend) = (load::<L>(lanes), load::<L>(addend));
                    let sums = [L::add(sums[0], addend[0]), L::add(sums[1], addend[1])];
                    store::<L>(sums, lanes);
                } else {
                    for (sum, addend) in lanes.iter_mut().zip(addend) {
                        *sum += addend;
                    }
                }
            }
            if let Some(out) = out.first_chunk_mut() {
                store::<L>(load::<L>(lanes), out);
            } else {
                let width = out.len();
                out.copy_from_slice(&lanes[..width]);
            }
        }
    }
}

#[inline(always)]
fn load<L: Level>(lanes: &[f32; NR]) -> [L::Vector; 2] {
    let (halves, _) = lanes.as_chunks::<WIDTH>();
    [L::load(&halves[0]), L::load(&halves[1])]
}

#[inline(always)]
fn store<L: Level>([low, high]: [L::Vector; 2], lanes: &mut [f32; NR]) {
    let (halves, _) = lanes.as_chunks_mut::<WIDTH>();
    L::store(low, &mut halves[0]);
    L::store(high, &mut halves[1]);
}

/// `sums ± c·left·right`; without signs one chain with the sums.
#[inline(always)]
fn updated<L: Level>(
    sums: [L::Vector; 2],
    (left, right): (&[f32], &[[f32; NR]]),
    factor: f32,
    sign: Option<u32>,
) -> [L::Vector; 2] {
    let mut chain = if sign.is_some() {
        load::<L>(&[0.0; NR])
    } else {
        sums
    };
    for (left, right) in left.iter().zip(right) {
        let right = load::<L>(right);
        chain[0] = L::axpy(factor * left, right[0], chain[0]);
        chain[1] = L::axpy(factor * left, right[1], chain[1]);
    }
    match sign {
        None => chain,
        Some(bits) => [
            L::add(sums[0], L::flip(chain[0], bits as u16)),
            L::add(sums[1], L::flip(chain[1], (bits >> 16) as u16)),
        ],
    }
}
