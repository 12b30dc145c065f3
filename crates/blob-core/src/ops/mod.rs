//! Differentiable operations: each file holds one operation and its adjoint.
//!
//! Operations take and return tensors, so that a second device is a second set of kernels, not a
//! second engine; they read through [`host`] and dispatch on the tensor's device.

mod host;

pub(crate) use host::{read, wrap};
