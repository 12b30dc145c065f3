//! Values of a stored tensor as `f32`, whatever type they were written in.

use safetensors::tensor::{Dtype, TensorView};

use crate::files::f32_values;

/// The values as f32, or the rule that the tensor breaks.
pub(super) fn checked_values(view: &TensorView, shape: &[usize]) -> Result<Vec<f32>, String> {
    if view.shape() != shape {
        return Err(format!("have shape {shape:?}, got {:?}", view.shape()));
    }
    let values =
        to_f32(view).ok_or_else(|| format!("be F32, F16 or BF16, got {:?}", view.dtype()))?;
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(format!("be finite, got {} at {at}", values[at])),
        None => Ok(values),
    }
}

/// The values; none of a type that is no float.
pub(super) fn to_f32(view: &TensorView) -> Option<Vec<f32>> {
    let pairs = || {
        view.data()
            .chunks_exact(2)
            .map(|bytes| [bytes[0], bytes[1]])
    };
    match view.dtype() {
        Dtype::F32 => f32_values(view),
        Dtype::F16 => Some(
            pairs()
                .map(|b| half::f16::from_le_bytes(b).to_f32())
                .collect(),
        ),
        Dtype::BF16 => Some(
            pairs()
                .map(|b| half::bf16::from_le_bytes(b).to_f32())
                .collect(),
        ),
        _ => None,
    }
}
