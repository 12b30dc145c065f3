//! Layers: wiring of operations, each with its backward beside its forward.

mod block;
mod head;
mod input_gradient;
mod linear;

pub(crate) use block::check_finite;
pub use block::{Block, BlockKept};
pub use head::{Head, HeadKept};
pub(crate) use input_gradient::{InputGradient, Returning};
pub use linear::FrozenLinear;
