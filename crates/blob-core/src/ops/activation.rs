//! GELU in both forms, and SiLU (Hendrycks & Gimpel 2016, arXiv:1606.08415).
//!
//! ```text
//! exact   y = x·Φ(x)            dx = dy·(Φ(x) + x·φ(x))        Φ, φ of the standard normal
//! tanh    y = x·½(1 + tanh z)   dx = dy·(½(1 + tanh z) + x·½(1 − tanh² z)·z′)
//!         z = √(2/π)·(x + 0.044715·x³)
//! SiLU    y = x·σ(x)            dx = dy·σ(x)·(1 + x·(1 − σ(x)))      σ(x) = 1/(1 + e^−x)
//! ```
//!
//! The layer that reads y computes it while its input is staged ([`super::linear::Source`]), unless
//! a low-rank term reads it too; so does the layer that gave x with dx. Any shape; here rows
//! (n, f).

use candle_core as candle;

use super::linear::{self, Weight};
use super::{Device, Implementation, Operation, Tensor, read, reference, shapes, wrap};
use crate::Result;
use crate::kernels::cpu::activation as cpu;
pub use crate::kernels::cpu::activation::Activation;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::pointwise as cuda;

/// What a layer gave, under an activation: (n, f).
#[derive(Clone, Copy)]
pub struct Activated<'a> {
    /// The function of its elements.
    pub activation: Activation,
    /// x, (n, f).
    pub x: &'a Tensor,
    /// Where it runs.
    pub device: Device,
}

impl Activated<'_> {
    /// y, (n, f).
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when x is no matrix.
    pub fn rows(&self) -> Result<Tensor> {
        let shape = shapes::matrix("x of the activation", self.x)?;
        match self.implementation() {
            Implementation::CpuKernel => wrap(cpu::forward(self.activation, &read(self.x)?), shape),
            #[cfg(feature = "cuda")]
            Implementation::CudaKernel(gpu) => {
                Ok(cuda::activation(gpu, self.activation, &self.x.on(gpu)?)?.into())
            }
            Implementation::Reference => Ok(plain(self.activation, self.x.host()?)?.into()),
        }
    }

    /// dx of dy, (n, f) each.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when the shapes do not fit.
    pub fn backward(&self, dy: &Tensor) -> Result<Tensor> {
        let (n, f) = shapes::matrix("x of the activation", self.x)?;
        shapes::check("dy of the activation", dy, &[n, f])?;
        match self.implementation() {
            Implementation::CpuKernel => {
                let inputs: [&[f32]; 2] = [&read(self.x)?, &read(dy)?];
                wrap(cpu::backward(self.activation, inputs), (n, f))
            }
            #[cfg(feature = "cuda")]
            Implementation::CudaKernel(gpu) => {
                let inputs = [&self.x.on(gpu)?, &dy.on(gpu)?];
                Ok(cuda::activation_backward(gpu, self.activation, inputs)?.into())
            }
            Implementation::Reference => {
                let (x, dy) = (self.x.host()?, dy.host()?);
                let [dx] = reference::adjoint([x], dy, |x| plain(self.activation, &x[0]))?;
                Ok(dx.into())
            }
        }
    }

    /// dx·W (n, k) of dy (n, f), for the W (f, k) of the layer that gave x and that nothing else
    /// reads: dx is computed while it is staged, with the bits of [`Self::backward`]. `None` where
    /// that is not done.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when the shapes do not fit.
    pub fn backward_through(&self, dy: &Tensor, weight: &Weight) -> Result<Option<Tensor>> {
        let (n, f) = shapes::matrix("x of the activation", self.x)?;
        shapes::check("dy of the activation", dy, &[n, f])?;
        if self.implementation() != Implementation::CpuKernel {
            return Ok(None);
        }
        let rows = cpu::ActivationGradientRows {
            activation: self.activation,
            x: &read(self.x)?,
            dy: &read(dy)?,
        };
        let product = linear::product([weight], |stack| rows.staged_for(stack, n), &[], None)?;
        wrap(product, (n, weight.columns())).map(Some)
    }

    pub(super) fn implementation(&self) -> Implementation {
        self.device.implementation(Operation::Activation)
    }
}

