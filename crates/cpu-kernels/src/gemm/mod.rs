//! Matrix products with weights that never change.
//!
//! ```text
//! forward    y  (m, n) = x  (m, k)·Wᵀ          W (n, k), as the model's file stores it
//! backward   dx (m, k) = dy (m, n)·W
//! ```
//! W is never unpacked as a whole. A task decodes the panel that it is about to use, 32 columns of
//! the product by the whole depth, and multiplies all rows of the operand by it: decoding costs
//! each weight once per product, or once per piece of rows where many threads share it, and is
//! repaid by the rows. Memory stays that of the file, and one copy serves both directions. What
//! follows the product (a residual, low-rank terms) is added while a tile is in the nearest cache:
//! [`Epilogue`].
//!
//! **Precision.** [`Precision::F32`] is exact in the operands, [`Precision::Bf16`] rounds both to
//! bfloat16, [`Precision::Int8`] rounds the forward product's operands to eight bits, per row of x
//! and per row of W (LLM.int8(), arXiv:2208.07339 §2.1), and goes back through the rounded weight
//! in bf16; [`Precision::Int8Mixed`] leaves large inputs as they are. Sums are `f32`, or exact
//! integers that become `f32` at the end.
//!
//! **Determinism.** Every element of the result is one chain of multiply-adds over the depth in
//! ascending order (steps of two depths on AVX-512 BF16), whatever tile it falls in. On one
//! instruction set the bits of a row depend on that row of x and on W alone: not on m, on the row's
//! place in the batch, or on the number of threads. Instruction sets differ from each other by
//! rounding; integer products do not.
//!
//! # The house
//!
//! | room | what is in it |
//! |---|---|
//! | `precision` | how a product rounds, and which way it goes |
//! | `matrix`, `format`, `int8` | a weight and its values, the words that operands are written in |
//! | `packing/` | operands in the order in which tiles read them: staged rows, panels of W |
//! | `tiles/` | the innermost loops, and the one table of their heights |
//! | `epilogue`, `finish` | what is added to a product, and how a tile ends |
//! | `tasks`, `running` | how a product is cut, and how its tasks are run |
//! | `product`, `multiply` | one product, and the door to it |
//! | `stacked_weights`, `combined` | sums of products, two products that become one matrix |
//! | `outliers` | inputs that are too large for eight bits |
//! | `tile_rate` | how fast tiles alone run |
//!
//! Arrows go from the door inwards, and none comes back to this file. A product walks like this:
//!
//! ```text
//! FrozenMatrix::stage      rows of x → Operand: tiles of words            packing/staging
//! FrozenMatrix::multiply   Product → tasks → threads                      product, tasks, running
//!   a task                 panels of W → steps of 32 words                packing/panels, decode
//!     a tile               TileKernel::tile: up to 12 × 32 sums           tiles/
//!                          FinishTile: updates, addend, out               finish
//! ```
//!
//! # Adding an instruction set
//!
//! 1. [`Isa`](super::isa::Isa): a variant, its name, its features, what it extends, its place in
//!    `Isa::ALL`. The compiler then lists the other places.
//! 2. `simd/`: a `Level` and its function with `#[target_feature]`, for all kernels around the
//!    tile; a set that adds to the tiles alone, as AVX-VNNI does, runs on the level of its base.
//! 3. `tiles/`: a `TileKernel` for the formats that it multiplies faster than the set below it, and
//!    its line in `tiles::run`. Operands in words of a new kind need a variant of `format::Format`.
//!
//! Every test of this room runs on each set of the machine, and so does blob-core's
//! `tests/dispatch.rs`.
//!
//! # Adding a tile height
//!
//! A line in the table of `tiles/heights.rs`. A height that a kernel cannot compute, or whose parts
//! are not all of its rows, does not compile, and `tiles/tests.rs` runs each kernel at
//! each. The sums of the tallest must fit the registers of AVX-512: two for each row.

mod check;
mod combined;
mod epilogue;
mod finish;
mod format;
mod int8;
mod matrix;
mod multiply;
mod outliers;
mod packing;
mod precision;
mod product;
mod running;
mod stacked_weights;
mod step;
mod tasks;
#[cfg(test)]
mod tests;
mod tile_rate;
mod tiles;

pub use super::marks::Marks;
pub(crate) use combined::Combine;
pub use combined::Combined;
pub use epilogue::{Addend, Epilogue, LowRankUpdate};
pub use int8::inverse;
pub use matrix::FrozenMatrix;
pub use packing::Operand;
pub use packing::Part;
pub(crate) use packing::RowSource;
#[cfg(test)]
pub(crate) use packing::SideBySide;
#[cfg(test)]
pub(crate) use packing::collect;
pub use precision::{Direction, Precision};
pub use stacked_weights::StackedWeights;
pub use tile_rate::tile_rate;
