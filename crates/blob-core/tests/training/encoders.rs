//! Every method on an encoder, with its head trained, frozen and under low-rank terms.

#![expect(clippy::unwrap_used, reason = "test code")]

use blob_core::abort::Abort;
use blob_core::adapter::{Adapter, Gaussian, HeadConfig, LoraConfig, Module, Sigma, peft};
use blob_core::backbone::Backbone;
use blob_core::batch::Batch;
use blob_core::laplace::Link;
use blob_core::method::{BbbConfig, IvonConfig, MapConfig, MethodConfig, MleConfig};
use blob_core::pass::NoiseSharing;
use blob_core::predict::{PredictConfig, predict};
use blob_core::train::{TrainConfig, Trainer};

use crate::support::Scratch;
use crate::support::encoder_case::EncoderCase;
use crate::support::small_model::{blob, lora, point};

/// The posterior that a method asks for, and its settings.
fn methods() -> Vec<(Option<Gaussian>, MethodConfig)> {
    let point = point(0.02);
    let bbb = BbbConfig {
        point,
        prior_std: 0.2,
        rows: 10,
        train_samples: 2,
    };
    let ivon = IvonConfig {
        lr: 0.02,
        schedule: point.schedule,
        effective_rows: 100.0,
        weight_decay: 1e-3,
        initial_hessian: 0.5,
        beta1: 0.9,
        beta2: 0.999,
        clip: 0.1,
        train_samples: 2,
    };
    vec![
        (None, MethodConfig::Mle(MleConfig { point })),
        (
            None,
            MethodConfig::Map(MapConfig {
                point,
                prior_std: 0.2,
                rows: 10,
            }),
        ),
        (
            Some(Gaussian::A),
            MethodConfig::Blob(blob(NoiseSharing::Token)),
        ),
        (Some(Gaussian::A), MethodConfig::Bbb(bbb)),
        (Some(Gaussian::AAndB), MethodConfig::Bbb(bbb)),
        (Some(Gaussian::AAndB), MethodConfig::Ivon(ivon)),
    ]
}

/// An adapter on a base without a head, of two members.
pub(super) fn adapter(backbone: &Backbone, over: Option<Gaussian>, trained: bool) -> Adapter {
    let mut target_modules = if backbone.config().fused {
        vec![Module::Qkv]
    } else {
        vec![Module::Q, Module::V]
    };
    if !trained {
        target_modules.extend([Module::Dense, Module::Classifier]);
    }
    let lora = lora(&target_modules);
    let posterior = lora.posterior.zip(over).map(|(mut posterior, over)| {
        (posterior.over, posterior.sigma) = (over, Sigma::Square);
        posterior
    });
    let head = Some(HeadConfig {
        classes: 3,
        trained,
        fresh: false,
    });
    backbone
        .adapter(LoraConfig {
            posterior,
            members: 2,
            head,
            ..lora
        })
        .unwrap()
}

fn run(
    trainer: &mut Trainer,
    backbone: &Backbone,
    adapter: &mut Adapter,
    batch: &Batch,
) -> Vec<f64> {
    let batches = [batch.clone(), batch.clone()];
    let step = |_| {
        let report = trainer.step(backbone, adapter, &batches, &Abort::default());
        report.unwrap().nll
    };
    (0..8).map(step).collect()
}

/// The head's values of a member.
fn head(adapter: &Adapter, member: usize) -> Vec<f32> {
    let (parameters, values) = (adapter.parameters(), adapter.parameters().member(member));
    let parameters = parameters.layout().parameters().iter();
    let of_head = parameters.filter(|parameter| parameter.factor.is_own());
    of_head
        .flat_map(|parameter| values[parameter.range.clone()].to_vec())
        .collect()
}