/// y by plain operations, in the type of x.
pub(super) fn plain(activation: Activation, x: &candle::Tensor) -> Result<candle::Tensor> {
    Ok(match activation {
        Activation::Gelu => x.gelu_erf()?,
        Activation::GeluTanh => x.gelu()?,
        Activation::Silu => x.silu()?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::oracle::{
        Terms, assert_close, assert_gradient, assert_same_bits_on_any_thread_count, bits, devices,
        pass_of, tensor, weight,
    };
    use super::*;
    use crate::adapter::{Module, Site};
    use crate::ops::Precision;
    use crate::ops::linear::{Projection, Returning, Source, Wants, backward, forward, input};
    use candle_core::DType;

    /// Numbers in (−6, 6), where all that bends is.
    fn wide(n: usize, f: usize) -> Tensor {
        (&*tensor(1, n, f) * 3.0).unwrap().into()
    }

    fn of(activation: Activation, x: &Tensor, device: Device) -> Activated<'_> {
        Activated {
            activation,
            x,
            device,
        }
    }

    #[test]
    fn forward_and_backward_are_those_of_the_plain_composition() {
        for (n, f) in [(1, 1), (3, 7), (2, 40)] {
            let (x, dy) = (wide(n, f), tensor(2, n, f));
            let each = Activation::ALL
                .iter()
                .flat_map(|&of| devices().into_iter().map(move |device| (of, device)));
            for (activation, device) in each {
                let of = of(activation, &x, device);
                let expected = plain(activation, &x.to_dtype(DType::F64).unwrap()).unwrap();
                assert_close(&of.rows().unwrap(), &expected, 1e-6);
                let dx = of.backward(&dy).unwrap();
                assert_gradient(&dx, &x, &dy, |x| plain(activation, x));
            }
        }
    }

    #[test]
    fn the_two_forms_of_gelu_are_not_the_same() {
        let x = wide(4, 50);
        let [exact, approximate, _] =
            Activation::ALL.map(|of_x| of(of_x, &x, Device::Cpu).rows().unwrap());
        let difference = (&*exact - &*approximate).unwrap().abs().unwrap();
        let largest: f32 = difference.max_all().unwrap().to_scalar().unwrap();
        assert!((1e-4..1e-3).contains(&largest), "{largest}");
    }

    #[test]
    fn a_product_of_rows_activated_on_the_way_is_that_of_the_written_rows() {
        let (x, pass) = (wide(27, 50), pass_of(&[27], 1));
        let site = Site {
            block: 0,
            module: Module::Down,
        };
        for precision in Precision::ALL {
            let weight = weight(4, (35, 50), precision, Device::Cpu);
            let layer = Projection::new(site, &weight);
            for activation in Activation::ALL {
                let of = of(activation, &x, Device::Cpu);
                let product = |source| {
                    let input = input(source, &[&layer]).unwrap();
                    let [(y, _)] = forward([&layer], &input, &pass).unwrap();
                    bits(&y)
                };
                let written = of.rows().unwrap();
                let on_the_way = product(Source::Activated(of));
                assert_eq!(on_the_way, product(Source::Rows(&written)), "{precision:?}");
            }
        }
    }

    #[test]
    fn a_gradient_on_the_way_through_a_weight_is_that_of_the_written_rows() {
        let (x, dy, pass) = (wide(27, 35), tensor(2, 27, 35), pass_of(&[27], 1));
        let site = Site {
            block: 0,
            module: Module::Up,
        };
        for precision in Precision::ALL {
            let weight = weight(4, (35, 50), precision, Device::Cpu);
            for activation in Activation::ALL {
                let of = of(activation, &x, Device::Cpu);
                let layer = Returning {
                    projection: Projection::new(site, &weight),
                    kept: None,
                    dy: &of.backward(&dy).unwrap(),
                };
                let wants = Wants {
                    dx: true,
                    addend: None,
                    pass: &pass,
                };
                let mut gradients = Terms::new(&[(site, (2, 2))]).zeros();
                let read = tensor(3, 27, 50);
                let written = backward(&[layer], Source::Rows(&read), wants, &mut gradients);
                let on_the_way = of.backward_through(&dy, &weight).unwrap();
                let [on_the_way, written] = [on_the_way, written.unwrap()].map(Option::unwrap);
                assert_eq!(bits(&on_the_way), bits(&written), "{precision:?}");
            }
        }
        let of = of(Activation::Gelu, &x, Device::Reference);
        let weight = weight(4, (35, 50), Precision::F32, Device::Reference);
        assert!(of.backward_through(&dy, &weight).unwrap().is_none());
    }

    #[test]
    fn thread_count_does_not_change_a_bit() {
        let x = wide(200, 50);
        for activation in Activation::ALL {
            assert_same_bits_on_any_thread_count(|| {
                let of = of(activation, &x, Device::Cpu);
                vec![of.rows().unwrap(), of.backward(&x).unwrap()]
            });
        }
    }
}
