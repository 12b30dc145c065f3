//! Our hand-written gradients of the whole model against candle's tape, in every combination of
//! switches.
//!
//! The oracle computes in f64, all positions of all blocks, one prompt at a time, and
//! differentiates plain operations only. It knows neither the shortcut of the last block, nor where
//! a backward pass may stop, nor ragged batches.
#![expect(clippy::unwrap_used, reason = "test code")]

mod support;

use blob_core::abort::Abort;
use blob_core::adapter::{Adapter, Gaussian, LoraConfig, Module, Posterior, Sigma};
use blob_core::backbone::{BackboneConfig, RopeScaling, Window};
use blob_core::kernels::cpu::gemm::Precision;
use blob_core::noise::{Phase, Stream};
use blob_core::objective::{Average, CrossEntropy, Objective};
use blob_core::ops;
use blob_core::pass::{BatchCopy, Mode, NoiseSharing, Pass};
use candle_core::Tensor;
use support::golden::{assert_close, named};
use support::oracle::{Draw, Oracle, nll};
use support::small_model::{
    SmallWeights, backbone, batch_of, config, lora, lora_with_context, prompts, trained,
};

/// One combination.
struct Case {
    model: BackboneConfig,
    adapter: Adapter,
    sharing: Option<NoiseSharing>,
    samples: u32,
    average: Average,
}

/// Loss, logits and gradients of both agree to 1e-4 of each tensor's largest entry.
fn check(name: &str, case: &Case) {
    let prompts = &prompts()[..3];
    let batch = batch_of(prompts);
    let Case {
        model,
        adapter,
        sharing,
        samples,
        average,
    } = case;
    let stream = Stream::new(11, 4, Phase::Training { micro_batch: 1 });
    let copy = |sample| BatchCopy::whole(&batch, stream, sample);
    let copies = (0..*samples).map(copy).collect();
    let dropout = adapter.config().dropout;
    let mode = Mode {
        sampling: *sharing,
        dropout,
        ..Mode::MEAN
    };
    let pass = Pass::new(&batch, copies, mode, Abort::default());
    let engine = backbone(model, Precision::F32);
    let (logits, kept) = engine.forward(&batch, &pass, Some(adapter), true).unwrap();
    let objective = CrossEntropy { average: *average };
    let loss = objective
        .evaluate(&logits, &batch, 1.0 / prompts.len() as f32)
        .unwrap();
    let mut gradients = adapter.parameters().zeros_like();
    engine
        .backward(
            kept.unwrap(),
            &ops::Tensor::vector(loss.dlogits).unwrap(),
            &pass,
            adapter,
            &mut gradients,
        )
        .unwrap();

    let oracle = Oracle::new(model, &SmallWeights(1), adapter).unwrap();
    let draw = |sample| Draw {
        sharing: *sharing,
        stream,
        sample,
        dropout,
    };
    let of_sample = |sample| prompts.iter().map(move |prompt| (sample, prompt));
    let expected: Vec<Tensor> = (0..*samples)
        .flat_map(of_sample)
        .map(|(sample, prompt)| oracle.logits(prompt, draw(sample)).unwrap())
        .collect();
    let flat = Tensor::cat(&expected, 0).unwrap();
    let flat: Vec<f32> = flat
        .to_vec1::<f64>()
        .unwrap()
        .iter()
        .map(|&logit| logit as f32)
        .collect();
    assert_close(&format!("{name}: logits"), &logits, &flat, 1e-4);

    let total = mean_nll(
        &expected,
        prompts
            .iter()
            .map(|prompt| usize::try_from(prompt.label).unwrap()),
        *average,
    );
    let expected_nll = total.to_scalar::<f64>().unwrap();
    let got = loss.nll_sum / prompts.len() as f64;
    assert!(
        (got - expected_nll).abs() <= 1e-5 * expected_nll,
        "{name}: {got} {expected_nll}"
    );

    let expected = oracle.gradients(&total.backward().unwrap()).unwrap();
    let got = named(&gradients);
    assert!(got.keys().eq(expected.keys()), "{name}: {:?}", got.keys());
    for (parameter, gradient) in got {
        assert_close(
            &format!("{name}: {parameter}"),
            gradient,
            &expected[&parameter],
            1e-4,
        );
    }
}

