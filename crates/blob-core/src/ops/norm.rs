//! Norms of rows with frozen parameters: RMS norm (Zhang & Sennrich 2019, arXiv:1910.07467) and
//! layer norm (Ba et al. 2016, arXiv:1607.06450).
//!
//! ```text
//! RMS     s_t = 1/√(mean_j x_tj² + ε)              y_tj = x_tj·s_t·w_j
//!         dx_tj = s_t·(w_j·dy_tj − x_tj·s_t²·mean_i(w_i·dy_ti·x_ti))
//!
//! layer   m_t = mean_j x_tj     s_t = 1/√(mean_j (x_tj − m_t)² + ε)     z_tj = (x_tj − m_t)·s_t
//!         y_tj = z_tj·w_j + b_j
//!         dx_tj = s_t·(w_j·dy_tj − mean_i(w_i·dy_ti) − z_tj·mean_i(w_i·dy_ti·z_ti))
//! ```
//!
//! m and s are not kept for the backward pass: the sums over a row that it needs anyway read x too.
//! Shapes: `n` tokens, `d` width.

use candle_core::{self as candle, D};

use super::{Device, Implementation, Operation, Tensor, read, reference, shapes, wrap};
use crate::Result;
use crate::kernels::cpu::{layer_norm, rms_norm};
#[cfg(feature = "cuda")]
use crate::kernels::cuda::{Gpu, Rounded, norm as cuda};

/// A frozen norm with its ε, on a device.
pub struct Norm {
    /// What it takes out of a row.
    pub kind: NormKind,
    /// w, (d)
    pub weight: Tensor,
    /// ε
    pub eps: f32,
    /// Where it runs.
    pub device: Device,
}

/// What is taken out of a row, and what is added.
pub enum NormKind {
    /// Its size.
    Rms,
    /// Its mean, then its size.
    Layer {
        /// b, (d)
        bias: Tensor,
    },
}

