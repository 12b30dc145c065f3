//! The border between tensors and the CPU kernels' slices.

use std::ops::Deref;

use candle_core::{CpuStorage, Device, Shape, Storage, Tensor};

use crate::{Error, Result};

/// A contiguous `f32` tensor on the CPU, readable as a slice while it lives; `Guard` is candle's read lock.
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
/// `BPEFT_INVALID_INPUT` when it is not contiguous `f32` on the CPU.
pub(crate) fn read(tensor: &Tensor) -> Result<impl Deref<Target = [f32]>> {
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

/// Makes a CPU tensor of a kernel's result, without a tape.
pub(crate) fn wrap(values: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor> {
    Ok(Tensor::from_vec(values, shape.into(), &Device::Cpu)?)
}
