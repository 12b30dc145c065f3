//! The addon's allocator: freed pages are kept for a while.
//!
//! A training step frees and allocates the same hundreds of megabytes; giving them back and faulting them in anew costs
//! as much as a tenth of the step.

use std::ffi::{c_int, c_long};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc.h, in milliseconds.
const PURGE_DELAY: c_int = 15;
/// Long enough for any step, short enough for a service that has had one large request.
const KEEP_MS: c_long = 10_000;

/// Sets how long freed pages are kept, unless `MIMALLOC_PURGE_DELAY` says.
#[napi_derive::module_init]
fn keep_freed_pages() {
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none_or(|value| value.is_empty()) {
        // SAFETY: sets a number in a table of the allocator; any value is allowed.
        unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, KEEP_MS) };
    }
}
