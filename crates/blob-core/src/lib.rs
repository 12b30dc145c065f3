//! The engine of bpeft: Bayesian low-rank adapters for language models.
//!
//! | room | what is in it |
//! |---|---|
//! | [`weights`], [`tokenizer`] | model files: GGUF, safetensors, tokenizers |
//! | [`backbone`], [`layers`], [`ops`], [`kernels`] | the frozen model, down to its kernels |
//! | [`adapter`], [`noise`], [`pass`] | low-rank terms, their randomness, whose noise a row sees |
//! | [`objective`], [`kl`], [`optim`], [`method`] | losses, divergence, update rules |
//! | [`train`], [`predict`], [`checkpoint`] | one step, posterior samples, saved states |
//! | [`collective`] | processes that train one adapter together |
//! | [`observer`], [`laplace`] | rows of gradients; a Gaussian by the curvature around an adapter |
//!
//! ```
//! use blob_core::abort::Abort;
//! use blob_core::adapter::{Adapter, LoraConfig, Module};
//! use blob_core::backbone::{Backbone, RandomWeights};
//! use blob_core::batch::{Batch, BatchParts};
//! use blob_core::method::{MethodConfig, MleConfig, PointConfig};
//! use blob_core::ops::Precision;
//! use blob_core::optim::Schedule;
//! use blob_core::train::{TrainConfig, Trainer};
//!
//! # fn main() -> blob_core::Result<()> {
//! let (weights, shape) = (RandomWeights { seed: 7 }, RandomWeights::config());
//! let model = Backbone::load(shape, &weights, Precision::F32)?;
//! let lora = LoraConfig {
//!     rank: 4,
//!     alpha: 8.0,
//!     dropout: 0.0,
//!     target_modules: vec![Module::Q, Module::V],
//!     posterior: None,
//!     seed: 1,
//!     members: 1,
//!     head: None,
//! };
//! let mut adapter = Adapter::new(lora, model.config())?;
//! // One prompt of three tokens; the classes are tokens 65 and 66, and the second is right.
//! let batch = Batch::new(BatchParts {
//!     ids: vec![1, 2, 3],
//!     offsets: vec![0, 3],
//!     answers: vec![65, 66],
//!     answer_offsets: vec![0, 2],
//!     labels: vec![1],
//!     rows: vec![0],
//! })?;
//! let point = PointConfig {
//!     lr: 0.01,
//!     schedule: Schedule { total: 10, warmup: 0.0, warmup_start: 0, stride: 1 },
//!     weight_decay: 0.0,
//!     adam_epsilon: 1e-6,
//!     max_grad_norm: 0.0,
//! };
//! let method = MethodConfig::Mle(MleConfig { point });
//! let mut trainer = Trainer::new(TrainConfig { seed: 1, method }, &adapter)?;
//! let batches = [batch];
//! let first = trainer.step(&model, &mut adapter, &batches, &Abort::default())?;
//! let second = trainer.step(&model, &mut adapter, &batches, &Abort::default())?;
//! assert!(second.nll < first.nll);
//! # Ok(())
//! # }
//! ```
//!
//! Layers are differentiated by hand; candle computes on the host (docs/adr/0001). Nothing here
//! prints, reads the environment or chooses a folder.

pub mod abort;
pub mod adapter;
pub mod backbone;
pub mod batch;
pub mod buffer;
pub mod checkpoint;
pub mod collective;
mod error;
pub mod files;
pub mod kernels;
pub mod kl;
pub mod laplace;
pub mod layers;
mod listed;
pub mod method;
pub mod noise;
pub mod objective;
pub mod observer;
pub mod ops;
pub mod optim;
mod other_file;
pub mod pass;
pub mod predict;
pub mod quantization;
mod spectrum;
pub mod tokenizer;
pub mod train;
pub mod weights;

pub use error::{Error, Result};
