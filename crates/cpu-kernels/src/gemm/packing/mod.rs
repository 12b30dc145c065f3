//! Operands in the order in which tiles read them.
//!
//! | file | what it writes |
//! |---|---|
//! | `rows` | where the rows of a product come from: matrices, or rows that are computed |
//! | `operand`, `staging` | the rows of a product, once per product or for several |
//! | `panels`, `forward`, `backward` | panels of the weight, by each task for itself |
//! | `four_bits` | the same for weights of four bits, by tables |

mod backward;
mod depth;
mod forward;
mod four_bits;
mod operand;
mod panels;
mod rows;
mod scratch;
mod staging;

pub(super) use depth::Depth;
pub use operand::Operand;
pub(super) use panels::{Int8Columns, PanelSource, WeightPanels};
pub use rows::Part;
#[cfg(test)]
pub(crate) use rows::collect;
#[cfg(not(test))]
pub(super) use rows::collect;
pub(crate) use rows::{RowSource, SideBySide};
pub(super) use scratch::DecodeScratch;
pub(super) use staging::write_bf16_tile;
