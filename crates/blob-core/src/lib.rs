//! The engine of bpeft: Bayesian low-rank adapters for language models.

pub mod backbone;
mod error;
pub mod kernels;
pub mod ops;
pub mod tokenizer;
pub mod weights;

pub use error::{Error, Result};
