#![expect(clippy::unwrap_used, reason = "test code")]

use blob_core::Error;
use blob_core::abort::Abort;
use blob_core::adapter::{Adapter, LoraConfig, Module};
use blob_core::backbone::Backbone;
use blob_core::batch::Batch;
use blob_core::kernels::cpu::gemm::Precision;
use blob_core::method::{BlobConfig, PointConfig};
use blob_core::objective::{Average, CrossEntropy, Evaluated, Objective};
use blob_core::pass::NoiseSharing;
use blob_core::train::{Checks, Gradients, Trainer};

use crate::support::Scratch;
use crate::support::golden::{named, parameters};
use crate::support::small_model::{
    Poisoned, backbone, batch_of, blob, config, lora, point, prompts, trained, training,
    training_at, with_terms,
};

fn step(
    trainer: &mut Trainer,
    backbone: &Backbone,
    adapter: &mut Adapter,
    batch: &Batch,
) -> blob_core::Result<blob_core::train::StepReport> {
    trainer.step(
        backbone,
        adapter,
        std::slice::from_ref(batch),
        &Abort::default(),
    )
}

/// The bytes of a saved state: parameters, moments and the counter.
fn saved(trainer: &mut Trainer, adapter: &Adapter) -> [Vec<u8>; 2] {
    let scratch = Scratch::new();
    trainer.save(adapter, scratch.path()).unwrap();
    ["state.safetensors", "trainer.json"]
        .map(|name| std::fs::read(scratch.path().join(name)).unwrap())
}

/// A run after two good steps.
fn running(lora: LoraConfig) -> (Backbone, Adapter, Trainer, Batch) {
    let backbone = backbone(&config(), Precision::F32);
    let mut adapter = trained(lora, &config());
    let bayes = adapter.sigma().map(|_| blob(NoiseSharing::Token));
    let mut trainer = Trainer::new(training(bayes), &adapter).unwrap();
    let batch = batch_of(&prompts());
    for _ in 0..2 {
        step(&mut trainer, &backbone, &mut adapter, &batch).unwrap();
    }
    (backbone, adapter, trainer, batch)
}

#[test]
fn no_gradient_is_silently_zero() {
    let backbone = backbone(&config(), Precision::F32);
    let adapter = trained(lora(&Module::ALL), &config());
    let trainer = Trainer::new(training(Some(blob(NoiseSharing::Token))), &adapter).unwrap();
    let batch = batch_of(&prompts());
    let batches = std::slice::from_ref(&batch);
    let Gradients { parameters, .. } = trainer
        .gradients(
            &backbone,
            &adapter,
            batches,
            Checks {
                finite: false,
                abort: &Abort::default(),
            },
        )
        .unwrap();
    let gradients = named(&parameters);
    assert!(gradients.keys().eq(named(adapter.parameters()).keys()));
    for (name, gradient) in gradients {
        for (i, &g) in gradient.iter().enumerate() {
            // Only the answers' rows of the head reach the loss.
            let reached = name != "lm_head.B" || batch.answers().contains(&((i / 3) as u32));
            assert!(g.is_finite() && (g != 0.0) == reached, "{name}[{i}] is {g}");
        }
    }
}

#[test]
fn a_fresh_adapter_starts_with_a_gradient_of_b_alone() {
    let backbone = backbone(&config(), Precision::F32);
    let adapter = Adapter::new(lora(&Module::ALL), &config()).unwrap();
    let trainer = Trainer::new(training(Some(blob(NoiseSharing::Token))), &adapter).unwrap();
    let batches = [batch_of(&prompts())];
    let Gradients { parameters, .. } = trainer
        .gradients(
            &backbone,
            &adapter,
            &batches,
            Checks {
                finite: false,
                abort: &Abort::default(),
            },
        )
        .unwrap();
    for (name, gradient) in named(&parameters) {
        assert_eq!(
            gradient.iter().any(|&g| g != 0.0),
            name.rsplit('.').next() == Some("B"),
            "{name}"
        );
    }
}

#[test]
fn a_run_learns_its_labels() {
    let backbone = backbone(&config(), Precision::F32);
    let batch = batch_of(&prompts());
    for bayes in [None, Some(blob(NoiseSharing::Token))] {
        let plain = lora(&[Module::Q, Module::V, Module::LmHead]);
        let posterior = plain.posterior.filter(|_| bayes.is_some());
        let mut adapter = Adapter::new(LoraConfig { posterior, ..plain }, &config()).unwrap();
        let config = training_at(point(0.02), bayes);
        let mut trainer = Trainer::new(config, &adapter).unwrap();
        let reports: Vec<_> = (0..60)
            .map(|_| step(&mut trainer, &backbone, &mut adapter, &batch).unwrap())
            .collect();
        let (first, last) = (&reports[0], &reports[59]);
        assert!(last.nll < 0.2 * first.nll, "{} {}", first.nll, last.nll);
        assert_eq!(
            (last.step, last.correct, last.rows, last.tokens),
            (60, 5, 5, 21)
        );
    }
}

