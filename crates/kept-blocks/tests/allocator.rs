//! What everybody who allocates relies on, and what the engine does beyond that.

#![cfg(target_os = "linux")]
#![expect(unsafe_code, reason = "calls an allocator")]
#![expect(clippy::unwrap_used, reason = "a test that fails there has failed")]

use std::alloc::{GlobalAlloc, Layout};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use kept_blocks::{KeptBlocks, LARGE, release};

/// The lists are the process's: a test that looks at single blocks runs alone.
static ALONE: Mutex<()> = Mutex::new(());

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 64).unwrap()
}

fn alloc(size: usize) -> *mut u8 {
    // SAFETY: the size is not zero.
    let start = unsafe { KeptBlocks.alloc(layout(size)) };
    assert!(!start.is_null());
    start
}

fn free(start: *mut u8, size: usize) {
    // SAFETY: every caller got it from `alloc` with that size.
    unsafe { KeptBlocks.dealloc(start, layout(size)) }
}

fn bytes<'a>(start: *mut u8, size: usize) -> &'a mut [u8] {
    // SAFETY: every caller owns that many bytes, and has written them.
    unsafe { std::slice::from_raw_parts_mut(start, size) }
}

/// Bytes of the process that lie in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn hands_a_freed_large_block_out_again_and_zeroes_it_when_asked() {
    let _alone = ALONE.lock().unwrap();
    let size = 3 * LARGE;
    let first = alloc(size);
    // SAFETY: the block has that many bytes.
    unsafe { first.write_bytes(0xAB, size) };
    free(first, size);
    // SAFETY: the size is not zero.
    let second = unsafe { KeptBlocks.alloc_zeroed(layout(size - 1)) };
    assert_eq!(first, second);
    assert!(bytes(second, size - 1).iter().all(|&byte| byte == 0));
    free(second, size - 1);
}

#[test]
fn gives_kept_blocks_back_to_the_system() {
    let _alone = ALONE.lock().unwrap();
    let size = 64 * LARGE;
    release(Duration::ZERO);
    let before = resident();
    let block = alloc(size);
    // SAFETY: the block has that many bytes.
    unsafe { block.write_bytes(1, size) };
    free(block, size);
    assert!(resident() > before + size / 2, "kept");
    release(Duration::from_hours(1));
    assert!(resident() > before + size / 2, "younger than an hour");
    release(Duration::ZERO);
    assert!(resident() < before + size / 2, "given back");
}

#[test]
fn a_block_keeps_its_bytes_when_it_grows_and_shrinks_across_the_boundary() {
    let _alone = ALONE.lock().unwrap();
    let sizes = [100, LARGE - 1, LARGE, 5 * LARGE + 7, 5 * LARGE, 40 * LARGE];
    let sizes = sizes.iter().chain([LARGE, 200].iter());
    let (mut start, mut size) = (alloc(10), 10);
    bytes(start, size).fill(7);
    for &next in sizes {
        // SAFETY: it came from this allocator with that size; the new one is not zero.
        start = unsafe { KeptBlocks.realloc(start, layout(size), next) };
        assert!(!start.is_null());
        let kept = size.min(next);
        assert!(bytes(start, kept).iter().all(|&byte| byte == 7), "{next}");
        size = next;
        // SAFETY: the block has that many bytes.
        unsafe { start.write_bytes(7, size) };
    }
    free(start, size);
}

/// As in every step: a vector that grows takes the block that the one before it grew to.
#[test]
fn what_grows_again_and_again_takes_no_more_memory_than_once() {
    let _alone = ALONE.lock().unwrap();
    let (small, large) = (2 * LARGE, 32 * LARGE);
    let grow = || {
        let start = alloc(small);
        // SAFETY: the block has that many bytes.
        unsafe { start.write_bytes(7, small) };
        // SAFETY: it came from this allocator with that size; the new one is not zero.
        let start = unsafe { KeptBlocks.realloc(start, layout(small), large) };
        assert!(bytes(start, small).iter().all(|&byte| byte == 7));
        // SAFETY: the block has that many bytes.
        unsafe { start.write_bytes(7, large) };
        free(start, large);
    };
    grow();
    let once = resident();
    for _ in 0..20 {
        grow();
    }
    assert!(resident() < once + large, "{} more", resident() - once);
}

/// Huge pages are granted to whole, aligned ranges only.
#[test]
fn a_block_as_large_as_a_huge_page_begins_with_one() {
    const HUGE_PAGE: usize = 2 << 20;
    for size in [HUGE_PAGE, HUGE_PAGE + 1, 3 * HUGE_PAGE + LARGE] {
        let blocks = [(); 3].map(|()| alloc(size));
        for start in blocks {
            assert_eq!(start.addr() % HUGE_PAGE, 0, "{size}");
            // SAFETY: the block has that many bytes.
            unsafe { start.write_bytes(1, size) };
        }
        for start in blocks {
            free(start, size);
        }
    }
}

#[test]
fn respects_alignments_beyond_a_page() {
    let layout = Layout::from_size_align(2 * LARGE, 1 << 16).unwrap();
    // SAFETY: the size is not zero, and the block goes back with the same layout.
    unsafe {
        let start = KeptBlocks.alloc(layout);
        assert_eq!(start.addr() % (1 << 16), 0);
        KeptBlocks.dealloc(start, layout);
    }
}

/// Every thread fills what it gets with a byte of its own and finds it whole before freeing it, or
/// hands it to the next thread to free.
#[test]
fn never_gives_a_block_to_two() {
    let _alone = ALONE.lock().unwrap();
    let handed: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for name in 1..=4u8 {
            let handed = &handed;
            scope.spawn(move || {
                let mut random = u64::from(name);
                for _ in 0..400 {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    let size = LARGE / 2 + (random >> 33) as usize % (4 * LARGE);
                    let start = alloc(size);
                    let ends = [0, size / 2, size - 1];
                    for at in ends {
                        // SAFETY: within the block.
                        unsafe { start.add(at).write(name) };
                    }
                    thread::yield_now();
                    for at in ends {
                        // SAFETY: within the block, and written above.
                        assert_eq!(unsafe { start.add(at).read() }, name);
                    }
                    if random.is_multiple_of(3) {
                        handed
                            .lock()
                            .unwrap()
                            .push((start.expose_provenance(), size));
                        continue;
                    }
                    free(start, size);
                    if let Some((address, size)) = handed.lock().unwrap().pop() {
                        free(std::ptr::with_exposed_provenance_mut(address), size);
                    }
                }
            });
        }
    });
    for (address, size) in handed.into_inner().unwrap() {
        free(std::ptr::with_exposed_provenance_mut(address), size);
    }
}

/// In a child that was forked while a thread had the lists, nobody lets go of them.
#[test]
fn does_not_hang_in_a_forked_child() {
    let _alone = ALONE.lock().unwrap();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let mut statuses = Vec::new();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    free(alloc(LARGE), LARGE);
                }
            });
        }
        for _ in 0..100 {
            // SAFETY: the child uses nothing but the allocator under test, and ends.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: ends a child that hangs, with a signal that nobody handles.
                unsafe { libc::alarm(2) };
                free(alloc(LARGE), LARGE);
                // SAFETY: ends the child at once.
                unsafe { libc::_exit(0) };
            }
            let mut status = -1;
            // SAFETY: waits for that child and writes how it ended.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            statuses.push(status);
            if status != 0 {
                break;
            }
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(statuses, [0; 100]);
}
