#![expect(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use blob_core::Result;
use blob_core::adapter::peft::{Loaded, load, save};
use blob_core::adapter::{Adapter, LoraConfig, Module, Sigma};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde_json::{Value, json};

use crate::support::Scratch;
use crate::support::golden::parameters;
use crate::support::small_model::{config, lora, trained};

const CONFIG: &str = "adapter_config.json";
const MODEL: &str = "adapter_model.safetensors";

/// A tensor of a file: its type, shape and bytes.
pub(super) type Raw = (Dtype, Vec<usize>, Vec<u8>);

pub(super) fn open(folder: &Path) -> Result<Loaded> {
    load(folder, &config(), Sigma::Square)
}

pub(super) fn saved(adapter: &Adapter) -> Scratch {
    let scratch = Scratch::new();
    save(adapter, &config(), scratch.path(), "base/model").unwrap();
    scratch
}

fn bayesian() -> Adapter {
    trained(lora(&[Module::Q, Module::V, Module::LmHead]), &config())
}

/// Rewrites the tensors of a saved adapter.
pub(super) fn edit(scratch: &Scratch, change: impl FnOnce(&mut BTreeMap<String, Raw>)) {
    let path = scratch.path().join(MODEL);
    let bytes = fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let raw = |view: TensorView| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
    let mut tensors = file
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, raw(view)))
        .collect();
    change(&mut tensors);
    let view = |(dtype, shape, data)| TensorView::new(dtype, shape, data).unwrap();
    let views = tensors
        .iter()
        .map(|(name, (dtype, shape, data))| (name, view((*dtype, shape.clone(), data))));
    fs::write(&path, serialize(views, None).unwrap()).unwrap();
}

/// Rewrites the configuration of a saved adapter.
fn edit_config(scratch: &Scratch, change: impl FnOnce(&mut Value)) {
    let path = scratch.path().join(CONFIG);
    let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut json);
    fs::write(&path, json.to_string()).unwrap();
}

pub(super) fn name(layer: &str) -> String {
    format!("base_model.model.{layer}")
}

const V_A: &str = "model.layers.1.self_attn.v_proj.lora_A.weight";
const V_B: &str = "model.layers.1.self_attn.v_proj.lora_B.weight";
const V_RHO: &str = "model.layers.1.self_attn.v_proj.lora_A_rho";

#[test]
fn an_adapter_comes_back_as_it_was() {
    let plain = LoraConfig {
        posterior: None,
        dropout: 0.1,
        ..lora(&Module::ALL)
    };
    for adapter in [bayesian(), trained(plain, &config())] {
        let Loaded {
            adapter: read,
            notices,
            ..
        } = open(saved(&adapter).path()).unwrap();
        assert_eq!(parameters(&read), parameters(&adapter));
        assert_eq!(notices, [""; 0]);
        let (read, config) = (read.config(), adapter.config());
        assert_eq!(
            (read.rank, read.alpha, read.dropout),
            (3, 6.0, config.dropout)
        );
        assert_eq!(read.target_modules, config.target_modules);
        assert_eq!(
            read.posterior.map(|it| it.sigma),
            config.posterior.map(|it| it.sigma)
        );
    }
}

