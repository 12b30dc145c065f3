//! A GPU's memory comes back: alone in its process, so that nobody else's is counted.
#![cfg(feature = "cuda")]

mod support;

use blob_core::adapter::Module;
use blob_core::backbone::Backbone;
use blob_core::ops::{Device, Precision};
use support::answers::{logits, sampling};
use support::device::gpu;
use support::small_model::{SmallWeights, batch_of, config, lora, prompts, trained};

#[test]
fn a_model_that_is_dropped_leaves_no_byte() {
    let gpu = gpu();
    let (before, _) = gpu.memory().unwrap();
    let device = Device::Cuda(gpu);
    let backbone = Backbone::load_on(device, config(), &SmallWeights(1), Precision::F32).unwrap();
    let adapter = trained(lora(&Module::ALL), &config());
    let batch = batch_of(&prompts());
    assert!(!logits(&backbone, Some(&adapter), &batch, &sampling(2)).is_empty());
    let (with_model, _) = gpu.memory().unwrap();
    assert!(
        with_model + backbone.weight_bytes() / 2 < before,
        "{with_model} of {before}"
    );
    drop(backbone);
    drop(adapter); // its copy on the GPU
    assert_eq!(gpu.memory().unwrap().0, before);
}
