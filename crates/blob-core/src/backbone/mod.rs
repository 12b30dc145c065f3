//! Backbones: frozen transformers made of layers.

mod build;
mod config;
mod model;
mod quantized;
mod random;
mod stack;
mod tensors;
mod weight_source;

pub use config::{BackboneConfig, RopeScaling, Window};
pub use model::{Backbone, BackboneKept};
pub use quantized::Quantized;
pub use random::RandomWeights;
pub use weight_source::WeightSource;
