//! CPU kernels on slices.
//!
//! A kernel is a generic body that `simd` compiles once per instruction set. Parallel pieces are
//! cut by shape, and every sum runs in an order that depends on its own row or segment alone, so
//! that results do not change with the batch, its order or the number of threads.
//!
//! # The house
//!
//! | room | what is in it |
//! |---|---|
//! | [`isa`] | instruction sets: their names, which this machine has, which one is used |
//! | `simd` | a body, compiled for each of them; vectors of sixteen floats |
//! | [`gemm`] | products with frozen weights |
//! | `decode`, [`quantize`] | stored numbers to `f32`, and back to fewer bits |
//! | `attention`, `disentangled`, `tile` | attention, that of distances, small products inside |
//! | `rms_norm`, `layer_norm`, `rope` | norms and positions |
//! | `gated`, `activation`, `low_rank` | the other operations of a layer |
//! | `exp`, `lanes`, `rows`, `signs` | what they share: eˣ, sums over a row, whole rows, sign bits |
//! | [`rate`] | how fast products run here |
//! | `output`, `shared_matrix`, `prefetch` | memory: of results, between threads, ahead of its use |
//!
//! Kernels read `weights` (bytes, types, row order); nothing there knows of kernels. Operations
//! (`ops`) call kernels and say what the numbers mean.
//!
//! # Adding a kernel
//!
//! A file with a struct that borrows its inputs and implements `simd::Kernel`; its `run` and all
//! that it calls are `#[inline(always)]`, and its loops go over whole vectors of a
//! `simd::Level`, or over arrays that the compiler can vectorise. A public function cuts the rows
//! into pieces for the pool and calls `simd::run` on each. A result that is written as a whole
//! begins as `output::Unwritten`. Tests run it on `isa::Available::all()`.
//!
//! # Adding an instruction set, or a tile height
//!
//! See [`gemm`].

#![expect(
    clippy::inline_always,
    reason = "a body takes on an instruction set only where it is inlined into its entry point"
)]

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod decode;
pub(crate) mod disentangled;
pub(crate) mod exp;
pub(crate) mod gated;
pub mod gemm;
pub mod isa;
pub(crate) mod lanes;
pub(crate) mod layer_norm;
pub(crate) mod low_rank;
pub(crate) mod output;
pub(crate) mod prefetch;
pub mod quantize;
pub mod rate;
pub(crate) mod rms_norm;
pub(crate) mod rope;
pub(crate) mod rows;
pub(crate) mod shared_matrix;
pub(crate) mod signs;
pub(crate) mod simd;
pub(crate) mod tile;
