#![expect(clippy::unwrap_used, reason = "test code")]

use blob_core::abort::Abort;
use blob_core::adapter::{Adapter, Gaussian, LoraConfig, Module, Posterior, Sigma};
use blob_core::backbone::{Backbone, BackboneConfig};
use blob_core::batch::Batch;
use blob_core::kernels::cpu::gemm::Precision;
use blob_core::method::BlobConfig;
use blob_core::objective::Average;
use blob_core::pass::NoiseSharing;
use blob_core::train::{Checks, Trainer};

use crate::support::golden::{assert_close, named, parameters};
use crate::support::in_pool;
use crate::support::small_model::{
    backbone, batch_of, blob, config, everywhere_and_as_the_reference, lora, prompts, trained,
    training, with_terms,
};

const EVERYWHERE: &[Module] = &Module::ALL;

/// Gradients of a run's first step by name, and its mean NLL.
fn gradients(
    model: &Backbone,
    adapter: &Adapter,
    bayes: Option<BlobConfig>,
    batches: &[Batch],
) -> (Vec<(String, Vec<f32>)>, f64) {
    let trainer = Trainer::new(training(bayes), adapter).unwrap();
    let gradients = trainer
        .gradients(
            model,
            adapter,
            batches,
            Checks {
                finite: false,
                abort: &Abort::default(),
            },
        )
        .unwrap();
    let owned = named(&gradients.parameters)
        .into_iter()
        .map(|(name, values)| (name, values.to_vec()));
    let rows: usize = batches.iter().map(Batch::len).sum();
    (owned.collect(), gradients.nll_sum / rows as f64)
}

#[test]
fn threads_do_not_change_a_bit_of_a_gradient() {
    let batches = [batch_of(&prompts()), batch_of(&prompts()[1..3])];
    for (modules, shape, precision) in everywhere_and_as_the_reference() {
        let adapter = trained(
            LoraConfig {
                dropout: 0.2,
                ..lora(&modules)
            },
            &shape,
        );
        let model = backbone(&shape, precision);
        let bayes = Some(BlobConfig {
            train_samples: 2,
            ..blob(NoiseSharing::Token)
        });
        let run = || gradients(&model, &adapter, bayes, &batches);
        let one = in_pool(1, run);
        for threads in [2, 3] {
            assert_eq!(
                in_pool(threads, run),
                one,
                "{modules:?} {precision:?} {threads} threads"
            );
        }
    }
}

#[test]
fn two_micro_batches_have_the_gradient_of_one_batch_of_both() {
    let model = backbone(&config(), Precision::F32);
    let adapter = trained(
        LoraConfig {
            posterior: None,
            ..lora(EVERYWHERE)
        },
        &config(),
    );
    let (whole, whole_nll) = gradients(&model, &adapter, None, &[batch_of(&prompts())]);
    let parts = [batch_of(&prompts()[..2]), batch_of(&prompts()[2..])];
    let (summed, nll) = gradients(&model, &adapter, None, &parts);
    assert!((nll - whole_nll).abs() < 1e-6 * whole_nll);
    for ((name, whole), (_, summed)) in whole.iter().zip(&summed) {
        assert_close(name, summed, whole, 1e-5);
    }
}

#[test]
fn computing_activations_again_changes_no_bit() {
    for (modules, shape, precision) in everywhere_and_as_the_reference() {
        computing_again_changes_no_bit(&modules, &shape, precision);
    }
}

fn computing_again_changes_no_bit(
    modules: &[Module],
    shape: &BackboneConfig,
    precision: Precision,
) {
    let model = backbone(shape, precision);
    let adapter = trained(
        LoraConfig {
            dropout: 0.2,
            ..lora(modules)
        },
        shape,
    );
    let batches = [batch_of(&prompts())];
    let run = |kept_bytes| {
        let trainer = Trainer::new(training(Some(blob(NoiseSharing::Token))), &adapter).unwrap();
        let trainer = trainer.with_kept_bytes(kept_bytes);
        let gradients = trainer
            .gradients(
                &model,
                &adapter,
                &batches,
                Checks {
                    finite: false,
                    abort: &Abort::default(),
                },
            )
            .unwrap();
        let owned = named(&gradients.parameters)
            .into_iter()
            .map(|(name, values)| (name, values.to_vec()));
        (owned.collect::<Vec<_>>(), gradients.nll_sum)
    };
    let all = run(None);
    let tokens: usize = prompts().iter().map(|prompt| prompt.ids.len()).sum();
    // Nothing, and about one block of a few.
    for kept_bytes in [0, 4 * tokens * 8 * shape.intermediate_size] {
        assert_eq!(
            run(Some(kept_bytes)),
            all,
            "{modules:?} {precision:?} {kept_bytes} bytes"
        );
    }
}

#[test]
fn micro_batches_draw_different_noise() {
    let model = backbone(&config(), Precision::F32);
    let adapter = trained(lora(EVERYWHERE), &config());
    let batch = batch_of(&prompts());
    let bayes = Some(blob(NoiseSharing::Token));
    let (_, once) = gradients(&model, &adapter, bayes, std::slice::from_ref(&batch));
    let (_, twice) = gradients(&model, &adapter, bayes, &[batch.clone(), batch]);
    assert!((once - twice).abs() > 1e-3, "{once} {twice}");
}

