//! `libnccl`: the calls that are made of it, by address, since it is opened at run time.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

use libloading::Library;

/// As programs find it, and as packages for developers add.
const NAMES: [&str; 2] = ["libnccl.so.2", "libnccl.so"];

/// What rank 0 names a communicator by.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct UniqueId(pub(super) [u8; 128]);

/// NCCL's own pointer.
pub(super) type Handle = *mut c_void;

/// Codes of NCCL that say that nothing is wrong: success, and in progress.
const FINE: [c_int; 2] = [0, 7];

/// `ncclFloat32`, `ncclFloat64` and `ncclSum`.
pub(super) const FLOAT32: c_int = 7;
pub(super) const FLOAT64: c_int = 8;
pub(super) const SUM: c_int = 0;

type AllReduce = unsafe extern "C" fn(
    *const c_void,
    *mut c_void,
    usize,
    c_int,
    c_int,
    Handle,
    *mut c_void,
) -> c_int;

/// The library's functions.
pub(super) struct Nccl {
    pub(super) unique_id: unsafe extern "C" fn(*mut UniqueId) -> c_int,
    pub(super) init_rank: unsafe extern "C" fn(*mut Handle, c_int, UniqueId, c_int) -> c_int,
    pub(super) all_reduce: AllReduce,
    pub(super) async_error: unsafe extern "C" fn(Handle, *mut c_int) -> c_int,
    pub(super) abort: unsafe extern "C" fn(Handle) -> c_int,
    error_text: unsafe extern "C" fn(c_int) -> *const c_char,
    /// Keeps them where they are.
    _library: Library,
}

impl Nccl {
    /// The library, for the life of the process; `None` where it cannot be opened or lacks a
    /// function.
    pub(super) fn open() -> Option<&'static Self> {
        static OPEN: OnceLock<Option<Nccl>> = OnceLock::new();
        OPEN.get_or_init(|| NAMES.iter().find_map(|name| Self::of(name)))
            .as_ref()
    }

    fn of(name: &str) -> Option<Self> {
        // SAFETY: opening NVIDIA's library runs its initialisers, which is what they are for; the
        // types are those of nccl.h since 2.4.
        unsafe {
            let library = Library::new(name).ok()?;
            Some(Self {
                unique_id: *library.get(b"ncclGetUniqueId").ok()?,
                init_rank: *library.get(b"ncclCommInitRank").ok()?,
                all_reduce: *library.get(b"ncclAllReduce").ok()?,
                async_error: *library.get(b"ncclCommGetAsyncError").ok()?,
                abort: *library.get(b"ncclCommAbort").ok()?,
                error_text: *library.get(b"ncclGetErrorString").ok()?,
                _library: library,
            })
        }
    }

    /// What a call returned, in words where something is wrong.
    pub(super) fn checked(&self, code: c_int) -> std::result::Result<(), String> {
        if FINE.contains(&code) {
            return Ok(());
        }
        // SAFETY: NCCL answers every code with a text that stays.
        let text = unsafe { CStr::from_ptr((self.error_text)(code)) };
        Err(text.to_string_lossy().into_owned())
    }
}
