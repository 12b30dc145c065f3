//! Signs of a matrix, one bit each.

/// Signs in one word: as many as a panel has columns.
pub(crate) const SIGNS_PER_WORD: usize = u32::BITS as usize;

/// Signs of a matrix: bit j mod 32 of word j/32 of a row; 1 is −1.
#[derive(Clone, Copy)]
pub struct SignRows<'a> {
    /// Row after row.
    pub words: &'a [u32],
    /// Words of a row.
    pub stride: usize,
}

impl<'a> SignRows<'a> {
    /// The rows from `row` on.
    #[must_use]
    pub fn from(self, row: usize) -> Self {
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

    /// Word `index` of a row.
    #[inline(always)]
    pub(crate) fn word(self, row: usize, index: usize) -> u32 {
        self.words[row * self.stride + index]
    }

    /// Signs `16·index..16·index + 16` of a row.
    #[inline(always)]
    pub(crate) fn half_word(self, row: usize, index: usize) -> u16 {
        (self.word(row, index / 2) >> (16 * (index % 2))) as u16
    }

    /// Whether an element's sign is −1.
    #[inline(always)]
    pub fn is_negative(self, row: usize, column: usize) -> bool {
        self.word(row, column / SIGNS_PER_WORD) >> (column % SIGNS_PER_WORD) & 1 == 1
    }
}