#[test]
fn both_averages_agree_for_one_sample_and_differ_for_two() {
    let model = backbone(&config(), Precision::F32);
    let adapter = trained(lora(EVERYWHERE), &config());
    let batches = [batch_of(&prompts())];
    let run = |train_samples, average| {
        let bayes = BlobConfig {
            train_samples,
            average,
            ..blob(NoiseSharing::Token)
        };
        gradients(&model, &adapter, Some(bayes), &batches)
    };
    assert_eq!(run(1, Average::Logits), run(1, Average::LogLikelihood));
    let (of_mean, mean_of) = (run(2, Average::Logits).1, run(2, Average::LogLikelihood).1);
    // Jensen: the cross-entropy of mean logits is at most the mean cross-entropy.
    assert!(of_mean < mean_of - 1e-4, "{of_mean} {mean_of}");
}

/// The draws of a linear layer would cancel in the mean of a mirrored pair, as if there were none.
#[test]
fn the_samples_of_a_step_are_drawn_apart_and_not_in_mirrored_pairs() {
    let model = backbone(&config(), Precision::F32);
    let adapter = trained(lora(&[Module::LmHead]), &config());
    let batches = [batch_of(&prompts())];
    let of_two = |rho: f32| {
        let adapter = with_terms(&adapter, |_, term| {
            term.rho.as_mut().unwrap().fill(rho);
        });
        let bayes = BlobConfig {
            train_samples: 2,
            ..blob(NoiseSharing::Token)
        };
        gradients(&model, &adapter, Some(bayes), &batches).1
    };
    let (mean, sampled) = (of_two(0.0), of_two(0.5));
    assert!((mean - sampled).abs() > 1e-3, "{mean} {sampled}");
}

#[test]
fn gradients_are_the_slopes_of_the_loss_also_under_dropout() {
    let model = backbone(&config(), Precision::F32);
    let batches = [batch_of(&prompts()), batch_of(&prompts()[..2])];
    for (dropout, sigma, average) in [
        (0.0, Sigma::Square, Average::LogLikelihood),
        (0.3, Sigma::Square, Average::Logits),
        (0.3, Sigma::Softplus, Average::LogLikelihood),
    ] {
        let posterior = Some(Posterior {
            sigma,
            init_eps: 0.05,
            over: Gaussian::A,
        });
        let adapter = trained(
            LoraConfig {
                dropout,
                posterior,
                ..lora(EVERYWHERE)
            },
            &config(),
        );
        let bayes = Some(BlobConfig {
            train_samples: 2,
            average,
            ..blob(NoiseSharing::Token)
        });
        let (gradient, _) = gradients(&model, &adapter, bayes, &batches);
        for part in ["A", "B", "rho"] {
            // Along its own gradient a function's slope is the gradient's norm.
            let chosen = gradient
                .iter()
                .filter(|(name, _)| name.rsplit('.').next() == Some(part));
            let norm = chosen
                .flat_map(|(_, g)| g)
                .map(|&g| f64::from(g).powi(2))
                .sum::<f64>()
                .sqrt();
            let step = 2e-3 / norm.max(1.0);
            let loss_at = |distance: f64| {
                let moved = with_terms(&adapter, |site, term| {
                    let name = format!("{}.{part}", site.path());
                    let (_, direction) = gradient.iter().find(|(other, _)| *other == name).unwrap();
                    let values = match part {
                        "A" => &mut term.a,
                        "B" => &mut term.b,
                        _ => term.rho.as_mut().unwrap(),
                    };
                    for (value, g) in values.iter_mut().zip(direction) {
                        *value += (distance * f64::from(*g) / norm) as f32;
                    }
                });
                assert_eq!(parameters(&moved).len(), parameters(&adapter).len());
                gradients(&model, &moved, bayes, &batches).1
            };
            let slope = (loss_at(step) - loss_at(-step)) / (2.0 * step);
            assert!(
                (slope / norm - 1.0).abs() < 0.01,
                "dropout {dropout}, {sigma:?}, {part}: {slope} {norm}"
            );
        }
    }
}

/// A pass that looks for values that are not finite goes layer by layer and keeps gate and up as
/// they are; in bf16 and int8 others multiply by both at once and keep them in bf16.
#[test]
fn keeping_gate_and_up_in_bf16_moves_gradients_less_than_products_in_bf16_do() {
    let batches = [batch_of(&prompts())];
    let adapter = trained(lora(&[Module::Q, Module::V, Module::LmHead]), &config());
    let of = |precision, check_finite| {
        let model = backbone(&config(), precision);
        let trainer = Trainer::new(training(Some(blob(NoiseSharing::Token))), &adapter).unwrap();
        let mode = Checks {
            finite: check_finite,
            abort: &Abort::default(),
        };
        let gradients = trainer.gradients(&model, &adapter, &batches, mode).unwrap();
        let values = named(&gradients.parameters).into_values().flatten();
        (values.copied().collect::<Vec<f32>>(), gradients.nll_sum)
    };
    // Root mean square, of that of `b`.
    let distance = |a: &[f32], b: &[f32]| {
        let sum = |squares: &dyn Fn(usize) -> f32| (0..b.len()).map(squares).sum::<f32>();
        (sum(&|i| (a[i] - b[i]).powi(2)) / sum(&|i| b[i].powi(2))).sqrt()
    };
    let (exact, exact_nll) = of(Precision::F32, true);
    let (at_once, nll) = of(Precision::F32, false);
    assert_eq!(nll, exact_nll);
    assert!(distance(&at_once, &exact) < 1e-6, "sums in another order");
    for precision in [Precision::Bf16, Precision::Int8] {
        let ((by_layers, by_layers_nll), (at_once, nll)) =
            (of(precision, true), of(precision, false));
        assert_eq!(nll, by_layers_nll, "the way forward has the same bits");
        let (kept, products) = (distance(&at_once, &by_layers), distance(&by_layers, &exact));
        assert!(
            (1e-4..products).contains(&kept),
            "{precision:?}: {kept}, {products}"
        );
    }
}
