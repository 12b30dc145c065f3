//! Class logits under a soft cap (Gemma 2, arXiv:2408.00118 §2).
//!
//! ```text
//! y = a·tanh(z/a)        dz = dy·(1 − (y/a)²)
//! ```
//!
//! Shapes: (L).

use super::{Tensor, read, shapes, wrap};
use crate::Result;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::head as cuda;

/// y of z.
///
/// # Errors
/// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`.
pub fn forward(cap: f32, logits: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let Some(z) = logits.array() {
        return Ok(cuda::soft_cap(z.gpu(), cap, z)?.into());
    }
    let z = read(logits)?;
    let y: Vec<f32> = z.iter().map(|z| cap * (z / cap).tanh()).collect();
    wrap(y, logits.dims())
}

/// dz of y and dy.
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when the shapes differ.
pub fn backward(cap: f32, y: &Tensor, dy: &Tensor) -> Result<Tensor> {
    shapes::check("dy of the cap", dy, y.dims())?;
    #[cfg(feature = "cuda")]
    if let Some(y) = y.array() {
        return Ok(cuda::soft_cap_backward(y.gpu(), cap, [y, &dy.on(y.gpu())?])?.into());
    }
    let slope = |y: f32| 1.0 - (y / cap) * (y / cap);
    let (values, of_y) = (read(y)?, read(dy)?);
    let dz = values.iter().zip(&*of_y).map(|(&y, dy)| dy * slope(y));
    wrap(dz.collect(), y.dims())
}

#[cfg(test)]
mod tests {
    use candle_core::{self as candle, DType};

    use super::super::oracle::{assert_close, assert_gradient, devices, tensor};
    use super::*;

    const CAP: f32 = 1.5;

    fn on(device: crate::ops::Device, values: &[f32]) -> Tensor {
        device
            .place(wrap(values.to_vec(), values.len()).unwrap())
            .unwrap()
    }

    fn read_of(tensor: &Tensor) -> Vec<f32> {
        read(tensor).unwrap().to_vec()
    }

    #[test]
    fn it_is_the_identity_near_zero_and_never_exceeds_the_cap() {
        for device in devices() {
            let y = forward(CAP, &on(device, &[1e-4, -1e-4, 40.0, -1e6])).unwrap();
            let y = read_of(&y);
            assert!((y[0] - 1e-4).abs() < 1e-10 && y[1] == -y[0], "{device:?}");
            assert_eq!(y[2..], [CAP, -CAP], "{device:?}");
        }
    }

    fn plain(z: &candle::Tensor) -> Result<candle::Tensor> {
        Ok(((z / f64::from(CAP))?.tanh()? * f64::from(CAP))?)
    }

    #[test]
    fn it_is_the_plain_function_and_has_its_gradient() {
        let (z, dy) = (tensor(1, 3, 7), tensor(2, 3, 7));
        let expected = plain(&z.to_dtype(DType::F64).unwrap()).unwrap();
        for device in devices() {
            let there = |it: &Tensor| device.place(it.clone()).unwrap();
            let y = forward(CAP, &there(&z)).unwrap();
            assert_close(&y, &expected, 1e-6);
            assert_gradient(&backward(CAP, &y, &there(&dy)).unwrap(), &z, &dy, plain);
        }
    }
}
