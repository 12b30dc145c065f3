//! The end of a tile: its epilogue is added, and it is written.

#![expect(
    unsafe_code,
    reason = "tiles write their own pieces of a shared matrix"
)]

use std::mem::MaybeUninit;
use std::ops::Range;

use super::epilogue::{Addend, Epilogue, LowRankUpdate};
use super::packing::Int8Columns;
use super::step::PANEL_WIDTH;
use super::tiles::{Accumulators, TileRows};
use crate::marks::{BITS_PER_WORD, Effect};
use crate::output::Slot;
use crate::shared_matrix::SharedMatrix;
use crate::simd::{self, Level, WIDTH};

// A word of marks is a panel's, and its halves are those of two vectors.
const _: () = assert!(BITS_PER_WORD == PANEL_WIDTH && PANEL_WIDTH == 2 * WIDTH);

/// The columns of one panel, cut out of an epilogue.
#[derive(Default)]
pub(super) struct PanelEpilogue {
    /// r of each update.
    ranks: Vec<usize>,
    /// Rows of `right`, all updates one after another, zeros past the last column.
    rights: Vec<[f32; PANEL_WIDTH]>,
    int8: Int8Columns,
}

impl PanelEpilogue {
    pub(super) fn set(
        &mut self,
        updates: &[LowRankUpdate<'_>],
        panel: usize,
        columns: usize,
        int8: Int8Columns,
    ) {
        self.int8 = int8;
        self.ranks.clear();
        self.rights.clear();
        let range = panel * PANEL_WIDTH..columns.min((panel + 1) * PANEL_WIDTH);
        for update in updates {
            self.ranks.push(update.right.len() / columns);
            for row in update.right.chunks_exact(columns) {
                self.rights.push(simd::padded(&row[range.clone()], 0.0));
            }
        }
    }

    /// For int8: sums of levels become values; `scales` are those of the rows.
    #[inline(always)]
    pub(super) fn rescale(&self, rows: &mut [[f32; PANEL_WIDTH]], scales: &[f32]) {
        let Int8Columns {
            scales: column_scales,
            offsets,
        } = &self.int8;
        for (lanes, scale) in rows.iter_mut().zip(scales) {
            for lane in 0..PANEL_WIDTH {
                lanes[lane] = (lanes[lane] - offsets[lane]) * (scale * column_scales[lane]);
            }
        }
    }
}

/// A tile's own elements of a result, and what is added to them.
pub(super) struct TilePlace<'a> {
    rows: Range<usize>,
    panel: usize,
    /// Of the result.
    columns: usize,
    out: &'a SharedMatrix<'a, MaybeUninit<f32>>,
    epilogue: &'a Epilogue<'a>,
}

impl<'a> TilePlace<'a> {
    /// A tile's rows of a panel, of a result (m, columns).
    ///
    /// # Safety
    /// No other reference to these elements of `out` may exist while the place lives; where the
    /// epilogue adds what they hold ([`Addend::Out`]), they have been written.
    #[inline(always)]
    pub(super) unsafe fn new(
        out: &'a SharedMatrix<'a, MaybeUninit<f32>>,
        epilogue: &'a Epilogue<'a>,
        tile: TileRows,
        panel: usize,
        columns: usize,
    ) -> Self {
        Self {
            rows: tile.range(),
            panel,
            columns,
            out,
            epilogue,
        }
    }
}

/// Finishes one tile and writes it.
pub(super) struct FinishTile<'a> {
    pub(super) sums: &'a mut Accumulators,
    pub(super) terms: &'a PanelEpilogue,
    /// For int8: scales of the tile's rows.
    pub(super) scales: Option<&'a [f32]>,
    pub(super) place: TilePlace<'a>,
}

impl simd::Kernel for FinishTile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let TilePlace {
            rows: indices,
            panel,
            columns: width,
            out,
            epilogue,
        } = self.place;
        let rows = &mut self.sums.0[..indices.len()];
        if let Some(scales) = self.scales {
            self.terms.rescale(rows, scales);
        }
        let mut rights = self.terms.rights.as_slice();
        for (update, rank) in epilogue.updates.iter().zip(&self.terms.ranks) {
            let (mine, rest) = rights.split_at(*rank);
            rights = rest;
            let range = indices.start.max(update.rows.start)..indices.end.min(update.rows.end);
            for row in range {
                let lanes = &mut rows[row - indices.start];
                let left = &update.left[row * rank..(row + 1) * rank];
                let marks = update.marks;
                let mark = marks.map(|it| (it.effect, it.bits.word(row, panel)));
                let term = RowTerm {
                    left,
                    right: mine,
                    factor: update.factor,
                    mark,
                };
                store::<L>(term.added_to::<L>(load::<L>(lanes)), lanes);
            }
        }
        let columns = panel * PANEL_WIDTH..width.min((panel + 1) * PANEL_WIDTH);
        for (lanes, row) in rows.iter_mut().zip(indices) {
            // SAFETY: `TilePlace::new` was promised so.
            let out = unsafe { out.row(row, columns.clone()) };
            let addend = match epilogue.addend {
                Addend::None => None,
                // SAFETY: the same.
                Addend::Out => Some(unsafe { out.assume_init_ref() }),
                Addend::Matrix(matrix) => Some(&matrix[row * width + columns.start..][..out.len()]),
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
                put::<L>(load::<L>(lanes), out);
            } else {
                out.write_copy_of_slice(&lanes[..out.len()]);
            }
        }
    }
}

#[inline(always)]
fn load<L: Level>(lanes: &[f32; PANEL_WIDTH]) -> [L::Vector; 2] {
    let (halves, _) = lanes.as_chunks::<WIDTH>();
    [L::load(&halves[0]), L::load(&halves[1])]
}

#[inline(always)]
fn put<L: Level>([low, high]: [L::Vector; 2], slots: &mut [MaybeUninit<f32>; PANEL_WIDTH]) {
    let (halves, _) = slots.as_chunks_mut::<WIDTH>();
    Slot::put_vector::<L>(&mut halves[0], low);
    Slot::put_vector::<L>(&mut halves[1], high);
}

#[inline(always)]
fn store<L: Level>([low, high]: [L::Vector; 2], lanes: &mut [f32; PANEL_WIDTH]) {
    let (halves, _) = lanes.as_chunks_mut::<WIDTH>();
    L::store(low, &mut halves[0]);
    L::store(high, &mut halves[1]);
}

/// A low-rank term in one row of a tile.
struct RowTerm<'a> {
    /// (r)
    left: &'a [f32],
    /// (r, 32)
    right: &'a [[f32; PANEL_WIDTH]],
    factor: f32,
    /// A bit per column.
    mark: Option<(Effect, u32)>,
}

impl RowTerm<'_> {
    /// `sums + S ∘ c·left·right`; without marks one chain with the sums.
    #[inline(always)]
    fn added_to<L: Level>(self, sums: [L::Vector; 2]) -> [L::Vector; 2] {
        let mut chain = if self.mark.is_some() {
            load::<L>(&[0.0; PANEL_WIDTH])
        } else {
            sums
        };
        for (left, right) in self.left.iter().zip(self.right) {
            let right = load::<L>(right);
            chain[0] = L::axpy(self.factor * left, right[0], chain[0]);
            chain[1] = L::axpy(self.factor * left, right[1], chain[1]);
        }
        match self.mark {
            None => chain,
            Some((effect, bits)) => [
                L::add(sums[0], effect.on::<L>(chain[0], bits as u16)),
                L::add(sums[1], effect.on::<L>(chain[1], (bits >> 16) as u16)),
            ],
        }
    }
}
