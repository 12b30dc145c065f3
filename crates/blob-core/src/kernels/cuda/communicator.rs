//! NCCL: sums over the GPUs of several processes, in the order of a GPU's stream.
//!
//! The library is opened at run time, as the driver is. What rank 0 names by `UniqueId` all join;
//! who meets whom, and whether all still are there, is told by other means (`collective`).

use std::ffi::{CStr, c_char, c_int, c_void};
use std::thread;
use std::time::{Duration, Instant};

use cudarc::driver::DevicePtrMut;
use cudarc::nccl::result::{self, NcclError};
use cudarc::nccl::sys;

use super::{Array, Gpu, Tally};
use crate::{Error, Result};

/// Bytes of what rank 0 names a communicator by.
pub(crate) const UNIQUE_ID: usize = 128;

/// How long a wait asks the GPU alone, and between two looks at the other ranks.
const LOOK: Duration = Duration::from_millis(50);

/// A GPU among those of several processes.
pub(crate) struct Communicator {
    gpu: Gpu,
    handle: sys::ncclComm_t,
}

// SAFETY: NCCL takes calls for a communicator from any thread, one at a time.
unsafe impl Send for Communicator {}

impl Communicator {
    /// Whether `libnccl.so` can be opened.
    pub(crate) fn is_there() -> bool {
        // SAFETY: opening NVIDIA's library runs its initialisers, which is what they are for.
        unsafe { sys::is_culib_present() }
    }

    /// Opens it, if it is there, for the life of the process.
    pub(crate) fn open() {
        if Self::is_there() {
            // SAFETY: as above.
            unsafe { sys::culib() };
        }
    }

    /// A new name, of rank 0.
    ///
    /// # Errors
    /// `BPEFT_DEVICE`; the same of all functions here.
    pub(crate) fn unique_id(gpu: Gpu) -> Result<[u8; UNIQUE_ID]> {
        let id = result::get_uniqueid().map_err(|error| failed(gpu, &error))?;
        Ok(id.internal.map(|byte| byte.to_ne_bytes()[0]))
    }

    /// Waits until all ranks have come by that name.
    pub(crate) fn join(
        gpu: Gpu,
        id: [u8; UNIQUE_ID],
        (rank, size): (usize, usize),
    ) -> Result<Self> {
        let internal = id.map(|byte| c_char::from_ne_bytes([byte]));
        let id = sys::ncclUniqueId { internal };
        gpu.bind()?;
        let mut handle = std::ptr::null_mut();
        let [rank, size] = [rank, size].map(|count| c_int::try_from(count).unwrap_or(c_int::MAX));
        // SAFETY: NCCL writes a handle there; the GPU is the thread's.
        let joined = unsafe { result::comm_init_rank(&raw mut handle, size, id, rank) };
        joined.map_err(|error| failed(gpu, &error))?;
        Ok(Self { gpu, handle })
    }

    /// The GPU whose arrays it sums.
    pub(crate) fn gpu(&self) -> Gpu {
        self.gpu
    }

    /// Replaces values by their sums over all ranks.
    pub(crate) fn sum(&self, values: &mut Array) -> Result<()> {
        let len = values.len();
        let (address, _order) = values.values_mut()?.device_ptr_mut(self.gpu.stream());
        self.sum_at(address, len, sys::ncclDataType_t::ncclFloat32)
    }

    /// The same of a step's losses and of the rows that were right.
    pub(crate) fn sum_losses(&self, tally: &mut Tally) -> Result<()> {
        let (address, _order) = tally.sums_mut().device_ptr_mut(self.gpu.stream());
        self.sum_at(address, Tally::LOSSES, sys::ncclDataType_t::ncclFloat64)
    }

    fn sum_at(&self, address: u64, len: usize, kind: sys::ncclDataType_t) -> Result<()> {
        self.gpu.bind()?;
        let (from, to) = (address as *const c_void, address as *mut c_void);
        let (sum, stream) = (sys::ncclRedOp_t::ncclSum, self.gpu.stream().cu_stream());
        // SAFETY: the array holds as many values of that type, and its GPU's stream orders this.
        let asked =
            unsafe { result::all_reduce(from, to, len, kind, sum, self.handle, stream.cast()) };
        asked.map(drop).map_err(|error| failed(self.gpu, &error))
    }

    /// Waits for the GPU, and asks `others` now and then whether all ranks are there: a sum in
    /// which one is missing never ends.
    pub(crate) fn wait(&mut self, others: impl FnMut() -> Result<()>) -> Result<()> {
        let done = self.awaited(others);
        // What hangs ends by this, and the GPU's stream goes on.
        done.inspect_err(|_| self.give_up())
    }

    fn awaited(&self, mut others: impl FnMut() -> Result<()>) -> Result<()> {
        let of = |error| self.gpu.failed(error);
        let event = self.gpu.stream().record_event(None).map_err(of)?;
        let mut looked = Instant::now();
        while !event.try_is_complete().map_err(of)? {
            if looked.elapsed() > LOOK {
                others()?;
                self.check()?;
                looked = Instant::now();
            }
            thread::yield_now();
        }
        self.check()
    }

    /// # Errors
    /// `BPEFT_DEVICE` when a sum has failed meanwhile.
    fn check(&self) -> Result<()> {
        let mut state = sys::ncclResult_t::ncclSuccess;
        // SAFETY: NCCL writes a number there.
        let asked = unsafe { sys::ncclCommGetAsyncError(self.handle, &raw mut state) };
        for code in [asked, state] {
            code.result().map_err(|error| failed(self.gpu, &error))?;
        }
        Ok(())
    }
}

impl Communicator {
    fn give_up(&mut self) {
        let handle = std::mem::replace(&mut self.handle, std::ptr::null_mut());
        if !handle.is_null() {
            // SAFETY: nobody uses the handle after this.
            let _ = unsafe { sys::ncclCommAbort(handle) };
        }
    }
}

impl Drop for Communicator {
    fn drop(&mut self) {
        self.give_up();
    }
}

fn failed(gpu: Gpu, error: &NcclError) -> Error {
    // SAFETY: NCCL answers every code with a text that stays.
    let text = unsafe { CStr::from_ptr(sys::ncclGetErrorString(error.0)) };
    Error::Device {
        device: format!("cuda:{}", gpu.ordinal()),
        what: format!("NCCL reported: {}", text.to_string_lossy()),
        hint: "NCCL_DEBUG=INFO says more; each rank needs a GPU of its own",
    }
}
