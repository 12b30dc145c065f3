//! Backbones: frozen transformers made of layers.

mod config;

pub use config::{DecoderConfig, RopeScaling};
