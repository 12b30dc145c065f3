//! What goes to a GPU and comes back in a step: alone in its process, so that nobody else's is
//! counted.
#![cfg(feature = "cuda")]

mod support;

use blob_core::abort::Abort;
use blob_core::adapter::Module;
use blob_core::backbone::Backbone;
use blob_core::kernels::cuda::{Gpu, Traffic};
use blob_core::ops::{Device, Precision};
use blob_core::pass::NoiseSharing;
use blob_core::train::Trainer;
use support::answers::{logits, sampling};
use support::device::gpu;
use support::small_model::{
    SmallWeights, batch_of, blob, config, lora, prompts, trained, training,
};

/// What `work` adds.
fn of(gpu: Gpu, work: impl FnOnce()) -> Traffic {
    let before = gpu.traffic();
    work();
    let after = gpu.traffic();
    Traffic {
        launches: after.launches - before.launches,
        products: after.products - before.products,
        uploads: after.uploads - before.uploads,
        uploaded: after.uploaded - before.uploaded,
        read_backs: after.read_backs - before.read_backs,
        read_back: after.read_back - before.read_back,
    }
}

#[test]
fn a_step_waits_for_its_logits_and_for_its_gradients_alone() {
    let (gpu, model) = (gpu(), config());
    let device = Device::Cuda(gpu);
    let backbone =
        Backbone::load_on(device, model.clone(), &SmallWeights(1), Precision::F32).unwrap();
    let mut adapter = trained(lora(&Module::ALL), &model);
    let settings = training(Some(blob(NoiseSharing::Token)));
    let mut trainer = Trainer::new(settings, &adapter).unwrap();
    let batch = [batch_of(&prompts())];
    let mut step = || {
        trainer
            .step(&backbone, &mut adapter, &batch, &Abort::default())
            .unwrap();
    };
    let first = of(gpu, &mut step);
    let second = of(gpu, &mut step);
    let parameters = adapter.parameters().values().host().len();
    let (prompts, tokens) = (batch[0].len(), batch[0].ids().len());
    let d = model.hidden_size;
    assert_eq!(second.read_backs, 2);
    assert_eq!(second.read_back, 4 * (prompts * d + parameters));
    // Once more what has changed: the adapter's values, the embedding's rows, the gradient of the
    // head, and who the rows are, of each term and of each layer's attention.
    let identities = second.uploads * tokens;
    let most = 4 * (parameters + tokens * d + prompts * d + identities);
    assert!(second.uploaded <= most, "{second:?}, at most {most}");
    assert!(second.uploaded < first.uploaded, "{first:?}, {second:?}");
    assert_eq!(
        (second.launches, second.products, second.uploads),
        (first.launches, first.products, first.uploads - 2), // sines and cosines
    );

    let answers = of(gpu, || {
        logits(&backbone, Some(&adapter), &batch[0], &sampling(2));
    });
    assert_eq!(answers.read_backs, 1, "{answers:?}");
}
