//! One matrix, written by several threads.
#![expect(
    unsafe_code,
    reason = "rectangles of a row-major matrix cannot be split into slices cheaply"
)]

use std::marker::PhantomData;
use std::ops::Range;

use super::prefetch;

/// A matrix whose rectangles belong to different threads: row-major, or in tiles of rows
/// ([`Self::tile`]).
pub(crate) struct SharedMatrix<'o, T> {
    values: *mut T,
    length: usize,
    columns: usize,
    owner: PhantomData<&'o mut [T]>,
}

// SAFETY: threads write rectangles that do not overlap (`row`, `tile`).
unsafe impl<T: Send> Sync for SharedMatrix<'_, T> {}

impl<'o, T> SharedMatrix<'o, T> {
    pub(crate) fn new(values: &'o mut [T], columns: usize) -> Self {
        Self {
            values: values.as_mut_ptr(),
            length: values.len(),
            columns,
            owner: PhantomData,
        }
    }

    /// Asks for a row's part of a panel to be brought close, since it will be written soon.
    #[inline(always)]
    pub(crate) fn prefetch(&self, row: usize, column: usize) {
        prefetch::write(self.values.wrapping_add(row * self.columns + column));
    }

    /// Some columns of a row.
    ///
    /// # Safety
    /// No other reference to these elements may exist while the result lives.
    #[inline(always)]
    #[expect(
        clippy::mut_from_ref,
        reason = "the caller vouches for disjoint pieces"
    )]
    pub(crate) unsafe fn row(&self, row: usize, columns: Range<usize>) -> &mut [T] {
        let from = row * self.columns + columns.start;
        assert!(columns.end <= self.columns && from + columns.len() <= self.length);
        // SAFETY: the range lies in the matrix, which this value borrows mutably; the caller makes
        // sure that nobody else holds it.
        unsafe { std::slice::from_raw_parts_mut(self.values.add(from), columns.len()) }
    }

    /// Some columns of the rows of a tile, where those of one column lie side by side.
    ///
    /// # Safety
    /// As for [`Self::row`].
    #[inline(always)]
    #[expect(
        clippy::mut_from_ref,
        reason = "the caller vouches for disjoint pieces"
    )]
    pub(crate) unsafe fn tile(&self, rows: Range<usize>, columns: Range<usize>) -> &mut [T] {
        let from = rows.start * self.columns + columns.start * rows.len();
        let length = columns.len() * rows.len();
        assert!(columns.end <= self.columns && from + length <= self.length);
        // SAFETY: as in `row`.
        unsafe { std::slice::from_raw_parts_mut(self.values.add(from), length) }
    }
}