#[test]
fn the_files_are_pefts_own() {
    let scratch = saved(&bayesian());
    let json: Value =
        serde_json::from_slice(&fs::read(scratch.path().join(CONFIG)).unwrap()).unwrap();
    assert_eq!(
        (&json["peft_type"], &json["task_type"]),
        (&json!("LORA"), &json!("CAUSAL_LM"))
    );
    assert_eq!((&json["r"], &json["lora_alpha"]), (&json!(3), &json!(6.0)));
    assert_eq!(
        json["target_modules"],
        json!(["q_proj", "v_proj", "lm_head"])
    );
    assert_eq!(json["base_model_name_or_path"], "base/model");
    let bytes = fs::read(scratch.path().join(MODEL)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for (tensor, shape) in [
        (V_A, [3, 24]),
        (V_B, [12, 3]),
        (V_RHO, [3, 24]),
        ("lm_head.lora_B.weight", [40, 3]),
    ] {
        let view = file.tensor(&name(tensor)).unwrap();
        assert_eq!(
            (view.shape(), view.dtype()),
            (&shape[..], Dtype::F32),
            "{tensor}"
        );
    }
    assert_eq!(file.len(), 5 * 3);
}

#[test]
fn a_checkpoint_of_the_reference_loads_and_its_embedded_head_is_left_out_with_a_notice() {
    let adapter = bayesian();
    let scratch = saved(&adapter);
    edit(&scratch, |tensors| {
        let doubled = std::mem::take(tensors).into_iter();
        *tensors = doubled.map(|(tensor, raw)| (name(&tensor), raw)).collect();
        let head = (Dtype::F32, vec![40, 24], vec![0; 4 * 40 * 24]);
        tensors.insert(name(&name("lm_head.base_layer.weight")), head);
    });
    let Loaded {
        adapter: read,
        notices,
        ..
    } = open(scratch.path()).unwrap();
    assert_eq!(parameters(&read), parameters(&adapter));
    assert_eq!(notices.len(), 1);
    assert!(
        notices[0].contains("lm_head.base_layer.weight"),
        "{notices:?}"
    );
}

#[test]
fn half_precision_is_widened() {
    let adapter = bayesian();
    for dtype in [Dtype::F16, Dtype::BF16] {
        let scratch = saved(&adapter);
        edit(&scratch, |tensors| {
            for (kind, _, data) in tensors.values_mut() {
                let floats = data
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
                let halves = floats.flat_map(|value| match dtype {
                    Dtype::F16 => half::f16::from_f32(value).to_le_bytes(),
                    _ => half::bf16::from_f32(value).to_le_bytes(),
                });
                (*data, *kind) = (halves.collect(), dtype);
            }
        });
        let read = open(scratch.path()).unwrap().adapter;
        for (name, values) in parameters(&read) {
            for (got, expected) in values.iter().zip(parameters(&adapter)[&name]) {
                assert!(
                    (got - expected).abs() <= expected.abs() / 256.0,
                    "{dtype:?} {name}"
                );
            }
        }
    }
}

/// Loading the edited file fails with `code`, and the text has `word`.
fn assert_refused(change: impl FnOnce(&mut BTreeMap<String, Raw>), word: &str) {
    let scratch = saved(&bayesian());
    edit(&scratch, change);
    let error = open(scratch.path()).unwrap_err();
    assert_eq!(error.code(), "BPEFT_ADAPTER", "{error}");
    assert!(error.to_string().contains(word), "{word}: {error}");
}

#[test]
fn tensors_that_do_not_fit_are_refused_by_name() {
    let rename = |from: &'static str, to: &'static str| {
        move |tensors: &mut BTreeMap<String, Raw>| {
            let raw = tensors.remove(&name(from)).unwrap();
            tensors.insert(name(to), raw);
        }
    };
    assert_refused(
        |tensors| tensors.get_mut(&name(V_A)).unwrap().1 = vec![24, 3],
        "lora_A",
    );
    assert_refused(
        |tensors| tensors.get_mut(&name(V_B)).unwrap().1 = vec![36],
        "lora_B",
    );
    assert_refused(
        |tensors| tensors.get_mut(&name(V_RHO)).unwrap().1 = vec![1, 72],
        "lora_A_rho",
    );
    assert_refused(
        |tensors| drop(tensors.remove(&name(V_B))),
        "both lora_A and lora_B",
    );
    assert_refused(
        |tensors| drop(tensors.remove(&name(V_A))),
        "both lora_A and lora_B",
    );
    assert_refused(|tensors| drop(tensors.remove(&name(V_RHO))), "lora_A_rho");
    assert_refused(BTreeMap::clear, "at least one lora_A");
    assert_refused(
        rename(V_A, "model.layers.2.self_attn.v_proj.lora_A.weight"),
        "layers.2",
    );
    assert_refused(
        rename(V_A, "model.layers.1.mlp.v_proj.lora_A.weight"),
        "mlp.v_proj",
    );
    assert_refused(
        rename(V_A, "model.layers.1.self_attn.v_proj.lora_magnitude_vector"),
        "lora_magnitude_vector",
    );
    assert_refused(rename(V_A, "lm_head.weight"), "lm_head.weight");
    assert_refused(
        |tensors| {
            let (dtype, ..) = tensors.get_mut(&name(V_A)).unwrap();
            *dtype = Dtype::I32;
        },
        "I32",
    );
    for value in [f32::NAN, f32::INFINITY] {
        for tensor in [V_A, V_B, V_RHO] {
            assert_refused(
                |tensors| {
                    let (_, _, data) = tensors.get_mut(&name(tensor)).unwrap();
                    data[8..12].copy_from_slice(&value.to_le_bytes());
                },
                "finite",
            );
        }
    }
}

#[test]
fn settings_that_would_change_the_numbers_are_not_supported() {
    for (field, value) in [
        ("use_dora", json!(true)),
        ("use_rslora", json!(true)),
        ("fan_in_fan_out", json!(true)),
        ("lora_bias", json!(true)),
        ("bias", json!("all")),
        ("bias", json!("lora_only")),
        ("rank_pattern", json!({ "v_proj": 4 })),
        ("alpha_pattern", json!({ "v_proj": 4 })),
        ("layer_replication", json!([[0, 2], [1, 2]])),
        ("init_lora_weights", json!("pissa_niter_16")),
        ("init_lora_weights", json!("olora")),
        ("peft_type", json!("LOHA")),
    ] {
        let scratch = saved(&bayesian());
        edit_config(&scratch, |config| config[field] = value.clone());
        let error = open(scratch.path()).unwrap_err();
        assert_eq!(
            error.code(),
            "BPEFT_UNSUPPORTED",
            "{field} {value}: {error}"
        );
        let named = if field == "peft_type" { "LOHA" } else { field };
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[test]
fn settings_that_do_not_matter_are_passed_over() {
    for (field, value) in [
        ("use_dora", json!(false)),
        ("bias", Value::Null),
        ("rank_pattern", json!({})),
        ("alpha_pattern", Value::Null),
        ("layer_replication", Value::Null),
        ("init_lora_weights", json!("gaussian")),
        ("megatron_core", json!("megatron.core")),
        ("lora_alpha", json!(6)),
    ] {
        let scratch = saved(&bayesian());
        edit_config(&scratch, |config| config[field] = value.clone());
        assert_eq!(
            parameters(&open(scratch.path()).unwrap().adapter),
            parameters(&bayesian()),
            "{field}"
        );
    }
}

#[test]
fn a_configuration_that_contradicts_the_tensors_is_refused() {
    for (field, value) in [
        ("r", json!(4)),
        ("r", json!(0)),
        ("r", json!(u64::MAX)),
        ("r", json!(-3)),
        ("r", Value::Null),
        ("lora_alpha", json!("much")),
    ] {
        let scratch = saved(&bayesian());
        edit_config(&scratch, |config| config[field] = value.clone());
        let error = open(scratch.path()).unwrap_err();
        assert_eq!(error.code(), "BPEFT_ADAPTER", "{field} {value}: {error}");
    }
    for (field, value) in [("lora_alpha", json!(0)), ("lora_dropout", json!(1.5))] {
        let scratch = saved(&bayesian());
        edit_config(&scratch, |config| config[field] = value.clone());
        let error = open(scratch.path()).unwrap_err();
        assert_eq!(
            error.code(),
            "BPEFT_INVALID_CONFIG",
            "{field} {value}: {error}"
        );
    }
}

#[test]
fn missing_files_are_io_errors_with_their_path() {
    for file in [CONFIG, MODEL] {
        let scratch = saved(&bayesian());
        fs::remove_file(scratch.path().join(file)).unwrap();
        let error = open(scratch.path()).unwrap_err();
        assert!(
            error.code() == "BPEFT_IO" && error.to_string().contains(file),
            "{error}"
        );
    }
}

#[test]
fn garbage_is_refused_and_never_panics() {
    let scratch = saved(&bayesian());
    for file in [CONFIG, MODEL] {
        let path = scratch.path().join(file);
        let whole = fs::read(&path).unwrap();
        for length in [0, 1, 7, 8, 9, 64, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(
                open(scratch.path()).unwrap_err().code(),
                "BPEFT_ADAPTER",
                "{length} of {file}"
            );
        }
        for filler in [0x00, 0x20, 0x7b, 0xff] {
            fs::write(&path, vec![filler; 4096]).unwrap();
            assert_eq!(open(scratch.path()).unwrap_err().code(), "BPEFT_ADAPTER");
        }
        let head = whole.len().min(2048);
        for at in (0..head).chain((head..whole.len()).step_by(97)) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&path, flipped).unwrap();
            // Either it is noticed, or a number or a free text is another one.
            if let Err(error) = open(scratch.path()) {
                let known = ["BPEFT_ADAPTER", "BPEFT_UNSUPPORTED", "BPEFT_INVALID_CONFIG"];
                assert!(known.contains(&error.code()), "{error}");
            }
        }
        fs::write(&path, whole).unwrap();
    }
}
