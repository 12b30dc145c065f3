//! Whole models by the kernels of each device and by plain operations; which device has which
//! kernel.
#![expect(clippy::unwrap_used, reason = "test code")]

mod sources;
#[path = "../support/mod.rs"]
mod support;

use blob_core::abort::Abort;
use blob_core::adapter::{Adapter, Module, Parameters};
use blob_core::backbone::{Backbone, BackboneConfig, GemmaConfig, Quantized, WeightSource, Window};
use blob_core::kl::{GaussianKl, KlForm, PriorStd};
use blob_core::noise::{Phase, Stream};
use blob_core::objective::{Average, CrossEntropy, Objective};
use blob_core::ops::attention::AttentionShape;
use blob_core::ops::linear::Weight;
use blob_core::ops::{Device, Implementation, Operation, Precision, Tensor};
use blob_core::pass::{BatchCopy, Mode, NoiseSharing, Pass};
use blob_core::quantization::Quantization;
use blob_core::weights::StoredMatrix;
use support::answers::{logits, sampling};
use support::device::devices;
use support::golden::{assert_close, named};
use support::small_model::{
    SmallWeights, batch_of, config, lora, lora_with_context, prompts, trained,
};

/// What is adapted, and by how much products may differ.
struct Case {
    model: BackboneConfig,
    targets: Vec<Module>,
    precision: Precision,
    dropout: f32,
    /// Of each tensor's largest entry.
    tolerance: f32,
}

/// Logits of two samples, and the gradients of their mean loss.
fn run(case: &Case, device: Device, adapter: &Adapter) -> (Vec<f32>, Parameters) {
    let batch = batch_of(&prompts()[..3]);
    let (model, precision) = (case.model.clone(), case.precision);
    let backbone = Backbone::load_on(device, model, &SmallWeights(1), precision).unwrap();
    let stream = Stream::new(11, 4, Phase::Training { micro_batch: 1 });
    let copies = (0..2).map(|sample| BatchCopy::whole(&batch, stream, sample));
    let mode = Mode {
        sampling: Some(NoiseSharing::Token),
        dropout: case.dropout,
        context_kl: Some((
            GaussianKl::new(PriorStd::new(0.4).unwrap(), KlForm::Exact),
            0.01,
        )),
        ..Mode::MEAN
    };
    let pass = Pass::new(&batch, copies.collect(), mode, Abort::default());
    let (logits, kept) = backbone
        .forward(&batch, &pass, Some(adapter), true)
        .unwrap();
    let objective = CrossEntropy {
        average: Average::LogLikelihood,
    };
    let loss = objective.evaluate(&logits, &batch, 0.5).unwrap();
    let mut gradients = adapter.parameters().zeros_like();
    backbone
        .backward(
            kept.unwrap(),
            &Tensor::vector(loss.dlogits).unwrap(),
            &pass,
            adapter,
            &mut gradients,
        )
        .unwrap();
    gradients.fetch().unwrap();
    (logits, gradients)
}

fn check(case: &Case) {
    check_adapter(case, &trained(lora(&case.targets), &case.model));
}

fn check_adapter(case: &Case, adapter: &Adapter) {
    let (expected, of_reference) = run(case, Device::Reference, adapter);
    let of_reference = named(&of_reference);
    let tolerance = case.tolerance;
    for device in devices()
        .into_iter()
        .filter(|device| *device != Device::Reference)
    {
        let (logits, gradients) = run(case, device, adapter);
        let of = (device.name(), case.precision.name(), &case.targets);
        assert_close(&format!("{of:?}: logits"), &logits, &expected, tolerance);
        for (parameter, gradient) in named(&gradients) {
            let (name, expected) = (format!("{of:?}: {parameter}"), &of_reference[&parameter]);
            assert_close(&name, gradient, expected, tolerance);
        }
    }
}

/// A model with every switch.
fn switched() -> BackboneConfig {
    BackboneConfig {
        biases: vec![Module::Q, Module::K, Module::V, Module::O],
        qk_norm: true,
        window: Some(Window {
            size: 3,
            blocks: vec![0],
        }),
        ..config()
    }
}

/// A Gemma with every switch.
fn gemma() -> BackboneConfig {
    BackboneConfig {
        biases: Vec::new(),
        gemma: Some(GemmaConfig {
            is_sandwich: true,
            attention_scale: 0.7,
            attention_cap: Some(1.5),
            logit_cap: Some(2.0),
            window_rope_theta: Some(100.0),
        }),
        ..switched()
    }
}

/// Layers of one input in one, as Phi-3 has them.
fn fused() -> BackboneConfig {
    BackboneConfig {
        fused: true,
        biases: vec![Module::Qkv, Module::O],
        ..switched()
    }
}

const ALL: &[Module] = &Module::ALL;
const FEW: &[Module] = &[Module::Q, Module::V, Module::LmHead];

#[test]
fn fused_models_agree_on_all_devices() {
    let few = [Module::Qkv, Module::LmHead];
    for targets in [Module::OF_FUSED_DECODERS.as_slice(), &few] {
        let precisions = [
            (Precision::F32, 1e-4),
            (Precision::Bf16, 3e-2),
            (Precision::Int8, 5e-2),
        ];
        for (precision, tolerance) in precisions {
            check(&Case {
                model: fused(),
                targets: targets.to_vec(),
                precision,
                dropout: 0.0,
                tolerance,
            });
        }
    }
}

#[test]
fn f32_models_agree_on_all_devices() {
    for (model, dropout) in [(config(), 0.0), (switched(), 0.25), (gemma(), 0.0)] {
        for targets in [ALL, FEW] {
            check(&Case {
                model: model.clone(),
                targets: targets.to_vec(),
                precision: Precision::F32,
                dropout,
                tolerance: 1e-4,
            });
        }
    }
}

