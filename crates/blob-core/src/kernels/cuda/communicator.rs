//! NCCL: sums over the GPUs of several processes, in the order of a GPU's stream.
//!
//! The library is opened at run time, as the driver is. What rank 0 names by `UniqueId` all join;
//! who meets whom, and whether all still are there, is told by other means (`collective`).

use std::ffi::{c_int, c_void};
use std::thread;
use std::time::{Duration, Instant};

use super::failure::missing;
use super::nccl::{FLOAT32, FLOAT64, Handle, Nccl, SUM, UniqueId};
use super::{Array, Gpu, Tally};
use crate::{Error, Result};

/// Bytes of what rank 0 names a communicator by.
pub(crate) const UNIQUE_ID: usize = 128;

/// How long a wait asks the GPU alone, and between two looks at the other ranks.
const LOOK: Duration = Duration::from_millis(50);

/// A GPU among those of several processes.
pub(crate) struct Communicator {
    gpu: Gpu,
    nccl: &'static Nccl,
    /// Null once it was given up.
    handle: Handle,
}

// SAFETY: NCCL takes calls for a communicator from any thread, one at a time.
unsafe impl Send for Communicator {}

impl Communicator {
    /// Whether NCCL can be opened; it then stays open.
    pub(crate) fn is_there() -> bool {
        Nccl::open().is_some()
    }

    fn library(gpu: Gpu) -> Result<&'static Nccl> {
        Nccl::open().ok_or_else(|| {
            let hint = "install NCCL, and put its folder into LD_LIBRARY_PATH";
            missing(gpu.ordinal(), "there is no libnccl.so.2", hint)
        })
    }

    /// A new name, of rank 0.
    ///
    /// # Errors
    /// `BPEFT_DEVICE`; the same of all functions here.
    pub(crate) fn unique_id(gpu: Gpu) -> Result<[u8; UNIQUE_ID]> {
        let nccl = Self::library(gpu)?;
        let mut id = UniqueId([0; UNIQUE_ID]);
        // SAFETY: NCCL writes a name there.
        let code = unsafe { (nccl.unique_id)(&raw mut id) };
        checked(gpu, nccl, code)?;
        Ok(id.0)
    }

    /// Waits until all ranks have come by that name.
    pub(crate) fn join(
        gpu: Gpu,
        id: [u8; UNIQUE_ID],
        (rank, size): (usize, usize),
    ) -> Result<Self> {
        let nccl = Self::library(gpu)?;
        gpu.bind()?;
        let mut handle = std::ptr::null_mut();
        let [rank, size] = [rank, size].map(|count| c_int::try_from(count).unwrap_or(c_int::MAX));
        // SAFETY: NCCL writes a handle there; the GPU is the thread's.
        let code = unsafe { (nccl.init_rank)(&raw mut handle, size, UniqueId(id), rank) };
        checked(gpu, nccl, code)?;
        Ok(Self { gpu, nccl, handle })
    }

    /// The GPU whose arrays it sums.
    pub(crate) fn gpu(&self) -> Gpu {
        self.gpu
    }

    /// Replaces values by their sums over all ranks.
    pub(crate) fn sum(&self, values: &mut Array) -> Result<()> {
        let len = values.len();
        let address = values.values_mut()?.address();
        // SAFETY: the array holds as many values of that type.
        unsafe { self.sum_at(address, len, FLOAT32) }
    }

    /// The same of a step's losses and of the rows that were right.
    pub(crate) fn sum_losses(&self, tally: &mut Tally) -> Result<()> {
        let address = tally.sums_mut().address();
        // SAFETY: a tally begins with as many sums in f64.
        unsafe { self.sum_at(address, Tally::LOSSES, FLOAT64) }
    }

    /// # Safety
    /// As many values of that type lie there, and the caller may change them.
    unsafe fn sum_at(&self, address: u64, len: usize, kind: c_int) -> Result<()> {
        self.gpu.settle()?;
        self.gpu.bind()?;
        let (from, to) = (address as *const c_void, address as *mut c_void);
        let stream = self.gpu.stream().cu_stream().cast();
        // SAFETY: the caller's promise; the GPU's stream orders this.
        let code = unsafe { (self.nccl.all_reduce)(from, to, len, kind, SUM, self.handle, stream) };
        checked(self.gpu, self.nccl, code)
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
        self.gpu.settle()?;
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
        let mut state = 0;
        // SAFETY: NCCL writes a number there.
        let asked = unsafe { (self.nccl.async_error)(self.handle, &raw mut state) };
        checked(self.gpu, self.nccl, asked)?;
        checked(self.gpu, self.nccl, state)
    }
}

impl Communicator {
    fn give_up(&mut self) {
        let handle = std::mem::replace(&mut self.handle, std::ptr::null_mut());
        if !handle.is_null() {
            // SAFETY: nobody uses the handle after this.
            let _ = unsafe { (self.nccl.abort)(handle) };
        }
    }
}

impl Drop for Communicator {
    fn drop(&mut self) {
        self.give_up();
    }
}

fn checked(gpu: Gpu, nccl: &Nccl, code: c_int) -> Result<()> {
    nccl.checked(code).map_err(|text| Error::Device {
        device: format!("cuda:{}", gpu.ordinal()),
        what: format!("NCCL reported: {text}"),
        hint: "NCCL_DEBUG=INFO says more; each rank needs a GPU of its own",
    })
}
