//! The engine of bpeft: Bayesian low-rank adapters for language models.
//!
//! | room | what is in it |
//! |---|---|
//! | [`weights`], [`tokenizer`] | model files: GGUF, safetensors, tokenizers |
//! | [`backbone`], [`layers`], [`ops`], [`kernels`] | the frozen model: wiring, operations with their adjoints, kernels by device |
//! | [`adapter`], [`noise`], [`pass`] | low-rank terms, their randomness, whose noise a row sees |
//! | [`objective`], [`kl`], [`optim`], [`method`] | losses, divergence, update rules |
//! | [`train`], [`predict`], [`checkpoint`] | one step, posterior samples, saved states |
//!
//! Layers are differentiated by hand; candle is the tensor container (docs/adr/0001). Nothing here
//! prints, reads the environment or chooses a folder.

pub mod abort;
pub mod adapter;
pub mod backbone;
pub mod batch;
pub mod buffer;
pub mod checkpoint;
mod error;
pub mod files;
pub mod kernels;
pub mod kl;
pub mod layers;
pub mod method;
pub mod noise;
pub mod objective;
pub mod ops;
pub mod optim;
mod other_file;
pub mod pass;
pub mod predict;
pub mod tokenizer;
pub mod train;
pub mod weights;

pub use error::{Error, Result};
