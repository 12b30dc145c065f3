//! Kernels: what a profile asked for, by device.

pub mod cpu;
