//! Mapped blocks, and lists of the freed ones by size.

use std::hint;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::Duration;

/// Bytes from which on a block is mapped; smaller ones are the system allocator's.
pub const LARGE: usize = 256 << 10;
/// How long a freed block is kept: longer than any step, short enough for a service that has
/// answered one large request.
pub const KEEP: Duration = Duration::from_secs(10);
/// Alignment of a mapping, in bytes.
pub(crate) const PAGE: usize = 4096;
/// Bytes of a huge page, which a block that is as large begins with.
pub(crate) const HUGE_PAGE: usize = 2 << 20;
/// Milliseconds between two searches for blocks that were kept long enough.
const SWEEP: u64 = 1000;
/// Attempts to get hold of the lists before they are passed by.
const ATTEMPTS: usize = 10_000;
/// Eight for each power of two.
const CLASSES: usize = 8 * usize::BITS as usize;

/// A block of somebody's own.
pub(crate) struct Block {
    pub(crate) start: *mut u8,
    /// It was somebody's before, and holds anything; otherwise it holds zeros.
    pub(crate) is_used: bool,
}

/// What a kept block holds in its first bytes.
struct Kept {
    next: Next,
    /// When it was freed.
    since: u64,
}

type Next = Option<NonNull<Kept>>;

/// Kept blocks by class, the latest first.
struct Lists {
    heads: [Next; CLASSES],
    swept: u64,
}

// SAFETY: the blocks of the lists are nobody else's.
unsafe impl Send for Lists {}

static LISTS: Mutex<Lists> = Mutex::new(Lists {
    heads: [None; CLASSES],
    swept: 0,
});

/// The class of a size: a block is at most an eighth larger than what was asked for, and pages that
/// nobody touches cost nothing.
fn class(size: usize) -> usize {
    let step = size.ilog2() - 3;
    8 * step as usize + size.div_ceil(1 << step) - 8
}

/// Bytes of a class's blocks.
fn bytes(class: usize) -> usize {
    (class % 8 + 8) << (class / 8)
}

/// The lists, or `None` where another thread does not let go of them: in a child that was forked
/// while a thread of the parent had them, nobody ever will.
fn lists() -> Option<MutexGuard<'static, Lists>> {
    for _ in 0..ATTEMPTS {
        match LISTS.try_lock() {
            Ok(lists) => return Some(lists),
            Err(TryLockError::Poisoned(lists)) => return Some(lists.into_inner()),
            Err(TryLockError::WouldBlock) => hint::spin_loop(),
        }
    }
    None
}

/// Milliseconds of a clock that costs no system call.
fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes the time to where it is told.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1000 + time.tv_nsec.cast_unsigned() / 1_000_000
}

/// A kept block of a class, which is the caller's now.
fn kept(class: usize) -> Option<*mut u8> {
    let kept = lists()?.pop(class)?;
    Some(kept.as_ptr().cast())
}

/// A block of at least `size` bytes; `None` where the system has no memory left.
pub(crate) fn take(size: usize) -> Option<Block> {
    let class = class(size);
    if let Some(start) = kept(class) {
        return Some(Block {
            start,
            is_used: true,
        });
    }
    let start = map(bytes(class)).or_else(|| {
        release(Duration::ZERO);
        map(bytes(class))
    })?;
    Some(Block {
        start,
        is_used: false,
    })
}

/// Keeps a block for whoever asks for its class next.
///
/// # Safety
/// It came from `take` or `resize` with that size, and nobody uses it any more.
pub(crate) unsafe fn keep(start: *mut u8, size: usize) {
    let (class, since) = (class(size), now());
    let Some(mut lists) = lists() else {
        // SAFETY: the mapping is ours and that long.
        unsafe { unmap(start.cast(), class) };
        return;
    };
    // SAFETY: a mapping is aligned to a page, longer than a `Kept`, and nobody's now.
    unsafe { lists.push(class, start.cast(), since) };
    let old = (since.saturating_sub(lists.swept) >= SWEEP).then(|| {
        lists.swept = since;
        lists.cut(since.saturating_sub(KEEP.as_millis() as u64))
    });
    drop(lists);
    old.iter().for_each(unmap_lists);
}

/// The block with another size; null where the system has no memory left. A kept block of that
/// size is copied into, or what grows in each step would map new pages in each. Where none is kept,
/// the pages are moved without a copy.
///
/// # Safety
/// It came from `take` or `resize` with size `old`.
pub(crate) unsafe fn resize(start: *mut u8, old: usize, new: usize) -> *mut u8 {
    let class_of_new = class(new);
    if class(old) == class_of_new {
        return start;
    }
    if let Some(other) = kept(class_of_new) {
        // SAFETY: both blocks have that many bytes, and the other one was nobody's; then the old
        // one is.
        unsafe {
            other.copy_from_nonoverlapping(start, old.min(new));
            keep(start, old);
        }
        return other;
    }
    let (old, new) = (bytes(class(old)), bytes(class_of_new));
    // SAFETY: the mapping is ours and `old` bytes long.
    let moved = unsafe { libc::mremap(start.cast(), old, new, libc::MREMAP_MAYMOVE) };
    if moved == libc::MAP_FAILED {
        return ptr::null_mut();
    }
    moved.cast()
}

