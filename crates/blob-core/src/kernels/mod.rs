//! Kernels: what a profile asked for, by device.

pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