#[test]
fn adapters_with_a_context_agree_on_all_devices() {
    let precisions = [(Precision::F32, 1e-4), (Precision::Int8, 5e-2)];
    for (precision, tolerance) in precisions {
        for (targets, dropout) in [(ALL, 0.0), (FEW, 0.25)] {
            let case = Case {
                model: config(),
                targets: targets.to_vec(),
                precision,
                dropout,
                tolerance,
            };
            let adapter = trained(lora_with_context(targets), &case.model);
            check_adapter(&case, &adapter);
        }
    }
}

/// Sums in another order move a number to the next one of bf16 (2⁻⁸) or of eight bits (1/127) here
/// and there, in each of the layers; the kernels keep gates in bf16, and round the gradients of
/// scores.
#[test]
fn rounded_models_agree_on_all_devices_within_their_rounding() {
    let wide = BackboneConfig {
        intermediate_size: 64,
        ..switched()
    };
    for (precision, tolerance) in [
        (Precision::Bf16, 3e-2),
        (Precision::Int8, 5e-2),
        (Precision::Int8Mixed, 5e-2),
    ] {
        for targets in [ALL, FEW] {
            check(&Case {
                model: wide.clone(),
                targets: targets.to_vec(),
                precision,
                dropout: 0.0,
                tolerance,
            });
        }
    }
}

/// Each device decodes blocks in its own way, or keeps what they hold.
#[test]
fn quantised_models_agree_on_all_devices_and_stay_quantised() {
    let model = BackboneConfig {
        hidden_size: 64,
        head_dim: 16,
        intermediate_size: 128,
        ..config()
    };
    let batch = batch_of(&prompts()[..3]);
    for (to, type_name) in [
        (Quantization::Q8_0, "Q8_0"),
        (Quantization::Int8, "Q8_0"),
        (Quantization::Nf4, "NF4"),
    ] {
        let source = Quantized::new(SmallWeights(1), to);
        let load =
            |device| Backbone::load_on(device, model.clone(), &source, Precision::F32).unwrap();
        let of = |backbone: &Backbone| logits(backbone, None, &batch, &sampling(1));
        let on_cpu = load(Device::Cpu);
        let expected = of(&load(Device::Reference));
        for device in devices().into_iter().filter(|it| *it != Device::Reference) {
            let backbone = load(device);
            let name = format!("{} {to:?}", device.name());
            assert_close(&name, &of(&backbone), &expected, 1e-4);
            let types: Vec<_> = backbone.block_types().into_keys().collect();
            assert_eq!(types, [type_name], "{name}");
            // References multiply by what they have decoded.
            if device.implementation(Operation::Linear) != Implementation::Reference {
                assert_eq!(backbone.weight_bytes(), on_cpu.weight_bytes(), "{name}");
            }
        }
    }
}

/// What devices with kernels of their own run by reference: an operation, and the kind of device.
/// A line is added with an operation or a device that has no kernel yet, and taken away by its
/// kernel.
const BY_REFERENCE: [(Operation, &str); 0] = [];

/// In which precisions they run products, and attention between them, by reference.
const PRECISIONS_BY_REFERENCE: [(Precision, &str); 2] =
    [(Precision::Int8, "cuda"), (Precision::Int8Mixed, "cuda")];

/// What runs an operation is shown, and is a kernel but for [`BY_REFERENCE`]; then what runs
/// products, and attention between them, in each precision. That a GPU's passes and updates wait
/// for nothing is counted in `cuda_traffic.rs`. `Operation` says what is not in the table.
#[test]
#[expect(clippy::print_stdout, reason = "the table is for people")]
fn every_operation_runs_on_every_device() {
    for &operation in Operation::ALL {
        let by = |device: Device| device.implementation(operation);
        let of = |device: Device| format!("{}: {:?}", device.name(), by(device));
        let of_all: Vec<_> = devices().into_iter().map(of).collect();
        println!("{operation:?}  {}", of_all.join(", "));
        for device in devices().into_iter().filter(|it| *it != Device::Reference) {
            let is_named = BY_REFERENCE.contains(&(operation, device.name()));
            let is_reference = by(device) == Implementation::Reference;
            assert_eq!(is_reference, is_named, "{operation:?} on {}", device.name());
        }
    }
    for precision in Precision::ALL {
        let by = |device: Device| between(device, precision);
        let of = |device: Device| format!("{}: {:?}", device.name(), by(device));
        let (name, of_all): (_, Vec<_>) =
            (precision.name(), devices().into_iter().map(of).collect());
        println!("Linear and Attention in {name}  {}", of_all.join(", "));
        for device in devices().into_iter().filter(|it| *it != Device::Reference) {
            let is_named = PRECISIONS_BY_REFERENCE.contains(&(precision, device.name()));
            let is_reference = by(device).map(|it| it == Implementation::Reference);
            assert_eq!(is_reference, [is_named; 2], "{name} on {}", device.name());
        }
    }
}

/// What runs products with a matrix of a precision, and attention between them.
fn between(device: Device, precision: Precision) -> [Implementation; 2] {
    let matrix = SmallWeights(1).tensor("a matrix", &[8, 8]).unwrap();
    let stored = StoredMatrix::from_tensor(&matrix).unwrap();
    let weight = Weight::new(stored, precision, device).unwrap();
    let heads = AttentionShape {
        num_heads: 1,
        num_kv_heads: 1,
        head_dim: 8,
        scale: 1.0,
        soft_cap: None,
        precision,
        device,
    };
    [
        weight.implementation(Operation::Linear),
        heads.implementation(),
    ]
}
