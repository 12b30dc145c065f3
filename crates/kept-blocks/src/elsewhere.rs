//! Where the system is not Linux: no block is large, and all are the system allocator's.

use std::ptr;
use std::time::Duration;

/// Bytes from which on a block is mapped: more than there can be.
pub const LARGE: usize = usize::MAX;
/// How long a freed block is kept, where blocks are.
pub const KEEP: Duration = Duration::from_secs(10);
/// Alignment of a mapping, in bytes.
pub(crate) const PAGE: usize = 4096;

/// A block of somebody's own.
pub(crate) struct Block {
    pub(crate) start: *mut u8,
    pub(crate) is_used: bool,
}

/// No block is that large.
pub(crate) fn take(_size: usize) -> Option<Block> {
    None
}

/// # Safety
/// No block came from `take`.
pub(crate) unsafe fn keep(_start: *mut u8, _size: usize) {}

/// # Safety
/// No block came from `take`.
pub(crate) unsafe fn resize(_start: *mut u8, _old: usize, _new: usize) -> *mut u8 {
    ptr::null_mut()
}

/// Nothing is kept.
pub fn release(_age: Duration) {}
