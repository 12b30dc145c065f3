//! Gaussian scales in PEFT's files.

use std::collections::BTreeMap;

use blob_core::adapter::{Adapter, Gaussian, Module, Sigma};

use crate::peft::{Raw, edit, name, open, saved};
use crate::support::golden::parameters;
use crate::support::small_model::{config, lora};

/// What is done to the tensors of a file.
type Change<'a> = Box<dyn FnOnce(&mut BTreeMap<String, Raw>) + 'a>;

#[test]
fn scales_come_back_and_those_that_do_not_fit_are_refused() {
    let mut with_scales = lora(&[Module::Q, Module::V, Module::LmHead]);
    let posterior = with_scales.posterior.as_mut().unwrap();
    (posterior.sigma, posterior.over) = (Sigma::Exp, Gaussian::Scales);
    let adapter = Adapter::new(with_scales, &config()).unwrap();
    let read = open(saved(&adapter).path()).unwrap().adapter;
    assert_eq!(parameters(&read), parameters(&adapter));
    assert_eq!(read.sigma(), Some(Sigma::Exp));

    let scale = name("model.layers.1.self_attn.v_proj.lora_A_scale");
    let rho = format!("{scale}_rho");
    let cases: [(Change<'_>, &str); 6] = [
        (
            Box::new(|tensors| drop(tensors.remove(&scale))),
            "lora_A_scale as the other layers do",
        ),
        (
            Box::new(|tensors| drop(tensors.remove(&rho))),
            "lora_A_scale_rho as the other layers do",
        ),
        (
            Box::new(|tensors| tensors.retain(|name, _| !name.ends_with("_scale_rho"))),
            "what one posterior has, got lora_A_scale alone",
        ),
        (
            Box::new(|tensors| tensors.get_mut(&rho).unwrap().1 = vec![1, 3]),
            "shape [3]",
        ),
        (
            Box::new(|tensors| {
                let (_, _, data) = tensors.get_mut(&scale).unwrap();
                data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
            }),
            "finite",
        ),
        (
            Box::new(|tensors| {
                let raw = tensors[&name("model.layers.1.self_attn.v_proj.lora_A.weight")].clone();
                tensors.insert(name("model.layers.1.self_attn.v_proj.lora_A_rho"), raw);
            }),
            "what one posterior has, got lora_A_rho and lora_A_scale",
        ),
    ];
    for (change, word) in cases {
        let scratch = saved(&adapter);
        edit(&scratch, change);
        let error = open(scratch.path()).unwrap_err();
        assert_eq!(error.code(), "BPEFT_ADAPTER", "{error}");
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
}
