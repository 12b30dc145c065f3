//! What the references share: rounding to a precision, and adjoints by candle's tape.
//!
//! A reference is written in candle operations alone, so that it runs wherever candle does. Its
//! adjoint is taken by the tape, and so knows nothing of the equations that kernels were made from.
//! Operands are rounded as products round them ([`Precision`]); the tape passes through a rounding.

use candle_core::{D, DType, Tensor, Var};

use super::Precision;
use crate::Result;

/// Inputs of at least this size are left as they are in `int8-mixed`.
const LARGE: f64 = 6.0;

/// 1.5·2²³: adding it to an `f32` below 2²² and taking it away rounds to an integer, ties to even.
const ROUNDER: f64 = 12_582_912.0;

/// The gradients of `Σ dy ∘ forward(inputs)` by each input.
pub(super) fn adjoint<const N: usize>(
    inputs: [&Tensor; N],
    dy: &Tensor,
    forward: impl FnOnce(&[Tensor]) -> Result<Tensor>,
) -> Result<[Tensor; N]> {
    let mut of_inputs = inputs.map(Tensor::clone);
    let found = adjoints(&inputs, dy, forward)?;
    for (of_input, gradient) in of_inputs.iter_mut().zip(found) {
        *of_input = gradient;
    }
    Ok(of_inputs)
}

/// [`adjoint`] of any number of inputs.
pub(super) fn adjoints(
    inputs: &[&Tensor],
    dy: &Tensor,
    forward: impl FnOnce(&[Tensor]) -> Result<Tensor>,
) -> Result<Vec<Tensor>> {
    gradients(inputs, |inputs| Ok((forward(inputs)? * dy)?.sum_all()?))
}

/// The gradients of a number by each of what it is made of.
pub(super) fn gradients(
    inputs: &[&Tensor],
    number: impl FnOnce(&[Tensor]) -> Result<Tensor>,
) -> Result<Vec<Tensor>> {
    let mut tracked = Vec::new();
    for input in inputs {
        tracked.push(Var::from_tensor(input)?.into_inner());
    }
    let gradients = number(&tracked)?.backward()?;
    let mut of_inputs = Vec::new();
    for input in &tracked {
        of_inputs.push(match gradients.get(input) {
            Some(gradient) => gradient.contiguous()?,
            None => input.zeros_like()?.detach(),
        });
    }
    Ok(of_inputs)
}

/// x rounded to bf16, unless the precision is `f32`; the gradient passes as it is.
pub(super) fn rounded(x: &Tensor, precision: Precision) -> Result<Tensor> {
    match precision {
        Precision::F32 => return Ok(x.clone()),
        Precision::Bf16 | Precision::Int8 | Precision::Int8Mixed => {}
    }
    let dtype = x.dtype();
    let by = (x.to_dtype(DType::BF16)?.to_dtype(dtype)? - x)?.detach();
    Ok((x + by)?)
}

/// The rows of x as a forward product sees them: in eight bits each where the precision says so.
pub(super) fn forward_operand(x: &Tensor, precision: Precision) -> Result<Tensor> {
    match precision {
        Precision::F32 | Precision::Bf16 => rounded(x, precision),
        Precision::Int8 => eight_bits(x),
        Precision::Int8Mixed => {
            let is_large = x.abs()?.ge(LARGE)?.to_dtype(x.dtype())?;
            let large = (x * &is_large)?;
            Ok((eight_bits(&(x - &large)?)? + large)?)
        }
    }
}

/// A weight (n, k) as a forward product sees it.
pub(super) fn forward_weight(weight: &Tensor, precision: Precision) -> Result<Tensor> {
    match precision {
        Precision::F32 | Precision::Bf16 => rounded(weight, precision),
        Precision::Int8 | Precision::Int8Mixed => eight_bits(weight),
    }
}

/// A weight (n, k) as a backward product sees it: that of the forward product, in bf16.
pub(super) fn backward_weight(weight: &Tensor, precision: Precision) -> Result<Tensor> {
    rounded(&forward_weight(weight, precision)?, precision)
}

/// Levels from −127 to 127 of each row's largest size, as numbers.
fn eight_bits(x: &Tensor) -> Result<Tensor> {
    let scale = (x.abs()?.max_keepdim(D::Minus1)? / 127.0)?;
    // A row of zeros has no scale, and levels of zero.
    let inverse = scale.maximum(f64::from(f32::MIN_POSITIVE))?.recip()?;
    let levels = x.broadcast_mul(&inverse)?;
    let levels = ((levels + ROUNDER)? - ROUNDER)?;
    Ok(levels.broadcast_mul(&scale)?)
}
