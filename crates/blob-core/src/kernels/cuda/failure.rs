//! What a driver reports, as errors with a remedy.

use std::fmt::Debug;

use cudarc::driver::sys::CUresult;
use cudarc::driver::{DriverError, result};

use crate::Error;

/// What to do about kernels that others than this engine would call.
pub(super) const OTHER_KERNELS: &str =
    "install the package again: its kernels are not of the engine's version";

/// What a call of the driver for a GPU returned.
pub(super) fn failed(ordinal: usize, error: DriverError) -> Error {
    let device = format!("cuda:{ordinal}");
    if error.0 == CUresult::CUDA_ERROR_OUT_OF_MEMORY {
        return full(ordinal, 0);
    }
    let name = error.error_name().map_or_else(
        |_| format!("{:?}", error.0),
        |name| name.to_string_lossy().into_owned(),
    );
    let hint = match error.0 {
        CUresult::CUDA_ERROR_NO_DEVICE | CUresult::CUDA_ERROR_INVALID_DEVICE => {
            "see which GPUs nvidia-smi lists and what CUDA_VISIBLE_DEVICES hides, or use the CPU"
        }
        CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU | CUresult::CUDA_ERROR_INVALID_PTX => {
            "take a package for this GPU: its kernels are compiled for sm_80 and later"
        }
        CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION | CUresult::CUDA_ERROR_INVALID_IMAGE => {
            "install a driver for the package's CUDA release (580 or later for CUDA 13), or the \
             package for CUDA 12"
        }
        CUresult::CUDA_ERROR_NOT_FOUND => OTHER_KERNELS,
        _ => {
            "the GPU cannot be used further in this process: start again from the last checkpoint, \
             or use the CPU; nvidia-smi and the kernel's log say more"
        }
    };
    Error::Device {
        device,
        what: format!("the driver reported {name}"),
        hint,
    }
}

/// The memory does not hold `asked` bytes more.
pub(super) fn full(ordinal: usize, asked: usize) -> Error {
    let (free, total) = result::mem_get_info().unwrap_or_default();
    Error::OutOfMemory {
        device: format!("cuda:{ordinal}"),
        asked,
        free,
        total,
    }
}

/// What cuBLAS or cuBLASLt returned.
pub(super) fn product_failed(ordinal: usize, status: impl Debug) -> Error {
    let status = format!("{status:?}"); // of two types that mean the same
    if status == "CUBLAS_STATUS_ALLOC_FAILED" {
        return full(ordinal, 0);
    }
    let hint = if status == "CUBLAS_STATUS_NOT_INITIALIZED" {
        "its libcublas needs a driver of its own CUDA release (580 or later for CUDA 13) and some \
         memory: see by nvidia-smi what is free, install a newer driver or cuBLAS of CUDA 12 (the \
         wheel nvidia-cublas-cu12), or use the CPU"
    } else {
        "check that libcublas is of the same CUDA release as the package"
    };
    Error::Device {
        device: format!("cuda:{ordinal}"),
        what: format!("cuBLAS reported {status}"),
        hint,
    }
}

/// What is missing before a GPU can be asked.
pub(super) fn missing(ordinal: usize, what: &str, hint: &'static str) -> Error {
    Error::Device {
        device: format!("cuda:{ordinal}"),
        what: what.to_owned(),
        hint,
    }
}
