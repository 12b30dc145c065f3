//! Differentiable operations: each file holds one operation and its adjoint.
//!
//! Operations take and return tensors, so that a second device is a second set of kernels, not a
//! second engine; they read through `host` and dispatch on the tensor's device. A batch is ragged:
//! its T tokens lie one segment after the other, segment b in rows `offsets[b]..offsets[b+1]`, and
//! positions restart at 0 in each.

pub mod attention;
pub(crate) mod contract;
pub mod cross_entropy;
pub mod embedding;
mod host;
pub mod low_rank;
#[cfg(test)]
mod oracle;
pub mod rms_norm;
pub mod rope;
pub mod rows;
pub mod swiglu;

pub(crate) use host::{read, wrap};
