//! Backbones: frozen transformers made of layers.

mod build;
mod config;
mod encoder_config;
mod gemma_config;
mod model;
mod published;
mod quantized;
mod random;
mod read_out;
mod rope_scaling;
mod stack;
mod stem;
mod tensors;
mod weight_source;

pub use config::{BackboneConfig, Window};
pub use encoder_config::{EncoderConfig, Family, HeadSwitches, MOST_CLASSES, Positions, Reading};
pub use gemma_config::GemmaConfig;
pub use model::{Backbone, BackboneKept};
pub use quantized::Quantized;
pub use random::RandomWeights;
pub use rope_scaling::RopeScaling;
pub use weight_source::WeightSource;
