//! RMS norm (Zhang & Sennrich 2019, arXiv:1910.07467) with a frozen weight.
//!
//! ```text
//! s_t = 1/√(mean_j x_tj² + ε)        y_tj = x_tj·s_t·w_j
//! dx_tj = s_t·(w_j·dy_tj − x_tj·s_t²·mean_i(w_i·dy_ti·x_ti))
//! ```
//!
//! s is not kept for the way back: the sums over a row that it needs anyway read x too.
//! Shapes: `n` tokens, `d` width.

use candle_core::Tensor;

use super::{contract, read, wrap};
use crate::Result;
use crate::kernels::cpu::rms_norm as cpu;

/// A frozen weight w (d) and ε.
pub struct Norm {
    /// w, (d)
    pub weight: Tensor,
    /// ε
    pub eps: f32,
}

/// y (n, d) of x (n, d).
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when the shapes do not fit.
pub fn forward(norm: &Norm, x: &Tensor) -> Result<Tensor> {
    let (n, d) = norm.shape_of(x)?;
    let y = cpu::forward(norm.on(&read(&norm.weight)?), &read(x)?);
    wrap(y, (n, d))
}

/// `dx`, plus `addend` (n, d): x (n, d), dy (n, d) → (n, d).
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when the shapes do not fit.
pub fn backward(norm: &Norm, x: &Tensor, dy: &Tensor, addend: &Tensor) -> Result<Tensor> {
    let (n, d) = norm.shape_of(x)?;
    contract::shape("dy of the RMS norm", dy, &[n, d])?;
    contract::shape("the addend of the RMS norm", addend, &[n, d])?;
    let inputs: [&[f32]; 3] = [&read(x)?, &read(dy)?, &read(addend)?];
    let dx = cpu::backward(norm.on(&read(&norm.weight)?), inputs);
    wrap(dx, (n, d))
}

impl Norm {
    /// (n, d) of x.
    pub(crate) fn shape_of(&self, x: &Tensor) -> Result<(usize, usize)> {
        let (n, d) = contract::matrix("x of the RMS norm", x)?;
        contract::shape("weight of the RMS norm", &self.weight, &[d])?;
        Ok((n, d))
    }

    /// With its weight's values.
    pub(crate) fn on<'a>(&self, weight: &'a [f32]) -> cpu::RmsNorm<'a> {
        cpu::RmsNorm {
            weight,
            eps: self.eps,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::oracle::{
        assert_close, assert_gradient, assert_same_bits_on_any_thread_count, bits, tensor,
    };
    use super::*;
    use crate::kernels::cpu::gemm::{Operand, Precision};
    use crate::layers::FrozenLinear;
    use crate::weights::{HostTensor, StoredMatrix};
    use candle_core::{D, DType};

    const EPS: f64 = 0.1; // large, so that it counts in the test

    fn reference(x: &Tensor, weight: &Tensor) -> candle_core::Result<Tensor> {
        let mean_square = x.sqr()?.mean_keepdim(D::Minus1)?;
        let normed = x.broadcast_div(&(mean_square + EPS)?.sqrt()?)?;
        normed.broadcast_mul(&weight.to_dtype(x.dtype())?)
    }

    fn norm(d: usize) -> Norm {
        Norm {
            weight: tensor(2, 1, d).reshape(d).unwrap(),
            eps: EPS as f32,
        }
    }

    #[test]
    fn forward_is_the_plain_composition() {
        for (n, d) in [(1, 1), (3, 7), (20, 100)] {
            let (x, norm) = (tensor(1, n, d), norm(d));
            let y = forward(&norm, &x).unwrap();
            let x = x.to_dtype(DType::F64).unwrap();
            assert_close(&y, &reference(&x, &norm.weight).unwrap(), 1e-6);
        }
    }

    #[test]
    fn a_product_of_rows_normed_on_the_way_is_that_of_the_written_rows() {
        let (n, d, columns) = (27, 50, 35);
        let (x, norm) = (tensor(1, n, d), norm(d));
        let w = HostTensor {
            shape: vec![columns, d],
            data: read(&tensor(4, columns, d)).unwrap().to_vec(),
        };
        let stored = StoredMatrix::from_tensor(&w).unwrap();
        for precision in [
            Precision::F32,
            Precision::Bf16,
            Precision::Int8,
            Precision::Int8Mixed,
        ] {
            let layer = FrozenLinear::new(stored.clone(), precision).unwrap();
            let product = |staged: Operand| layer.forward((None, &staged), None, None).unwrap().0;
            let written = product(layer.stage(&forward(&norm, &x).unwrap()).unwrap());
            let on_the_way = product(layer.stage_normed(&norm, &x).unwrap());
            assert_eq!(bits(&on_the_way), bits(&written), "{precision:?}");
        }
        let layer = FrozenLinear::new(stored, Precision::F32).unwrap();
        let refused = layer.stage_normed(&self::norm(d + 1), &tensor(1, n, d + 1));
        let text = "x of the layer must have shape [27, 50], got [27, 51]";
        assert_eq!(refused.unwrap_err().to_string(), text);
    }

    #[test]
    fn backward_is_the_gradient_of_the_reference() {
        for (n, d) in [(1, 1), (3, 7), (2, 40)] {
            let (x, dy, norm) = (tensor(1, n, d), tensor(3, n, d), norm(d));
            let dx = backward(&norm, &x, &dy, &dy.zeros_like().unwrap()).unwrap();
            assert_gradient(&dx, &x, &dy, |x| reference(x, &norm.weight));
            let added = backward(&norm, &x, &dy, &x).unwrap();
            assert_close(&added, &(&dx + &x).unwrap(), 1e-6);
        }
    }

    #[test]
    fn thread_count_does_not_change_a_bit() {
        let (x, norm) = (tensor(1, 100, 50), norm(50));
        assert_same_bits_on_any_thread_count(|| {
            let y = forward(&norm, &x).unwrap();
            vec![backward(&norm, &x, &y, &x).unwrap(), y]
        });
    }

    #[test]
    fn a_weight_of_another_width_is_refused() {
        let error = forward(&norm(5), &tensor(1, 3, 4)).unwrap_err();
        assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
        let text = "weight of the RMS norm must have shape [4], got [5]";
        assert_eq!(error.to_string(), text);
    }
}
