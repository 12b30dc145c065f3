//! RMS norm (Zhang & Sennrich 2019, arXiv:1910.07467) with a frozen weight.
//!
//! ```text
//! s_t = 1/√(mean_j x_tj² + ε)        y_tj = x_tj·s_t·w_j
//! dx_tj = s_t·(w_j·dy_tj − x_tj·s_t²·mean_i(w_i·dy_ti·x_ti))
//! ```
//!
//! Shapes: `n` tokens, `d` width.

use candle_core::Tensor;

use super::{contract, fresh, read, wrap};
use crate::Result;
use crate::kernels::cpu::rms_norm as cpu;

/// `(y, s)`: x (n, d), weight (d) → (n, d) and (n).
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when the shapes do not fit.
pub fn forward(x: &Tensor, weight: &Tensor, eps: f32) -> Result<(Tensor, Tensor)> {
    let (n, d) = contract::matrix("x of the RMS norm", x)?;
    contract::shape("weight of the RMS norm", weight, &[d])?;
    let (mut y, mut inv_rms) = (fresh(n * d), fresh(n));
    cpu::forward(&read(x)?, &read(weight)?, eps, &mut y, &mut inv_rms);
    Ok((wrap(y, (n, d))?, wrap(inv_rms, n)?))
}

/// `dx`, plus `addend` (n, d): (x (n, d), weight (d), inv_rms (n) of [`forward`]), dy (n, d) → (n, d).
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when the shapes do not fit.
pub fn backward(
    (x, weight, inv_rms): (&Tensor, &Tensor, &Tensor),
    dy: &Tensor,
    addend: &Tensor,
) -> Result<Tensor> {
    let (n, d) = contract::matrix("x of the RMS norm", x)?;
    contract::shape("weight of the RMS norm", weight, &[d])?;
    contract::shape("inv_rms of the RMS norm", inv_rms, &[n])?;
    contract::shape("dy of the RMS norm", dy, &[n, d])?;
    contract::shape("the addend of the RMS norm", addend, &[n, d])?;
    let mut dx = fresh(n * d);
    let norm: [&[f32]; 3] = [&read(x)?, &read(weight)?, &read(inv_rms)?];
    let [x, weight, inv_rms] = norm;
    cpu::backward([x, weight, inv_rms, &read(dy)?, &read(addend)?], &mut dx);
    wrap(dx, (n, d))
}

#[cfg(test)]
mod tests {
    use super::super::oracle::{
        assert_close, assert_gradient, assert_same_bits_on_any_thread_count, tensor,
    };
    use super::*;
    use candle_core::{D, DType};

    const EPS: f64 = 0.1; // large, so that it counts in the test

    fn reference(x: &Tensor, weight: &Tensor) -> candle_core::Result<Tensor> {
        let mean_square = x.sqr()?.mean_keepdim(D::Minus1)?;
        let normed = x.broadcast_div(&(mean_square + EPS)?.sqrt()?)?;
        normed.broadcast_mul(&weight.to_dtype(x.dtype())?)
    }

    #[test]
    fn forward_is_the_plain_composition() {
        for (n, d) in [(1, 1), (3, 7), (20, 100)] {
            let (x, weight) = (tensor(1, n, d), tensor(2, 1, d).reshape(d).unwrap());
            let (y, inv_rms) = forward(&x, &weight, EPS as f32).unwrap();
            let x = x.to_dtype(DType::F64).unwrap();
            assert_close(&y, &reference(&x, &weight).unwrap(), 1e-6);
            let mean_square = x.sqr().unwrap().mean(D::Minus1).unwrap();
            let expected = (mean_square + EPS)
                .unwrap()
                .sqrt()
                .unwrap()
                .recip()
                .unwrap();
            assert_close(&inv_rms, &expected, 1e-6);
        }
    }

    #[test]
    fn backward_is_the_gradient_of_the_reference() {
        for (n, d) in [(1, 1), (3, 7), (2, 40)] {
            let (x, weight) = (tensor(1, n, d), tensor(2, 1, d).reshape(d).unwrap());
            let dy = tensor(3, n, d);
            let (_, inv_rms) = forward(&x, &weight, EPS as f32).unwrap();
            let dx = backward((&x, &weight, &inv_rms), &dy, &dy.zeros_like().unwrap()).unwrap();
            assert_gradient(&dx, &x, &dy, |x| reference(x, &weight));
        }
    }

    #[test]
    fn thread_count_does_not_change_a_bit() {
        let (x, weight) = (tensor(1, 100, 50), tensor(2, 1, 50).reshape(50).unwrap());
        assert_same_bits_on_any_thread_count(|| {
            let (y, inv_rms) = forward(&x, &weight, 1e-5).unwrap();
            vec![
                backward((&x, &weight, &inv_rms), &y, &x).unwrap(),
                y,
                inv_rms,
            ]
        });
    }

    #[test]
    fn a_weight_of_another_width_is_refused() {
        let error = forward(&tensor(1, 3, 4), &tensor(2, 1, 5), 1e-5).unwrap_err();
        assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
        let text = "weight of the RMS norm must have shape [4], got [1, 5]";
        assert_eq!(error.to_string(), text);
    }
}
