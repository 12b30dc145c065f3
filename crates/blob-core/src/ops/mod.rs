//! Operations: the door of a pass to kernels (docs/adr/0014).
//!
//! Each file holds one operation and its adjoint: equation, shapes, the kernel of each device that
//! has one, and for those of [`Operation`] a reference in plain candle operations that runs
//! wherever candle does. Layers say what is computed; which kernels run, and which of them are
//! fused, is decided here. The unit of [`linear`] is *all layers that share one input*, because
//! that is where fusions are.
//!
//! A batch is ragged: its T tokens lie one segment after the other, segment b in rows
//! `offsets[b]..offsets[b+1]`, and positions restart at 0 in each.
//!
//! | operation | what is in it |
//! |---|---|
//! | [`embedding`], [`table`], [`rows`], [`columns`] | rows of a frozen table; of a matrix |
//! | [`norm`] | norms of rows |
//! | [`linear`], [`low_rank`] | frozen layers, and the adapters' terms in them |
//! | [`gated`], [`activation`] | two layers, one gated by the other; an activation of one layer |
//! | [`rope`], [`attention`], [`disentangled`] | positions, and who sees whom |
//! | [`segments`], [`dropout`] | what is read of a segment; what a base drops in training |
//! | [`head`], [`soft_cap`], [`cross_entropy`] | class logits, their cap, and their loss |
//! | [`affine`], [`head_activation`] | layers of the adapter's own, and what lies between them |
//! | `products` | plain products of the host's matrices, for observers |
//! | [`finite`] | whether a result is a number |

pub mod activation;
pub mod affine;
pub mod attention;
pub mod columns;
pub mod cross_entropy;
mod device;
pub mod disentangled;
pub mod dropout;
pub mod embedding;
pub mod finite;
pub mod gated;
pub mod head;
pub mod head_activation;
pub mod linear;
pub mod low_rank;
pub mod norm;
#[cfg(test)]
pub(crate) mod oracle;
pub(crate) mod products;
mod reference;
pub mod rope;
pub mod rows;
pub mod segments;
pub(crate) mod shapes;
pub mod soft_cap;
pub mod table;
mod tensors;

pub use crate::kernels::cpu::gemm::Precision;
pub use device::{Device, Implementation, Operation};
pub use tensors::Tensor;
pub(crate) use tensors::{read, wrap};
