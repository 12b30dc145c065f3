//! A launch with its arguments.

use std::ffi::c_void;
use std::hash::{Hash, Hasher};

use cudarc::driver::{DeviceRepr, DriverError, LaunchConfig, result, sys};

use super::driver::driver_version;
use super::memory::{Memory, View, ViewMut};

/// Drivers of this CUDA release and later say what a kernel takes.
const TELLS_PARAMETERS: i32 = 12_040;

/// More than any kernel here takes.
const MOST_PARAMETERS: usize = 256;

/// A kernel of a loaded file, as the driver knows it, for the life of the process.
#[derive(Clone, Copy)]
pub(super) struct Function {
    pub(super) handle: sys::CUfunction,
    pub(super) name: &'static str,
    /// Bytes of each parameter, where the driver says them.
    parameters: Option<&'static [usize]>,
}

// SAFETY: the driver takes a function's handle from any thread.
unsafe impl Send for Function {}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.handle == other.handle
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.handle.hash(state);
    }
}

impl Function {
    /// Of a module that stays loaded; its GPU is the thread's.
    pub(super) fn new(handle: sys::CUfunction, name: &'static str) -> Self {
        Self {
            handle,
            name,
            parameters: parameters(handle),
        }
    }
}

/// Bytes of each parameter, where the driver says them.
fn parameters(function: sys::CUfunction) -> Option<&'static [usize]> {
    if driver_version().ok()? < TELLS_PARAMETERS {
        return None;
    }
    let sizes = told(|index| {
        let (mut offset, mut size) = (0, 0);
        // SAFETY: the function is of a module that stays loaded; the driver writes two numbers.
        let result =
            unsafe { sys::cuFuncGetParamInfo(function, index, &raw mut offset, &raw mut size) };
        result.result().map(|()| size)
    })?;
    Some(sizes.leak())
}

/// The sizes up to the first parameter that there is not. `None` where the driver does not say
/// them, for whatever reason: launches are those that other drivers have checked, and what failed
/// before is told to whoever waits.
fn told(
    mut size_of: impl FnMut(usize) -> std::result::Result<usize, DriverError>,
) -> Option<Vec<usize>> {
    let mut sizes = Vec::new();
    while sizes.len() <= MOST_PARAMETERS {
        match size_of(sizes.len()) {
            Ok(size) => sizes.push(size),
            // No more; every kernel here has some.
            Err(DriverError(sys::CUresult::CUDA_ERROR_INVALID_VALUE)) if !sizes.is_empty() => {
                return Some(sizes);
            }
            Err(_) => return None,
        }
    }
    None
}

/// A kernel and its arguments, in its order.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Call {
    function: Function,
    /// The arguments' bytes; each begins a word.
    words: Vec<u64>,
    /// Where each begins.
    starts: Vec<usize>,
    /// Whether each has as many bytes as the kernel's.
    fits: bool,
}

impl Call {
    pub(super) fn new(function: Function) -> Self {
        Self {
            function,
            words: Vec::with_capacity(24),
            starts: Vec::with_capacity(16),
            fits: true,
        }
    }

    /// The next argument.
    pub(super) fn arg<A: Argument>(&mut self, argument: A) -> &mut Self {
        if let Some(parameters) = self.function.parameters {
            self.fits &= parameters.get(self.starts.len()) == Some(&A::BYTES);
        }
        self.starts.push(self.words.len());
        argument.write(&mut self.words);
        self
    }

    pub(super) fn function(&self) -> Function {
        self.function
    }

    /// Whether these are all that the kernel takes, in number and size: the driver reads them from
    /// the host's memory by its own count.
    pub(super) fn is_whole(&self) -> bool {
        let (count, parameters) = (self.starts.len(), self.function.parameters);
        self.fits && parameters.is_none_or(|all| all.len() == count)
    }

    /// Launches it.
    ///
    /// # Safety
    /// The call is whole, and with that shape the kernel stays within what its arguments point to.
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
                self.function.handle,
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
    /// How many the kernel reads.
    const BYTES: usize;

    /// Writes its bytes, filled up to words.
    fn write(self, words: &mut Vec<u64>);
}

/// Plain words by value: numbers, and structures without gaps.
impl<T: DeviceRepr> Argument for &T {
    const BYTES: usize = size_of::<T>();

    fn write(self, words: &mut Vec<u64>) {
        let start = words.len();
        words.resize(start + size_of::<T>().div_ceil(size_of::<u64>()), 0);
        let to: *mut u64 = &raw mut words[start];
        // SAFETY: the words hold as many bytes, and no type here is aligned to more than a word.
        unsafe { to.cast::<T>().copy_from_nonoverlapping(self, 1) }
    }
}

impl<T> Argument for &Memory<T> {
    const BYTES: usize = size_of::<u64>();

    fn write(self, words: &mut Vec<u64>) {
        words.push(self.address());
    }
}

impl<T> Argument for &mut Memory<T> {
    const BYTES: usize = size_of::<u64>();

    fn write(self, words: &mut Vec<u64>) {
        words.push(self.address());
    }
}

impl<T> Argument for &View<'_, T> {
    const BYTES: usize = size_of::<u64>();

    fn write(self, words: &mut Vec<u64>) {
        words.push(self.address);
    }
}

impl<T> Argument for &mut ViewMut<'_, T> {
    const BYTES: usize = size_of::<u64>();

    fn write(self, words: &mut Vec<u64>) {
        words.push(self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_whole_with_as_many_arguments_as_its_kernel_takes_and_of_its_sizes() {
        let is_whole = |parameters, has_last: bool| {
            let mut call = Call::new(Function {
                handle: std::ptr::null_mut(),
                name: "kernel",
                parameters,
            });
            call.arg(&1_u32);
            if has_last {
                call.arg(&2_u64);
            }
            call.is_whole()
        };
        assert!(is_whole(Some(&[4, 8]), true) && is_whole(Some(&[4]), false));
        assert!(is_whole(None, true) && is_whole(None, false));
        assert!(!is_whole(Some(&[4, 8]), false) && !is_whole(Some(&[4, 8, 4]), true));
        assert!(!is_whole(Some(&[4]), true) && !is_whole(Some(&[]), false));
        assert!(!is_whole(Some(&[8, 4]), true) && !is_whole(Some(&[4, 4]), true));
    }
    #[test]
    fn sizes_are_told_up_to_the_last_parameter_or_not_at_all() {
        use sys::CUresult as R;
        let ended_by = |count: usize, code| {
            told(|index| {
                if index < count {
                    Ok(8 * index)
                } else {
                    Err(DriverError(code))
                }
            })
        };
        assert_eq!(
            ended_by(3, R::CUDA_ERROR_INVALID_VALUE),
            Some(vec![0, 8, 16])
        );
        assert_eq!(ended_by(0, R::CUDA_ERROR_INVALID_VALUE), None);
        for count in [0, 3] {
            for code in [
                R::CUDA_ERROR_NOT_SUPPORTED,
                R::CUDA_ERROR_NOT_FOUND,
                R::CUDA_ERROR_UNKNOWN,
            ] {
                assert_eq!(ended_by(count, code), None, "{count} parameters, {code:?}");
            }
        }
        assert_eq!(
            ended_by(usize::MAX, R::CUDA_ERROR_UNKNOWN),
            None,
            "without end"
        );
    }
}
