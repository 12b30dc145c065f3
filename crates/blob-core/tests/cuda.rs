//! Training and prediction on a GPU: the numbers of the processor, the same bits each time, states
//! that go from one to the other.
#![cfg(feature = "cuda")]
#![expect(clippy::unwrap_used, reason = "test code")]

mod support;

use blob_core::abort::Abort;
use blob_core::adapter::{Adapter, Gaussian, LoraConfig, Module, Posterior, Sigma};
use blob_core::backbone::{Backbone, BackboneConfig};
use blob_core::kernels::cuda::Gpu;
use blob_core::method::{BlobConfig, IvonConfig, MethodConfig, PointConfig, ScalaBlConfig};
use blob_core::objective::Average;
use blob_core::ops::{Device, Precision};
use blob_core::pass::NoiseSharing;
use blob_core::train::{StepReport, TrainConfig, Trainer};
use support::Scratch;
use support::answers::{bits, logits, sampling};
use support::device::gpu;
use support::golden::{assert_close, assert_near, parameters};
use support::methods::{methods as every_method, sigma_of};
use support::small_model::{
    Poisoned, SmallWeights, batch_of, blob, config, lora, point, prompts, trained, training,
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

/// Every method with each kind of its adapters; of BLoB also several samples under decay, clipping
/// and the mean of likelihoods.
fn methods() -> Vec<(MethodConfig, Option<Gaussian>)> {
    let point = PointConfig {
        weight_decay: 0.1,
        max_grad_norm: 0.5,
        ..point(1e-3)
    };
    let blob = BlobConfig {
        point,
        train_samples: 2,
        average: Average::LogLikelihood,
        ..blob(NoiseSharing::Example)
    };
    // Draws as wide as few rows leave them make losses that rounding moves, and a small ε of Adam
    // makes steps of rounding where a gradient of scaled directions is hardly more than that.
    let steady = |method| match method {
        MethodConfig::Ivon(config) => MethodConfig::Ivon(IvonConfig {
            effective_rows: 1e5,
            ..config
        }),
        MethodConfig::ScalaBl(config) => MethodConfig::ScalaBl(ScalaBlConfig {
            point: PointConfig {
                adam_epsilon: 1e-4,
                ..config.point
            },
            ..config
        }),
        other => other,
    };
    let each = |(method, kinds): (MethodConfig, Vec<_>)| {
        let method = steady(method);
        let kinds = kinds.into_iter();
        kinds
            .map(move |over| (method.clone(), over))
            .collect::<Vec<_>>()
    };
    let mut all: Vec<_> = every_method().into_iter().flat_map(each).collect();
    all.push((MethodConfig::Blob(blob), Some(Gaussian::A)));
    all
}

/// What a step reports, in order.
fn numbers(report: &StepReport) -> [f32; 5] {
    let update = report.update;
    let kl = update.kl.unwrap_or(0.0);
    let sigma = report.sigma_mean.unwrap_or(0.0);
    let correct = report.correct as f64;
    [report.nll, update.grad_norm, kl, sigma, correct].map(|number| number as f32)
}

#[test]
fn every_method_reports_the_processors_numbers_and_ends_where_it_does() {
    for ((method, over), members) in methods()
        .into_iter()
        .flat_map(|of| [(of.clone(), 1), (of, 2)])
    {
        let run = |device| {
            let backbone = backbone(device, Precision::F32);
            let posterior = over.map(|over| Posterior {
                sigma: match (sigma_of(over), &method) {
                    (Sigma::Square, MethodConfig::Ivon(_)) => Sigma::Square,
                    (Sigma::Square, _) => Sigma::Softplus,
                    (sigma, _) => sigma,
                },
                init_eps: 0.3,
                over,
            });
            let lora = LoraConfig {
                posterior,
                members,
                dropout: 0.1,
                ..lora(&Module::ALL)
            };
            let mut adapter = Adapter::new(lora, &config()).unwrap();
            let settings = TrainConfig {
                seed: 3,
                method: method.clone(),
            };
            let mut trainer = Trainer::new(settings, &adapter).unwrap();
            // Two micro-batches of each member.
            let prompts = prompts();
            let halves = [batch_of(&prompts[..3]), batch_of(&prompts[3..])];
            let batches: Vec<_> = halves
                .iter()
                .flat_map(|half| vec![half.clone(); members])
                .collect();
            let mut step = || {
                let report = trainer.step(&backbone, &mut adapter, &batches, &Abort::default());
                numbers(&report.unwrap())
            };
            let reports: Vec<_> = (0..3).map(|_| step()).collect();
            (reports, adapter)
        };
        let name = format!("{method:?} over {over:?}, {members} members");
        let (expected, of_cpu) = run(Device::Cpu);
        let (reports, adapter) = run(Device::Cuda(gpu()));
        for (report, expected) in reports.iter().zip(&expected) {
            for (number, expected) in report.iter().zip(expected) {
                assert_close(&name, &[*number], &[*expected], 1e-4);
            }
        }
        // Adam amplifies rounding where a gradient is small.
        for (parameter, expected) in parameters(&of_cpu) {
            let what = format!("{name}: {parameter}");
            assert_near(&what, parameters(&adapter)[&parameter], expected, 1e-4);
        }
    }
}

/// Kernels decide what the host would: nothing moves, and the layer is named.
#[test]
fn what_is_not_finite_is_named_as_on_the_processor_and_changes_nothing() {
    for name in [
        "model.embed_tokens.weight",
        "model.layers.1.mlp.up_proj.weight",
        "model.norm.weight",
    ] {
        let source = Poisoned {
            name,
            value: f32::NAN,
        };
        let (good, batch) = (
            backbone(Device::Cuda(gpu()), Precision::F32),
            [batch_of(&prompts())],
        );
        let failed = |device| {
            let bad = Backbone::load_on(device, config(), &source, Precision::F32).unwrap();
            let (mut adapter, mut trainer) = start();
            let step = trainer.step(&bad, &mut adapter, &batch, &Abort::default());
            let report = trainer.step(&good, &mut adapter, &batch, &Abort::default());
            (step.unwrap_err().to_string(), report.unwrap(), adapter)
        };
        let (on_cpu, _, _) = failed(Device::Cpu);
        let (error, report, adapter) = failed(Device::Cuda(gpu()));
        assert_eq!(error, on_cpu, "{name}");
        let (mut expected, mut trainer) = start();
        let first = trainer.step(&good, &mut expected, &batch, &Abort::default());
        assert_eq!(report, first.unwrap(), "{name}");
        assert_eq!(
            adapter.parameters().values(),
            expected.parameters().values()
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

/// The logits of the first prompt's classes in two samples, alone and among the others.
fn alone_and_among_others(device: Device, precision: Precision) -> [Vec<u32>; 2] {
    // Sums long enough for their order to show.
    let model = BackboneConfig {
        hidden_size: 96,
        ..config()
    };
    let backbone = Backbone::load_on(device, model.clone(), &SmallWeights(1), precision).unwrap();
    let adapter = trained(lora(&Module::ALL), &model);
    let prompts = prompts();
    let classes = prompts[0].answers.len();
    [1, prompts.len()].map(|count| {
        let batch = batch_of(&prompts[..count]);
        let all = logits(&backbone, Some(&adapter), &batch, &sampling(2));
        let of_sample = all.chunks_exact(all.len() / 2);
        bits(
            &of_sample
                .flat_map(|logits| logits[..classes].to_vec())
                .collect::<Vec<_>>(),
        )
    })
}

#[test]
fn a_row_has_its_own_bits_where_algorithms_are_fixed_and_each_class_has_one() {
    let gpu = gpu();
    let fixed = Device::Cuda(gpu).deterministic().unwrap();
    for precision in [Precision::F32, Precision::Bf16] {
        let before = gpu.fixed_algorithms();
        let [alone, among_others] = alone_and_among_others(fixed, precision);
        assert_eq!(alone, among_others, "{}", precision.name());
        let chosen = gpu.fixed_algorithms() - before;
        // (m, k) of q, of k and v, of o, of gate and up, and of down: (24, 96), (12, 96), (96, 24),
        // (36, 96) and (96, 36).
        assert_eq!(chosen, 5, "{}", precision.name());
        alone_and_among_others(fixed, precision);
        assert_eq!(gpu.fixed_algorithms(), before + chosen);
    }
    // That the emulated cuBLAS chooses by the number of rows, as NVIDIA's does, and this test sees
    // it.
    if gpu.name().starts_with("Emulated") {
        let [alone, among_others] = alone_and_among_others(Device::Cuda(gpu), Precision::F32);
        assert_ne!(alone, among_others);
    }
    assert_eq!(Device::Cpu.deterministic().unwrap(), Device::Cpu);
}

#[test]
fn a_gpu_that_is_not_there_is_named() {
    let error = Gpu::open(99, std::path::Path::new("")).unwrap_err();
    assert_eq!(error.code(), "BPEFT_DEVICE");
    let text = "cuda:99: the driver reported CUDA_ERROR_INVALID_DEVICE";
    assert_eq!(error.to_string(), text);
    assert!(error.hint().contains("nvidia-smi"), "{}", error.hint());
}
