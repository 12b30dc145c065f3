//! What every method keeps to, on a decoder and on an encoder: gradients are finite differences of
//! its loss, the same seed gives the same bytes, a run that was saved goes on as the same run,
//! answers without samples know no noise, and samples are the same one by one and at once.
//!
//! Where methods end on problems with a known answer is in `posterior` and `quadratic`.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeSet;

use blob_core::abort::Abort;
use blob_core::adapter::{
    Adapter, Factor, Gaussian, HeadConfig, LoraConfig, Module, Posterior, Sigma, SpectrumRule, peft,
};
use blob_core::backbone::Backbone;
use blob_core::batch::{Batch, BatchParts};
use blob_core::method::MethodConfig;
use blob_core::ops::Precision;
use blob_core::pass::NoiseSharing;
use blob_core::predict::PredictConfig;
use blob_core::train::{Checks, TrainConfig, Trainer};

use crate::support::Scratch;
use crate::support::answers::{bits, logits, sampling};
use crate::support::encoder_case::EncoderCase;
use crate::support::golden::assert_close;
use crate::support::methods::{methods, sigma_of};
use crate::support::small_model::{backbone, batch_of, config, lora, prompts};

/// A backbone, with the layers that are adapted and the rows that train them.
pub(crate) struct World {
    name: &'static str,
    pub(crate) backbone: Backbone,
    modules: Vec<Module>,
    head: Option<HeadConfig>,
    pub(crate) batch: Batch,
}

fn worlds() -> [World; 2] {
    let EncoderCase {
        backbone: encoder,
        batch,
        ..
    } = EncoderCase::open("encoder-roberta");
    let decoder = World {
        name: "decoder",
        backbone: backbone(&config(), Precision::F32),
        modules: Module::ALL.to_vec(),
        head: None,
        batch: batch_of(&prompts()),
    };
    let encoder = World {
        name: "encoder",
        backbone: encoder,
        modules: vec![Module::Q, Module::V, Module::Up],
        head: Some(HeadConfig {
            classes: 3,
            trained: true,
            fresh: false,
        }),
        batch,
    };
    [decoder, encoder]
}

/// A method in a world, with a kind of adapter and a number of members.
pub(crate) struct Case<'a> {
    pub(crate) name: String,
    pub(crate) world: &'a World,
    pub(crate) method: &'a MethodConfig,
    pub(crate) over: Option<Gaussian>,
    pub(crate) members: usize,
    /// What is made of a point without a method of the engine's own.
    of_point: OfPoint,
}

/// MC dropout is maximum likelihood under dropout, and TFB what a search makes of a point.
#[derive(Clone, Copy, PartialEq, Debug)]
enum OfPoint {
    Nothing,
    Dropout,
    Isotropic,
}