#[test]
fn every_method_trains_an_encoder_resumes_to_the_bit_and_leaves_a_frozen_head_alone() {
    let names = ["encoder-roberta", "encoder-modernbert", "encoder-deberta"];
    for (name, (over, method)) in names
        .iter()
        .flat_map(|name| methods().into_iter().map(move |it| (name, it)))
    {
        let EncoderCase {
            backbone, batch, ..
        } = EncoderCase::open(name);
        for trained in [true, false] {
            let what = format!("{name}: {method:?}, trained head: {trained}");
            let config = TrainConfig {
                seed: 3,
                method: method.clone(),
            };
            let start = adapter(&backbone, over, trained);
            let mut own = start.clone();
            let mut trainer = Trainer::new(config.clone(), &own).unwrap();
            let nll = run(&mut trainer, &backbone, &mut own, &batch);
            // Of the others' noise and steps eight updates are too few.
            let falls = nll[7] < nll[0] || *name != "encoder-roberta";
            assert!(falls, "{what}: {nll:?}");
            for member in [0, 1] {
                let (before, after) = (head(&start, member), head(&own, member));
                let moved = before
                    .iter()
                    .zip(&after)
                    .filter(|(before, after)| before != after);
                let count = if trained { before.len() } else { 0 };
                assert_eq!(moved.count(), count, "{what}");
            }
            assert_ne!(head(&start, 0), head(&start, 1), "{what}");

            let scratch = Scratch::new();
            trainer.save(&own, scratch.path()).unwrap();
            let mut resumed = start.clone();
            let mut again = Trainer::new(config, &resumed).unwrap();
            again.load(&mut resumed, scratch.path()).unwrap();
            run(&mut trainer, &backbone, &mut own, &batch);
            run(&mut again, &backbone, &mut resumed, &batch);
            assert_eq!(
                resumed.parameters().values(),
                own.parameters().values(),
                "{what}"
            );
        }
    }
}

#[test]
fn samples_of_members_at_once_are_those_one_by_one_and_survive_the_files() {
    for name in [
        "encoder-distilbert-everywhere",
        "encoder-modernbert-everywhere",
        "encoder-deberta-everywhere",
    ] {
        let case = EncoderCase::open(name);
        check_samples(&case.backbone, &case.batch);
    }
}

fn check_samples(backbone: &Backbone, batch: &Batch) {
    let config = |samples, first_sample, stochastic_layers| PredictConfig {
        samples,
        first_sample,
        noise: NoiseSharing::Token,
        seed: 5,
        antithetic: false,
        dropout: 0.0,
        stochastic_layers,
        link: Link::default(),
    };
    for (over, method) in methods().into_iter().filter(|(over, _)| over.is_some()) {
        for trained in [true, false] {
            let mut adapter = adapter(backbone, over, trained);
            let settings = TrainConfig {
                seed: 3,
                method: method.clone(),
            };
            let mut trainer = Trainer::new(settings, &adapter).unwrap();
            run(&mut trainer, backbone, &mut adapter, batch);
            let ask = |adapter: &Adapter, config: &PredictConfig| {
                predict(backbone, Some(adapter), batch, config, &Abort::default()).unwrap()
            };
            for stochastic_layers in [None, Some(1), Some(2)] {
                let all = ask(&adapter, &config(3, 0, stochastic_layers));
                let classes = batch.answers().len();
                assert_eq!(all.len(), 2 * 3 * classes);
                for sample in 0..3 {
                    let one = ask(&adapter, &config(1, sample, stochastic_layers));
                    for member in [0, 1] {
                        let at = (member * 3 + sample as usize) * classes;
                        let expected = &one[member * classes..(member + 1) * classes];
                        assert_eq!(&all[at..at + classes], expected);
                    }
                }
            }
            let folder = Scratch::new();
            peft::save(&adapter, backbone.config(), folder.path(), "base").unwrap();
            let loaded = peft::load(folder.path(), backbone.config(), Sigma::Square).unwrap();
            assert_eq!(loaded.notices, [""; 0]);
            assert!(!loaded.head_is_of_base);
            let (loaded, plan) = (loaded.adapter, config(3, 0, None));
            assert_eq!(loaded.config().head, adapter.config().head);
            assert_eq!(ask(&loaded, &plan), ask(&adapter, &plan));
        }
    }
}
