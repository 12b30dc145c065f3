//! What a machine has for the kernels here, as far as it goes: libraries, driver, GPUs.

use std::path::{Path, PathBuf};

use cudarc::driver::{DriverError, result, sys};
use serde::Serialize;

use super::driver::{check_libraries, driver_version};
use super::failure::failed;
use super::{Communicator, Gpu};
use crate::Error;

/// What there is.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Survey {
    /// The newest release of CUDA that the driver supports.
    pub driver: Option<String>,
    /// Where the driver's library was found.
    pub driver_file: Option<PathBuf>,
    /// Where cuBLAS was found.
    pub cublas_file: Option<PathBuf>,
    /// Where NCCL was found, which several GPUs add up by.
    pub nccl_file: Option<PathBuf>,
    /// Why no GPU can be used, where that is not one GPU's fault.
    pub problem: Option<Problem>,
    /// Every GPU.
    pub gpus: Vec<Found>,
}

/// A GPU that the driver knows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// As options name it.
    pub device: String,
    /// What its maker calls it.
    pub name: String,
    /// Compute capability.
    pub capability: String,
    /// Bytes of memory.
    pub memory_bytes: usize,
    /// Bytes that nobody uses, where it can be opened.
    pub free_bytes: Option<usize>,
    /// Why it cannot be used.
    pub problem: Option<Problem>,
}

/// An error, to be shown.
#[derive(Debug, Serialize)]
pub struct Problem {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self {
            message: error.to_string(),
            hint: error.hint().to_owned(),
        }
    }
}

impl Survey {
    /// Of this machine; `kernels` as in [`Gpu::open`]. It opens every GPU.
    pub fn new(kernels: &Path) -> Self {
        let mut survey = Self::default();
        if let Err(error) = survey.look(kernels) {
            survey.problem = Some(error.into());
        }
        survey.driver_file = mapped("libcuda.so");
        survey.cublas_file = mapped("libcublas.so");
        if Communicator::is_there() {
            survey.nccl_file = mapped("libnccl.so");
        }
        survey
    }

    fn look(&mut self, kernels: &Path) -> crate::Result<()> {
        check_libraries(0)?;
        let of = |error| failed(0, error);
        // SAFETY: it is there, as was just seen, and stays open.
        unsafe { cudarc::cublas::sys::culib() };
        let version = driver_version().map_err(of)?;
        self.driver = Some(format!("{}.{}", version / 1000, version % 1000 / 10));
        result::init().map_err(of)?;
        let handles = 0..result::device::get_count().map_err(of)?;
        for (ordinal, handle) in handles.enumerate() {
            let device = result::device::get(handle).map_err(of)?;
            self.gpus.push(found(device, ordinal, kernels).map_err(of)?);
        }
        Ok(())
    }
}

fn found(device: sys::CUdevice, ordinal: usize, kernels: &Path) -> Result<Found, DriverError> {
    use sys::CUdevice_attribute_enum as Attribute;
    // SAFETY: the driver gave the handle.
    let (memory_bytes, major, minor) = unsafe {
        (
            result::device::total_mem(device)?,
            result::device::get_attribute(
                device,
                Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
            )?,
            result::device::get_attribute(
                device,
                Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            )?,
        )
    };
    let opened = Gpu::open(ordinal, kernels).and_then(Gpu::room);
    let (free_bytes, problem) = match opened {
        Ok(free) => (Some(free), None),
        Err(error) => (None, Some(error.into())),
    };
    Ok(Found {
        device: format!("cuda:{ordinal}"),
        name: result::device::get_name(device)?,
        capability: format!("{major}.{minor}"),
        memory_bytes,
        free_bytes,
        problem,
    })
}

/// The file of a library that this process has open.
fn mapped(name: &str) -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let mut files = maps.lines().filter_map(|line| line.split_once('/'));
    let (_, path) = files.find(|(_, path)| {
        let file = path.rsplit('/').next();
        file.is_some_and(|file| file.starts_with(name))
    })?;
    Some(PathBuf::from(format!("/{path}")))
}
