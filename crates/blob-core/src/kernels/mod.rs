//! Kernels: what a profile asked for, by device.

pub use cpu_kernels as cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
