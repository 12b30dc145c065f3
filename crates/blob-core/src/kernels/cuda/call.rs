//! A launch with its arguments.

use std::ffi::c_void;

use cudarc::driver::{DeviceRepr, DriverError, LaunchConfig, result, sys};

use super::memory::{Memory, View, ViewMut};

/// A kernel of a loaded file, for the life of the process.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Kernel(pub(super) sys::CUfunction);

// SAFETY: the driver takes a function's handle from any thread.
unsafe impl Send for Kernel {}

/// A kernel and its arguments, in its order.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Call {
    kernel: Kernel,
    /// The arguments' bytes; each begins a word.
    words: Vec<u64>,
    /// Where each begins.
    starts: Vec<usize>,
}

impl Call {
    pub(super) fn new(kernel: Kernel) -> Self {
        Self {
            kernel,
            words: Vec::with_capacity(24),
            starts: Vec::with_capacity(16),
        }
    }

    /// The next argument.
    pub(super) fn arg(&mut self, argument: impl Argument) -> &mut Self {
        self.starts.push(self.words.len());
        argument.write(&mut self.words);
        self
    }

    /// Launches it.
    ///
    /// # Safety
    /// The kernel has these parameters and that shape, and stays within what they point to.
    pub(super) unsafe fn launch(
        &self,
        stream: sys::CUstream,
        shape: LaunchConfig,
    ) -> Result<(), DriverError> {
        let first = self.words.as_ptr().cast_mut(); // the driver only reads
        let starts = self.starts.iter();
        // SAFETY: each start is that of an argument.
        let parameters = starts.map(|&start| unsafe { first.add(start) }.cast::<c_void>());
        let mut parameters: Vec<_> = parameters.collect();
        // SAFETY: the caller's; the driver copies the arguments before it returns.
        unsafe {
            result::launch_kernel(
                self.kernel.0,
                shape.grid_dim,
                shape.block_dim,
                shape.shared_mem_bytes,
                stream,
                &mut parameters,
            )
        }
    }
}

/// What a kernel is given.
pub(super) trait Argument {
    /// Writes its bytes, filled up to words.
    fn write(self, words: &mut Vec<u64>);
}

/// Plain words by value: numbers, and structures without gaps.
impl<T: DeviceRepr> Argument for &T {
    fn write(self, words: &mut Vec<u64>) {
        let start = words.len();
        words.resize(start + size_of::<T>().div_ceil(size_of::<u64>()), 0);
        let to: *mut u64 = &raw mut words[start];
        // SAFETY: the words hold as many bytes, and no type here is aligned to more than a word.
        unsafe { to.cast::<T>().copy_from_nonoverlapping(self, 1) }
    }
}

impl<T> Argument for &Memory<T> {
    fn write(self, words: &mut Vec<u64>) {
        words.push(self.address());
    }
}

impl<T> Argument for &mut Memory<T> {
    fn write(self, words: &mut Vec<u64>) {
        words.push(self.address());
    }
}

impl<T> Argument for &View<'_, T> {
    fn write(self, words: &mut Vec<u64>) {
        words.push(self.address);
    }
}

impl<T> Argument for &mut ViewMut<'_, T> {
    fn write(self, words: &mut Vec<u64>) {
        words.push(self.address);
    }
}
