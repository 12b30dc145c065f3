//! Values in a GPU's memory, and their way there and back.

use std::sync::{Arc, OnceLock};

use candle_core as candle;
use cudarc::driver::{DeviceRepr, result};

use super::Gpu;
use super::memory::{Memory, Number};
use super::node::Node;
use super::unwritten::Unwritten;
use crate::{Error, Result};

/// An array of `f32` in row order. Copies share the memory; who changes one changes no other.
#[derive(Clone)]
pub struct Array {
    gpu: Gpu,
    values: Arc<Memory<f32>>,
    dims: Vec<usize>,
    /// The host's copy, made when first asked for.
    host: Arc<OnceLock<candle::Tensor>>,
}

impl Array {
    /// Values that a kernel wrote.
    pub(crate) fn of_kernel(gpu: Gpu, values: impl Into<Memory<f32>>, dims: &[usize]) -> Self {
        Self {
            gpu,
            values: Arc::new(values.into()),
            dims: dims.to_vec(),
            host: Arc::default(),
        }
    }

    /// A vector of zeros.
    ///
    /// # Errors
    /// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`.
    pub(crate) fn zeros(gpu: Gpu, len: usize) -> Result<Self> {
        Ok(Self::of_kernel(gpu, gpu.zeros(len)?, &[len]))
    }

    /// A copy of the host's values, as a vector.
    ///
    /// # Errors
    /// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`.
    pub(crate) fn of_values(gpu: Gpu, values: &[f32]) -> Result<Self> {
        Ok(Self::of_kernel(gpu, gpu.upload(values)?, &[values.len()]))
    }

    /// A copy of the host's tensor.
    ///
    /// # Errors
    /// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`.
    pub(crate) fn of_host(gpu: Gpu, tensor: &candle::Tensor) -> Result<Self> {
        let values: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
        let array = Self::of_kernel(gpu, gpu.upload(&values)?, tensor.dims());
        Ok(Self {
            host: Arc::new(OnceLock::from(tensor.clone())),
            ..array
        })
    }

    /// The values in the host's memory; waits for them the first time.
    ///
    /// # Errors
    /// `BPEFT_DEVICE` when what makes them failed.
    pub(crate) fn host(&self) -> Result<&candle::Tensor> {
        if let Some(tensor) = self.host.get() {
            return Ok(tensor);
        }
        let tensor = candle::Tensor::from_vec(self.read()?, self.dims(), &candle::Device::Cpu)?;
        Ok(self.host.get_or_init(|| tensor))
    }

    /// A copy of the values; waits for them.
    ///
    /// # Errors
    /// As [`Self::host`].
    pub(crate) fn read(&self) -> Result<Vec<f32>> {
        let mut values = self.gpu.download(&self.values)?;
        values.truncate(self.len());
        Ok(values)
    }

    /// Sizes, outermost first.
    pub(crate) fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// (rows, columns), where everything behind the first axis is a column.
    pub(super) fn matrix(&self) -> (usize, usize) {
        let rows = self.dims.first().copied().unwrap_or(1);
        (rows, self.len() / rows.max(1))
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// The same values in another shape of as many.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when it is not.
    pub(crate) fn reshape(&self, dims: &[usize]) -> Result<Self> {
        if dims.iter().product::<usize>() != self.len() {
            return Err(Error::InvalidInput(format!(
                "a shape must hold {} values, got {dims:?}",
                self.len()
            )));
        }
        Ok(Self {
            gpu: self.gpu,
            values: Arc::clone(&self.values),
            dims: dims.to_vec(),
            host: Arc::default(),
        })
    }

    /// Where they are.
    pub(crate) fn gpu(&self) -> Gpu {
        self.gpu
    }

    pub(super) fn values(&self) -> &Memory<f32> {
        &self.values
    }

    /// The values, to be changed.
    ///
    /// # Errors
    /// As [`Self::zeros`].
    pub(super) fn values_mut(&mut self) -> Result<&mut Memory<f32>> {
        self.host = Arc::default();
        if Arc::get_mut(&mut self.values).is_none() {
            self.values = Arc::new(self.gpu.copied(&self.values)?);
        }
        let own = Arc::get_mut(&mut self.values); // the copy has no other owner
        own.ok_or_else(|| Error::InvalidInput("an array must have one owner to be changed".into()))
    }

    /// The address of a value, for a kernel that changes those from it on.
    ///
    /// # Errors
    /// As [`Self::zeros`].
    pub(super) fn address_mut(&mut self, at: usize) -> Result<u64> {
        let first = self.values_mut()?.address();
        Ok(first + (at * size_of::<f32>()) as u64)
    }
}

impl std::fmt::Debug for Array {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} on {:?}", self.dims, self.gpu)
    }
}

impl Gpu {
    /// A copy of the host's values, which may be dropped: the driver takes what is pageable before
    /// it returns.
    pub(super) fn upload<T: Number>(self, values: &[T]) -> Result<Memory<T>> {
        self.write(values, self.empty(values.len())?)
    }

    /// Writes as many values as there is memory for.
    pub(super) fn write<T: Number>(self, values: &[T], mut to: Unwritten<T>) -> Result<Memory<T>> {
        assert_eq!(values.len(), to.len(), "values must fill their memory");
        self.settle()?;
        self.bind()?;
        // SAFETY: the memory holds as many values, and nobody else has it.
        unsafe { self.copy_to(to.address(), values) }?;
        Ok(to.written())
    }

    /// Copies values to an address. The GPU is the thread's.
    ///
    /// # Safety
    /// Memory of this GPU for as many values lies there, and nobody else has it.
    pub(super) unsafe fn copy_to<T: DeviceRepr>(self, to: u64, values: &[T]) -> Result<()> {
        if values.is_empty() {
            return Ok(());
        }
        // SAFETY: the caller's promise; the driver takes the host's values before it returns.
        let copied = unsafe { result::memcpy_htod_async(to, values, self.stream().cu_stream()) };
        copied.map_err(|error| self.failed(error))?;
        let mut traffic = self.counted();
        traffic.calls += 1;
        traffic.uploads += 1;
        traffic.uploaded += size_of_val(values);
        Ok(())
    }

    pub(super) fn copied(self, values: &Memory<f32>) -> Result<Memory<f32>> {
        let mut copy = self.empty(values.len())?;
        let (to, from) = (copy.address(), values.address());
        let bytes = size_of::<f32>() * values.len();
        // SAFETY: both memories hold as many bytes, and the copy is nobody else's.
        unsafe { self.ask(Node::Copy { from, to, bytes }) }?;
        Ok(copy.written())
    }

    pub(super) fn download<T: Number + Clone + Default>(
        self,
        values: &Memory<T>,
    ) -> Result<Vec<T>> {
        let mut host = vec![T::default(); values.len()];
        self.settle()?;
        self.bind()?;
        // SAFETY: both hold as many values; the host's are read behind the wait.
        let copied = unsafe {
            result::memcpy_dtoh_async(&mut host, values.address(), self.stream().cu_stream())
        };
        copied.map_err(|error| self.failed(error))?;
        self.synchronize()?;
        let mut traffic = self.counted();
        traffic.calls += 1;
        traffic.read_backs += 1;
        traffic.read_back += size_of_val(&*host);
        Ok(host)
    }
}
