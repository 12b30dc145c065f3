//! `rope_scaling` and `rope_parameters` of a `config.json`.

use std::path::Path;

use serde_json::{Map, Value};

use super::super::{corrupt, unsupported};
use super::window::FULL;
use crate::Result;
use crate::backbone::RopeScaling;

const DYNAMIC: &str = "dynamic";
const ORIGINAL: &str = "original_max_position_embeddings";
/// What LongRoPE is called.
const LONG: [&str; 2] = ["longrope", "su"];
const SHORT: &str = "short_factor";

/// How many positions a text may have.
#[derive(Clone, Copy)]
pub(super) struct PositionLimits {
    /// `max_position_embeddings`.
    pub(super) longest: usize,
    /// `original_max_position_embeddings` beside the rotary fields.
    pub(super) original: Option<usize>,
}

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

    /// Up to which length the frequencies are those of training, where they depend on the length,
    /// and what begins there: dynamic NTK scaling stretches a text that is longer than the
    /// training's were, LongRoPE has other factors for it.
    pub(super) fn plain_up_to(
        &self,
        limits: PositionLimits,
    ) -> Result<Option<(usize, &'static str)>> {
        match self.kind() {
            Some(DYNAMIC) => Ok(Some((
                self.stated_original()?.unwrap_or(limits.longest),
                "dynamic rope scaling",
            ))),
            Some(kind) if LONG.contains(&kind) => {
                let original = self.original_of(limits)?;
                Ok((original < limits.longest).then_some((original, "LongRoPE's long factor")))
            }
            _ => Ok(None),
        }
    }

    /// The stretch of the rotary frequencies.
    pub(super) fn scaling(&self, limits: PositionLimits) -> Result<RopeScaling> {
        const SUPPORTED: &str =
            "default, linear, llama3; dynamic and longrope up to the context of training";
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
            Some(kind) if LONG.contains(&kind) => self.long_rope(fields, limits),
            Some(other) => Err(unsupported("rope scaling", other, SUPPORTED)),
        }
    }

    /// LongRoPE up to the context of the original training (arXiv:2402.13753 §3.3): the short
    /// factors, and cosines and sines times √(1 + ln(stretch)/ln(original context)), which scales
    /// for the whole of the context.
    fn long_rope(
        &self,
        fields: &Map<String, Value>,
        limits: PositionLimits,
    ) -> Result<RopeScaling> {
        let original = self.original_of(limits)? as f64;
        let factors = fields.get(SHORT).and_then(Value::as_array);
        let factors = factors.and_then(|all| {
            let numbers = all.iter().map(|one| Some(one.as_f64()? as f32));
            numbers.collect::<Option<Vec<_>>>()
        });
        let Some(factors) = factors else {
            return Err(corrupt(
                self.path,
                format!("{SHORT} must be a list of numbers"),
            ));
        };
        let stretch = match self.number("factor")? {
            Some(factor) => factor,
            None => limits.longest as f64 / original,
        };
        let amplitude = match self.number("attention_factor")? {
            Some(amplitude) => amplitude,
            None if stretch > 1.0 => (1.0 + stretch.ln() / original.ln()).sqrt(),
            None => 1.0,
        };
        Ok(RopeScaling::LongRope { factors, amplitude })
    }

    fn original_of(&self, limits: PositionLimits) -> Result<usize> {
        let original = self.stated_original()?.or(limits.original);
        original.ok_or_else(|| corrupt(self.path, format!("{ORIGINAL} is missing")))
    }

    fn stated_original(&self) -> Result<Option<usize>> {
        match self.fields {
            Some(fields) if fields.contains_key(ORIGINAL) => {
                self.original_context(fields).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn original_context(&self, fields: &Map<String, Value>) -> Result<usize> {
        (fields.get(ORIGINAL).and_then(Value::as_u64))
            .and_then(|context| usize::try_from(context).ok())
            .ok_or_else(|| corrupt(self.path, format!("{ORIGINAL} must be a positive integer")))
    }
}
