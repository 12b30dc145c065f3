//! Who has how much of a GPU's memory: arrays from the arena, weights from the driver.

use std::sync::{MutexGuard, PoisonError};

use cudarc::driver::{DriverError, result, sys};

use super::Gpu;
use super::arena::{Arena, rounded};
use super::memory::{Memory, Number, Source};
use super::node::Node;
use super::unwritten::Unwritten;
use crate::Result;

/// A slab of the arena's is this share of a GPU's memory, where no array asks for more.
const SLABS: usize = 256;

/// What is given to whom.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    arena: Arena,
    /// Bytes of a slab of the arena's, at least; 0: every array is the driver's.
    slab: usize,
    /// Bytes that are not the arena's.
    lasting: usize,
    /// The most bytes that were used at once.
    most: usize,
}

type DriverResult<T> = std::result::Result<T, DriverError>;

impl Accounts {
    /// Of a GPU with so much memory. `BPEFT_CUDA_ARENA=0` is for tools that watch who reads and
    /// writes beyond an array: they know the driver's alone.
    pub(super) fn new(total: usize) -> Self {
        let is_off = std::env::var("BPEFT_CUDA_ARENA").is_ok_and(|value| value == "0");
        Self {
            slab: if is_off { 0 } else { rounded(total / SLABS) },
            ..Self::default()
        }
    }

    /// The most bytes that were used at once.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Bytes that the driver gave, and that nobody has.
    pub(super) fn free(&self) -> usize {
        self.arena.free()
    }

    /// An address of the arena's, where it has one.
    fn take(&mut self, bytes: usize) -> Option<u64> {
        let address = self.arena.take(bytes);
        self.note();
        address
    }

    /// The same, of a new slab.
    fn take_of_driver(&mut self, gpu: Gpu, bytes: usize) -> DriverResult<u64> {
        self.grow(gpu, rounded(bytes))?;
        let taken = self.take(bytes);
        taken.ok_or(DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY))
    }

    /// Asks for a slab, and for no more than is needed where memory is short.
    fn grow(&mut self, gpu: Gpu, bytes: usize) -> DriverResult<()> {
        let slab = self.slab.max(bytes);
        if let Ok(address) = gpu.of_driver(slab) {
            self.arena.add(address, slab);
            return Ok(());
        }
        self.part_with_unused(gpu)?;
        self.arena.add(gpu.of_driver(bytes)?, bytes);
        Ok(())
    }

    /// An address of the driver's.
    fn take_lasting(&mut self, gpu: Gpu, bytes: usize) -> DriverResult<u64> {
        let address = if let Ok(address) = gpu.of_driver(bytes) {
            address
        } else {
            self.part_with_unused(gpu)?;
            gpu.of_driver(bytes)?
        };
        self.lasting += bytes;
        self.note();
        Ok(address)
    }

    /// Whether slabs of which nothing is used should go: nothing is left.
    fn are_closed(&self) -> bool {
        self.lasting + self.arena.used() == 0
    }

    fn part_with_unused(&mut self, gpu: Gpu) -> DriverResult<()> {
        let unused = self.arena.unused();
        unused.into_iter().try_for_each(|address| {
            // SAFETY: a slab that the driver gave, of which no array has a part.
            unsafe { gpu.to_driver(address) }
        })
    }

    fn note(&mut self) {
        self.most = self.most.max(self.lasting + self.arena.used());
    }
}

impl Gpu {
    /// Memory for values that are written next.
    pub(crate) fn empty<T: Number>(self, len: usize) -> Result<Unwritten<T>> {
        Ok(Unwritten::new(self.taken(len)?))
    }

    /// The arena's memory, whatever lies there.
    pub(super) fn taken<T: Number>(self, len: usize) -> Result<Memory<T>> {
        let bytes = size_of::<T>() * len.max(1);
        let mut accounts = self.accounts();
        if accounts.slab == 0 {
            drop(accounts);
            return self.lasting(len);
        }
        let found = accounts.take(bytes);
        drop(accounts);
        let address = if let Some(address) = found {
            address
        } else {
            let mut accounts = self.accounts();
            let (ended, _stage) = self.end_list(); // it may use a slab that goes
            let taken = accounts.take_of_driver(self, bytes);
            drop(accounts);
            ended?;
            taken.map_err(|error| self.not_given(error, bytes))?
        };
        // SAFETY: the arena took these bytes out of what is free.
        Ok(unsafe { Memory::given(self, address, len, Source::Arena) })
    }

