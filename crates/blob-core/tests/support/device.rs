//! The devices of this build.

use blob_core::ops::Device;

/// All of them: in a build with `cuda` a GPU too.
#[cfg(not(feature = "cuda"))]
pub fn devices() -> Vec<Device> {
    Device::ALL.to_vec()
}

#[cfg(feature = "cuda")]
pub fn devices() -> Vec<Device> {
    let mut devices = Device::ALL.to_vec();
    devices.push(Device::Cuda(gpu()));
    devices
}

/// The first GPU; `BPEFT_CUDA_KERNELS` names the folder of its kernels.
#[cfg(feature = "cuda")]
pub fn gpu() -> blob_core::kernels::cuda::Gpu {
    let kernels = std::env::var_os("BPEFT_CUDA_KERNELS").unwrap_or_default();
    blob_core::kernels::cuda::Gpu::open(0, kernels.as_ref()).unwrap()
}
