//! Backbones: frozen transformers made of layers.

mod config;
mod decoder;
mod random;
mod tensors;

pub use config::{DecoderConfig, RopeScaling, Window};
pub use decoder::{Decoder, DecoderKept, WeightSource};
pub use random::RandomWeights;
