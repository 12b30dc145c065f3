//! Backbones: frozen transformers made of layers.

mod config;
mod decoder;
mod quantized;
mod random;
mod tensors;

pub use config::{DecoderConfig, RopeScaling, Window};
pub use decoder::{Decoder, DecoderKept, WeightSource};
pub use quantized::Quantized;
pub use random::RandomWeights;