/// Each method, kind of adapter, and one or two members, on each backbone.
pub(crate) fn each(mut check: impl FnMut(&Case<'_>)) {
    for world in &worlds() {
        for (method, kinds) in &methods() {
            let is_mle = matches!(method, MethodConfig::Mle(_));
            let of_points: &[_] = if is_mle {
                &[OfPoint::Nothing, OfPoint::Dropout, OfPoint::Isotropic]
            } else {
                &[OfPoint::Nothing]
            };
            for &over in kinds {
                let members = [1, 2].into_iter();
                for (members, &of_point) in
                    members.flat_map(|it| of_points.iter().map(move |of| (it, of)))
                {
                    let of = world.name;
                    check(&Case {
                        name: format!(
                            "{of}: {method:?} over {over:?}, {members} members, {of_point:?}"
                        ),
                        world,
                        method,
                        over,
                        members,
                        of_point,
                    });
                }
            }
        }
    }
}

/// The names that a configuration may give, as its error lists them.
#[test]
fn no_method_is_missing() {
    let unknown = serde_json::from_str::<MethodConfig>(r#"{ "id": "?" }"#).unwrap_err();
    let (text, listed) = (unknown.to_string(), methods());
    let known: BTreeSet<_> = text
        .split('`')
        .skip(3)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    let name = |method: &MethodConfig| serde_json::to_value(method).unwrap()["id"].clone();
    let names = listed.iter().map(|(method, _)| name(method));
    let tested: BTreeSet<_> = names.map(|it| it.as_str().unwrap().to_owned()).collect();
    assert_eq!(tested, known, "{text}");
}

impl Case<'_> {
    pub(crate) fn fresh(&self) -> Adapter {
        let posterior = self.over.map(|over| Posterior {
            sigma: sigma_of(over),
            init_eps: 0.4,
            over,
        });
        let config = LoraConfig {
            posterior,
            members: self.members,
            dropout: self.dropout(),
            head: self.world.head,
            ..lora(&self.world.modules)
        };
        self.world.backbone.adapter(config).unwrap()
    }

    fn dropout(&self) -> f32 {
        if self.of_point == OfPoint::Dropout {
            0.3
        } else {
            0.0
        }
    }

    fn sampling(&self, samples: u32) -> PredictConfig {
        PredictConfig {
            dropout: self.dropout(),
            ..sampling(samples)
        }
    }

    fn batches(&self) -> Vec<Batch> {
        vec![self.world.batch.clone(); self.members]
    }

    /// A run after seven updates, and its adapter; one that is saved and read again after four,
    /// with a folder.
    fn run(&self, seed: u64, folder: Option<&Scratch>) -> (Trainer, Adapter) {
        let settings = TrainConfig {
            seed,
            method: self.method.clone(),
        };
        let mut adapter = self.fresh();
        let mut trainer = Trainer::new(settings.clone(), &adapter).unwrap();
        for step in 0..7 {
            if let Some(folder) = folder.filter(|_| step == 4) {
                trainer.save(&adapter, folder.path()).unwrap();
                adapter = self.fresh();
                trainer = Trainer::new(settings.clone(), &adapter).unwrap();
                trainer.load(&mut adapter, folder.path()).unwrap();
            }
            let (backbone, abort) = (&self.world.backbone, Abort::default());
            trainer
                .step(backbone, &mut adapter, &self.batches(), &abort)
                .unwrap();
        }
        (trainer, adapter)
    }

    /// What answers after a run.
    fn trained(&self, seed: u64, folder: Option<&Scratch>) -> Adapter {
        let (trainer, adapter) = self.run(seed, folder);
        let adapter = trainer.posterior(&adapter).unwrap().unwrap_or(adapter);
        if self.of_point != OfPoint::Isotropic {
            return adapter;
        }
        let unit = adapter.isotropic(SpectrumRule::Exact, 0).unwrap();
        unit.with_sigma_times(0.05).unwrap()
    }

    fn logits(&self, adapter: &Adapter, config: &PredictConfig) -> Vec<f32> {
        logits(
            &self.world.backbone,
            Some(adapter),
            &self.world.batch,
            config,
        )
    }
}

pub(crate) fn values(adapter: &Adapter) -> Vec<u32> {
    bits(adapter.parameters().values().host())
}

/// At the largest entry of every parameter. What draws whole factors forms the gradient of ρ in its
/// update; that of a mean is the sum over its draws, each of which a scale may have stretched.
#[test]
fn gradients_are_finite_differences_of_the_loss_under_the_same_noise() {
    each(|case| {
        let (trainer, adapter) = case.run(3, None);
        let (backbone, batches) = (&case.world.backbone, case.batches());
        let gradients = |adapter: &Adapter| {
            let how = Checks {
                finite: false,
                abort: &Abort::default(),
            };
            trainer.gradients(backbone, adapter, &batches, how).unwrap()
        };
        let loss = |adapter: &Adapter| gradients(adapter).nll_sum / case.world.batch.len() as f64;
        let found = gradients(&adapter);
        let draws = found.parameters.members() / case.members;
        let layout = adapter.parameters().layout();
        let trained = layout.trained_len();
        let parameters = layout.parameters().iter();
        for parameter in parameters.filter(|it| it.range.end <= trained) {
            let of_draws = found.parameters.layout();
            let Some(range) = of_draws.range(parameter.site, parameter.factor) else {
                continue;
            };
            let is_scaled = case.over == Some(Gaussian::Scales) && parameter.factor == Factor::A;
            for member in 0..case.members {
                let slope = |at: usize| -> f64 {
                    let draws = member * draws..(member + 1) * draws;
                    let slopes = draws.map(|draw| {
                        let slope = found.parameters.member(draw)[range.start + at];
                        let stretched = found.drawn.as_ref().filter(|_| is_scaled).map(|drawn| {
                            let mean = adapter.parameters().member(member);
                            drawn.parameters().member(draw)[range.start + at]
                                / mean[parameter.range.start + at]
                        });
                        slope * stretched.unwrap_or(1.0)
                    });
                    slopes.map(f64::from).sum()
                };
                let slopes: Vec<f64> = (0..range.len()).map(slope).collect();
                let largest = |best: usize, at: usize| {
                    if slopes[at].abs() > slopes[best].abs() {
                        at
                    } else {
                        best
                    }
                };
                let at = (0..slopes.len()).fold(0, largest);
                let moved = |by: f32| {
                    let mut moved = adapter.clone();
                    moved.parameters_mut().member_mut(member)[parameter.range.start + at] += by;
                    loss(&moved)
                };
                let central = |step: f32| (moved(step) - moved(-step)) / f64::from(2.0 * step);
                // Of order four (Richardson): draws are far apart where the loss bends.
                let expected = (4.0 * central(0.005) - central(0.01)) / 3.0;
                let difference = (slopes[at] - expected).abs();
                assert!(
                    difference <= 0.02 * expected.abs() + 5e-4,
                    "{}: {} {:?}: {} {expected}",
                    case.name,
                    parameter.site.path(),
                    parameter.factor,
                    slopes[at]
                );
            }
        }
    });
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_one_others_where_there_is_noise() {
    each(|case| {
        let first = values(&case.trained(3, None));
        assert_eq!(first, values(&case.trained(3, None)), "{}", case.name);
        let other = values(&case.trained(4, None));
        let is_noisy = case.over.is_some() || case.of_point == OfPoint::Dropout;
        assert_eq!(first != other, is_noisy, "{}", case.name);
    });
}

#[test]
fn a_saved_run_goes_on_as_the_same_run() {
    each(|case| {
        let folder = Scratch::new();
        let resumed = values(&case.trained(3, Some(&folder)));
        assert_eq!(resumed, values(&case.trained(3, None)), "{}", case.name);
    });
}

#[test]
fn files_keep_what_answers() {
    each(|case| {
        let (adapter, folder) = (case.trained(3, None), Scratch::new());
        let config = case.world.backbone.config();
        peft::save(&adapter, config, folder.path(), "base").unwrap();
        let loaded = peft::load(folder.path(), config, Sigma::Square).unwrap();
        let of = |adapter| bits(&case.logits(adapter, &case.sampling(3)));
        assert_eq!(of(&adapter), of(&loaded.adapter), "{}", case.name);
    });
}

/// The prompts of a batch, each by itself.
pub(crate) fn apart(batch: &Batch) -> Vec<Batch> {
    let bounds = |ends: &[u32], at: usize| ends[at] as usize..ends[at + 1] as usize;
    let alone = |at: usize| {
        let tokens = bounds(batch.offsets(), at);
        let answers = bounds(batch.answer_offsets(), at);
        let parts = BatchParts {
            ids: batch.ids()[tokens.clone()].to_vec(),
            offsets: vec![0, tokens.len() as u32],
            answers: batch.answers()[answers.clone()].to_vec(),
            answer_offsets: vec![0, answers.len() as u32],
            labels: vec![batch.labels()[at]],
            rows: vec![batch.rows()[at]],
        };
        let types = batch.types()[tokens].to_vec();
        Batch::new(parts).unwrap().with_types(types).unwrap()
    };
    (0..batch.len()).map(alone).collect()
}

#[test]
fn answers_without_samples_know_no_noise_and_samples_are_the_same_one_by_one() {
    each(|case| {
        let adapter = case.trained(3, None);
        let of = |config: &PredictConfig| case.logits(&adapter, config);
        let mean = of(&case.sampling(0));
        let other_seed = PredictConfig {
            seed: 77,
            noise: NoiseSharing::Example,
            ..case.sampling(0)
        };
        assert_eq!(bits(&mean), bits(&of(&other_seed)), "{}", case.name);
        let four = of(&case.sampling(4));
        let width = case.world.batch.answers().len();
        let is_noisy = adapter.sigma().is_some() || case.of_point == OfPoint::Dropout;
        // A point has one answer for each member.
        let samples = if is_noisy { 4 } else { 1 };
        assert_eq!(four.len(), case.members * samples * width, "{}", case.name);
        if !is_noisy {
            assert_eq!(bits(&four), bits(&mean), "{}", case.name);
        }
        for sample in (0..samples).filter(|_| is_noisy) {
            let alone = PredictConfig {
                first_sample: sample as u32,
                ..case.sampling(1)
            };
            let one = of(&alone);
            for member in 0..case.members {
                let from = (member * samples + sample) * width;
                let (at_once, own) = (&four[from..from + width], member * width);
                let alone = &one[own..own + width];
                assert_eq!(bits(at_once), bits(alone), "{}: sample {sample}", case.name);
                assert_ne!(at_once, &mean[own..own + width], "{}", case.name);
            }
        }
        // Whatever the batch is.
        let mut at = 0;
        for prompt in apart(&case.world.batch) {
            let alone = logits(
                &case.world.backbone,
                Some(&adapter),
                &prompt,
                &case.sampling(4),
            );
            let classes = prompt.answers().len();
            let of_batch: Vec<_> = (0..case.members * samples)
                .flat_map(|draw| &four[draw * width + at..draw * width + at + classes])
                .copied()
                .collect();
            assert_close(&case.name, &of_batch, &alone, 1e-5);
            at += classes;
        }
    });
}
