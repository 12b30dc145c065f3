//! A frozen linear layer with an optional low-rank term: y = x·W₀ᵀ + term(x).
//!
//! `W₀` (m, k) has no gradient, so the backward pass needs the input for the term alone.

use candle_core::Tensor;

use crate::Result;
use crate::kernels::cpu::gemm::{PackedMatrix, Precision};
use crate::ops::low_rank::{self, LowRankGradient, Term};
use crate::ops::{read, wrap};
use crate::weights::HostTensor;
use crate::{Error, adapter::Site};

/// `W₀`, packed for the forward product and, when it is trained through, for the backward one.
pub struct FrozenLinear {
    outputs: usize,
    inputs: usize,
    forward: PackedMatrix,
    backward: Option<PackedMatrix>,
}

/// What the term's adjoint needs: its input and its own memory.
pub(crate) struct Kept {
    x: Tensor,
    term: low_rank::Kept,
}

impl FrozenLinear {
    /// Packs a weight of shape (m, k).
    pub fn new(weight: &HostTensor, precision: Precision) -> Result<Self> {
        let [outputs, inputs] = weight.shape[..] else {
            return Err(Error::InvalidInput(format!(
                "a linear weight must have two dimensions, got {:?}",
                weight.shape
            )));
        };
        let forward = PackedMatrix::pack(&weight.data, outputs, inputs, precision)?;
        Ok(Self {
            outputs,
            inputs,
            forward,
            backward: None,
        })
    }

    /// Packs the transposed weight too, so that gradients can pass through.
    pub fn prepare_backward(&mut self, weight: &HostTensor) -> Result<()> {
        let precision = self.forward.precision();
        self.backward = Some(PackedMatrix::pack_transposed(
            &weight.data,
            self.outputs,
            self.inputs,
            precision,
        )?);
        Ok(())
    }

    /// Bytes of the packed copies.
    pub fn bytes(&self) -> usize {
        self.forward.bytes() + self.backward.as_ref().map_or(0, PackedMatrix::bytes)
    }

    /// (n, k) → (n, m), and what the term needs for its adjoint.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        term: Option<&Term>,
    ) -> Result<(Tensor, Option<Kept>)> {
        let rows = x.dim(0)?;
        let mut y = vec![0.0; rows * self.outputs];
        let values = read(x)?;
        self.forward.multiply(&values, rows, &mut y, false)?;
        let kept = term.map(|term| {
            let kept = term.down(&values);
            term.up_into(&kept, &mut y);
            Kept {
                x: x.clone(),
                term: kept,
            }
        });
        drop(values);
        Ok((wrap(y, (rows, self.outputs))?, kept))
    }

    /// dL/dx (n, k) of dL/dy (n, m), unless unwanted; adds the term's gradients.
    pub(crate) fn backward(
        &self,
        dy: &Tensor,
        term: Option<(&Term, &Kept, &mut LowRankGradient)>,
        want_dx: bool,
    ) -> Result<Option<Tensor>> {
        let rows = dy.dim(0)?;
        let values = read(dy)?;
        let mut dx = if want_dx {
            let Some(backward) = &self.backward else {
                return Err(Error::InvalidInput(
                    "gradients need weights packed for the backward pass, got a model loaded for inference".into(),
                ));
            };
            let mut dx = vec![0.0; rows * self.inputs];
            backward.multiply(&values, rows, &mut dx, false)?;
            Some(dx)
        } else {
            None
        };
        if let Some((term, kept, gradient)) = term {
            term.backward(
                &kept.term,
                (&read(&kept.x)?, &values),
                gradient,
                dx.as_deref_mut(),
            );
        }
        dx.map(|dx| wrap(dx, (rows, self.inputs))).transpose()
    }
}

/// Gradients of every adapted site.
pub type Gradients = std::collections::BTreeMap<Site, LowRankGradient>;
