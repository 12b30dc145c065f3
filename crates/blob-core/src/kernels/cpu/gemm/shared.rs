//! One matrix, written by several threads.
#![expect(
    unsafe_code,
    reason = "rectangles of a row-major matrix cannot be split into slices cheaply"
)]

use std::marker::PhantomData;
use std::ops::Range;

use crate::kernels::cpu::prefetch;

/// A matrix whose rectangles belong to different threads: row-major, or in tiles of rows (`block`).
pub(super) struct Out<'o, T = f32> {
    values: *mut T,
    length: usize,
    cols: usize,
    owner: PhantomData<&'o mut [T]>,
}

// SAFETY: threads write rectangles that do not overlap (`piece`, `block`).
unsafe impl<T: Send> Sync for Out<'_, T> {}

impl<'o, T> Out<'o, T> {
    pub(super) fn new(values: &'o mut [T], cols: usize) -> Self {
        Self {
            values: values.as_mut_ptr(),
            length: values.len(),
            cols,
            owner: PhantomData,
        }
    }

    /// Asks for a row's part of a panel to be brought close, since it will be written soon.
    #[inline(always)]
    pub(super) fn prefetch(&self, row: usize, column: usize) {
        prefetch::write(self.values.wrapping_add(row * self.cols + column));
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
    pub(super) unsafe fn piece(&self, row: usize, columns: Range<usize>) -> &mut [T] {
        let from = row * self.cols + columns.start;
        assert!(columns.end <= self.cols && from + columns.len() <= self.length);
        // SAFETY: the range lies in the matrix, which this value borrows mutably; the caller makes sure
        // that nobody else holds it.
        unsafe { std::slice::from_raw_parts_mut(self.values.add(from), columns.len()) }
    }

    /// Some columns of the rows of a tile, where those of one column lie side by side.
    ///
    /// # Safety
    /// As for [`Self::piece`].
    #[inline(always)]
    #[expect(
        clippy::mut_from_ref,
        reason = "the caller vouches for disjoint pieces"
    )]
    pub(super) unsafe fn block(&self, rows: Range<usize>, columns: Range<usize>) -> &mut [T] {
        let from = rows.start * self.cols + columns.start * rows.len();
        let length = columns.len() * rows.len();
        assert!(columns.end <= self.cols && from + length <= self.length);
        // SAFETY: as in `piece`.
        unsafe { std::slice::from_raw_parts_mut(self.values.add(from), length) }
    }
}