#[test]
fn a_weight_that_is_not_finite_stops_the_step_by_the_layers_name_and_changes_nothing() {
    for (name, layer, value) in [
        (
            "model.layers.0.self_attn.k_proj.weight",
            "model.layers.0.self_attn.k_proj",
            f32::NAN,
        ),
        (
            "model.layers.1.mlp.up_proj.weight",
            "model.layers.1.mlp.up_proj",
            f32::NAN,
        ),
        (
            "model.layers.1.self_attn.o_proj.weight",
            "model.layers.1.self_attn.o_proj",
            f32::INFINITY,
        ),
        (
            "model.layers.1.post_attention_layernorm.weight",
            "model.layers.1.mlp.gate_proj",
            f32::NAN,
        ),
        ("model.norm.weight", "model.norm", f32::NEG_INFINITY),
    ] {
        for precision in [Precision::F32, Precision::Bf16] {
            let (good, mut adapter, mut trainer, batch) = running(lora(&Module::ALL));
            let source = Poisoned { name, value };
            let bad = Backbone::load(config(), &source, precision).unwrap();
            let before = saved(&mut trainer, &adapter);
            let error = step(&mut trainer, &bad, &mut adapter, &batch).unwrap_err();
            let Error::NotFinite {
                step: at,
                layer: found,
                ..
            } = &error
            else {
                panic!("{error}");
            };
            assert_eq!((*at, found.as_str()), (3, layer), "{precision:?} {error}");
            assert_eq!(
                (trainer.step_count(), saved(&mut trainer, &adapter)),
                (2, before)
            );
            // The run goes on as if nothing had happened.
            let (_, mut other, mut undisturbed, _) = running(lora(&Module::ALL));
            step(&mut trainer, &good, &mut adapter, &batch).unwrap();
            step(&mut undisturbed, &good, &mut other, &batch).unwrap();
            assert_eq!(
                saved(&mut trainer, &adapter),
                saved(&mut undisturbed, &other)
            );
        }
    }
}

#[test]
fn parameters_that_are_not_finite_stop_the_step_too() {
    for part in ["A", "B", "rho"] {
        let (backbone, adapter, mut trainer, batch) = running(lora(&[Module::V]));
        let mut broken = with_terms(&adapter, |site, term| {
            if site.block == 1 {
                match part {
                    "A" => term.a[5] = f32::NAN,
                    "B" => term.b[5] = f32::NAN,
                    _ => term.rho.as_mut().unwrap()[5] = f32::INFINITY,
                }
            }
        });
        let error = step(&mut trainer, &backbone, &mut broken, &batch).unwrap_err();
        assert_eq!(error.code(), "BPEFT_NOT_FINITE");
        assert!(
            error
                .to_string()
                .contains("model.layers.1.self_attn.v_proj"),
            "{part}: {error}"
        );
        assert_eq!(trainer.step_count(), 2);
    }
}

/// Cross-entropy with a gradient that is not finite.
struct Diverging;

impl Objective for Diverging {
    fn evaluate(&self, logits: &[f32], batch: &Batch, weight: f32) -> blob_core::Result<Evaluated> {
        let objective = CrossEntropy {
            average: Average::Logits,
        };
        let mut evaluated = objective.evaluate(logits, batch, weight)?;
        evaluated.dlogits[0] = f32::INFINITY;
        Ok(evaluated)
    }
}

