//! NVIDIA's driver and libraries, as a machine has them.

use cudarc::driver::{DriverError, result, sys};

use super::failure::{failed, missing};
use crate::Result;

/// The oldest driver whose kernels these can be: that of CUDA 12.0.
const OLDEST_DRIVER: i32 = 12_000;

/// Opens the driver, before anything else is asked of it.
///
/// # Errors
/// `BPEFT_DEVICE` where it or cuBLAS is not there, or it is too old.
pub(super) fn open_driver(ordinal: usize) -> Result<()> {
    check_libraries(ordinal)?;
    let of = |error| failed(ordinal, error);
    result::init().map_err(of)?;
    let version = driver_version().map_err(of)?;
    if version < OLDEST_DRIVER {
        let (major, minor) = (version / 1000, version % 1000 / 10);
        let what = format!("the driver must support CUDA 12.0, it supports {major}.{minor}");
        let hint = "install a newer NVIDIA driver, or use the CPU";
        return Err(missing(ordinal, &what, hint));
    }
    Ok(())
}

/// 1000·major + 10·minor of the CUDA release that the driver supports.
pub(super) fn driver_version() -> std::result::Result<i32, DriverError> {
    let mut version = 0;
    // SAFETY: the driver writes an integer there.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }.result()?;
    Ok(version)
}

pub(super) fn check_libraries(ordinal: usize) -> Result<()> {
    // SAFETY: opening NVIDIA's libraries runs their initialisers, which is what they are for.
    let (driver, products) = unsafe {
        (
            cudarc::driver::sys::is_culib_present(),
            cudarc::cublas::sys::is_culib_present(),
        )
    };
    if !driver {
        let hint = "install NVIDIA's driver, or use the CPU";
        return Err(missing(ordinal, "there is no libcuda.so.1", hint));
    }
    if !products {
        let hint = "install cuBLAS of CUDA 12 or 13 (the wheel nvidia-cublas, or the toolkit) and \
                    put its folder into LD_LIBRARY_PATH";
        return Err(missing(ordinal, "there is no libcublas", hint));
    }
    Ok(())
}
