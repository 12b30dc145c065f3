//! Training and prediction on a GPU: the numbers of the processor, the same bits each time, states
//! that go from one to the other.
#![cfg(feature = "cuda")]
#![expect(clippy::unwrap_used, reason = "test code")]

mod support;

use blob_core::abort::Abort;
use blob_core::adapter::{Adapter, Module};
use blob_core::backbone::Backbone;
use blob_core::kernels::cuda::Gpu;
use blob_core::ops::{Device, Precision};
use blob_core::pass::NoiseSharing;
use blob_core::train::Trainer;
use support::Scratch;
use support::answers::{bits, logits, sampling};
use support::device::gpu;
use support::golden::assert_close;
use support::small_model::{
    SmallWeights, batch_of, blob, config, lora, prompts, trained, training,
};

const STEPS: usize = 4;

fn backbone(device: Device, precision: Precision) -> Backbone {
    Backbone::load_on(device, config(), &SmallWeights(1), precision).unwrap()
}

fn start() -> (Adapter, Trainer) {
    let adapter = trained(lora(&Module::ALL), &config());
    let trainer = Trainer::new(training(Some(blob(NoiseSharing::Token))), &adapter).unwrap();
    (adapter, trainer)
}

/// The loss of each step.
fn steps(backbone: &Backbone, adapter: &mut Adapter, trainer: &mut Trainer) -> Vec<f32> {
    let batch = [batch_of(&prompts())];
    let mut step = || trainer.step(backbone, adapter, &batch, &Abort::default());
    (0..STEPS).map(|_| step().unwrap().nll as f32).collect()
}

/// Losses of a run, and the logits of three samples at its end.
fn run(device: Device, precision: Precision) -> (Vec<f32>, Vec<f32>) {
    let backbone = backbone(device, precision);
    let (mut adapter, mut trainer) = start();
    let losses = steps(&backbone, &mut adapter, &mut trainer);
    let batch = batch_of(&prompts());
    let logits = logits(&backbone, Some(&adapter), &batch, &sampling(3));
    (losses, logits)
}

#[test]
fn a_run_has_the_processors_numbers_and_the_same_bits_each_time() {
    for (precision, tolerance) in [(Precision::F32, 1e-4), (Precision::Bf16, 3e-2)] {
        let (expected_losses, expected) = run(Device::Cpu, precision);
        let (losses, logits) = run(Device::Cuda(gpu()), precision);
        let name = precision.name();
        assert_close(
            &format!("{name}: losses"),
            &losses,
            &expected_losses,
            tolerance,
        );
        assert_close(&format!("{name}: logits"), &logits, &expected, tolerance);
        let (again, logits_again) = run(Device::Cuda(gpu()), precision);
        assert_eq!(
            (bits(&again), bits(&logits_again)),
            (bits(&losses), bits(&logits))
        );
    }
}

#[test]
fn a_state_goes_on_where_it_was_not_saved() {
    let devices = [Device::Cpu, Device::Cuda(gpu())];
    let whole = |device| {
        let backbone = backbone(device, Precision::F32);
        let (mut adapter, mut trainer) = start();
        steps(&backbone, &mut adapter, &mut trainer);
        steps(&backbone, &mut adapter, &mut trainer)
    };
    let expected = whole(Device::Cpu);
    for (first, second) in [(devices[0], devices[1]), (devices[1], devices[0])] {
        let scratch = Scratch::new();
        let (mut adapter, mut trainer) = start();
        steps(&backbone(first, Precision::F32), &mut adapter, &mut trainer);
        trainer.save(&adapter, scratch.path()).unwrap();
        let (mut adapter, mut trainer) = start();
        trainer.load(&mut adapter, scratch.path()).unwrap();
        let losses = steps(
            &backbone(second, Precision::F32),
            &mut adapter,
            &mut trainer,
        );
        assert_close(second.name(), &losses, &expected, 1e-4);
    }
}

#[test]
fn a_gpu_that_is_not_there_is_named() {
    let error = Gpu::open(99, std::path::Path::new("")).unwrap_err();
    assert_eq!(error.code(), "BPEFT_DEVICE");
    let text = "cuda:99: the driver reported CUDA_ERROR_INVALID_DEVICE";
    assert_eq!(error.to_string(), text);
    assert!(error.hint().contains("nvidia-smi"), "{}", error.hint());
}
