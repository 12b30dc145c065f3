//! A layer of the adapter's own, such as a classification head: trained whole, frozen, or frozen
//! under a low-rank term.
//!
//! ```text
//! y (n, m) = x·Wᵀ + b + term(x)
//! dW += dyᵀ·x      db += Σ_t dy_t      dx (n, k) = dy·W + the term's adjoint
//! ```
//!
//! Every member has its own W (m, k) and b (m), in f32 among the adapter's parameters; they change
//! with every update, so nothing is packed. x has few rows: one of each prompt. W and b have
//! gradients only where they are trained. Shapes: `n` rows, `k` inputs, `m` outputs.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;

use candle_core as candle;

use super::low_rank::{self, Kept, Term};
use super::{Device, Implementation, Operation, Tensor, reference, shapes};
use crate::adapter::{Adapter, OwnLayerMut, OwnLayerRef, Parameters, Site};
use crate::observer::{self, OutputGradient, Seen};
use crate::pass::{Pass, Rows};
use crate::{Error, Result};

/// One layer in one pass.
pub struct Affine<'a> {
    site: Site,
    parameters: &'a Parameters,
    /// (m, k)
    shape: (usize, usize),
    is_trained: bool,
    term: Option<Term<'a>>,
    rows: &'a Rows,
    pass: &'a Pass,
    by: Implementation,
}

impl<'a> Affine<'a> {
    /// The adapter's layer at a site, if it has one, for rows of a pass.
    pub fn at(
        adapter: &'a Adapter,
        site: Site,
        (rows, pass): (&'a Rows, &'a Pass),
        device: Device,
    ) -> Option<Self> {
        let parameters = adapter.parameters();
        Some(Self {
            site,
            parameters,
            shape: *parameters.layout().own_layers().shapes.get(&site)?,
            is_trained: parameters.layout().trains_own_layers(),
            term: Term::at(adapter, site, rows, pass),
            rows,
            pass,
            by: device.implementation(Operation::Affine),
        })
    }

    /// m
    pub fn outputs(&self) -> usize {
        self.shape.0
    }

    /// W and b of a member, in the host's memory.
    fn member(&self, member: usize) -> Result<OwnLayerRef<'a>> {
        let own = self.parameters.own_layer(member, self.site);
        own.ok_or_else(|| {
            let site = self.site.path();
            Error::InvalidInput(format!("an adapter must have a layer at {site}, got none"))
        })
    }

    /// y (n, m) of x (n, k), and what the term needs for its adjoint.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when the shapes do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<(Tensor, Option<Kept>)> {
        let (n, k) = (self.rows.ids.len(), self.shape.1);
        shapes::check("x of a layer of the adapter's", x, &[n, k])?;
        match self.by {
            Implementation::CpuKernel => cpu::forward(self, x),
            #[cfg(feature = "cuda")]
            Implementation::CudaKernel(gpu) => Ok((cuda::forward(self, gpu, x)?, None)),
            Implementation::Reference => {
                let members = self.tensors()?;
                let mut y = self.plain(x.host()?, &members)?;
                if let Some(term) = &self.term {
                    y = (y + low_rank::reference::forward(term, x.host()?)?)?;
                }
                Ok((y.into(), None))
            }
        }
    }

    /// dL/dx (n, k) of dL/dy; adds the gradients of W and b where they are trained, and the term's.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn backward(
        &self,
        (x, kept): (&Tensor, Option<&Kept>),
        dy: &Tensor,
        gradients: &mut Parameters,
    ) -> Result<Tensor> {
        let (n, (m, k)) = (self.rows.ids.len(), self.shape);
        shapes::check("x of a layer of the adapter's", x, &[n, k])?;
        shapes::check("dy of a layer of the adapter's", dy, &[n, m])?;
        self.watched(x, dy)?;
        match self.by {
            Implementation::CpuKernel => cpu::backward(self, (x, kept), dy, gradients),
            #[cfg(feature = "cuda")]
            Implementation::CudaKernel(gpu) => cuda::backward(self, gpu, (x, dy), gradients),
            Implementation::Reference => self.reference_backward(x.host()?, dy.host()?, gradients),
        }
    }

    /// Shows what has gradients to an observer.
    fn watched(&self, x: &Tensor, dy: &Tensor) -> Result<()> {
        let term = self.term.as_ref();
        let Some(watch) = &self.pass.watch else {
            return Ok(());
        };
        if term.is_none() && !self.is_trained {
            return Ok(());
        }
        watch.see(&Seen {
            site: self.site,
            term: term.map(|term| (term.factors_of(0), term.scaling())),
            segments: &self.pass.segments_of(self.rows.ids.len()),
            x: &observer::values(x)?,
            dy: OutputGradient::Rows(&observer::values(dy)?),
        })
    }

    /// Where a member's gradients go, if they are wanted.
    fn sums<'g>(&self, member: usize, gradients: &'g mut Parameters) -> Option<OwnLayerMut<'g>> {
        let is_trained = self.is_trained;
        is_trained.then(|| gradients.own_layer_mut(member, self.site))?
    }

    /// W (m, k) and b (m) of every member.
    fn tensors(&self) -> Result<Vec<[candle::Tensor; 2]>> {
        let cpu = &candle::Device::Cpu;
        let each = (0..self.parameters.members()).map(|member| {
            let OwnLayerRef { weight, bias } = self.member(member)?;
            let shape = (bias.len(), weight.len() / bias.len().max(1));
            let weight = candle::Tensor::from_slice(weight, shape, cpu)?;
            Ok([weight, candle::Tensor::new(bias, cpu)?])
        });
        each.collect()
    }

    /// y without the term by plain operations.
    fn plain(&self, x: &candle::Tensor, members: &[[candle::Tensor; 2]]) -> Result<candle::Tensor> {
        let mut parts = Vec::new();
        for (member, rows) in self.rows.by_member() {
            let [weight, bias] = &members[member];
            let x = x.narrow(0, rows.start, rows.len())?;
            parts.push(x.matmul(&weight.t()?)?.broadcast_add(bias)?);
        }
        Ok(candle::Tensor::cat(&parts, 0)?)
    }

    fn reference_backward(
        &self,
        x: &candle::Tensor,
        dy: &candle::Tensor,
        gradients: &mut Parameters,
    ) -> Result<Tensor> {
        let members = self.tensors()?;
        let mut inputs = vec![x];
        inputs.extend(members.iter().flatten());
        let mut found = reference::adjoints(&inputs, dy, |inputs| {
            let members = inputs[1..].chunks_exact(2);
            let members: Vec<_> = members
                .map(|pair| [pair[0].clone(), pair[1].clone()])
                .collect();
            self.plain(&inputs[0], &members)
        })?;
        for (member, pair) in found[1..].chunks_exact(2).enumerate() {
            if let Some(sums) = self.sums(member, gradients) {
                add(sums.weight, &pair[0].flatten_all()?.to_vec1::<f32>()?);
                add(sums.bias, &pair[1].to_vec1::<f32>()?);
            }
        }
        let mut dx = found.swap_remove(0);
        if let Some(term) = &self.term {
            dx = (dx + low_rank::reference::backward(term, x, dy, gradients)?)?;
        }
        Ok(dx.into())
    }
}

fn add(sum: &mut [f32], values: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += value;
    }
}