/// Mean over the prompts; `logits` sample-major.
fn mean_nll(
    logits: &[Tensor],
    labels: impl ExactSizeIterator<Item = usize>,
    average: Average,
) -> Tensor {
    let prompts = labels.len();
    let samples = logits.len() / prompts;
    let mean = |values: Vec<Tensor>| {
        let count = values.len() as f64;
        (Tensor::stack(&values, 0).unwrap().sum(0).unwrap() / count).unwrap()
    };
    let of_prompt = |(prompt, label): (usize, usize)| {
        let draws = (0..samples).map(|sample| logits[sample * prompts + prompt].clone());
        match average {
            Average::Logits => nll(&mean(draws.collect()), label).unwrap(),
            Average::LogLikelihood => mean(draws.map(|draw| nll(&draw, label).unwrap()).collect()),
        }
    };
    mean(labels.enumerate().map(of_prompt).collect())
}

const TARGETS: [&[Module]; 9] = [
    &[Module::Q, Module::V, Module::LmHead],
    &Module::ALL,
    &[Module::V],
    &[Module::LmHead],
    &[Module::K],
    &[Module::O],
    &[Module::Gate],
    &[Module::Up, Module::Down],
    &[Module::Q],
];

/// MLE, and BLoB by sharing and σ.
const NOISE: [Option<(NoiseSharing, Sigma)>; 7] = [
    None,
    Some((NoiseSharing::Token, Sigma::Square)),
    Some((NoiseSharing::Token, Sigma::Softplus)),
    Some((NoiseSharing::Example, Sigma::Square)),
    Some((NoiseSharing::Example, Sigma::Softplus)),
    Some((NoiseSharing::Shared, Sigma::Square)),
    Some((NoiseSharing::Shared, Sigma::Softplus)),
];

fn ropes() -> [RopeScaling; 3] {
    let llama3 = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_context: 128,
    };
    [
        RopeScaling::None,
        RopeScaling::Linear { factor: 2.0 },
        llama3,
    ]
}

/// Every noise with every architecture, for one set of target modules; samples, averages and
/// dropout take turns.
fn check_targets(index: usize) {
    let mut turn = index;
    for (num_kv_heads, tie_word_embeddings) in [(2, false), (2, true), (4, false), (4, true)] {
        for rope_scaling in ropes() {
            let model = BackboneConfig {
                num_kv_heads,
                tie_word_embeddings,
                rope_scaling: rope_scaling.clone(),
                ..config()
            };
            for noise in NOISE {
                turn += 1;
                let posterior = noise.map(|(_, sigma)| Posterior {
                    sigma,
                    init_eps: 0.05,
                    over: Gaussian::A,
                });
                let dropout = if turn.is_multiple_of(5) { 0.25 } else { 0.0 };
                let lora = LoraConfig {
                    posterior,
                    dropout,
                    ..lora(TARGETS[index])
                };
                let case = Case {
                    adapter: trained(lora, &model),
                    model: model.clone(),
                    sharing: noise.map(|(sharing, _)| sharing),
                    samples: if noise.is_some() && turn.is_multiple_of(4) {
                        2
                    } else {
                        1
                    },
                    average: if turn % 8 < 4 {
                        Average::Logits
                    } else {
                        Average::LogLikelihood
                    },
                };
                let heads = (model.num_heads, num_kv_heads);
                let name = format!(
                    "{:?} heads {heads:?} tied {tie_word_embeddings} {rope_scaling:?} {noise:?} \
                     dropout {dropout}",
                    TARGETS[index]
                );
                check(&name, &case);
            }
        }
    }
}

#[test]
fn queries_values_and_head_have_the_gradients_of_the_tape() {
    check_targets(0);
}

#[test]
fn all_layers_have_the_gradients_of_the_tape() {
    check_targets(1);
}

