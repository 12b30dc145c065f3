//! Whether values are finite: what enters and leaves a model in every pass, and every layer in
//! passes that look for the one where they cease to be.

use super::{Tensor, read};
use crate::pass::Pass;
use crate::{Error, Result};

/// Names the layer that made y, in passes with `Mode::check_finite`; in others it reads nothing.
///
/// # Errors
/// `BPEFT_NOT_FINITE`.
pub fn check(pass: &Pass, y: &Tensor, layer: impl FnOnce() -> String) -> Result<()> {
    if pass.mode.check_finite {
        return require(&read(y)?, layer);
    }
    Ok(())
}

/// Looks through what enters a model, (n, d), in every pass; `place` names a row. What lies in a
/// GPU's memory is read in passes with `check` only: it makes the logits what it is itself.
///
/// # Errors
/// `BPEFT_NOT_FINITE`.
pub fn require_rows(x: &Tensor, check: bool, place: impl FnOnce(usize) -> String) -> Result<()> {
    if !(check || x.is_on_host()) {
        return Ok(());
    }
    let (_, d) = x.dims2()?;
    let bad = read(x)?.iter().position(|value| !value.is_finite());
    bad.map_or(Ok(()), |at| Err(not_finite(place(at / d.max(1)))))
}

/// Looks through what leaves a model, in every pass; in a GPU's memory, in passes with
/// `Mode::check_finite` only: who reads it there looks itself.
///
/// # Errors
/// `BPEFT_NOT_FINITE`.
pub fn require_leaving(pass: &Pass, y: &Tensor, layer: impl FnOnce() -> String) -> Result<()> {
    if pass.mode.check_finite || y.is_on_host() {
        return require(&read(y)?, layer);
    }
    Ok(())
}

/// Names the layer that made y.
///
/// # Errors
/// `BPEFT_NOT_FINITE`.
pub fn require(y: &[f32], layer: impl FnOnce() -> String) -> Result<()> {
    if y.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    Err(not_finite(layer()))
}

fn not_finite(layer: String) -> Error {
    Error::NotFinite {
        step: 0,
        what: "a value",
        layer,
    }
}
