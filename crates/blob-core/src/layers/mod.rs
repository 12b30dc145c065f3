//! Layers: wiring of operations, each with its backward beside its forward.
//!
//! | file | what is in it |
//! |---|---|
//! | `linear` | a frozen layer at its site, with the adapter's term |
//! | `attention` | who reads whom: reads a source, gives what is added to the stream |
//! | `query_key_value`, `relative` | its layers; its distances, where scores read them |
//! | `mlp`: `gated_mlp` or `two_layer_mlp` | the same row by row |
//! | `residual` | how that is added, and which norms are around it |
//! | `block` | attention, then MLP |
//! | `head`, `class_head` | class logits of a decoder, of an encoder |
//!
//! A layer is its operation with weights at a site:
//!
//! ```
//! use blob_core::adapter::{Module, Site};
//! use blob_core::layers::Linear;
//! use blob_core::ops::linear::Weight;
//! use blob_core::ops::{Device, Precision};
//! use blob_core::weights::{HostTensor, StoredMatrix};
//!
//! # fn main() -> blob_core::Result<()> {
//! let eye = HostTensor { shape: vec![2, 2], data: vec![1.0, 0.0, 0.0, 1.0] };
//! let linear = Linear {
//!     site: Site { block: 0, module: Module::Q },
//!     weight: Weight::new(StoredMatrix::from_tensor(&eye)?, Precision::F32, Device::Cpu)?,
//!     bias: None,
//! };
//! assert_eq!((linear.weight.rows(), linear.weight.columns()), (2, 2));
//! # Ok(())
//! # }
//! ```
//!
//! A layer knows no kernel and no device: operations of [`crate::ops`] do.

mod attention;
mod block;
mod class_head;
mod gated_mlp;
mod head;
mod linear;
mod mlp;
mod query_key_value;
mod relative;
mod residual;
mod two_layer_mlp;

pub use attention::{Attention, Positioned};
pub use block::{Block, BlockKept};
pub use class_head::{ClassHead, ClassHeadKept};
pub use gated_mlp::GatedMlp;
pub use head::{Head, HeadKept};
pub use linear::{Adapted, Linear};
pub use mlp::Mlp;
pub use query_key_value::QueryKeyValue;
pub use relative::{DistanceTable, Distances};
pub use residual::Residual;
pub use two_layer_mlp::{Nonlinearity, TwoLayerMlp};
