//! C-LoRA's context: its start, its update, its files, and who refuses it.

use std::fs;

use blob_core::abort::Abort;
use blob_core::adapter::{
    Adapter, CONTEXT_WIDTH, Gaussian, LoraConfig, Module, Sigma, SpectrumRule, peft,
};
use blob_core::method::{CLora, CLoraConfig, MethodConfig};
use blob_core::objective::Average;
use blob_core::ops::Precision;
use blob_core::optim::KlCycle;
use blob_core::pass::NoiseSharing;
use blob_core::train::{Checks, TrainConfig, Trainer};
use serde_json::{Value, json};

use crate::support::Scratch;
use crate::support::answers::{bits, logits, sampling};
use crate::support::golden::parameters;
use crate::support::small_model::{
    backbone, batch_of, config, lora, lora_with_context, point, prompts,
};

fn with_context(rank: usize) -> LoraConfig {
    LoraConfig {
        rank,
        ..lora_with_context(&[Module::Q, Module::Down, Module::LmHead])
    }
}

fn settings() -> CLoraConfig {
    CLoraConfig {
        point: point(0.01),
        prior_std: 0.2,
        context_lr: 0.5,
        kl_weight: 0.0,
        kl_cycle: KlCycle::Uniform { length: 1 },
        train_samples: 1,
        average: Average::Logits,
        noise: NoiseSharing::Token,
    }
}

#[test]
fn a_network_starts_as_linear_layers_do_and_has_the_published_number_of_parameters() {
    let adapter = Adapter::new(with_context(8), &config()).unwrap();
    let layout = adapter.parameters().layout();
    let of_layer = Gaussian::Context.factors().iter().map(|factor| {
        let shape = layout.terms().values().next().unwrap().of(*factor);
        shape[0] * shape[1]
    });
    assert_eq!(of_layer.sum::<usize>(), 8896);
    for (&factor, inputs) in Gaussian::Context.factors().iter().zip([8, 8, 64, 64]) {
        let values = &adapter.parameters().member(0)[layout.run(factor)];
        let bound = 1.0 / (inputs as f32).sqrt();
        let largest = values
            .iter()
            .fold(0.0f32, |most, value| most.max(value.abs()));
        assert!(
            largest <= bound && largest > 0.9 * bound,
            "{factor:?}: {largest}"
        );
    }
    assert_eq!((adapter.sigma_mean(), CONTEXT_WIDTH), (None, 64));
}

#[test]
fn the_network_goes_down_its_gradient_while_adamw_moves_the_rest() {
    let (model, abort) = (backbone(&config(), Precision::F32), Abort::default());
    let batches = [batch_of(&prompts())];
    let mut adapter = Adapter::new(with_context(2), &config()).unwrap();
    let method = MethodConfig::CLora(settings());
    let mut trainer = Trainer::new(TrainConfig { seed: 1, method }, &adapter).unwrap();
    trainer
        .step(&model, &mut adapter, &batches, &abort)
        .unwrap(); // B is no longer 0
    let gradients = trainer
        .gradients(
            &model,
            &adapter,
            &batches,
            Checks {
                finite: false,
                abort: &abort,
            },
        )
        .unwrap();
    let before = adapter.clone();
    trainer
        .step(&model, &mut adapter, &batches, &abort)
        .unwrap();
    let rate = 0.5 * settings().point.schedule.factor(2) as f32;
    let layout = adapter.parameters().layout().clone();
    for parameter in layout.parameters() {
        let of =
            |adapter: &Adapter| adapter.parameters().member(0)[parameter.range.clone()].to_vec();
        let gradient = &gradients.parameters.member(0)[parameter.range.clone()];
        let changes = of(&adapter)
            .into_iter()
            .zip(of(&before))
            .map(|(after, before)| after - before);
        assert!(gradient.iter().any(|g| *g != 0.0), "{parameter:?}");
        for (change, g) in changes.zip(gradient) {
            if parameter.factor.is_beside() {
                assert!(
                    (change + rate * g).abs() < 1e-6,
                    "{parameter:?}: {change} {g}"
                );
            } else {
                assert!(*g == 0.0 || change * g < 0.0 || change.abs() < 0.011);
            }
        }
    }
}

#[test]
fn files_say_that_there_is_a_context_and_plain_peft_refuses_them() {
    let adapter = Adapter::new(with_context(3), &config()).unwrap();
    let folder = Scratch::new();
    peft::save(&adapter, &config(), folder.path(), "base").unwrap();
    let loaded = peft::load(folder.path(), &config(), Sigma::Square).unwrap();
    assert_eq!(parameters(&loaded.adapter), parameters(&adapter));
    assert_eq!(loaded.adapter.sigma(), Some(Sigma::SquaredLogistic));
    let path = folder.path().join("adapter_config.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(json["peft_type"], json!("C_LORA"));
    json["peft_type"] = json!("LORA");
    fs::write(&path, json.to_string()).unwrap();
    let error = peft::load(folder.path(), &config(), Sigma::Square).unwrap_err();
    assert_eq!(error.code(), "BPEFT_ADAPTER");
    assert!(error.to_string().contains("must be C_LORA"), "{error}");
}

#[test]
fn rows_share_their_noise_as_they_are_told() {
    let model = backbone(&config(), Precision::F32);
    let mut adapter = Adapter::new(with_context(3), &config()).unwrap();
    for b in adapter.parameters_mut().member_mut(0) {
        *b += 0.05;
    }
    let batch = batch_of(&prompts());
    let of = |noise| {
        let asked = blob_core::predict::PredictConfig {
            noise,
            ..sampling(2)
        };
        bits(&logits(&model, Some(&adapter), &batch, &asked))
    };
    let all = [
        NoiseSharing::Token,
        NoiseSharing::Example,
        NoiseSharing::Shared,
    ]
    .map(of);
    assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2]);
}

#[test]
fn what_needs_a_term_that_is_the_same_for_every_input_refuses_it() {
    let adapter = Adapter::new(with_context(3), &config()).unwrap();
    let error = adapter.isotropic(SpectrumRule::Exact, 0).err().unwrap();
    assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
    let fit = blob_core::laplace::FitConfig {
        from_block: 0,
        rank: 4,
        memory_bytes: 1 << 30,
        class_tokens: 2,
        kept_bytes: None,
    };
    let error = blob_core::laplace::Fit::new(fit, &adapter).err().unwrap();
    assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
    // A rank whose network would be too large, and adapters of other kinds.
    let error = Adapter::new(with_context(65), &config()).err().unwrap();
    assert_eq!(error.code(), "BPEFT_INVALID_CONFIG");
    let other = Adapter::new(lora(&[Module::Q]), &config()).unwrap();
    let error = CLora::new(settings(), &other).err().unwrap();
    assert_eq!(error.code(), "BPEFT_INVALID_CONFIG");
}
