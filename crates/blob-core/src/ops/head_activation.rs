//! What lies between the two layers of a classification head, element by element.
//!
//! ```text
//! tanh   y = tanh x          dx = dy·(1 − y²)
//! ReLU   y = max(x, 0)       dx = dy where y > 0, 0 elsewhere
//! GELU   as in [`super::activation`]
//! ```
//!
//! A few rows of the model's width, where they lie; GELU on the host. Shapes: (n, d).

use serde::{Deserialize, Serialize};

use super::activation::{Activated, Activation};
use super::{Device, Tensor, read, shapes, wrap};
use crate::Result;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::affine as cuda;

/// The function s of the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadActivation {
    /// tanh x.
    Tanh,
    /// max(x, 0).
    Relu,
    /// One of the MLPs' functions.
    Activation(Activation),
}

impl HeadActivation {
    /// y of x.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when x is no matrix.
    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        let shape = shapes::matrix("x of the activation", x)?;
        #[cfg(feature = "cuda")]
        if let (Some(between), Some(x)) = (self.on_gpu(), x.array()) {
            return Ok(cuda::head_activation(x.gpu(), between, x)?.into());
        }
        let of: fn(f32) -> f32 = match self {
            Self::Tanh => f32::tanh,
            Self::Relu => |x| x.max(0.0),
            Self::Activation(activation) => return on_host(activation, x).rows(),
        };
        wrap(read(x)?.iter().map(|&x| of(x)).collect(), shape)
    }

    /// dx of dy, from x and y.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when the shapes do not fit.
    pub fn backward(self, (x, y): (&Tensor, &Tensor), dy: &Tensor) -> Result<Tensor> {
        let (n, d) = shapes::matrix("y of the activation", y)?;
        shapes::check("dy of the activation", dy, &[n, d])?;
        #[cfg(feature = "cuda")]
        if let (Some(between), Some(y)) = (self.on_gpu(), y.array()) {
            let ends = [y, &dy.on(y.gpu())?];
            return Ok(cuda::head_activation_backward(y.gpu(), between, ends)?.into());
        }
        let of: fn(f32, f32) -> f32 = match self {
            Self::Tanh => |y, dy| dy * (1.0 - y * y),
            Self::Relu => |y, dy| if y > 0.0 { dy } else { 0.0 },
            Self::Activation(activation) => return on_host(activation, x).backward(dy),
        };
        let (y, dy) = (read(y)?, read(dy)?);
        wrap(
            y.iter().zip(&*dy).map(|(&y, &dy)| of(y, dy)).collect(),
            (n, d),
        )
    }

    /// As kernels of a GPU are told it; `None` where they do not compute it.
    #[cfg(feature = "cuda")]
    fn on_gpu(self) -> Option<cuda::HeadActivation> {
        match self {
            Self::Tanh => Some(cuda::HeadActivation::Tanh),
            Self::Relu => Some(cuda::HeadActivation::Relu),
            Self::Activation(_) => None,
        }
    }
}

fn on_host(activation: Activation, x: &Tensor) -> Activated<'_> {
    Activated {
        activation,
        x,
        device: Device::Cpu,
    }
}

#[cfg(test)]
mod tests {
    use super::super::activation;
    use super::super::oracle::{assert_close, assert_gradient, devices, tensor};
    use super::*;
    use candle_core::{self as candle, DType};

    fn plain(of: HeadActivation, x: &candle::Tensor) -> Result<candle::Tensor> {
        Ok(match of {
            HeadActivation::Tanh => x.tanh()?,
            HeadActivation::Relu => x.relu()?,
            HeadActivation::Activation(activation) => activation::plain(activation, x)?,
        })
    }

    #[test]
    fn it_is_the_plain_function_and_has_its_gradient() {
        let (x, dy) = (tensor(1, 3, 7), tensor(2, 3, 7));
        let gelu = HeadActivation::Activation(Activation::Gelu);
        for activation in [HeadActivation::Tanh, HeadActivation::Relu, gelu] {
            let expected = plain(activation, &x.to_dtype(DType::F64).unwrap()).unwrap();
            for device in devices() {
                let x = device.place(x.clone()).unwrap();
                let y = activation.forward(&x).unwrap();
                assert_close(&y, &expected, 1e-6);
                let dx = activation.backward((&x, &y), &dy).unwrap();
                assert_gradient(&dx, &x, &dy, |x| plain(activation, x));
            }
        }
    }
}
