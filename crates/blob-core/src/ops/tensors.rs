//! What operations hand on, and the border between it and the CPU kernels' slices.

use std::ops::Deref;

use candle_core::{self as candle, CpuStorage, Shape, Storage};

#[cfg(feature = "cuda")]
use crate::kernels::cuda::{Array, Gpu, Rounded};
use crate::{Error, Result};

/// An array of `f32` values in row order, where its device keeps it. It never changes.
///
/// What runs on the host sees it as a tensor of candle's.
#[derive(Debug, Clone)]
pub struct Tensor(Place);

#[derive(Debug, Clone)]
enum Place {
    Host(candle::Tensor),
    #[cfg(feature = "cuda")]
    Cuda(Array),
    /// Rounded for products in bf16.
    #[cfg(feature = "cuda")]
    Rounded(Rounded),
}

impl Tensor {
    /// A vector in the host's memory.
    ///
    /// # Errors
    /// `BPEFT_INTERNAL`, which nothing is known to cause.
    pub fn vector(values: Vec<f32>) -> Result<Self> {
        let count = values.len();
        wrap(values, count)
    }

    /// Sizes, outermost first.
    pub fn dims(&self) -> &[usize] {
        match &self.0 {
            Place::Host(values) => values.dims(),
            #[cfg(feature = "cuda")]
            Place::Cuda(array) => array.dims(),
            #[cfg(feature = "cuda")]
            Place::Rounded(rows) => rows.dims(),
        }
    }

    /// The size of an axis.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when there is no such axis.
    pub fn dim(&self, axis: usize) -> Result<usize> {
        self.dims().get(axis).copied().ok_or_else(|| {
            let dims = self.dims();
            Error::InvalidInput(format!("axis {axis} must be one of {dims:?}"))
        })
    }

    /// (rows, columns) of a matrix.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when it is none.
    pub fn dims2(&self) -> Result<(usize, usize)> {
        match *self.dims() {
            [rows, columns] => Ok((rows, columns)),
            ref dims => Err(Error::InvalidInput(format!(
                "a tensor must be a matrix, got shape {dims:?}"
            ))),
        }
    }

    /// The same values in another shape.
    ///
    /// # Errors
    /// `BPEFT_INTERNAL` when it holds another number of them.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Self> {
        match &self.0 {
            Place::Host(values) => Ok(values.reshape(shape.into())?.into()),
            #[cfg(feature = "cuda")]
            Place::Cuda(array) => Ok(array.reshape(shape.into().dims())?.into()),
            #[cfg(feature = "cuda")]
            Place::Rounded(rows) => {
                let wide = rows.widened()?;
                Ok(wide.reshape(shape.into().dims())?.into())
            }
        }
    }

    /// The values in the host's memory.
    #[cfg_attr(
        not(feature = "cuda"),
        expect(
            clippy::unnecessary_wraps,
            reason = "of a GPU it is a copy, which can fail"
        )
    )]
    pub(crate) fn host(&self) -> Result<&candle::Tensor> {
        match &self.0 {
            Place::Host(values) => Ok(values),
            #[cfg(feature = "cuda")]
            Place::Cuda(array) => array.host(),
            #[cfg(feature = "cuda")]
            Place::Rounded(rows) => rows.host(),
        }
    }

    /// A copy of the values, in row order.
    pub(crate) fn to_vec(&self) -> Result<Vec<f32>> {
        Ok(read(self)?.to_vec())
    }

    /// Whether the host reads it without waiting.
    pub(crate) fn is_on_host(&self) -> bool {
        matches!(self.0, Place::Host(_))
    }

    /// The values in a GPU's memory.
    #[cfg(feature = "cuda")]
    pub(crate) fn on(&self, gpu: Gpu) -> Result<Array> {
        match &self.0 {
            Place::Cuda(array) if array.gpu() == gpu => Ok(array.clone()),
            Place::Rounded(rows) if rows.gpu() == gpu => rows.widened(),
            _ => Array::of_host(gpu, self.host()?),
        }
    }

    /// The values in a GPU's memory, as products in bf16 read them.
    #[cfg(feature = "cuda")]
    pub(crate) fn rounded_on(&self, gpu: Gpu) -> Result<Rounded> {
        match &self.0 {
            Place::Rounded(rows) if rows.gpu() == gpu => Ok(rows.clone()),
            _ => Rounded::of(&self.on(gpu)?),
        }
    }

    /// The values in f32, where they are in a GPU's memory.
    #[cfg(feature = "cuda")]
    pub(crate) fn array(&self) -> Option<&Array> {
        match &self.0 {
            Place::Host(_) | Place::Rounded(_) => None,
            Place::Cuda(array) => Some(array),
        }
    }
}

impl From<candle::Tensor> for Tensor {
    fn from(values: candle::Tensor) -> Self {
        Self(Place::Host(values))
    }
}

#[cfg(feature = "cuda")]
impl From<Array> for Tensor {
    fn from(array: Array) -> Self {
        Self(Place::Cuda(array))
    }
}

#[cfg(feature = "cuda")]
impl From<Rounded> for Tensor {
    fn from(rows: Rounded) -> Self {
        Self(Place::Rounded(rows))
    }
}

/// Tests compute with tensors as candle does.
#[cfg(test)]
impl Deref for Tensor {
    type Target = candle::Tensor;

    fn deref(&self) -> &candle::Tensor {
        self.host().unwrap()
    }
}

/// A contiguous `f32` tensor on the CPU, readable as a slice while it lives; `Guard` is candle's
/// read lock.
struct HostSlice<Guard> {
    storage: Guard,
    from: usize,
    to: usize,
}

impl<Guard: Deref<Target = Storage>> Deref for HostSlice<Guard> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => &values[self.from..self.to],
            _ => &[], // `read` made sure of the variant, and storages never change theirs
        }
    }
}

/// Opens `tensor` for a CPU kernel.
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when it is not contiguous `f32`.
pub(crate) fn read(tensor: &Tensor) -> Result<impl Deref<Target = [f32]>> {
    let tensor = tensor.host()?;
    let (storage, layout) = tensor.storage_and_layout();
    let Some((from, to)) = layout.contiguous_offsets() else {
        return Err(Error::InvalidInput(format!(
            "operands must be contiguous, got {layout:?}"
        )));
    };
    match &*storage {
        Storage::Cpu(CpuStorage::F32(_)) => {}
        other => {
            return Err(Error::InvalidInput(format!(
                "operands must be f32 on the CPU, got {:?} on {:?}",
                other.dtype(),
                tensor.device().location()
            )));
        }
    }
    Ok(HostSlice { storage, from, to })
}

/// Makes a tensor of a CPU kernel's result.
pub(crate) fn wrap(values: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor> {
    Ok(candle::Tensor::from_vec(values, shape.into(), &candle::Device::Cpu)?.into())
}
