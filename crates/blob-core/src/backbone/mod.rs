//! Backbones: frozen transformers made of layers.

mod build;
mod config;
mod decoder;
mod quantized;
mod random;
mod stack;
mod tensors;
mod weight_source;

pub use config::{DecoderConfig, RopeScaling, Window};
pub use decoder::{Decoder, DecoderKept};
pub use quantized::Quantized;
pub use random::RandomWeights;
pub use weight_source::WeightSource;
