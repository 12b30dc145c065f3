//! CPU kernels on slices, and the stored weights that they read.
//!
//! A kernel is a generic body that [`simd`] compiles once per instruction set. Parallel pieces are
//! cut by shape, and every sum runs in an order that depends on its own row or segment alone, so
//! that results do not change with the batch, its order or the number of threads.
//!
//! # The house
//!
//! | room | what is in it |
//! |---|---|
//! | [`stored`] | a matrix as its file stores it: bytes, their type, the order of the rows |
//! | [`isa`] | instruction sets: their names, which this machine has, which one is used |
//! | [`simd`] | a body, compiled for each of them; vectors of sixteen floats |
//! | [`gemm`] | products with frozen weights |
//! | [`decode`] | stored numbers to `f32` |
//! | [`attention`], [`disentangled`], `tile` | attention, that of distances, products inside |
//! | [`rms_norm`], [`layer_norm`] (by `norm_rows`), [`rope`] | norms and positions |
//! | [`gated`], [`activation`], [`low_rank`] | the other operations of a layer |
//! | [`philox`], [`dropout`], [`marks`] | random words, what is dropped, bits of elements |
//! | `exp`, `lanes`, [`rows`] | eˣ, sums over a row, whole rows |
//! | [`rate`], [`peak`] | how fast products run here, and their instructions alone |
//! | `output`, `shared_matrix`, `prefetch` | memory of results, between threads, ahead of use |
//!
//! Nothing in `stored` knows of kernels. Operations (`ops` in `blob-core`) call kernels and say
//! what the numbers mean. What is generic over rows or instruction sets stays in here, but for
//! [`simd::run`]: a caller would compile all of it once more (docs/adr/0036).
//!
//! # Adding a kernel
//!
//! A file with a struct that borrows its inputs and implements [`simd::Kernel`]; its `run` and all
//! that it calls are `#[inline(always)]`, and its loops go over whole vectors of a
//! [`simd::Level`], or over arrays that the compiler can vectorise. A public function cuts the rows
//! into pieces for the pool and calls [`simd::run`] on each. A result that is written as a whole
//! begins as `output::Unwritten`. Tests run it on `isa::Available::all()`.
//!
//! # Adding an instruction set, or a tile height
//!
//! See [`gemm`].

#![expect(
    clippy::inline_always,
    reason = "a body takes on an instruction set only where it is inlined into its entry point"
)]

pub mod activation;
pub mod attention;
pub mod decode;
pub mod disentangled;
pub mod dropout;
mod error;
mod exp;
pub mod gated;
pub mod gemm;
pub mod isa;
mod lanes;
pub mod layer_norm;
pub mod low_rank;
pub mod marks;
mod norm_rows;
mod output;
pub mod peak;
pub mod philox;
mod prefetch;
pub mod rate;
pub mod rms_norm;
pub mod rope;
pub mod rows;
mod shared_matrix;
pub mod simd;
pub mod stored;
mod tile;

pub use error::{InvalidInput, Result};