impl Norm {
    /// y (n, d) of x (n, d).
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when the shapes do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let shape = self.shape_of(x)?;
        match self.implementation() {
            Implementation::CpuKernel => {
                let (weight, x) = (read(&self.weight)?, read(x)?);
                let y = match &self.kind {
                    NormKind::Rms => rms_norm::forward(self.rms(&weight), &x),
                    NormKind::Layer { bias } => {
                        layer_norm::forward(self.layer(&weight, &read(bias)?), &x)
                    }
                };
                wrap(y, shape)
            }
            #[cfg(feature = "cuda")]
            Implementation::CudaKernel(gpu) => {
                self.with_kernels(gpu, x, |problem| Ok(cuda::forward(gpu, problem)?.into()))
            }
            Implementation::Reference => Ok(self.reference(x.host()?)?.into()),
        }
    }

    /// y (n, d) of x (n, d), as products in bf16 on this GPU read it.
    #[cfg(feature = "cuda")]
    pub(super) fn rounded_on(&self, gpu: Gpu, x: &Tensor) -> Result<Rounded> {
        if self.implementation() != Implementation::CudaKernel(gpu) {
            return self.forward(x)?.rounded_on(gpu);
        }
        self.shape_of(x)?;
        self.with_kernels(gpu, x, |problem| cuda::rounded(gpu, problem))
    }

    #[cfg(feature = "cuda")]
    fn with_kernels<T>(
        &self,
        gpu: Gpu,
        x: &Tensor,
        run: impl FnOnce(cuda::Problem<'_>) -> Result<T>,
    ) -> Result<T> {
        let bias = match &self.kind {
            NormKind::Rms => None,
            NormKind::Layer { bias } => Some(bias.on(gpu)?),
        };
        run(cuda::Problem {
            x: &x.on(gpu)?,
            weight: &self.weight.on(gpu)?,
            bias: bias.as_ref(),
            eps: self.eps,
        })
    }

    /// `dx`, plus `addend` (n, d): x (n, d), dy (n, d) → (n, d).
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when the shapes do not fit.
    pub fn backward(&self, x: &Tensor, dy: &Tensor, addend: Option<&Tensor>) -> Result<Tensor> {
        let (n, d) = self.shape_of(x)?;
        shapes::check("dy of the norm", dy, &[n, d])?;
        if let Some(addend) = addend {
            shapes::check("the addend of the norm", addend, &[n, d])?;
        }
        match self.implementation() {
            Implementation::CpuKernel => {
                let zeros;
                let addend = if let Some(addend) = addend {
                    addend
                } else {
                    zeros = wrap(vec![0.0; n * d], (n, d))?;
                    &zeros
                };
                let weight = read(&self.weight)?;
                let inputs: [&[f32]; 3] = [&read(x)?, &read(dy)?, &read(addend)?];
                let dx = match &self.kind {
                    NormKind::Rms => rms_norm::backward(self.rms(&weight), inputs),
                    NormKind::Layer { bias } => {
                        layer_norm::backward(self.layer(&weight, &read(bias)?), inputs)
                    }
                };
                wrap(dx, (n, d))
            }
            #[cfg(feature = "cuda")]
            Implementation::CudaKernel(gpu) => {
                let inputs = [&x.on(gpu)?, &self.weight.on(gpu)?, &dy.on(gpu)?];
                let addend = addend.map(|addend| addend.on(gpu)).transpose()?;
                let kind = match self.kind {
                    NormKind::Rms => cuda::Kind::Rms,
                    NormKind::Layer { .. } => cuda::Kind::Layer,
                };
                Ok(cuda::backward(gpu, kind, inputs, addend.as_ref(), self.eps)?.into())
            }
            Implementation::Reference => {
                let (x, dy) = (x.host()?, dy.host()?);
                let [dx] = reference::adjoint([x], dy, |x| self.reference(&x[0]))?;
                Ok(match addend {
                    Some(addend) => (dx + addend.host()?)?.into(),
                    None => dx.into(),
                })
            }
        }
    }

    /// y by plain operations, in the type of x.
    fn reference(&self, x: &candle::Tensor) -> Result<candle::Tensor> {
        let x = match &self.kind {
            NormKind::Rms => x.clone(),
            NormKind::Layer { .. } => x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?,
        };
        let mean_square = x.sqr()?.mean_keepdim(D::Minus1)?;
        let normed = x.broadcast_div(&(mean_square + f64::from(self.eps))?.sqrt()?)?;
        let y = normed.broadcast_mul(&self.weight.host()?.to_dtype(x.dtype())?)?;
        Ok(match &self.kind {
            NormKind::Rms => y,
            NormKind::Layer { bias } => y.broadcast_add(&bias.host()?.to_dtype(x.dtype())?)?,
        })
    }

    /// (n, d) of x.
    pub(crate) fn shape_of(&self, x: &Tensor) -> Result<(usize, usize)> {
        let (n, d) = shapes::matrix("x of the norm", x)?;
        shapes::check("weight of the norm", &self.weight, &[d])?;
        if let NormKind::Layer { bias } = &self.kind {
            shapes::check("bias of the norm", bias, &[d])?;
        }
        Ok((n, d))
    }

    fn implementation(&self) -> Implementation {
        self.device.implementation(match self.kind {
            NormKind::Rms => Operation::Norm,
            NormKind::Layer { .. } => Operation::LayerNorm,
        })
    }

    /// The RMS norm with its weight's values.
    pub(super) fn rms<'a>(&self, weight: &'a [f32]) -> rms_norm::RmsNorm<'a> {
        rms_norm::RmsNorm {
            weight,
            eps: self.eps,
        }
    }

    fn layer<'a>(&self, weight: &'a [f32], bias: &'a [f32]) -> layer_norm::LayerNorm<'a> {
        layer_norm::LayerNorm {
            weight,
            bias,
            eps: self.eps,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::oracle::{
        assert_close, assert_gradient, assert_same_bits_on_any_thread_count, bits, devices,
        pass_of, tensor,
    };
    use super::*;
    use crate::adapter::{Module, Site};
    use crate::ops::Precision;
    use crate::ops::linear::{Projection, Source, Weight, forward, input};
    use crate::weights::{HostTensor, StoredMatrix};
    use candle_core::DType;

    const SITE: Site = Site {
        block: 0,
        module: Module::Q,
    };
    const EPS: f32 = 0.1; // large, so that it counts in the test

    const KINDS: [fn(usize) -> NormKind; 2] = [
        |_| NormKind::Rms,
        |d| NormKind::Layer {
            bias: tensor(5, 1, d).reshape(d).unwrap(),
        },
    ];

    fn norm(d: usize, device: Device) -> Norm {
        norm_of(NormKind::Rms, d, device)
    }

    fn norm_of(kind: NormKind, d: usize, device: Device) -> Norm {
        Norm {
            kind,
            weight: tensor(2, 1, d).reshape(d).unwrap(),
            eps: EPS,
            device,
        }
    }

    /// Every kind on every device.
    fn each() -> impl Iterator<Item = (Device, fn(usize) -> NormKind)> {
        let devices = devices().into_iter();
        devices.flat_map(|device| KINDS.map(|kind| (device, kind)))
    }

    #[test]
    fn forward_is_the_plain_composition() {
        // A layer norm of one value is its bias, and has no gradient.
        for (n, d) in [(1, 2), (3, 7), (20, 100)] {
            let x = tensor(1, n, d);
            for (device, kind) in each() {
                let norm = norm_of(kind(d), d, device);
                let expected = norm.reference(&x.to_dtype(DType::F64).unwrap()).unwrap();
                assert_close(&norm.forward(&x).unwrap(), &expected, 1e-6);
            }
        }
    }

    #[test]
    fn a_product_of_rows_normed_on_the_way_is_that_of_the_written_rows() {
        let (n, d, columns) = (27, 50, 35);
        let (x, norm) = (tensor(1, n, d), norm(d, Device::Cpu));
        let w = HostTensor {
            shape: vec![columns, d],
            data: read(&tensor(4, columns, d)).unwrap().to_vec(),
        };
        let stored = StoredMatrix::from_tensor(&w).unwrap();
        let pass = pass_of(&[27], 1);
        for precision in Precision::ALL {
            let weight = Weight::new(stored.clone(), precision, Device::Cpu).unwrap();
            let layer = Projection::new(SITE, &weight);
            let product = |source| {
                let input = input(source, &[&layer]).unwrap();
                let [(y, _)] = forward([&layer], &input, &pass).unwrap();
                bits(&y)
            };
            let normed = norm.forward(&x).unwrap();
            let written = product(Source::Rows(&normed));
            let on_the_way = product(Source::Normed(&norm, &x));
            assert_eq!(on_the_way, written, "{precision:?}");
        }
        let weight = Weight::new(stored, Precision::F32, Device::Cpu).unwrap();
        let (norm, x) = (self::norm(d + 1, Device::Cpu), tensor(1, n, d + 1));
        let refused = input(
            Source::Normed(&norm, &x),
            &[&Projection::new(SITE, &weight)],
        );
        let text = "x of the layer must have shape [27, 50], got [27, 51]";
        assert_eq!(refused.err().unwrap().to_string(), text);
    }

    #[test]
    fn backward_is_the_gradient_of_the_reference() {
        for (n, d) in [(1, 2), (3, 7), (2, 40)] {
            let (x, dy) = (tensor(1, n, d), tensor(3, n, d));
            for (device, kind) in each() {
                let norm = norm_of(kind(d), d, device);
                let dx = norm.backward(&x, &dy, None).unwrap();
                assert_gradient(&dx, &x, &dy, |x| norm.reference(x));
                let added = norm.backward(&x, &dy, Some(&x)).unwrap();
                assert_close(&added, &(&*dx + &*x).unwrap(), 1e-6);
            }
        }
    }

    #[test]
    fn thread_count_does_not_change_a_bit() {
        for kind in KINDS {
            let (x, norm) = (tensor(1, 100, 50), norm_of(kind(50), 50, Device::Cpu));
            assert_same_bits_on_any_thread_count(|| {
                let y = norm.forward(&x).unwrap();
                vec![norm.backward(&x, &y, Some(&x)).unwrap(), y]
            });
        }
    }

    #[test]
    fn a_weight_of_another_width_is_refused() {
        let error = norm(5, Device::Cpu).forward(&tensor(1, 3, 4)).unwrap_err();
        assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
        let text = "weight of the norm must have shape [4], got [5]";
        assert_eq!(error.to_string(), text);
    }
}