    /// Zeros.
    pub(super) fn zeros<T: Number>(self, len: usize) -> Result<Memory<T>> {
        let mut memory = self.empty::<T>(len)?;
        let bytes = size_of::<T>() * len.max(1);
        let address = memory.address();
        // SAFETY: the memory has as many bytes, and nobody else has it.
        unsafe { self.ask(Node::Zeros { address, bytes }) }?;
        Ok(memory.written())
    }

    /// A copy of values that stay as long as their model.
    pub(super) fn keep<T: Number>(self, values: &[T]) -> Result<Memory<T>> {
        let memory = Unwritten::new(self.lasting(values.len())?);
        let memory = self.write(values, memory)?;
        self.synchronize()?; // the caller drops what was copied
        Ok(memory)
    }

    fn lasting<T: Number>(self, len: usize) -> Result<Memory<T>> {
        let bytes = size_of::<T>() * len.max(1);
        let mut accounts = self.accounts();
        let (ended, _stage) = self.end_list();
        let address = accounts.take_lasting(self, bytes);
        drop(accounts);
        ended?;
        let address = address.map_err(|error| self.not_given(error, bytes))?;
        // SAFETY: the driver has just given these bytes.
        Ok(unsafe { Memory::given(self, address, len, Source::Driver) })
    }

    /// Frees memory behind all that was asked so far. Slabs of which nothing is used go when a
    /// weight goes, or when nothing is left.
    ///
    /// # Safety
    /// The source gave as many bytes at the address, and nobody asks for anything there any more.
    pub(super) unsafe fn give_back(self, address: u64, bytes: usize, source: &Source) {
        let is_closed = match source {
            Source::Stage(_) => return, // the whole of it has an owner
            Source::Arena => {
                let mut accounts = self.accounts();
                accounts.arena.give_back(address, bytes);
                accounts.are_closed()
            }
            Source::Driver => {
                let mut accounts = self.accounts();
                let _stage = self.end_list_silently();
                accounts.lasting -= bytes;
                // SAFETY: the caller's promise, and the list that may have used it is ended.
                let _ = unsafe { self.to_driver(address) }; // a GPU that is lost has no memory
                let _ = accounts.part_with_unused(self);
                let are_closed = accounts.are_closed();
                drop(accounts);
                are_closed
            }
        };
        if is_closed {
            self.forget_graphs();
            let mut accounts = self.accounts();
            let _stage = self.end_list_silently();
            let _ = accounts.part_with_unused(self);
            drop(accounts);
        }
    }

    pub(super) fn of_driver(self, bytes: usize) -> DriverResult<u64> {
        let stream = self.stream();
        stream.context().bind_to_thread()?;
        self.counted().allocations += 1;
        // SAFETY: what it gives is used by that stream alone, and written before it is read.
        unsafe {
            if stream.context().has_async_alloc() {
                result::malloc_async(stream.cu_stream(), bytes)
            } else {
                result::malloc_sync(bytes)
            }
        }
    }

    /// # Safety
    /// The driver gave it, nobody has it any more, and all work on it was asked of the GPU's
    /// stream.
    unsafe fn to_driver(self, address: u64) -> DriverResult<()> {
        let stream = self.stream();
        stream.context().bind_to_thread()?;
        self.counted().allocations += 1;
        // SAFETY: the caller's promise.
        unsafe {
            if stream.context().has_async_alloc() {
                result::free_async(address, stream.cu_stream())
            } else {
                stream.synchronize()?;
                result::free_sync(address)
            }
        }
    }

    pub(super) fn accounts(self) -> MutexGuard<'static, Accounts> {
        let accounts = self.accounts_of_context();
        accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
