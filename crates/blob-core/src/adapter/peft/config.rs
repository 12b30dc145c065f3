//! `adapter_config.json`: PEFT's own keys, and those of them that we understand.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::adapter::{Gaussian, LoraConfig};
use crate::backbone::BackboneConfig;
use crate::files::{atomic_write, json_reason};
use crate::other_file;
use crate::{Error, Result};

/// What `peft_type` says of a plain term, and of one under a context, which PEFT refuses.
const TYPES: [&str; 2] = ["LORA", "C_LORA"];

/// The fields of PEFT's configuration that we write.
#[expect(
    clippy::struct_excessive_bools,
    reason = "the switches of a foreign format"
)]
#[derive(Serialize)]
pub(super) struct PeftConfig {
    base_model_name_or_path: String,
    bias: &'static str,
    fan_in_fan_out: bool,
    inference_mode: bool,
    init_lora_weights: bool,
    lora_alpha: f32,
    lora_dropout: f32,
    modules_to_save: Option<Vec<String>>,
    peft_type: &'static str,
    r: usize,
    revision: Option<String>,
    target_modules: Vec<String>,
    task_type: Option<&'static str>,
    use_dora: bool,
    use_rslora: bool,
}

impl PeftConfig {
    /// Of an adapter whose layers have these names.
    pub(super) fn new(
        config: &LoraConfig,
        base_model: &str,
        target_modules: Vec<String>,
        saved: Vec<String>,
        task_type: Option<&'static str>,
    ) -> Self {
        Self {
            base_model_name_or_path: base_model.to_owned(),
            bias: "none",
            fan_in_fan_out: false,
            inference_mode: true,
            init_lora_weights: true,
            lora_alpha: config.alpha,
            lora_dropout: config.dropout,
            modules_to_save: Some(saved).filter(|saved| !saved.is_empty()),
            peft_type: TYPES[usize::from(config.gaussian() == Some(Gaussian::Context))],
            r: config.rank,
            revision: None,
            target_modules,
            task_type,
            use_dora: false,
            use_rslora: false,
        }
    }
}

#[derive(Deserialize)]
struct Kind {
    peft_type: Option<String>,
}

/// The fields that we read; the rest of PEFT's configuration does not change the numbers.
#[derive(Deserialize)]
pub(super) struct PeftConfigRead {
    peft_type: String,
    pub(super) r: usize,
    pub(super) lora_alpha: f32,
    #[serde(default)]
    pub(super) lora_dropout: f32,
    #[serde(default)]
    bias: Option<String>,
    #[serde(default)]
    init_lora_weights: serde_json::Value,
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

impl PeftConfigRead {
    /// Whether the low-rank terms are said to have a context.
    pub(super) fn has_context(&self) -> bool {
        self.peft_type == TYPES[1]
    }
}

/// PEFT's settings that change the numbers; each must be absent, null, false or empty.
const MUST_BE_OFF: [&str; 12] = [
    "alora_invocation_tokens",
    "alpha_pattern",
    "arrow_config",
    "fan_in_fan_out",
    "layer_replication",
    "lora_bias",
    "modules_to_save",
    "rank_pattern",
    "trainable_token_indices",
    "use_dora",
    "use_qalora",
    "use_rslora",
];
/// Initialisations that change the base weights too.
const CHANGES_THE_BASE: [&str; 4] = ["pissa", "olora", "corda", "loftq"];

/// Writes the configuration, whole or not at all.
///
/// # Errors
/// `BPEFT_IO`.
pub(super) fn write(json: &PeftConfig, path: &Path) -> Result<()> {
    let text = serde_json::to_vec_pretty(json).map_err(|error| Error::Adapter {
        path: path.to_path_buf(),
        reason: error.to_string(),
    })?;
    atomic_write(path, &text)
}

/// Reads a configuration and refuses what changes the numbers.
///
/// # Errors
/// `BPEFT_IO`, `BPEFT_ADAPTER`, `BPEFT_UNSUPPORTED`.
pub(super) fn read(path: &Path, backbone: &BackboneConfig) -> Result<PeftConfigRead> {
    let text = other_file::read(path)?;
    let broken = |reason: String| Error::Adapter {
        path: path.to_path_buf(),
        reason,
    };
    let unsupported = |value: String| {
        Err(Error::Unsupported {
            what: "PEFT setting",
            value,
            supported: "plain LoRA without bias, DoRA, rank-stabilised scaling and per-layer ranks"
                .into(),
        })
    };
    let malformed = |error: serde_json::Error| broken(json_reason(&error));
    // First: a configuration of another kind lacks fields that are asked for below.
    let Kind { peft_type } = serde_json::from_slice(&text).map_err(malformed)?;
    match peft_type {
        None => {
            return Err(broken(
                "peft_type is missing: this is none of PEFT's files".into(),
            ));
        }
        Some(kind) if !TYPES.contains(&kind.as_str()) => {
            return unsupported(format!("peft_type={kind}"));
        }
        Some(_) => {}
    }
    let config: PeftConfigRead = serde_json::from_slice(&text).map_err(malformed)?;
    if let Some(bias) = config.bias.as_ref().filter(|bias| *bias != "none") {
        return unsupported(format!("bias={bias}"));
    }
    let start = config.init_lora_weights.as_str().unwrap_or_default();
    let start = start.to_ascii_lowercase();
    if CHANGES_THE_BASE.iter().any(|kind| start.starts_with(kind)) {
        return unsupported(format!("init_lora_weights={start}"));
    }
    let on = |name: &&&str| {
        let value = config.rest.get(**name);
        value.is_some_and(|value| !is_off(value) && !is_head(name, value, backbone))
    };
    match MUST_BE_OFF.iter().find(on) {
        Some(name) => unsupported((*name).into()),
        None => Ok(config),
    }
}

/// Modules that hold an encoder's head: PEFT lists names that a model may not have.
const HEADS: [&str; 7] = [
    "classifier",
    "classifier.dense",
    "classifier.out_proj",
    "pooler",
    "pooler.dense",
    "pre_classifier",
    "score",
];

/// Whether a setting names parts of an encoder's head alone, which the adapter holds.
fn is_head(name: &str, value: &serde_json::Value, backbone: &BackboneConfig) -> bool {
    let modules = value.as_array().map_or(&[][..], Vec::as_slice);
    let is_part =
        |module: &serde_json::Value| module.as_str().is_some_and(|it| HEADS.contains(&it));
    name == "modules_to_save" && backbone.encoder.is_some() && modules.iter().all(is_part)
}

fn is_off(value: &serde_json::Value) -> bool {
    use serde_json::Value;
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
