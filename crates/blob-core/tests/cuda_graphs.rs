//! Steps that repeat as graphs: alone in its process, so that nobody else's are counted.
#![cfg(feature = "cuda")]
#![expect(clippy::unwrap_used, reason = "test code")]

mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};

use blob_core::abort::Abort;
use blob_core::adapter::{Adapter, Gaussian, LoraConfig, Module, Posterior};
use blob_core::backbone::Backbone;
use blob_core::kernels::cuda::Gpu;
use blob_core::method::MethodConfig;
use blob_core::ops::{Device, Precision};
use blob_core::pass::NoiseSharing;
use blob_core::train::{StepReport, TrainConfig, Trainer};
use support::answers::{bits, logits, sampling};
use support::device::gpu;
use support::methods::{methods, sigma_of};
use support::small_model::{Prompt, SmallWeights, batch_of, blob, config, lora, prompts, trained};

/// What a GPU was asked is counted over all threads: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn backbone(gpu: Gpu) -> Backbone {
    let device = Device::Cuda(gpu);
    Backbone::load_on(device, config(), &SmallWeights(1), Precision::F32).unwrap()
}

/// Calls that give work, of `work`.
fn calls_of<T>(gpu: Gpu, work: impl FnOnce() -> T) -> usize {
    let before = gpu.traffic().calls;
    work();
    gpu.traffic().calls - before
}

/// Texts, and others of which there are as many, with as many tokens and classes.
fn two_of_a_shape(texts: Vec<Prompt>) -> [Vec<Prompt>; 2] {
    let change = |prompt: Prompt| Prompt {
        ids: prompt.ids.iter().map(|id| (id + 1) % 40).collect(),
        label: 0,
        row: prompt.row + 100,
        ..prompt
    };
    let others = texts.iter().cloned().rev().map(change).collect();
    [texts, others]
}

/// A run's state at its start, and the batches of a step by a method.
struct Run {
    backbone: Backbone,
    adapter: Adapter,
    trainer: Trainer,
    members: usize,
}

impl Run {
    fn of(gpu: Gpu, method: &MethodConfig, over: Option<Gaussian>, members: usize) -> Self {
        let posterior = over.map(|over| Posterior {
            sigma: sigma_of(over),
            init_eps: 0.3,
            over,
        });
        let lora = LoraConfig {
            posterior,
            members,
            dropout: 0.1,
            ..lora(&[Module::Q, Module::LmHead])
        };
        let adapter = Adapter::new(lora, &config()).unwrap();
        let settings = TrainConfig {
            seed: 3,
            method: method.clone(),
        };
        Self {
            backbone: backbone(gpu),
            trainer: Trainer::new(settings, &adapter).unwrap(),
            adapter,
            members,
        }
    }

    /// BLoB, of which one member is trained.
    fn blob(gpu: Gpu) -> Self {
        let method = MethodConfig::Blob(blob(NoiseSharing::Token));
        Self::of(gpu, &method, Some(Gaussian::A), 1)
    }

    fn step(&mut self, prompts: &[Prompt]) -> StepReport {
        let batches = vec![batch_of(prompts); self.members];
        let abort = Abort::default();
        let step = self
            .trainer
            .step(&self.backbone, &mut self.adapter, &batches, &abort);
        step.unwrap()
    }
}

#[test]
fn a_step_of_every_method_has_the_same_bits_for_other_texts_of_its_shape() {
    let _alone = alone();
    for (method, kinds) in methods() {
        // SWAG's deviations have three places in turn: a list of each.
        let steps = if matches!(method, MethodConfig::Swag(_)) {
            12
        } else {
            6
        };
        for over in kinds {
            let members = if over.is_none() { 2 } else { 1 };
            let run = |gpu: Gpu| {
                let mut run = Run::of(gpu, &method, over, members);
                let before = gpu.traffic().graphs;
                let texts = two_of_a_shape(prompts()[..2].to_vec());
                let reports: Vec<_> = (0..steps).map(|t| run.step(&texts[t % 2])).collect();
                let launched = gpu.traffic().graphs - before;
                let values = bits(run.adapter.parameters().values().host());
                let answers = logits(
                    &run.backbone,
                    Some(&run.adapter),
                    &batch_of(&prompts()),
                    &sampling(3),
                );
                ((reports, values, bits(&answers)), launched)
            };
            let name = format!("{method:?} over {over:?}");
            let (plain, none) = run(gpu());
            let (by_graphs, launched) = run(gpu().with_graphs().unwrap());
            assert_eq!(none, 0, "{name}");
            assert!(launched >= 4, "{name}: {launched}");
            assert!(by_graphs == plain, "{name}");
        }
    }
}

