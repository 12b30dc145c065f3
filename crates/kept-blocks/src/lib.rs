//! The engine's allocator: the system's, except that large blocks are kept when they are freed.
//!
//! A training step frees and allocates the same hundreds of megabytes. The system's allocator gives
//! such blocks back, and the next step faults every page in again (docs/adr/0006). To tell that
//! allocator to keep them (`mallopt`) would change it for the whole process, which belongs to
//! somebody else. So large blocks are mapped here, and everything else is left to the system.
//!
//! There is no state per thread: threads may come and go, and no static TLS is taken. All of this
//! is Linux's; elsewhere every block is the system allocator's.

#![expect(unsafe_code, reason = "an allocator hands out memory")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;

#[cfg_attr(not(target_os = "linux"), path = "elsewhere.rs")]
mod blocks;

pub use blocks::{KEEP, LARGE, release};

/// The allocator, for `#[global_allocator]`.
#[derive(Debug, Clone, Copy)]
pub struct KeptBlocks;

fn is_large(size: usize, align: usize) -> bool {
    size >= LARGE && align <= blocks::PAGE
}

// SAFETY: size and alignment alone say whether a block is large; a caller gives back the same two,
// so that every block returns to where it came from.
unsafe impl GlobalAlloc for KeptBlocks {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_large(layout.size(), layout.align()) {
            return blocks::take(layout.size()).map_or(ptr::null_mut(), |block| block.start);
        }
        // SAFETY: the caller promises what `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !is_large(layout.size(), layout.align()) {
            // SAFETY: the caller promises what `System` asks for.
            return unsafe { System.alloc_zeroed(layout) };
        }
        let Some(block) = blocks::take(layout.size()) else {
            return ptr::null_mut();
        };
        if block.is_used {
            // SAFETY: the block has that many bytes, and nobody else has the block.
            unsafe { block.start.write_bytes(0, layout.size()) };
        }
        block.start
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        if is_large(layout.size(), layout.align()) {
            // SAFETY: it came from `take` or `resize` with that size, and its owner gives it up.
            unsafe { blocks::keep(start, layout.size()) };
        } else {
            // SAFETY: it came from `System` with that layout.
            unsafe { System.dealloc(start, layout) };
        }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let (old_size, align) = (layout.size(), layout.align());
        match (is_large(old_size, align), is_large(new_size, align)) {
            // SAFETY: it came from `System` with that layout.
            (false, false) => unsafe { System.realloc(start, layout, new_size) },
            // SAFETY: it came from `take` or `resize` with that size.
            (true, true) => unsafe { blocks::resize(start, old_size, new_size) },
            // SAFETY: the caller promises that the new size is allowed for this alignment; the old
            // and the new block do not overlap, and both have the bytes that are copied.
            _ => unsafe {
                let new = self.alloc(Layout::from_size_align_unchecked(new_size, align));
                if !new.is_null() {
                    new.copy_from_nonoverlapping(start, old_size.min(new_size));
                    self.dealloc(start, layout);
                }
                new
            },
        }
    }
}
