//! Options: one JSON text per call, in camel case, unknown keys refused.

use std::path::PathBuf;

use blob_core::Error;
use blob_core::adapter::{Sigma, SpectrumRule};
use blob_core::kernels::cpu::gemm::Precision;
use blob_core::kl::KlForm;
use blob_core::optim::{KlCycle, Schedule};
use blob_core::quantization::Quantization;
use blob_core::train::TrainConfig;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::Result;

/// Reads an options text.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| {
        Error::InvalidConfig {
            field: "options",
            rule: "must be JSON of the documented form",
            value: error.to_string(),
        }
        .into()
    })
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Source {
    File { path: PathBuf },
    Random { seed: u64 },
}

#[derive(Clone, Copy, Deserialize)]
pub(crate) enum QuantizationName {
    #[serde(rename = "q8_0")]
    Q8_0,
    #[serde(rename = "q4_k")]
    Q4K,
    #[serde(rename = "int8")]
    Int8,
    #[serde(rename = "nf4")]
    Nf4,
}

impl From<QuantizationName> for Quantization {
    fn from(name: QuantizationName) -> Self {
        match name {
            QuantizationName::Q8_0 => Self::Q8_0,
            QuantizationName::Q4K => Self::Q4K,
            QuantizationName::Int8 => Self::Int8,
            QuantizationName::Nf4 => Self::Nf4,
        }
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PrecisionName {
    F32,
    Bf16,
    Int8,
    Int8Mixed,
}

impl From<PrecisionName> for Precision {
    fn from(name: PrecisionName) -> Self {
        match name {
            PrecisionName::F32 => Self::F32,
            PrecisionName::Bf16 => Self::Bf16,
            PrecisionName::Int8 => Self::Int8,
            PrecisionName::Int8Mixed => Self::Int8Mixed,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TrainerOptions {
    pub(crate) train: TrainConfig,
    /// Most bytes of activations to keep for the backward pass; null: all.
    pub(crate) kept_bytes: Option<usize>,
    /// Dropout of an encoder's own activations.
    #[serde(default)]
    pub(crate) base_dropout: f32,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum DeviceName {
    Cpu,
    Cuda { ordinal: usize, kernels: PathBuf },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ModelOptions {
    pub(crate) source: Source,
    pub(crate) precision: PrecisionName,
    pub(crate) quantize: Option<QuantizationName>,
    /// Of the process's pool; null: as many as it has, or one per processor.
    pub(crate) threads: Option<usize>,
    pub(crate) device: DeviceName,
    /// Whether a row's bits are to depend on that row alone.
    #[serde(default)]
    pub(crate) deterministic: bool,
    /// Whether what repeats runs as a graph of launches.
    #[serde(default)]
    pub(crate) cuda_graphs: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RateOptions {
    pub(crate) precision: PrecisionName,
    pub(crate) threads: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LoadAdapterOptions {
    pub(crate) sigma: Option<Sigma>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SaveAdapterOptions {
    pub(crate) base_model_name_or_path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct KlOptions {
    pub(crate) prior_std: f64,
    pub(crate) form: KlForm,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SigmaQuantilesOptions {
    pub(crate) fractions: Vec<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct IsotropicOptions {
    pub(crate) rule: SpectrumRule,
    /// Places that sample, from the end; null: all.
    pub(crate) stochastic_layers: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CurvatureOptions {
    /// K.
    pub(crate) rank: usize,
    /// Most bytes of the factors.
    pub(crate) memory_bytes: usize,
    /// Tokens that are a class of any row.
    pub(crate) class_tokens: usize,
    /// Places that are covered, from the end; null: all.
    pub(crate) stochastic_layers: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ForecastOptions {
    pub(crate) steps: u64,
    pub(crate) schedule: Schedule,
    pub(crate) kl_lr: f64,
    pub(crate) kl_cycle: KlCycle,
    pub(crate) prior_std: f64,
    pub(crate) kl_form: KlForm,
    pub(crate) sigma: Sigma,
    pub(crate) sigma_start: f32,
}
