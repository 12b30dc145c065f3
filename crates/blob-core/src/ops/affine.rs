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

#[cfg(feature = "cuda")]
mod cuda;

use std::ops::Range;

use candle_core as candle;

use super::low_rank::{self, Kept, Term};
use super::{Device, Implementation, Operation, Tensor, read, reference, shapes, wrap};
use crate::adapter::{Adapter, Parameters, Site, WholeMut, WholeRef};
use crate::kernels::cpu::low_rank::{dots, outer, spread, transposed};
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
            shape: *parameters.layout().whole().shapes.get(&site)?,
            is_trained: parameters.layout().trains_whole(),
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
    fn member(&self, member: usize) -> Result<WholeRef<'a>> {
        let whole = self.parameters.whole(member, self.site);
        whole.ok_or_else(|| {
            let site = self.site.path();
            Error::InvalidInput(format!("an adapter must have a layer at {site}, got none"))
        })
    }

    /// y (n, m) of x (n, k), and what the term needs for its adjoint.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when the shapes do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<(Tensor, Option<Kept>)> {
        let (n, (m, k)) = (self.rows.ids.len(), self.shape);
        shapes::check("x of a layer of the adapter's", x, &[n, k])?;
        if self.by == Implementation::Reference {
            let members = self.tensors()?;
            let mut y = self.plain(x.host()?, &members)?;
            if let Some(term) = &self.term {
                y = (y + low_rank::reference::forward(term, x.host()?)?)?;
            }
            return Ok((y.into(), None));
        }
        #[cfg(feature = "cuda")]
        if let Implementation::CudaKernel(gpu) = self.by {
            return Ok((cuda::forward(self, gpu, x)?, None));
        }
        let x = read(x)?;
        let mut y = vec![0.0; n * m];
        for (member, rows) in self.rows.by_member() {
            let WholeRef { weight, bias } = self.member(member)?;
            let y = &mut y[of(&rows, m)];
            dots(&x[of(&rows, k)], weight, k, None, y);
            for (y, b) in y.iter_mut().zip(bias.iter().cycle()) {
                *y += b;
            }
        }
        let kept = self.term.as_ref().map(|term| {
            let kept = term.down(&x);
            let r = term.rank();
            for (member, rows) in self.rows.by_member() {
                let b = transposed(term.factors_of(rows.start).b, r);
                debug_assert_eq!(term.member_of(rows.start), member);
                let h = &kept.h()[of(&rows, r)];
                spread(h, &b, m, term.scaling(), &mut y[of(&rows, m)]);
            }
            kept
        });
        Ok((wrap(y, (n, m))?, kept))
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
        if self.by == Implementation::Reference {
            return self.reference_backward(x.host()?, dy.host()?, gradients);
        }
        #[cfg(feature = "cuda")]
        if let Implementation::CudaKernel(gpu) = self.by {
            return cuda::backward(self, gpu, (x, dy), gradients);
        }
        let (x, dy) = (read(x)?, read(dy)?);
        let mut dx = vec![0.0; n * k];
        for (member, rows) in self.rows.by_member() {
            let (x, dy) = (&x[of(&rows, k)], &dy[of(&rows, m)]);
            if let Some(sums) = self.sums(member, gradients) {
                outer(dy, x, k, None, sums.weight);
                for row in dy.chunks_exact(m.max(1)) {
                    add(sums.bias, row);
                }
            }
            spread(
                dy,
                self.member(member)?.weight,
                k,
                1.0,
                &mut dx[of(&rows, k)],
            );
        }
        if let (Some(term), Some(kept)) = (&self.term, kept) {
            let adjoint = term.backward(kept, (&x, &dy), gradients);
            term.add_adjoint(kept, &adjoint, &mut dx);
        }
        wrap(dx, (n, k))
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
    fn sums<'g>(&self, member: usize, gradients: &'g mut Parameters) -> Option<WholeMut<'g>> {
        let is_trained = self.is_trained;
        is_trained.then(|| gradients.whole_mut(member, self.site))?
    }

    /// W (m, k) and b (m) of every member.
    fn tensors(&self) -> Result<Vec<[candle::Tensor; 2]>> {
        let cpu = &candle::Device::Cpu;
        let each = (0..self.parameters.members()).map(|member| {
            let WholeRef { weight, bias } = self.member(member)?;
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

/// The values of rows of a width.
fn of(rows: &Range<usize>, width: usize) -> Range<usize> {
    rows.start * width..rows.end * width
}

fn add(sum: &mut [f32], values: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += value;
    }
}
