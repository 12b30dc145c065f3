//! Linear layers on a GPU: products by cuBLAS, terms by kernels of our own.

use super::{Projection, Returning, Wants, in_turn};
use crate::Result;
use crate::adapter::Parameters;
use crate::kernels::cuda::Array;
use crate::kernels::cuda::product::{Matrix, ProductRows};
use crate::ops::Tensor;
use crate::ops::low_rank::{self, Kept};
use crate::pass::Pass;

pub(super) fn forward(
    layers: &[&Projection<'_>],
    (x, read): (&Tensor, Option<&Tensor>),
    pass: &Pass,
) -> Result<Vec<(Tensor, Option<Kept>)>> {
    in_turn::forward(layers, pass, |layer| Ok(project(layer, (x, read))?.into()))
}

/// x as products with a matrix read it.
fn rows(matrix: &Matrix, x: &Tensor) -> Result<ProductRows> {
    let gpu = matrix.gpu();
    Ok(if matrix.is_bf16() {
        ProductRows::Bf16(x.rounded_on(gpu)?)
    } else {
        ProductRows::F32(x.on(gpu)?)
    })
}

/// y, (n, m), of x and of what a term reads.
fn project(projection: &Projection<'_>, (x, read): (&Tensor, Option<&Tensor>)) -> Result<Array> {
    let matrix = projection.weight.cuda()?;
    let gpu = matrix.gpu();
    let on = |tensor: Option<&Tensor>| tensor.map(|tensor| tensor.on(gpu)).transpose();
    let (bias, addend) = (on(projection.bias)?, on(projection.addend)?);
    let y = matrix.forward(&rows(matrix, x)?, bias.as_ref(), addend.as_ref())?;
    match &projection.term {
        Some(term) => {
            let read = read.ok_or_else(|| projection.missing_input())?;
            low_rank::cuda::add(term, gpu, read, y)
        }
        None => Ok(Array::of_kernel(
            gpu,
            y,
            &[x.dim(0)?, projection.weight.rows()],
        )),
    }
}

pub(super) fn backward(
    layers: &[Returning<'_>],
    x: Option<&Tensor>,
    wants: Wants<'_>,
    gradients: &mut Parameters,
) -> Result<Option<Tensor>> {
    let dx = wants.dx;
    in_turn::backward(layers, wants, |Returning { projection, dy, .. }, sum| {
        let matrix = projection.weight.cuda()?;
        let gpu = matrix.gpu();
        let of_weight = if dx {
            let addend = sum.map(|sum| sum.on(gpu)).transpose()?;
            Some(matrix.backward(&rows(matrix, dy)?, addend.as_ref())?)
        } else {
            None
        };
        let total = if let (Some(term), Some(x)) = (&projection.term, x) {
            low_rank::cuda::backward(term, gpu, (x, dy), of_weight, gradients)?
        } else {
            let shape = [dy.dim(0)?, projection.weight.columns()];
            of_weight.map(|dx| Array::of_kernel(gpu, dx, &shape))
        };
        Ok(total.map(Tensor::from))
    })
}
