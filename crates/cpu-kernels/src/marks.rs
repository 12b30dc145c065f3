//! Bits of a matrix, one for each element, and what set bits do.

use crate::simd::Level;

/// Bits in one word: as many as a panel has columns.
pub(crate) const BITS_PER_WORD: usize = u32::BITS as usize;

/// Bits of a matrix: bit j mod 32 of word j/32 of a row.
#[derive(Clone, Copy)]
pub struct BitRows<'a> {
    /// Row after row.
    pub words: &'a [u32],
    /// Words of a row.
    pub stride: usize,
}

impl<'a> BitRows<'a> {
    /// The words of a row.
    #[inline(always)]
    pub(crate) fn row(self, row: usize) -> &'a [u32] {
        &self.words[row * self.stride..][..self.stride]
    }

    /// Word `index` of a row.
    #[inline(always)]
    pub(crate) fn word(self, row: usize, index: usize) -> u32 {
        self.words[row * self.stride + index]
    }

    /// Bits `16·index..16·index + 16` of a row.
    #[inline(always)]
    pub(crate) fn half_word(self, row: usize, index: usize) -> u16 {
        (self.word(row, index / 2) >> (16 * (index % 2))) as u16
    }

    /// Whether an element's bit is set.
    #[inline(always)]
    pub fn is_set(self, row: usize, column: usize) -> bool {
        self.word(row, column / BITS_PER_WORD) >> (column % BITS_PER_WORD) & 1 == 1
    }
}

/// What set bits do to their elements.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// They change sign.
    Flip,
    /// They become 0.
    Drop,
}

impl Effect {
    /// On sixteen elements.
    #[inline(always)]
    pub(crate) fn on<L: Level>(self, vector: L::Vector, bits: u16) -> L::Vector {
        match self {
            Self::Flip => L::flip(vector, bits),
            Self::Drop => L::clear(vector, bits),
        }
    }

    /// On an element whose bit is set.
    #[inline(always)]
    pub(crate) fn on_one(self, value: f32) -> f32 {
        match self {
            Self::Flip => -value,
            Self::Drop => 0.0,
        }
    }
}

/// A matrix's marked elements.
#[derive(Clone, Copy)]
pub struct Marks<'a> {
    /// A bit for each element: whether it is marked.
    pub bits: BitRows<'a>,
    /// What becomes of them.
    pub effect: Effect,
}

impl Marks<'_> {
    /// Of the rows from `row` on.
    #[must_use]
    pub fn from(self, row: usize) -> Self {
        let BitRows { words, stride } = self.bits;
        let bits = BitRows {
            words: &words[row * stride..],
            stride,
        };
        Self { bits, ..self }
    }
}
