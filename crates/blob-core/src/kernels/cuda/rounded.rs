//! Rows that products in bf16 read: rounded once, for every layer that reads them.

use std::sync::{Arc, OnceLock};

use candle_core as candle;
use half::bf16;

use super::memory::Memory;
use super::pointwise::a_thread_per;
use super::{Array, Gpu};
use crate::Result;

/// A matrix of bf16 in row order. Copies share the memory.
#[derive(Clone)]
pub struct Rounded {
    gpu: Gpu,
    values: Arc<Memory<bf16>>,
    /// (rows, columns)
    dims: [usize; 2],
    /// The host's copy, made when first asked for.
    host: Arc<OnceLock<candle::Tensor>>,
}

impl Rounded {
    /// Values that a kernel wrote.
    pub(super) fn of_kernel(gpu: Gpu, values: impl Into<Memory<bf16>>, dims: [usize; 2]) -> Self {
        Self {
            gpu,
            values: Arc::new(values.into()),
            dims,
            host: Arc::default(),
        }
    }

    /// x, rounded.
    ///
    /// # Errors
    /// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`; the same of all functions here.
    pub(crate) fn of(x: &Array) -> Result<Self> {
        let (gpu, count, (n, k)) = (x.gpu(), x.len(), x.matrix());
        let mut values = gpu.empty(count)?;
        let kernel = gpu.kernel("pointwise", "to_bf16")?;
        let mut call = gpu.call(&kernel);
        call.arg(x.values()).arg(&mut values).arg(&count);
        gpu.run(call, a_thread_per(count))?;
        Ok(Self::of_kernel(gpu, values, [n, k]))
    }

    /// The same values in f32.
    pub(crate) fn widened(&self) -> Result<Array> {
        let (gpu, count) = (self.gpu, self.len());
        let mut values = gpu.empty(count)?;
        let kernel = gpu.kernel("pointwise", "to_f32")?;
        let mut call = gpu.call(&kernel);
        call.arg(self.values()).arg(&mut values).arg(&count);
        gpu.run(call, a_thread_per(count))?;
        Ok(Array::of_kernel(gpu, values, &self.dims))
    }

    /// The values in the host's memory, in f32; waits for them the first time.
    pub(crate) fn host(&self) -> Result<&candle::Tensor> {
        if let Some(tensor) = self.host.get() {
            return Ok(tensor);
        }
        let tensor = self.widened()?.host()?.clone();
        Ok(self.host.get_or_init(|| tensor))
    }

    /// (rows, columns)
    pub(crate) fn dims(&self) -> &[usize; 2] {
        &self.dims
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.dims[0] * self.dims[1]
    }

    /// Where they are.
    pub(crate) fn gpu(&self) -> Gpu {
        self.gpu
    }

    pub(super) fn values(&self) -> &Memory<bf16> {
        &self.values
    }
}

impl std::fmt::Debug for Rounded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} in bf16 on {:?}", self.dims, self.gpu)
    }
}