#[test]
fn values_alone_have_the_gradients_of_the_tape() {
    check_targets(2);
}

#[test]
fn the_head_alone_has_the_gradients_of_the_tape() {
    check_targets(3);
}

#[test]
fn keys_alone_have_the_gradients_of_the_tape() {
    check_targets(4);
}

#[test]
fn attention_outputs_alone_have_the_gradients_of_the_tape() {
    check_targets(5);
}

#[test]
fn gates_alone_have_the_gradients_of_the_tape() {
    check_targets(6);
}

#[test]
fn the_rest_of_the_mlp_has_the_gradients_of_the_tape() {
    check_targets(7);
}

#[test]
fn queries_alone_have_the_gradients_of_the_tape() {
    check_targets(8);
}

/// The switches beside Llama's: biases, norms of heads, a window of three positions in some blocks.
fn switches() -> Vec<BackboneConfig> {
    let qkv = [Module::Q, Module::K, Module::V];
    let qkvo = [&qkv[..], &[Module::O]].concat();
    let window = |blocks: &[usize]| Window {
        size: 3,
        blocks: blocks.to_vec(),
    };
    let mut models = Vec::new();
    for biases in [Vec::new(), qkv.to_vec(), qkvo] {
        for qk_norm in [false, true] {
            for window in [
                None,
                Some(window(&[0])),
                Some(window(&[1])),
                Some(window(&[0, 1])),
            ] {
                models.push(BackboneConfig {
                    biases: biases.clone(),
                    qk_norm,
                    window,
                    ..config()
                });
            }
        }
    }
    models
}

#[test]
fn biases_norms_of_heads_and_windows_have_the_gradients_of_the_tape() {
    for (turn, model) in switches().into_iter().enumerate() {
        for targets in [TARGETS[1], TARGETS[turn % TARGETS.len()]] {
            let noise = NOISE[turn % NOISE.len()];
            let posterior = noise.map(|(_, sigma)| Posterior {
                sigma,
                init_eps: 0.05,
                over: Gaussian::A,
            });
            let lora = LoraConfig {
                posterior,
                ..lora(targets)
            };
            let case = Case {
                adapter: trained(lora, &model),
                model: model.clone(),
                sharing: noise.map(|(sharing, _)| sharing),
                samples: 1,
                average: Average::Logits,
            };
            let BackboneConfig {
                biases,
                qk_norm,
                window,
                ..
            } = &model;
            let name = format!("{targets:?} {biases:?} {qk_norm} {window:?} {noise:?}");
            check(&name, &case);
        }
    }
}

#[test]
fn adapters_with_a_context_have_the_gradients_of_the_tape() {
    let sharings = [
        None,
        Some(NoiseSharing::Token),
        Some(NoiseSharing::Example),
        Some(NoiseSharing::Shared),
    ];
    for (turn, sharing) in sharings.into_iter().enumerate() {
        for targets in [TARGETS[0], TARGETS[1]] {
            let dropout = if turn == 1 { 0.25 } else { 0.0 };
            let lora = LoraConfig {
                dropout,
                ..lora_with_context(targets)
            };
            let case = Case {
                model: config(),
                adapter: trained(lora, &config()),
                sharing,
                samples: if turn == 1 { 2 } else { 1 },
                average: Average::LogLikelihood,
            };
            check(&format!("a context at {targets:?} {sharing:?}"), &case);
        }
    }
}

#[test]
fn a_single_adapted_layer_has_the_gradients_of_the_tape_wherever_it_sits() {
    let model = BackboneConfig {
        num_layers: 3,
        ..config()
    };
    let all = trained(lora(&Module::ALL), &model);
    for (site, term) in all.terms(0) {
        let terms = [(site, term)].into();
        let case = Case {
            adapter: Adapter::from_terms(lora(&[site.module]), &[terms]).unwrap(),
            model: model.clone(),
            sharing: Some(NoiseSharing::Token),
            samples: 1,
            average: Average::Logits,
        };
        check(&site.path(), &case);
    }
}
