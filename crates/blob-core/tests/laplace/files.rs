//! A curvature in an adapter's file.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::fs;

use blob_core::adapter::{Adapter, Factor, Module, Sigma, peft};
use blob_core::laplace::Link;
use blob_core::ops::Precision;
use blob_core::predict::PredictConfig;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};

use crate::support::Scratch;
use crate::support::answers::{bits, logits, sampling};
use crate::support::encoder_case::EncoderCase;
use crate::support::small_model::{backbone, batch_of, config, lora, prompts, trained};
use crate::{SETTINGS, answering, fitted, of_head, point};

#[test]
fn files_keep_what_answers_and_the_curvature_of_a_posterior_is_that_of_its_mean() {
    let model = backbone(&config(), Precision::F32);
    let batch = batch_of(&prompts());
    let posterior = trained(lora(&Module::ALL), &config());
    for (asked, adapter) in [
        (SETTINGS, point(&Module::ALL, &config())),
        (of_head(), point(&[Module::Q, Module::LmHead], &config())),
        (SETTINGS, posterior),
    ] {
        let found = fitted(&model, &adapter, &batch, asked);
        let own = answering(&found, &adapter, 0.5);
        assert_eq!(own.sigma(), None);
        let scratch = Scratch::new();
        peft::save(&own, &config(), scratch.path(), "base").unwrap();
        let loaded = peft::load(scratch.path(), &config(), Sigma::Square).unwrap();
        assert_eq!(loaded.notices, [""; 0]);
        assert_eq!(loaded.adapter.curvature(), own.curvature());
        for link in [Link::Probit, Link::Sample] {
            let asked = PredictConfig {
                link,
                ..sampling(3)
            };
            let of = |adapter| bits(&logits(&model, Some(adapter), &batch, &asked));
            assert_eq!(of(&own), of(&loaded.adapter), "{asked:?} {link:?}");
        }
        let mean = |adapter| bits(&logits(&model, Some(adapter), &batch, &sampling(0)));
        assert_eq!(mean(&own), mean(&adapter), "{asked:?}");
    }
}

#[test]
fn an_encoders_curvature_survives_its_file() {
    let EncoderCase {
        backbone,
        adapter,
        batch,
        ..
    } = EncoderCase::open("encoder-roberta");
    let found = fitted(&backbone, &adapter, &batch, SETTINGS);
    let own = answering(&found, &adapter, 0.5);
    assert!(
        own.curvature()
            .unwrap()
            .curvature
            .matrix(head(&adapter), Factor::Weight)
            .is_some()
    );
    let scratch = Scratch::new();
    peft::save(&own, backbone.config(), scratch.path(), "base").unwrap();
    let loaded = peft::load(scratch.path(), backbone.config(), Sigma::Square).unwrap();
    assert_eq!(loaded.adapter.curvature(), own.curvature());
    let of = |adapter| bits(&logits(&backbone, Some(adapter), &batch, &sampling(1)));
    assert_eq!(of(&own), of(&loaded.adapter));
    assert_ne!(
        of(&own),
        bits(&logits(&backbone, Some(&adapter), &batch, &sampling(0)))
    );
}

fn head(adapter: &Adapter) -> blob_core::adapter::Site {
    let mut whole = adapter.parameters().layout().own_layers().shapes.keys();
    *whole
        .find(|site| site.module == Module::Classifier)
        .unwrap()
}

type Tensors = std::collections::BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

#[test]
fn a_damaged_curvature_is_refused_by_its_tensor() {
    let model = backbone(&config(), Precision::F32);
    let adapter = point(&[Module::Q, Module::LmHead], &config());
    let found = fitted(&model, &adapter, &batch_of(&prompts()), SETTINGS);
    let own = answering(&found, &adapter, 0.5);
    let name = |rest: &str| format!("base_model.model.{rest}");
    let input = name("lm_head.lora_A_curvature_input");
    let values = name("lm_head.lora_A_curvature_input_values");
    let precision = name("laplace_precision");
    let refused = |change: &dyn Fn(&mut Tensors)| {
        let scratch = Scratch::new();
        peft::save(&own, &config(), scratch.path(), "base").unwrap();
        let path = scratch.path().join("adapter_model.safetensors");
        let bytes = fs::read(&path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let raw = |view: TensorView| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
        let mut tensors: Tensors = file
            .tensors()
            .into_iter()
            .map(|(name, view)| (name, raw(view)))
            .collect();
        change(&mut tensors);
        let views = tensors.iter().map(|(name, (dtype, shape, data))| {
            (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
        });
        fs::write(&path, serialize(views, None).unwrap()).unwrap();
        let error = peft::load(scratch.path(), &config(), Sigma::Square).unwrap_err();
        assert_eq!(error.code(), "BPEFT_ADAPTER");
        error.to_string()
    };
    let without = |name: &str| refused(&|tensors| drop(tensors.remove(name).unwrap()));
    assert!(without(&values).contains("lora_A_curvature_input_values\" must be there"));
    assert!(without(&input).contains("must be of a matrix that the adapter has"));
    assert!(without(&precision).contains("laplace_precision must be one number above 0"));
    let other = |name: &str, value: f32| {
        refused(&|tensors| {
            let data = &mut tensors.get_mut(name).unwrap().2;
            data[..4].copy_from_slice(&value.to_le_bytes());
        })
    };
    assert!(other(&values, 0.0).contains("must fall and be at least 0"));
    assert!(other(&input, f32::NAN).contains("must be F32, F16 or BF16, and finite"));
    assert!(other(&precision, -1.0).contains("laplace_precision must be one number above 0"));
    let reshaped = refused(&|tensors| {
        let shape = &mut tensors.get_mut(&input).unwrap().1;
        *shape = vec![shape[0] * shape[1], 1];
    });
    assert!(
        reshaped.contains("must have shape [K, 24] with K values"),
        "{reshaped}"
    );
}
