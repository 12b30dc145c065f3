//! One matrix, written by several threads.
#![expect(
    unsafe_code,
    reason = "rectangles of a row-major matrix cannot be split into slices cheaply"
)]

use std::marker::PhantomData;
use std::ops::Range;

use crate::kernels::cpu::prefetch;

/// A row-major matrix whose rectangles belong to different threads.
pub(super) struct Out<'o> {
    values: *mut f32,
    length: usize,
    cols: usize,
    owner: PhantomData<&'o mut [f32]>,
}

// SAFETY: threads write rectangles that do not overlap (`piece`).
unsafe impl Sync for Out<'_> {}

impl<'o> Out<'o> {
    pub(super) fn new(values: &'o mut [f32], cols: usize) -> Self {
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
    pub(super) unsafe fn piece(&self, row: usize, columns: Range<usize>) -> &mut [f32] {
        let from = row * self.cols + columns.start;
        assert!(columns.end <= self.cols && from + columns.len() <= self.length);
        // SAFETY: the range lies in the matrix, which this value borrows mutably; the caller makes sure
        // that nobody else holds it.
        unsafe { std::slice::from_raw_parts_mut(self.values.add(from), columns.len()) }
    }
}
