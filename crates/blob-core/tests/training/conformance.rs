//! What every method keeps to: the same seed gives the same bytes, a run that was saved goes on as
//! the same run, answers without samples know no noise, and samples are the same one by one and at
//! once.
#![expect(clippy::unwrap_used, reason = "test code")]

use blob_core::abort::Abort;
use blob_core::adapter::{Adapter, Gaussian, LoraConfig, Module, Posterior, Sigma, peft};
use blob_core::method::{
    BbbConfig, IvonConfig, MapConfig, MethodConfig, MleConfig, PointConfig, SwagConfig,
};
use blob_core::ops::Precision;
use blob_core::optim::Schedule;
use blob_core::pass::NoiseSharing;
use blob_core::predict::PredictConfig;
use blob_core::train::{TrainConfig, Trainer};

use crate::support::Scratch;
use crate::support::answers::{bits, logits, sampling};
use crate::support::golden::assert_close;
use crate::support::small_model::{backbone, batch_of, blob, config, lora, point, prompts};

/// Every method with the adapters that it trains. A method without a line here does not compile.
fn methods() -> Vec<(MethodConfig, Vec<Option<Gaussian>>)> {
    let schedule = Schedule {
        total: 12,
        warmup: 2.0,
        warmup_start: 1,
        stride: 1,
    };
    let point = PointConfig {
        schedule,
        max_grad_norm: 1.0,
        ..point(0.01)
    };
    let all = [
        MethodConfig::Mle(MleConfig { point }),
        MethodConfig::Map(MapConfig {
            point,
            prior_std: 0.3,
            rows: 9,
        }),
        MethodConfig::Bbb(BbbConfig {
            point,
            prior_std: 0.3,
            rows: 9,
            train_samples: 2,
        }),
        MethodConfig::Blob(blob(NoiseSharing::Token)),
        MethodConfig::Ivon(IvonConfig {
            lr: 0.1,
            schedule,
            effective_rows: 100.0,
            weight_decay: 1e-3,
            initial_hessian: 0.1,
            beta1: 0.9,
            beta2: 0.99,
            clip: 0.1,
            train_samples: 2,
        }),
        MethodConfig::Swag(SwagConfig {
            point,
            start: 2,
            every: 1,
            lr: 0.01,
            deviations: 3,
            scale: 1.0,
        }),
    ];
    let kinds = |method: &MethodConfig| match method {
        MethodConfig::Mle(_) | MethodConfig::Map(_) | MethodConfig::Swag(_) => vec![None],
        MethodConfig::Bbb(_) => vec![Some(Gaussian::A), Some(Gaussian::AAndB)],
        MethodConfig::Blob(_) => vec![Some(Gaussian::A)],
        MethodConfig::Ivon(_) => vec![Some(Gaussian::AAndB)],
    };
    all.into_iter()
        .map(|method| (kinds(&method), method))
        .map(|(kinds, method)| (method, kinds))
        .collect()
}

fn fresh(over: Option<Gaussian>, members: usize) -> Adapter {
    let posterior = over.map(|over| Posterior {
        sigma: Sigma::Square,
        init_eps: 0.4,
        over,
    });
    let lora = LoraConfig {
        posterior,
        members,
        ..lora(&Module::ALL)
    };
    Adapter::new(lora, &config()).unwrap()
}

/// What answers after seven updates; of a run that is saved and read again after four, with a
/// folder.
fn trained(
    method: &MethodConfig,
    (over, members): (Option<Gaussian>, usize),
    seed: u64,
    folder: Option<&Scratch>,
) -> Adapter {
    let model = backbone(&config(), Precision::F32);
    let batches = vec![batch_of(&prompts()); members];
    let settings = TrainConfig {
        seed,
        method: method.clone(),
    };
    let mut adapter = fresh(over, members);
    let mut trainer = Trainer::new(settings.clone(), &adapter).unwrap();
    for step in 0..7 {
        if let Some(folder) = folder.filter(|_| step == 4) {
            trainer.save(&adapter, folder.path()).unwrap();
            adapter = fresh(over, members);
            trainer = Trainer::new(settings.clone(), &adapter).unwrap();
            trainer.load(&mut adapter, folder.path()).unwrap();
        }
        let abort = Abort::default();
        trainer
            .step(&model, &mut adapter, &batches, &abort)
            .unwrap();
    }
    trainer.posterior(&adapter).unwrap().unwrap_or(adapter)
}

