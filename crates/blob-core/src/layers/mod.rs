//! Layers: wiring of operations, each with its backward beside its forward.
//!
//! | file | what is in it |
//! |---|---|
//! | `linear` | a frozen layer at its site, with the adapter's term |
//! | `attention`, `mlp` | what a block computes: each reads a source and gives what is added to the stream |
//! | `residual` | how that is added, and which norms are around it |
//! | `block` | attention, then MLP |
//! | `head` | class logits |
//!
//! A layer knows no kernel and no device: operations of [`crate::ops`] do.

mod attention;
mod block;
mod head;
mod linear;
mod mlp;
mod residual;

pub use attention::Attention;
pub use block::{Block, BlockKept};
pub use head::{Head, HeadKept};
pub use linear::{Adapted, Linear};
pub use mlp::Mlp;
pub use residual::Residual;
