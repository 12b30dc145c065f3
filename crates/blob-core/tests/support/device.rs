//! The devices of this build.

use blob_core::ops::Device;

/// All of them: in a build with `cuda` a GPU too, emulated unless `CUDA_KERNELS` names the kernels of a
/// real one.
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

/// The first GPU.
#[cfg(feature = "cuda")]
pub fn gpu() -> blob_core::kernels::cuda::Gpu {
    use blob_core::kernels::cuda::{Gpu, Images};
    let folder = std::env::var_os("CUDA_KERNELS");
    let images = folder.map_or(Images::Emulated, |folder| Images::Folder(folder.into()));
    Gpu::open(0, &images).unwrap()
}
