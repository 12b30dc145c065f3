//! Runs of values that are one of sixteen: a table, and an index for each value.
//!
//! A block of four-bit integers holds 32 of them per scale, so a run has sixteen different values
//! at most. To round, to quantise or to compare these sixteen and to look the 32 up is less work
//! than to do it for each.

use super::bits::{all, half_at, lanes, six_bit_pair};
use super::nf4::{NF4, nf4_size};
use crate::simd::{Level, WIDTH};
use crate::stored::TensorType;

/// Values of one run.
pub(crate) const RUN_LENGTH: usize = 32;

/// Four-bit integers in ascending order.
const LEVELS: [u8; WIDTH] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// `value_j = table[indices_j]`
pub(crate) struct Run<L: Level> {
    /// The values of the integers 0 to 15.
    pub(crate) table: L::Vector,
    /// Below 16 each.
    pub(crate) indices: [u8; RUN_LENGTH],
}

impl TensorType {
    /// Whether rows can be read as runs.
    pub(crate) fn has_runs(self) -> bool {
        matches!(self, Self::Q4_0 | Self::Q4_1 | Self::Q4K | Self::Nf4)
    }

    /// The runs of a row's bytes; none for types without.
    #[inline(always)]
    pub(crate) fn runs(self, row: &[u8]) -> Runs<'_> {
        match self {
            Self::Q4_0 => Runs::Q4_0(row.as_chunks().0),
            Self::Q4_1 => Runs::Q4_1(row.as_chunks().0),
            Self::Q4K => Runs::Q4K(row.as_chunks().0),
            Self::Nf4 => Runs::Nf4(row.as_chunks().0),
            Self::F32
            | Self::F16
            | Self::Bf16
            | Self::Q5_0
            | Self::Q5_1
            | Self::Q8_0
            | Self::Q2K
            | Self::Q3K
            | Self::Q5K
            | Self::Q6K => Runs::Q4_0(&[]),
        }
    }
}

/// The blocks of a row.
#[derive(Clone, Copy)]
pub(crate) enum Runs<'a> {
    Q4_0(&'a [[u8; 18]]),
    Q4_1(&'a [[u8; 20]]),
    Q4K(&'a [[u8; 144]]),
    Nf4(&'a [[u8; 36]]),
}

impl Runs<'_> {
    /// Run `index`, with the values that [`TensorType::dequantize`] gives; zeros past the row's
    /// end.
    #[inline(always)]
    pub(crate) fn run<L: Level>(self, index: usize) -> Run<L> {
        let levels = L::bytes(LEVELS);
        match self {
            Self::Q4_0(blocks) => {
                if let Some(block) = blocks.get(index) {
                    let table = L::scale(half_at::<L>(block, 0), L::add(levels, L::splat(-8.0)));
                    return Run::nibbles(table, lanes(block, 2));
                }
            }
            Self::Q4_1(blocks) => {
                if let Some(block) = blocks.get(index) {
                    let (d, m) = (half_at::<L>(block, 0), half_at::<L>(block, 2));
                    let table = L::add(L::scale(d, levels), L::splat(m));
                    return Run::nibbles(table, lanes(block, 4));
                }
            }
            Self::Q4K(blocks) => {
                if let Some(block) = blocks.get(index / 8) {
                    let (d, dmin) = (half_at::<L>(block, 0), half_at::<L>(block, 2));
                    let (scale, min) = six_bit_pair(&block[4..16], index % 8);
                    let table = L::add(L::scale(d * scale, levels), L::splat(-(dmin * min)));
                    let (at, shift) = (16 + 32 * (index % 8 / 2), 4 * (index % 2));
                    let halves = [at, at + 16].map(|at| (lanes(block, at) >> shift) & all(15));
                    return Run::new(table, halves);
                }
            }
            Self::Nf4(blocks) => {
                if let Some(block) = blocks.get(index / 2) {
                    let table = L::scale(nf4_size(block), L::load(&NF4));
                    return Run::nibbles(table, lanes(block, 4 + 16 * (index % 2)));
                }
            }
        }
        Run::new(L::splat(0.0), [0; 2])
    }
}

impl<L: Level> Run<L> {
    /// Low nibbles first, then high ones.
    #[inline(always)]
    fn nibbles(table: L::Vector, packed: u128) -> Self {
        Self::new(table, [packed & all(15), (packed >> 4) & all(15)])
    }

    #[inline(always)]
    fn new(table: L::Vector, [first, second]: [u128; 2]) -> Self {
        let mut indices = [0; RUN_LENGTH];
        let (halves, _) = indices.as_chunks_mut();
        halves[0] = first.to_le_bytes();
        halves[1] = second.to_le_bytes();
        Self { table, indices }
    }
}
