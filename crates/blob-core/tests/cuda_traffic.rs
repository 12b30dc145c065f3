//! What goes to a GPU and comes back in a step: alone in its process, so that nobody else's is
//! counted.
#![cfg(feature = "cuda")]
#![expect(clippy::unwrap_used, reason = "test code")]

mod support;

use blob_core::abort::Abort;
use blob_core::adapter::{Adapter, LoraConfig, Module, Posterior};
use blob_core::backbone::{Backbone, BackboneConfig};
use blob_core::kernels::cuda::{Gpu, Traffic};
use blob_core::method::MethodConfig;
use blob_core::ops::{Device, Precision};
use blob_core::pass::NoiseSharing;
use blob_core::train::{TrainConfig, Trainer};
use support::Scratch;
use support::answers::{logits, sampling};
use support::device::gpu;
use support::encoder_case::EncoderCase;
use support::methods::{OnGpu, methods, on_gpu, sigma_of};
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
        allocations: after.allocations - before.allocations,
        calls: after.calls - before.calls,
        graphs: after.graphs - before.graphs,
        captures: after.captures - before.captures,
        uploads: after.uploads - before.uploads,
        uploaded: after.uploaded - before.uploaded,
        read_backs: after.read_backs - before.read_backs,
        read_back: after.read_back - before.read_back,
    }
}

/// A step of a method by kernels: what the second one costs.
fn second_step(
    model: &BackboneConfig,
    targets: &[Module],
    change: impl FnOnce(&mut LoraConfig, &mut TrainConfig),
) -> Traffic {
    let gpu = gpu();
    let device = Device::Cuda(gpu);
    let backbone =
        Backbone::load_on(device, model.clone(), &SmallWeights(1), Precision::F32).unwrap();
    let (mut lora, mut settings) = (lora(targets), training(Some(blob(NoiseSharing::Token))));
    change(&mut lora, &mut settings);
    let mut adapter = trained(lora, model);
    let mut trainer = Trainer::new(settings, &adapter).unwrap();
    let batch = [batch_of(&prompts())];
    let mut step = || {
        trainer
            .step(&backbone, &mut adapter, &batch, &Abort::default())
            .unwrap();
    };
    let first = of(gpu, &mut step);
    let second = of(gpu, &mut step);
    // The parameters, and the angles of positions.
    assert!(second.uploaded < first.uploaded, "{first:?}, {second:?}");
    assert_eq!(
        (second.launches, second.products, second.uploads),
        (first.launches, first.products, first.uploads - 3),
    );
    // The arena has all that a step takes.
    assert_eq!(second.allocations, 0, "{second:?}");
    second
}

/// Losses, norm, KL, σ and whether all is finite, in f64.
const AT_THE_END: usize = 6 * 8;

#[test]
fn a_step_waits_once_and_answers_and_states_are_read_on_request() {
    a_step_waits_once_at_its_end_and_reads_six_numbers();
    what_kernels_read_is_copied_once_however_many_layers_ask_for_it();
    so_does_a_step_of_an_encoder_and_its_head();
    so_does_a_step_of_every_method();
    answers_are_read_at_once_and_a_state_on_request();
}

fn a_step_waits_once_at_its_end_and_reads_six_numbers() {
    let (tokens, prompts) = (21, 5);
    for (dropout, bayes) in [(0.0, true), (0.25, true), (0.25, false)] {
        let step = second_step(&config(), &Module::ALL, |lora, settings| {
            lora.dropout = dropout;
            if !bayes {
                lora.posterior = None;
                *settings = training(None);
            }
        });
        assert_eq!(
            (step.read_backs, step.read_back),
            (1, AT_THE_END),
            "{step:?}"
        );
        // Who the rows are, for each term and for each layer's attention; tokens, classes, labels.
        let most = 4 * (step.uploads * tokens + 20 * prompts);
        assert!(step.uploaded <= most, "{step:?}, at most {most}");
    }
}

