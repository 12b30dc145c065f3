use blob_core::abort::Abort;
use blob_core::adapter::{Adapter, LoraConfig, Module};
use blob_core::backbone::{Backbone, BackboneConfig, Window};
use blob_core::batch::Batch;
use blob_core::kernels::cpu::gemm::Precision;
use blob_core::kl::{GaussianKl, KlForm, PriorStd};
use blob_core::pass::NoiseSharing;
use blob_core::predict::{PredictConfig, predict};

use crate::support::answers::{bits, logits, sampling};
use crate::support::in_pool;
use crate::support::small_model::{
    Prompt, backbone, batch_of, config, everywhere_and_as_the_reference, lora, prompts, trained,
    with_terms,
};

const EVERYWHERE: &[Module] = &Module::ALL;
const SHARINGS: [NoiseSharing; 3] = [
    NoiseSharing::Token,
    NoiseSharing::Example,
    NoiseSharing::Shared,
];

#[test]
fn samples_beyond_those_that_the_noise_tells_apart_are_refused() {
    let model = backbone(&config(), Precision::F32);
    let acting = trained(lora(EVERYWHERE), &config());
    let batch = batch_of(&prompts());
    for (first_sample, samples) in [(u32::MAX, 1), (1, u32::MAX), (65_535, 2), (0, 65_537)] {
        let config = PredictConfig {
            first_sample,
            ..sampling(samples)
        };
        let outcome = predict(&model, Some(&acting), &batch, &config, &Abort::default());
        assert_eq!(outcome.unwrap_err().code(), "BPEFT_INVALID_CONFIG");
    }
    let last = PredictConfig {
        first_sample: 65_535,
        ..sampling(1)
    };
    let first = logits(&model, Some(&acting), &batch, &sampling(1));
    assert_ne!(logits(&model, Some(&acting), &batch, &last), first);
}

#[test]
fn an_adapter_with_b_zero_is_the_base_model() {
    let model = backbone(&config(), Precision::F32);
    let fresh = Adapter::new(lora(EVERYWHERE), &config()).unwrap();
    let batch = batch_of(&prompts());
    let base = logits(&model, None, &batch, &sampling(0));
    assert_eq!(logits(&model, Some(&fresh), &batch, &sampling(0)), base);
    assert_eq!(
        logits(&model, Some(&fresh), &batch, &sampling(2)),
        base.repeat(2)
    );
    let acting = trained(lora(EVERYWHERE), &config());
    assert_ne!(logits(&model, Some(&acting), &batch, &sampling(0)), base);
}

#[test]
fn zero_samples_are_plain_lora_with_the_mean() {
    let model = backbone(&config(), Precision::F32);
    let posterior = trained(lora(EVERYWHERE), &config());
    let terms = posterior.terms(0).into_iter().map(|(site, mut term)| {
        term.rho = None;
        (site, term)
    });
    let plain = LoraConfig {
        posterior: None,
        ..lora(EVERYWHERE)
    };
    let plain = Adapter::from_terms(plain, &[terms.collect()]).unwrap();
    let batch = batch_of(&prompts());
    let mean = bits(&logits(&model, Some(&posterior), &batch, &sampling(0)));
    assert_eq!(
        mean,
        bits(&logits(&model, Some(&plain), &batch, &sampling(0)))
    );
    // A point estimate has nothing to sample.
    assert_eq!(
        mean,
        bits(&logits(&model, Some(&plain), &batch, &sampling(3)))
    );
}

#[test]
fn a_posterior_that_is_the_prior_has_no_divergence_and_no_other_has_none() {
    // σ = ρ² = 0.25² has no rounding, so the sum of many terms is exactly 0.
    let prior = trained(lora(EVERYWHERE), &config());
    let prior = with_terms(&prior, |_, term| {
        term.a.fill(0.0);
        term.rho = Some(vec![-0.25; term.a.len()]);
    });
    let kl = |std| GaussianKl::new(PriorStd::new(std).unwrap(), KlForm::Exact);
    assert!(kl(0.0625).of(&prior).unwrap().abs() < 1e-12);
    assert!(kl(0.07).of(&prior).unwrap() > 1.0);
    let moved = with_terms(&prior, |_, term| term.a[0] = 0.01);
    let expected = 0.01 * 0.01 / (2.0 * 0.0625 * 0.0625) * moved.terms(0).len() as f64;
    assert!((kl(0.0625).of(&moved).unwrap() - expected).abs() < 1e-6 * expected);
    let point = LoraConfig {
        posterior: None,
        ..lora(EVERYWHERE)
    };
    assert_eq!(kl(0.2).of(&Adapter::new(point, &config()).unwrap()), None);
}