/// Gives the blocks that were freed at least `age` ago back to the system.
pub fn release(age: Duration) {
    let before = now().saturating_sub(age.as_millis() as u64);
    let old = lists().map(|mut lists| lists.cut(before));
    old.iter().for_each(unmap_lists);
}

impl Lists {
    fn pop(&mut self, class: usize) -> Next {
        let kept = self.heads[class]?;
        // SAFETY: a block of a list begins with a `Kept`.
        self.heads[class] = unsafe { kept.as_ref() }.next;
        Some(kept)
    }

    /// # Safety
    /// `kept` is a block of that class, and nobody's.
    unsafe fn push(&mut self, class: usize, kept: *mut Kept, since: u64) {
        let next = self.heads[class];
        // SAFETY: the caller's promise.
        unsafe { kept.write(Kept { next, since }) };
        self.heads[class] = NonNull::new(kept);
    }

    /// Takes out what was freed at `time` or before.
    fn cut(&mut self, time: u64) -> [Next; CLASSES] {
        self.heads.each_mut().map(|mut link| {
            // The latest first: from the first old block on, all are old.
            while let Some(mut kept) = *link {
                // SAFETY: a block of a list begins with a `Kept`, which only the list refers to.
                let kept = unsafe { kept.as_mut() };
                if kept.since <= time {
                    break;
                }
                link = &mut kept.next;
            }
            link.take()
        })
    }
}

fn unmap_lists(heads: &[Next; CLASSES]) {
    for (class, &head) in heads.iter().enumerate() {
        let mut link = head;
        while let Some(kept) = link {
            // SAFETY: a block of a list begins with a `Kept`; out of the list it is nobody's.
            unsafe {
                link = kept.as_ref().next;
                unmap(kept.as_ptr(), class);
            }
        }
    }
}

/// A block that is as large as a huge page begins with one, where the system grants them on
/// request: a step walks through more memory than the processor remembers small pages of.
fn map(bytes: usize) -> Option<*mut u8> {
    if bytes < HUGE_PAGE {
        return map_pages(bytes);
    }
    let reserved = bytes.checked_add(HUGE_PAGE - PAGE)?;
    let first = map_pages(reserved)?;
    let before = first.addr().next_multiple_of(HUGE_PAGE) - first.addr();
    let start = first.wrapping_add(before);
    let end = start.wrapping_add(bytes);
    // SAFETY: both lie at the ends of the new mapping, outside the block, and are nobody's. The
    // advice changes no byte; where it is refused, the block has small pages.
    unsafe {
        if before > 0 {
            libc::munmap(first.cast(), before);
        }
        if reserved > before + bytes {
            libc::munmap(end.cast(), reserved - before - bytes);
        }
        libc::madvise(start.cast(), bytes, libc::MADV_HUGEPAGE);
    }
    Some(start)
}

fn map_pages(bytes: usize) -> Option<*mut u8> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping touches nothing that exists.
    let start = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
    (start != libc::MAP_FAILED).then_some(start.cast())
}

/// # Safety
/// A mapping of that class, and nobody's.
unsafe fn unmap(start: *mut Kept, class: usize) {
    // SAFETY: the caller's promise. What a failure leaves is mapped for good, and harmless.
    unsafe { libc::munmap(start.cast(), bytes(class)) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_its_sizes_and_wastes_at_most_an_eighth() {
        for size in (LARGE..64 * LARGE)
            .step_by(4093)
            .chain([1 << 40, isize::MAX as usize])
        {
            let class = class(size);
            assert!(bytes(class) >= size, "{size}");
            assert!(bytes(class) - size < size.div_ceil(8), "{size}");
            assert!(bytes(class).is_multiple_of(PAGE), "{size}");
            assert!(bytes(class - 1) < size, "{size}");
        }
    }

    #[test]
    fn cuts_what_is_old_and_leaves_what_is_not() {
        let mut lists = Lists {
            heads: [None; CLASSES],
            swept: 0,
        };
        let class = class(LARGE);
        let blocks: Vec<_> = (0..3)
            .map(|since| {
                let start = map(bytes(class)).unwrap();
                // SAFETY: a fresh mapping of that class.
                unsafe { lists.push(class, start.cast(), since) };
                start
            })
            .collect();
        let old = lists.cut(1);
        assert_eq!(
            old[class].map(NonNull::as_ptr),
            Some(blocks[1].cast()),
            "the second, and the first behind it"
        );
        unmap_lists(&old);
        assert_eq!(
            lists.pop(class).map(NonNull::as_ptr),
            Some(blocks[2].cast())
        );
        assert!(lists.pop(class).is_none());
        // SAFETY: popped, so nobody's.
        unsafe { unmap(blocks[2].cast(), class) };
    }
}
