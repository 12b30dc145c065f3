//! CPU kernels on slices.
//!
//! A kernel is a generic body that `simd` compiles once per instruction set. Parallel pieces are
//! cut by shape, and every sum runs in an order that depends on its own row or segment alone, so
//! that results do not change with the batch, its order or the number of threads.

#![expect(
    clippy::inline_always,
    reason = "a body takes on an instruction set only where it is inlined into its entry point"
)]

pub(crate) mod attention;
pub(crate) mod decode;
pub(crate) mod exp;
pub(crate) mod fresh;
pub mod gemm;
pub(crate) mod lanes;
pub(crate) mod low_rank;
pub(crate) mod prefetch;
pub mod quantize;
pub(crate) mod rms_norm;
pub(crate) mod rope;
pub(crate) mod rows;
pub(crate) mod simd;
pub(crate) mod swiglu;
pub(crate) mod tile;
