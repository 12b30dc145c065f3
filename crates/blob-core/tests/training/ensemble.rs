//! Members of one adapter: each is the run that it would be alone, bit for bit.

use std::fs;

use blob_core::abort::Abort;
use blob_core::adapter::peft::{load, save};
use blob_core::adapter::{Adapter, LoraConfig, Module, Sigma};
use blob_core::batch::Batch;
use blob_core::kernels::cpu::gemm::Precision;
use blob_core::method::{BlobConfig, PointConfig};
use blob_core::pass::NoiseSharing;
use blob_core::predict::predict;
use blob_core::train::{TrainConfig, Trainer};

use crate::support::Scratch;
use crate::support::answers::{bits, sampling};
use crate::support::small_model::{
    backbone, batch_of, blob, config, lora, point, prompts, training_at,
};

const MEMBERS: usize = 3;

/// Members of different prompts, so that rows of one stand beside rows of another.
fn batches_of(member: usize) -> [Batch; 2] {
    let prompts = prompts();
    let from = member % 3;
    [
        batch_of(&prompts[from..from + 2]),
        batch_of(&prompts[from + 1..from + 2]),
    ]
}

/// In the order of the micro-batches, and of the members in each.
fn batches_of_all() -> Vec<Batch> {
    let of = |micro_batch: usize| (0..MEMBERS).map(move |j| batches_of(j)[micro_batch].clone());
    (0..2).flat_map(of).collect()
}

fn shape(is_gaussian: bool) -> LoraConfig {
    let lora = lora(&Module::ALL);
    LoraConfig {
        dropout: 0.2,
        posterior: lora.posterior.filter(|_| is_gaussian),
        ..lora
    }
}

/// Clipped, so that a norm over all members would show.
fn settings(is_gaussian: bool) -> TrainConfig {
    let point = PointConfig {
        max_grad_norm: 0.05,
        weight_decay: 0.1,
        ..point(0.01)
    };
    let blob = BlobConfig {
        train_samples: 2,
        ..blob(NoiseSharing::Token)
    };
    training_at(point, is_gaussian.then_some(blob))
}

#[test]
fn each_member_is_the_single_run_of_its_seed() {
    for (is_gaussian, precision) in [
        (false, Precision::F32),
        (true, Precision::F32),
        (false, Precision::Bf16),
        (true, Precision::Int8),
    ] {
        let model = backbone(&config(), precision);
        let (abort, lora, train) = (Abort::default(), shape(is_gaussian), settings(is_gaussian));
        let members = LoraConfig {
            members: MEMBERS,
            ..lora.clone()
        };
        let mut ensemble = Adapter::new(members, &config()).unwrap();
        let mut trainer = Trainer::new(train.clone(), &ensemble).unwrap();
        let mut norms = Vec::new();
        for _ in 0..4 {
            let batches = batches_of_all();
            let report = trainer
                .step(&model, &mut ensemble, &batches, &abort)
                .unwrap();
            norms.push(report.update.grad_norm);
        }
        let held_out = batch_of(&prompts());
        let samples = if is_gaussian { 3 } else { 1 };
        let of_ensemble = predict(
            &model,
            Some(&ensemble),
            &held_out,
            &sampling(samples),
            &abort,
        )
        .unwrap();

        let (mut of_singles, mut mean_norms) = (Vec::new(), vec![0.0; 4]);
        for member in 0..MEMBERS {
            let seed = lora.seed + member as u64;
            let mut single = Adapter::new(
                LoraConfig {
                    seed,
                    ..lora.clone()
                },
                &config(),
            )
            .unwrap();
            let config = TrainConfig {
                seed: train.seed + member as u64,
                ..train.clone()
            };
            let mut trainer = Trainer::new(config, &single).unwrap();
            for mean in &mut mean_norms {
                let batches = batches_of(member);
                let report = trainer.step(&model, &mut single, &batches, &abort).unwrap();
                assert!(report.update.grad_norm > 0.05, "clipping must be at work");
                *mean += report.update.grad_norm / MEMBERS as f64;
            }
            let case = format!("member {member}, {precision:?}, Gaussian: {is_gaussian}");
            assert_eq!(
                bits(ensemble.parameters().member(member)),
                bits(single.parameters().member(0)),
                "{case}"
            );
            of_singles.extend(
                predict(&model, Some(&single), &held_out, &sampling(samples), &abort).unwrap(),
            );
        }
        assert_eq!(bits(&of_ensemble), bits(&of_singles));
        for (norm, mean) in norms.iter().zip(mean_norms) {
            assert!((norm - mean).abs() < 1e-12, "{norm} {mean}");
        }
    }
}

