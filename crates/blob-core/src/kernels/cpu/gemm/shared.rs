//! One matrix, written by several threads.
#![expect(
    unsafe_code,
    reason = "rectangles of a row-major matrix cannot be split into slices cheaply"
)]

use std::marker::PhantomData;
use std::ops::Range;

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
        prefetch::<true>(self.values.wrapping_add(row * self.cols + column));
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

/// Asks for the 128 bytes at `place` to be brought close, to be read or to be written; any address is fine.
#[inline(always)]
pub(super) fn prefetch<const WRITE: bool>(place: *const f32) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_ET0, _MM_HINT_T0, _mm_prefetch};

        for line in [0, 16] {
            let place = place.wrapping_add(line).cast();
            // SAFETY: a prefetch never faults, and every x86-64 processor has it or passes over it.
            unsafe {
                if WRITE {
                    _mm_prefetch::<_MM_HINT_ET0>(place);
                } else {
                    _mm_prefetch::<_MM_HINT_T0>(place);
                }
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