#[test]
fn a_gradient_that_is_not_finite_under_a_finite_loss_stops_the_step() {
    let (backbone, mut adapter, trainer, batch) = running(lora(&Module::ALL));
    let mut trainer = trainer.with_objective(Box::new(Diverging));
    let before = saved(&mut trainer, &adapter);
    let error = step(&mut trainer, &backbone, &mut adapter, &batch).unwrap_err();
    assert!(
        matches!(
            &error,
            Error::NotFinite {
                step: 3,
                what: "gradient",
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(saved(&mut trainer, &adapter), before);
}

#[test]
fn an_abort_before_the_step_changes_nothing() {
    let (backbone, mut adapter, mut trainer, batch) = running(lora(&Module::ALL));
    let before = saved(&mut trainer, &adapter);
    let abort = Abort::default();
    abort.clone().abort();
    let error = trainer
        .step(&backbone, &mut adapter, &[batch], &abort)
        .unwrap_err();
    assert_eq!(error.code(), "BPEFT_ABORTED");
    assert_eq!(saved(&mut trainer, &adapter), before);
}

/// Cross-entropy that raises the flag between the forward and the backward pass.
struct AbortsInBetween(Abort);

impl Objective for AbortsInBetween {
    fn evaluate(&self, logits: &[f32], batch: &Batch, weight: f32) -> blob_core::Result<Evaluated> {
        self.0.abort();
        CrossEntropy {
            average: Average::Logits,
        }
        .evaluate(logits, batch, weight)
    }
}

#[test]
fn an_abort_in_the_middle_of_a_step_changes_nothing() {
    let (backbone, mut adapter, trainer, batch) = running(lora(&Module::ALL));
    let abort = Abort::default();
    let mut trainer = trainer.with_objective(Box::new(AbortsInBetween(abort.clone())));
    let before = saved(&mut trainer, &adapter);
    let error = trainer
        .step(&backbone, &mut adapter, &[batch], &abort)
        .unwrap_err();
    assert_eq!(error.code(), "BPEFT_ABORTED");
    assert_eq!(saved(&mut trainer, &adapter), before);
}

#[test]
fn what_cannot_be_trained_on_is_refused_and_changes_nothing() {
    let (backbone, mut adapter, mut trainer, _) = running(lora(&Module::ALL));
    let before = saved(&mut trainer, &adapter);
    let mut unlabelled = prompts();
    unlabelled[1].label = -1;
    let mut too_long = prompts();
    too_long[0].ids = vec![1; 257];
    let mut unknown_class = prompts();
    unknown_class[0].answers[1] = 40;
    let mut unknown_token = prompts();
    unknown_token[0].ids[1] = 40;
    for prompts in [unlabelled, too_long, unknown_class, unknown_token] {
        let error = step(&mut trainer, &backbone, &mut adapter, &batch_of(&prompts)).unwrap_err();
        assert_eq!(error.code(), "BPEFT_INVALID_INPUT", "{error}");
    }
    let error = trainer
        .step(&backbone, &mut adapter, &[], &Abort::default())
        .unwrap_err();
    assert_eq!(error.code(), "BPEFT_INVALID_INPUT", "{error}");
    assert_eq!(saved(&mut trainer, &adapter), before);
}

#[test]
fn clipping_scales_the_gradient_of_means_and_b_and_leaves_rho_alone() {
    let backbone = backbone(&config(), Precision::F32);
    let start = trained(lora(&Module::ALL), &config());
    let batch = batch_of(&prompts());
    // With a large ε the first step of AdamW is lr/ε times the gradient; without KL rate only that
    // moves M.
    let run = |max_grad_norm| {
        let point = PointConfig {
            adam_epsilon: 1e6,
            max_grad_norm,
            ..point(1e5)
        };
        let mut bayes = blob(NoiseSharing::Token);
        bayes.kl_cycle = blob_core::optim::KlCycle::Uniform { length: 1 << 40 };
        let mut trainer = Trainer::new(training_at(point, Some(bayes)), &start).unwrap();
        let mut adapter = start.clone();
        let report = step(&mut trainer, &backbone, &mut adapter, &batch).unwrap();
        (report.update.grad_norm, adapter)
    };
    let (norm, free) = run(0.0);
    let (same_norm, loose) = run(2.0 * norm);
    assert_eq!(parameters(&loose), parameters(&free));
    let (clipped_norm, clipped) = run(0.25 * norm);
    assert_eq!(
        (norm, norm),
        (same_norm, clipped_norm),
        "the report's norm is that before clipping"
    );
    let start = parameters(&start);
    let (free, clipped) = (parameters(&free), parameters(&clipped));
    for (name, from) in &start {
        let moved = |to: &[f32]| {
            let squares = from
                .iter()
                .zip(to)
                .map(|(from, to)| f64::from(to - from).powi(2));
            squares.sum::<f64>().sqrt()
        };
        let ratio = moved(clipped[name]) / moved(free[name]);
        let expected = if name.contains("rho") { 1.0 } else { 0.25 };
        assert!((ratio - expected).abs() < 1e-3, "{name}: {ratio}");
    }
}

#[test]
fn a_posterior_is_not_trained_on_a_point_estimate() {
    let plain = LoraConfig {
        posterior: None,
        ..lora(&[Module::V])
    };
    let adapter = Adapter::new(plain, &config()).unwrap();
    let error = Trainer::new(training(Some(blob(NoiseSharing::Token))), &adapter)
        .err()
        .unwrap();
    assert_eq!(error.code(), "BPEFT_INVALID_CONFIG");
}

#[test]
fn an_update_that_diverges_names_the_layer_and_does_not_count() {
    let (backbone, adapter, batch) = {
        let (backbone, adapter, _, batch) = running(lora(&[Module::V]));
        (backbone, adapter, batch)
    };
    let bayes = BlobConfig {
        kl_lr: 1e200,
        ..blob(NoiseSharing::Token)
    };
    let mut trainer = Trainer::new(training(Some(bayes)), &adapter).unwrap();
    let mut adapter = adapter;
    let error = (0..3)
        .find_map(|_| step(&mut trainer, &backbone, &mut adapter, &batch).err())
        .unwrap();
    assert_eq!(error.code(), "BPEFT_NOT_FINITE");
    assert!(
        error
            .to_string()
            .contains("model.layers.0.self_attn.v_proj"),
        "{error}"
    );
    assert!(trainer.step_count() < 3);
}