#[test]
fn an_ensemble_is_saved_resumed_and_restored_whole() {
    let model = backbone(&config(), Precision::F32);
    let abort = Abort::default();
    let lora = LoraConfig {
        members: MEMBERS,
        ..shape(false)
    };
    let start = || {
        let adapter = Adapter::new(lora.clone(), &config()).unwrap();
        let trainer = Trainer::new(settings(false), &adapter).unwrap();
        (adapter, trainer)
    };
    let run = |trainer: &mut Trainer, adapter: &mut Adapter| {
        for _ in 0..2 {
            trainer
                .step(&model, adapter, &batches_of_all(), &abort)
                .unwrap();
        }
    };
    let (mut adapter, mut trainer) = start();
    run(&mut trainer, &mut adapter);
    let state = Scratch::new();
    trainer.save(&adapter, state.path()).unwrap();
    run(&mut trainer, &mut adapter);

    let (mut resumed, mut again) = start();
    again.load(&mut resumed, state.path()).unwrap();
    run(&mut again, &mut resumed);
    assert_eq!(adapter.terms(2), resumed.terms(2));
    assert_eq!(adapter.terms(0), resumed.terms(0));

    let folder = Scratch::new();
    save(&adapter, &config(), folder.path(), "base/model").unwrap();
    let restored = load(folder.path(), &config(), Sigma::Square)
        .unwrap()
        .adapter;
    let of = |adapter: &Adapter| bits(adapter.parameters().values().host());
    assert_eq!(of(&restored), of(&adapter));
    for member in 1..MEMBERS {
        let path = folder.path().join(format!("adapter_{member}"));
        let single = load(&path, &config(), Sigma::Square).unwrap().adapter;
        assert_eq!(single.terms(0), adapter.terms(member));
    }

    fs::rename(
        folder.path().join("adapter_1"),
        folder.path().join("elsewhere"),
    )
    .unwrap();
    let error = load(folder.path(), &config(), Sigma::Square).unwrap_err();
    assert_eq!(error.code(), "BPEFT_ADAPTER");
    assert!(error.to_string().contains("must be there"), "{error}");
    let other = LoraConfig {
        rank: 2,
        ..shape(false)
    };
    let other = Adapter::new(other, &config()).unwrap();
    let path = folder.path().join("adapter_1");
    fs::create_dir(&path).unwrap();
    save(&other, &config(), &path, "base/model").unwrap();
    let error = load(folder.path(), &config(), Sigma::Square).unwrap_err();
    assert!(error.to_string().contains("must be alike"), "{error}");
}

#[test]
fn a_trainer_refuses_an_adapter_that_it_was_not_made_for_and_batches_that_do_not_fit() {
    let model = backbone(&config(), Precision::F32);
    let lora = |modules: &[Module], members| LoraConfig {
        target_modules: modules.to_vec(),
        members,
        ..shape(false)
    };
    let adapter = |lora| Adapter::new(lora, &config()).unwrap();
    let made_for = adapter(lora(&[Module::Q, Module::V], 2));
    let mut trainer = Trainer::new(settings(false), &made_for).unwrap();
    let batch = batch_of(&prompts()[..1]);
    let mut step = |adapter: &mut Adapter, count: usize| {
        let batches = vec![batch.clone(); count];
        trainer.step(&model, adapter, &batches, &Abort::default())
    };
    // K and O have as many values as V and Q here would need; their place alone tells them apart.
    for modules in [&[Module::K, Module::O][..], &[Module::Q], &Module::ALL] {
        let mut other = adapter(lora(modules, 2));
        let before = other.terms(0);
        let error = step(&mut other, 2).unwrap_err();
        assert_eq!(error.code(), "BPEFT_INVALID_INPUT", "{error}");
        assert_eq!(other.terms(0), before);
    }
    let error = step(&mut adapter(lora(&[Module::Q, Module::V], 1)), 2).unwrap_err();
    assert_eq!(error.code(), "BPEFT_INVALID_INPUT", "{error}");
    for count in [0, 1, 3] {
        let error = step(&mut made_for.clone(), count).unwrap_err();
        assert!(
            error.to_string().contains("each of 2 members"),
            "{count}: {error}"
        );
    }
    step(&mut made_for.clone(), 2).unwrap();
}

#[test]
fn members_that_differ_are_refused_in_words() {
    let folder = Scratch::new();
    let of_rank = |rank| {
        let point = LoraConfig {
            rank,
            posterior: None,
            ..lora(&[Module::V])
        };
        Adapter::new(point, &config()).unwrap()
    };
    let inside = folder.path().join("adapter_1");
    fs::create_dir(&inside).unwrap();
    for (rank, path) in [(3, folder.path()), (4, inside.as_path())] {
        save(&of_rank(rank), &config(), path, "base").unwrap();
    }
    let error = load(folder.path(), &config(), Sigma::Square).unwrap_err();
    assert_eq!(error.code(), "BPEFT_ADAPTER");
    let words = "got rank 4, alpha 6, dropout 0 on v_proj with no posterior after rank 3";
    assert!(error.to_string().contains(words), "{error}");
}