/// Logits of each prompt of a batch, by row.
fn by_row(
    model: &Backbone,
    adapter: &Adapter,
    prompts: &[Prompt],
    config: &PredictConfig,
) -> Vec<(u32, Vec<u32>)> {
    let logits = logits(model, Some(adapter), &batch_of(prompts), config);
    let classes: usize = prompts.iter().map(|prompt| prompt.answers.len()).sum();
    let mut from = 0;
    let of_prompt = |prompt: &Prompt| {
        let own = from..from + prompt.answers.len();
        from = own.end;
        let samples = logits.chunks_exact(classes);
        (
            prompt.row,
            samples
                .flat_map(|sample| bits(&sample[own.clone()]))
                .collect(),
        )
    };
    prompts.iter().map(of_prompt).collect()
}

#[test]
fn neither_neighbours_nor_their_order_nor_threads_change_a_bit() {
    let mut five = prompts();
    five[3].ids = (0..70).map(|i| i * 7 % 40).collect(); // more than one tile of attention
    let orders: [&[usize]; 4] = [&[4, 3, 2, 1, 0], &[2, 0, 4, 1, 3], &[1, 3], &[3, 2, 2, 2]];
    for (modules, shape, precision) in everywhere_and_as_the_reference() {
        let adapter = trained(lora(&modules), &shape);
        let model = backbone(&shape, precision);
        for noise in SHARINGS {
            for samples in [0, 3] {
                let asked = PredictConfig {
                    noise,
                    ..sampling(samples)
                };
                let alone: Vec<_> = five
                    .iter()
                    .flat_map(|prompt| {
                        by_row(&model, &adapter, std::slice::from_ref(prompt), &asked)
                    })
                    .collect();
                for threads in [1, 2, 3] {
                    let run = || by_row(&model, &adapter, &five, &asked);
                    let together = in_pool(threads, run);
                    assert_eq!(
                        together, alone,
                        "{precision:?} {noise:?} {samples} samples, {threads} threads"
                    );
                }
                for order in orders {
                    let shuffled: Vec<_> = order.iter().map(|&i| five[i].clone()).collect();
                    let expected: Vec<_> = order.iter().map(|&i| alone[i].clone()).collect();
                    assert_eq!(
                        by_row(&model, &adapter, &shuffled, &asked),
                        expected,
                        "{precision:?} {noise:?} {order:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_identity_of_a_row_decides_its_signs_unless_they_are_shared() {
    let model = backbone(&config(), Precision::F32);
    let adapter = trained(lora(EVERYWHERE), &config());
    let prompt = prompts().swap_remove(0);
    let renamed = Prompt {
        row: prompt.row + 1,
        ..prompt.clone()
    };
    for noise in SHARINGS {
        let asked = PredictConfig {
            noise,
            ..sampling(1)
        };
        let of = |prompt: &Prompt| {
            logits(
                &model,
                Some(&adapter),
                &batch_of(std::slice::from_ref(prompt)),
                &asked,
            )
        };
        assert_eq!(
            of(&prompt) == of(&renamed),
            noise == NoiseSharing::Shared,
            "{noise:?}"
        );
    }
}

#[test]
fn samples_asked_for_in_parts_are_those_asked_for_at_once() {
    let model = backbone(&config(), Precision::F32);
    let adapter = trained(lora(EVERYWHERE), &config());
    let batch = batch_of(&prompts());
    for (antithetic, stochastic_layers) in [(false, None), (true, None), (true, Some(1))] {
        samples_in_parts(&model, &adapter, &batch, |first_sample, samples| {
            PredictConfig {
                first_sample,
                antithetic,
                stochastic_layers,
                ..sampling(samples)
            }
        });
    }
}

fn samples_in_parts(
    model: &Backbone,
    adapter: &Adapter,
    batch: &Batch,
    part: impl Fn(u32, u32) -> PredictConfig,
) {
    let at_once = logits(model, Some(adapter), batch, &part(0, 7));
    let parts = [part(0, 1), part(1, 4), part(5, 2)];
    let parts: Vec<f32> = parts
        .iter()
        .flat_map(|part| logits(model, Some(adapter), batch, part))
        .collect();
    assert_eq!(bits(&parts), bits(&at_once));
    let samples: Vec<_> = at_once.chunks_exact(batch.answers().len()).collect();
    assert!(
        samples.windows(2).all(|pair| pair[0] != pair[1]),
        "samples must differ"
    );
    // More tokens than one pass holds: 21 · 300 > 4096.
    let many = logits(model, Some(adapter), batch, &part(0, 300));
    assert_eq!(bits(&many[..at_once.len()]), bits(&at_once));
    let late = logits(model, Some(adapter), batch, &part(293, 7));
    assert_eq!(bits(&many[many.len() - late.len()..]), bits(&late));
}

#[test]
fn the_seed_decides_the_samples() {
    let model = backbone(&config(), Precision::F32);
    let adapter = trained(lora(EVERYWHERE), &config());
    let batch = batch_of(&prompts());
    let seeded = |seed| {
        logits(
            &model,
            Some(&adapter),
            &batch,
            &PredictConfig {
                seed,
                ..sampling(1)
            },
        )
    };
    assert_eq!(bits(&seeded(9)), bits(&seeded(9)));
    assert_ne!(bits(&seeded(9)), bits(&seeded(10)));
}

#[test]
fn stochastic_layers_sample_the_last_places_and_leave_the_rest_at_their_mean() {
    let model = backbone(&config(), Precision::F32);
    let adapter = trained(lora(EVERYWHERE), &config());
    let batch = batch_of(&prompts());
    for noise in SHARINGS {
        for last in 0..=3 {
            let asked = PredictConfig {
                noise,
                stochastic_layers: Some(last),
                ..sampling(4)
            };
            // σ = 0 below makes every layer there sample its mean.
            let manual = with_terms(&adapter, |site, term| {
                if site.block + last < 3 {
                    term.rho = Some(vec![0.0; term.a.len()]);
                }
            });
            let expected = logits(
                &model,
                Some(&manual),
                &batch,
                &PredictConfig {
                    noise,
                    ..sampling(4)
                },
            );
            assert_eq!(
                logits(&model, Some(&adapter), &batch, &asked),
                expected,
                "{noise:?}, last {last}"
            );
        }
        let of_layers = |stochastic_layers| PredictConfig {
            noise,
            stochastic_layers,
            ..sampling(4)
        };
        assert_eq!(
            logits(&model, Some(&adapter), &batch, &of_layers(Some(3))),
            logits(&model, Some(&adapter), &batch, &of_layers(None))
        );
        let (config, abort) = (of_layers(Some(4)), Abort::default());
        let error = predict(&model, Some(&adapter), &batch, &config, &abort).unwrap_err();
        assert_eq!(error.code(), "BPEFT_INVALID_CONFIG", "{error}");
    }
}

#[test]
fn a_prompt_is_as_long_as_the_model_says_and_no_longer() {
    let model = backbone(
        &BackboneConfig {
            num_layers: 1,
            max_position_embeddings: 5000,
            ..config()
        },
        Precision::F32,
    );
    let of_length = |length: u32| {
        batch_of(&[Prompt {
            ids: (0..length).map(|at| at * 7 % 40).collect(),
            answers: vec![3, 20],
            label: 0,
            row: 0,
        }])
    };
    let longest = logits(&model, None, &of_length(5000), &sampling(1));
    assert!(longest.iter().all(|logit| logit.is_finite()));
    let outcome = predict(
        &model,
        None,
        &of_length(5001),
        &sampling(1),
        &Abort::default(),
    );
    let text = "prompts must fit the model's context of 5000 tokens, got 5001";
    assert_eq!(outcome.unwrap_err().to_string(), text);
}

#[test]
fn a_window_of_the_whole_prompt_hides_nothing_and_a_smaller_one_what_lies_before_it() {
    let windowed = |size| {
        let window = Some(Window {
            size,
            blocks: vec![0, 1],
        });
        backbone(&BackboneConfig { window, ..config() }, Precision::F32)
    };
    let prompts = &prompts()[..1]; // five tokens
    let of = |model: &Backbone, prompts: &[Prompt]| {
        bits(&logits(model, None, &batch_of(prompts), &sampling(1)))
    };
    let whole = backbone(&config(), Precision::F32);
    assert_eq!(of(&windowed(5), prompts), of(&whole, prompts));
    assert_ne!(of(&windowed(4), prompts), of(&whole, prompts));
    // two blocks with a window of 2 reach two positions back: the first two of five are out of
    // sight
    let mut changed = prompts.to_vec();
    changed[0].ids[1] = 30;
    assert_eq!(of(&windowed(2), &changed), of(&windowed(2), prompts));
    changed[0].ids[2] = 30;
    assert_ne!(of(&windowed(2), &changed), of(&windowed(2), prompts));
}
