//! Backbones: frozen transformers made of layers.

mod config;
mod decoder;
mod quantized;
mod random;
mod tensors;
mod weight_source;

pub use config::{DecoderConfig, RopeScaling, Window};
pub use decoder::{Decoder, DecoderKept};
pub use quantized::Quantized;
pub use random::RandomWeights;
pub use weight_source::WeightSource;