/// For each method, kind of adapter, and one or two members.
fn each(mut check: impl FnMut(&str, &MethodConfig, (Option<Gaussian>, usize))) {
    for (method, kinds) in methods() {
        for over in kinds {
            for members in [1, 2] {
                let name = format!("{method:?} over {over:?}, {members} members");
                check(&name, &method, (over, members));
            }
        }
    }
}

fn values(adapter: &Adapter) -> Vec<u32> {
    bits(adapter.parameters().values().host())
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_one_others_where_there_is_noise() {
    each(|name, method, kind| {
        let first = trained(method, kind, 3, None);
        assert_eq!(
            values(&first),
            values(&trained(method, kind, 3, None)),
            "{name}"
        );
        let other = values(&trained(method, kind, 4, None));
        assert_eq!(values(&first) != other, kind.0.is_some(), "{name}");
    });
}

#[test]
fn a_saved_run_goes_on_as_the_same_run() {
    each(|name, method, kind| {
        let folder = Scratch::new();
        let resumed = trained(method, kind, 3, Some(&folder));
        assert_eq!(
            values(&resumed),
            values(&trained(method, kind, 3, None)),
            "{name}"
        );
    });
}

#[test]
fn files_keep_what_answers() {
    let (model, batch) = (backbone(&config(), Precision::F32), batch_of(&prompts()));
    each(|name, method, kind| {
        let (adapter, folder) = (trained(method, kind, 3, None), Scratch::new());
        peft::save(&adapter, &config(), folder.path(), "base").unwrap();
        let loaded = peft::load(folder.path(), &config(), Sigma::Square).unwrap();
        let of = |adapter| bits(&logits(&model, Some(adapter), &batch, &sampling(3)));
        assert_eq!(of(&adapter), of(&loaded.adapter), "{name}");
    });
}

#[test]
fn answers_without_samples_know_no_noise_and_samples_are_the_same_one_by_one() {
    let (model, prompts) = (backbone(&config(), Precision::F32), prompts());
    let batch = batch_of(&prompts);
    each(|name, method, kind| {
        let adapter = trained(method, kind, 3, None);
        let of = |config: &PredictConfig| logits(&model, Some(&adapter), &batch, config);
        let mean = of(&sampling(0));
        let other_seed = PredictConfig {
            seed: 77,
            noise: NoiseSharing::Example,
            ..sampling(0)
        };
        assert_eq!(bits(&mean), bits(&of(&other_seed)), "{name}");
        let four = of(&sampling(4));
        if adapter.sigma().is_none() {
            assert_eq!(bits(&four), bits(&mean), "{name}");
            return;
        }
        let (members, width) = (kind.1, batch.answers().len());
        for sample in 0..4 {
            let alone = PredictConfig {
                first_sample: sample as u32,
                ..sampling(1)
            };
            let one = of(&alone);
            for member in 0..members {
                let from = (member * 4 + sample) * width;
                let at_once = &four[from..from + width];
                let alone = &one[member * width..(member + 1) * width];
                assert_eq!(bits(at_once), bits(alone), "{name}: sample {sample}");
                assert_ne!(
                    at_once,
                    &mean[member * width..(member + 1) * width],
                    "{name}"
                );
            }
        }
        // Whatever the batch is.
        let mut at = 0;
        for prompt in &prompts {
            let own = batch_of(std::slice::from_ref(prompt));
            let alone = logits(&model, Some(&adapter), &own, &sampling(4));
            let classes = prompt.answers.len();
            let of_batch: Vec<_> = (0..members * 4)
                .flat_map(|draw| &four[draw * width + at..draw * width + at + classes])
                .copied()
                .collect();
            assert_close(name, &of_batch, &alone, 1e-5);
            at += classes;
        }
    });
}
