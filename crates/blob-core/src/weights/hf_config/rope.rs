//! `rope_scaling` and `rope_parameters` of a `config.json`.

use std::path::Path;

use serde_json::{Map, Value};

use super::super::{corrupt, unsupported};
use super::window::FULL;
use crate::Result;
use crate::backbone::RopeScaling;

pub(super) const DYNAMIC: &str = "dynamic";
const ORIGINAL: &str = "original_max_position_embeddings";

/// `rope_scaling`, or the newer `rope_parameters`, which also holds the base.
pub(super) struct Rope<'a> {
    pub(super) fields: Option<&'a Map<String, Value>>,
    pub(super) path: &'a Path,
}

impl<'a> Rope<'a> {
    /// The fields of blocks of a kind, where these differ; else what holds for all. Kinds other
    /// than the full attention have fields of their own or none.
    pub(super) fn of(fields: Option<&'a Map<String, Value>>, kind: &str, path: &'a Path) -> Self {
        let is_per_kind = fields.is_some_and(|all| all.get(FULL).is_some_and(Value::is_object));
        let of_kind = fields
            .and_then(|all| all.get(kind))
            .and_then(Value::as_object);
        let of_all = fields.filter(|_| kind == FULL && !is_per_kind);
        Self {
            fields: of_kind.or(of_all),
            path,
        }
    }

    /// The number under `field`.
    pub(super) fn number(&self, field: &str) -> Result<Option<f64>> {
        match self.fields.and_then(|fields| fields.get(field)) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => (value.as_f64().map(Some)).ok_or_else(|| {
                corrupt(self.path, format!("{field} must be a number, got {value}"))
            }),
        }
    }

    fn required(&self, field: &str) -> Result<f64> {
        self.number(field)?
            .ok_or_else(|| corrupt(self.path, format!("{field} of the rope scaling is missing")))
    }

    /// The name of the scaling.
    fn kind(&self) -> Option<&str> {
        let fields = self.fields?;
        let kind = fields.get("rope_type").or(fields.get("type"));
        kind.map(|kind| kind.as_str().unwrap_or("not a text"))
    }

    /// Up to which length the frequencies are those of training, where they depend on the length:
    /// dynamic NTK scaling stretches a text that is longer than the training's were.
    pub(super) fn plain_up_to(&self, max_position_embeddings: usize) -> Result<Option<usize>> {
        match self.kind() {
            Some(DYNAMIC) => Ok(Some(match self.fields {
                Some(fields) if fields.contains_key(ORIGINAL) => self.original_context(fields)?,
                _ => max_position_embeddings,
            })),
            _ => Ok(None),
        }
    }

    /// The stretch of the rotary frequencies.
    pub(super) fn scaling(&self) -> Result<RopeScaling> {
        const SUPPORTED: &str = "default, linear, llama3, dynamic up to the context of training";
        let Some(fields) = self.fields.filter(|fields| !fields.is_empty()) else {
            return Ok(RopeScaling::None);
        };
        if fields.values().any(Value::is_object) {
            return Err(unsupported("rope scaling", "one per layer type", SUPPORTED));
        }
        match self.kind() {
            Some("default" | DYNAMIC) | None => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear {
                factor: self.required("factor")?,
            }),
            Some("llama3") => Ok(RopeScaling::Llama3 {
                factor: self.required("factor")?,
                low_freq_factor: self.required("low_freq_factor")?,
                high_freq_factor: self.required("high_freq_factor")?,
                original_context: self.original_context(fields)?,
            }),
            Some(other) => Err(unsupported("rope scaling", other, SUPPORTED)),
        }
    }

    fn original_context(&self, fields: &Map<String, Value>) -> Result<usize> {
        (fields.get(ORIGINAL).and_then(Value::as_u64))
            .and_then(|context| usize::try_from(context).ok())
            .ok_or_else(|| corrupt(self.path, format!("{ORIGINAL} must be a positive integer")))
    }
}