#[test]
fn a_step_that_repeats_is_one_copy_one_launch_and_one_read_back() {
    let _alone = alone();
    let gpu = gpu().with_graphs().unwrap();
    let mut run = Run::blob(gpu);
    let texts = two_of_a_shape(prompts());
    let calls: Vec<_> = (0..6)
        .map(|t| calls_of(gpu, || run.step(&texts[t % 2])))
        .collect();
    // At first moments are made; then the list is seen, captured, and launched.
    assert_eq!(calls[3..], [3; 3], "{calls:?}");
    assert!(calls[0] > 60, "{calls:?}");
}

#[test]
fn answers_repeat_as_graphs_too() {
    let _alone = alone();
    let adapter = trained(lora(&Module::ALL), &config());
    let answers = |gpu: Gpu| {
        let backbone = backbone(gpu);
        let ask = |texts: &[Prompt]| {
            let batch = batch_of(texts);
            bits(&logits(&backbone, Some(&adapter), &batch, &sampling(2)))
        };
        let texts = two_of_a_shape(prompts());
        (0..4).map(|at| ask(&texts[at % 2])).collect::<Vec<_>>()
    };
    let gpu = gpu();
    let plain = answers(gpu);
    let before = gpu.traffic().graphs;
    assert!(answers(gpu.with_graphs().unwrap()) == plain);
    assert!(gpu.traffic().graphs > before);
}

/// A text of each length in turn beside another.
fn lengths(range: std::ops::RangeInclusive<usize>) -> impl Iterator<Item = Vec<Prompt>> {
    range.map(|length| {
        let mut texts = prompts()[1..3].to_vec();
        texts[1].ids.truncate(length);
        texts
    })
}

#[test]
fn a_shape_that_comes_once_makes_no_graph_and_of_nine_that_repeat_eight_are_kept() {
    let _alone = alone();
    let gpu = gpu();
    let (mut plain, mut run) = (Run::blob(gpu), Run::blob(gpu.with_graphs().unwrap()));
    let before = gpu.traffic();
    for texts in lengths(1..=9) {
        assert_eq!(run.step(&texts), plain.step(&texts));
    }
    assert_eq!(gpu.traffic().captures, before.captures);
    assert_eq!(gpu.graphs(), 0);
    for texts in lengths(1..=9).chain(lengths(1..=9)) {
        assert_eq!(run.step(&texts), plain.step(&texts));
    }
    let after = gpu.traffic();
    assert_eq!((after.captures - before.captures, gpu.graphs()), (8, 8));
    // The first step of all makes moments, so that its shape was seen least. Once it has been seen
    // more often than another, it takes the place of that one.
    for texts in (0..4).flat_map(|_| lengths(1..=1)) {
        assert_eq!(run.step(&texts), plain.step(&texts));
    }
    assert_eq!(gpu.graphs(), 8);
    assert_eq!(gpu.traffic().captures - after.captures, 1);
}

#[test]
fn a_model_that_is_dropped_leaves_neither_memory_nor_graphs() {
    let _alone = alone();
    let gpu = gpu().with_graphs().unwrap();
    let (before, _) = gpu.memory().unwrap();
    let mut run = Run::blob(gpu);
    for _ in 0..4 {
        run.step(&prompts());
    }
    assert!(gpu.graphs() > 0);
    assert!(gpu.memory().unwrap().0 < before);
    drop(run);
    assert_eq!((gpu.memory().unwrap().0, gpu.graphs()), (before, 0));
}

#[test]
fn what_is_not_put_off_keeps_its_place_among_what_is() {
    let _alone = alone();
    let gpu = gpu();
    // Two models on one GPU, of which one repeats, step by step in turns.
    let expected = {
        let mut run = Run::blob(gpu);
        (0..6).map(|_| run.step(&prompts())).collect::<Vec<_>>()
    };
    let (mut plain, mut run) = (Run::blob(gpu), Run::blob(gpu.with_graphs().unwrap()));
    for report in expected {
        assert_eq!(run.step(&prompts()), report);
        assert_eq!(plain.step(&prompts()), report);
    }
}
