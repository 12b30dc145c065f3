//! Backbones: frozen transformers made of layers.

mod config;
mod decoder;
mod random;

pub use config::{DecoderConfig, RopeScaling};
pub use decoder::{Decoder, DecoderKept, WeightSource};
pub use random::RandomWeights;