fn what_kernels_read_is_copied_once_however_many_layers_ask_for_it() {
    let [shallow, deep] = [2, 4].map(|num_layers| {
        let model = BackboneConfig {
            num_layers,
            ..config()
        };
        second_step(&model, &Module::ALL, |_, _| ())
    });
    assert!(
        deep.launches > shallow.launches + 50,
        "{shallow:?}, {deep:?}"
    );
    assert_eq!(deep.uploads, shallow.uploads);
}

fn so_does_a_step_of_an_encoder_and_its_head() {
    let gpu = gpu();
    for name in ["encoder-bert-everywhere", "encoder-roberta"] {
        let mut case = EncoderCase::open_on(name, Device::Cuda(gpu));
        let mut trainer = Trainer::new(training(None), &case.adapter).unwrap();
        let batch = [case.batch];
        let mut step = || {
            trainer
                .step(&case.backbone, &mut case.adapter, &batch, &Abort::default())
                .unwrap();
        };
        step();
        let second = of(gpu, &mut step);
        let read = (second.read_backs, second.read_back);
        assert_eq!(read, (1, AT_THE_END), "{name}: {second:?}");
    }
}

/// Kernels draw factors, update and collect: no factor comes to the host within a step.
#[expect(clippy::print_stdout, reason = "the table is for people")]
fn so_does_a_step_of_every_method() {
    let (gpu, model) = (gpu(), config());
    let device = Device::Cuda(gpu);
    let backbone =
        Backbone::load_on(device, model.clone(), &SmallWeights(1), Precision::F32).unwrap();
    let by_kernels = methods().into_iter();
    for (method, kinds) in by_kernels.filter(|(of, _)| on_gpu(of) == OnGpu::ByKernels) {
        for over in kinds {
            let posterior = over.map(|over| Posterior {
                sigma: sigma_of(over),
                init_eps: 0.3,
                over,
            });
            let lora = LoraConfig {
                posterior,
                members: 2,
                ..lora(&[Module::Q, Module::LmHead])
            };
            let mut adapter = Adapter::new(lora, &model).unwrap();
            let settings = TrainConfig {
                seed: 3,
                method: method.clone(),
            };
            let mut trainer = Trainer::new(settings, &adapter).unwrap();
            let batch = vec![batch_of(&prompts()[..2]); 2];
            let mut step = || {
                trainer
                    .step(&backbone, &mut adapter, &batch, &Abort::default())
                    .unwrap();
            };
            for _ in 0..3 {
                step(); // SWAG collects from here on
            }
            let traffic = of(gpu, &mut step);
            let name = format!("{} over {over:?}", id_of(&method));
            println!("{name}: {traffic:?}");
            let read = (traffic.read_backs, traffic.read_back);
            assert_eq!(read, (1, AT_THE_END), "{name}");
        }
    }
}

/// As settings spell it.
fn id_of(method: &MethodConfig) -> String {
    let fields = serde_json::to_value(method).unwrap();
    fields["id"].as_str().unwrap().into()
}

fn answers_are_read_at_once_and_a_state_on_request() {
    let (gpu, model) = (gpu(), config());
    let device = Device::Cuda(gpu);
    let backbone =
        Backbone::load_on(device, model.clone(), &SmallWeights(1), Precision::F32).unwrap();
    let mut adapter = trained(lora(&Module::ALL), &model);
    let settings = training(Some(blob(NoiseSharing::Token)));
    let mut trainer = Trainer::new(settings, &adapter).unwrap();
    let batch = [batch_of(&prompts())];
    trainer
        .step(&backbone, &mut adapter, &batch, &Abort::default())
        .unwrap();
    let answers = of(gpu, || {
        logits(&backbone, Some(&adapter), &batch[0], &sampling(2));
    });
    assert_eq!(answers.read_backs, 1, "{answers:?}");
    let scratch = Scratch::new();
    let saved = of(gpu, || trainer.save(&adapter, scratch.path()).unwrap());
    let points = adapter.parameters().layout().point_len();
    let state = adapter.parameters().values().len() + 2 * points;
    assert_eq!((saved.read_backs, saved.read_back), (3, 4 * state));
    let again = of(gpu, || trainer.save(&adapter, scratch.path()).unwrap());
    assert_eq!(again.read_backs, 0);
}
