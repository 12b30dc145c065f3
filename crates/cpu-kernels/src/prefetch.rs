//! Hints that memory will be used soon: misses are then waited for while something else is
//! computed.

#![cfg_attr(
    any(target_arch = "x86_64", target_arch = "aarch64"),
    expect(
        unsafe_code,
        reason = "prefetch instructions take raw addresses; they never fault"
    )
)]

/// Bytes of a cache line.
const LINE: usize = 64;

/// Asks for all lines of `bytes`, to be read.
#[inline(always)]
pub(crate) fn read<T>(values: &[T]) {
    let start = values.as_ptr().cast::<u8>();
    let skew = start.addr() % LINE;
    for line in (0..size_of_val(values) + skew).step_by(LINE) {
        touch::<false>(start.wrapping_add(line));
    }
}

/// Asks for a row of a matrix with `width` columns, if there is such a row.
#[inline(always)]
pub(crate) fn row<T>(values: &[T], index: usize, width: usize) {
    if let Some(row) = values.get(index * width..(index + 1) * width) {
        read(row);
    }
}

/// Asks for the 128 bytes at `place`, to be written; any address is fine.
#[inline(always)]
pub(crate) fn write<T>(place: *const T) {
    touch::<true>(place.cast());
    touch::<true>(place.cast::<u8>().wrapping_add(LINE));
}

#[inline(always)]
fn touch<const WRITE: bool>(place: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_ET0, _MM_HINT_T0, _mm_prefetch};

        let place = place.cast();
        // SAFETY: a prefetch never faults, and every x86-64 processor has it or passes over it.
        unsafe {
            if WRITE {
                _mm_prefetch::<_MM_HINT_ET0>(place);
            } else {
                _mm_prefetch::<_MM_HINT_T0>(place);
            }
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        use std::arch::asm;

        let place = place.addr();
        // SAFETY: a prefetch never faults, and changes nothing that a program sees.
        unsafe {
            if WRITE {
                asm!(
                    "prfm pstl1keep, [{}]",
                    in(reg) place,
                    options(nomem, nostack, preserves_flags)
                );
            } else {
                asm!(
                    "prfm pldl1keep, [{}]",
                    in(reg) place,
                    options(nomem, nostack, preserves_flags)
                );
            }
        }
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = place;
}
