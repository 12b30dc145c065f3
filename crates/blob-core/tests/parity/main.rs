//! PyTorch's and numpy's numbers, at our noise: `tools/goldens/README.md` says how they were made.
//!
//! Tolerances are those that the goldens support: float32 sums in another order.

mod encoders;
mod model;
mod noise;
#[path = "../support/mod.rs"]
mod support;
mod updates;
