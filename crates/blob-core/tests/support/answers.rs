//! Logits as tests ask for them.

use blob_core::abort::Abort;
use blob_core::adapter::Adapter;
use blob_core::backbone::Backbone;
use blob_core::batch::Batch;
use blob_core::laplace::Link;
use blob_core::pass::NoiseSharing;
use blob_core::predict::{PredictConfig, predict};

/// N samples of seed 9, each with signs of its own.
pub fn sampling(samples: u32) -> PredictConfig {
    PredictConfig {
        samples,
        first_sample: 0,
        noise: NoiseSharing::Token,
        seed: 9,
        antithetic: false,
        dropout: 0.0,
        stochastic_layers: None,
        link: Link::default(),
    }
}

/// All logits of a prediction.
pub fn logits(
    backbone: &Backbone,
    adapter: Option<&Adapter>,
    batch: &Batch,
    config: &PredictConfig,
) -> Vec<f32> {
    predict(backbone, adapter, batch, config, &Abort::default()).unwrap()
}

/// What must not change by one.
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
