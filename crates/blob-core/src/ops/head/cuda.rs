//! Class logits on a GPU.

use super::Classes;
use crate::Result;
use crate::adapter::Parameters;
use crate::kernels::cuda::Gpu;
use crate::kernels::cuda::blocks::Table;
use crate::kernels::cuda::head as cuda;
use crate::ops::Tensor;
use crate::ops::low_rank::Term;
use crate::ops::low_rank::cuda::Placed;

impl Classes {
    /// Those of `n` rows, where kernels read them.
    fn on(&self, gpu: Gpu, n: usize) -> Result<cuda::Classes> {
        cuda::Classes::new(gpu, n, &self.rows, &self.tokens)
    }
}

pub(super) fn forward(
    weight: &Table,
    x: &Tensor,
    classes: &Classes,
    term: Option<&Term<'_>>,
) -> Result<Tensor> {
    let gpu = weight.gpu();
    let (x, classes) = (x.on(gpu)?, classes.on(gpu, x.dim(0)?)?);
    let placed = term.map(|term| Placed::new(term, gpu)).transpose()?;
    let term = placed.as_ref().map(|placed| placed.term());
    Ok(cuda::forward(weight, &x, &classes, term.as_ref())?.into())
}

pub(super) fn backward(
    weight: &Table,
    (x, classes): (&Tensor, &Classes),
    term: Option<&Term<'_>>,
    dlogits: &Tensor,
    gradients: &mut Parameters,
) -> Result<Tensor> {
    let gpu = weight.gpu();
    let (x, classes) = (x.on(gpu)?, classes.on(gpu, x.dim(0)?)?);
    let placed = term.map(|term| Placed::new(term, gpu)).transpose()?;
    let term = placed.as_ref().map(|placed| placed.term());
    let term = match &term {
        Some(term) => Some((term, gradients.change_on(gpu)?)),
        None => None,
    };
    Ok(cuda::backward(weight, (&x, &classes), &dlogits.on(gpu)?, term)?.into())
}
