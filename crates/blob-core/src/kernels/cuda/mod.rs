//! Kernels of NVIDIA's GPUs: what calls the `.cu` files of this folder.
//!
//! | file | what is in it |
//! |---|---|
//! | `context` | a GPU: its stream, kernels and products |
//! | `driver` | NVIDIA's driver and libraries, as a machine has them |
//! | `image` | binaries of kernels |
//! | `survey` | what a machine has, for `bpeft doctor` |
//! | `memory`, `unwritten`, `arena`, `accounts` | its memory, and who has how much of it |
//! | `array` | values in it |
//! | `queue`, `node`, `graphs` | what it is asked, at once or as graphs of what repeats |
//! | `uploads` | words that kernels read, copied once a step |
//! | `traffic` | what it was asked, counted |
//! | `call` | a launch with its arguments |
//! | `fixed` | products whose bits depend on a row alone |
//! | `tally` | sums of a step, read at its end |
//! | `communicator` | NCCL: sums over the GPUs of several processes |
//! | the others | a function for each kernel; equations and launches are in the `.cu` files |
//!
//! Nothing here is linked: the driver and cuBLAS are opened at run time, so that a program that
//! holds this code starts where neither is. All work of a GPU goes to one stream, in order.
#![expect(
    unsafe_code,
    reason = "drivers are called: operations check sizes, functions here types, `run` arguments"
)]

mod accounts;
pub mod affine;
mod arena;
mod array;
pub mod attention;
pub(crate) mod blocks;
mod call;
mod communicator;
mod context;
pub(crate) mod disentangled;
pub(crate) mod draws;
mod driver;
mod failure;
mod fixed;
mod graphs;
pub mod head;
mod image;
pub mod low_rank;
mod memory;
mod nccl;
mod node;
pub mod norm;
pub mod optimizer;
pub mod pointwise;
pub mod product;
mod queue;
mod rounded;
mod survey;
mod tally;
mod traffic;
mod unwritten;
mod uploads;

pub use array::Array;
pub(crate) use communicator::{Communicator, UNIQUE_ID};
pub use context::Gpu;
pub(crate) use memory::Memory;
pub use rounded::Rounded;
pub use survey::{Found, Problem, Survey};
pub use tally::{Read, Tally};
pub use traffic::Traffic;
pub(crate) use uploads::Words;
