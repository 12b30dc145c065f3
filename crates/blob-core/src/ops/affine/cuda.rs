//! Layers of the adapter's own on a GPU.

use super::Affine;
use crate::Result;
use crate::adapter::{Factor, Parameters};
use crate::kernels::cuda::affine::Layer;
use crate::kernels::cuda::{Array, Gpu};
use crate::ops::Tensor;
use crate::ops::low_rank::cuda::{add, backward as term_backward};

/// As [`Affine::forward`].
pub(super) fn forward(of: &Affine<'_>, gpu: Gpu, x: &Tensor) -> Result<Tensor> {
    let (n, m) = (of.rows.ids.len(), of.shape.0);
    let (array, parameters) = (x.on(gpu)?, of.parameters.values().on(gpu)?);
    let mut y = gpu.empty(n * m)?;
    for layer in layers(of) {
        layer.forward(&array, &parameters, &mut y)?;
    }
    Ok(match &of.term {
        Some(term) => add(term, gpu, x, y.written())?,
        None => Array::of_kernel(gpu, y, &[n, m]),
    }
    .into())
}

/// As [`Affine::backward`].
pub(super) fn backward(
    of: &Affine<'_>,
    gpu: Gpu,
    (x, dy): (&Tensor, &Tensor),
    gradients: &mut Parameters,
) -> Result<Tensor> {
    let (n, k) = (of.rows.ids.len(), of.shape.1);
    let (array, d) = (x.on(gpu)?, dy.on(gpu)?);
    let parameters = of.parameters.values().on(gpu)?;
    let mut dx = gpu.empty(n * k)?;
    for layer in layers(of) {
        layer.input(&d, &parameters, &mut dx)?;
        if of.is_trained {
            layer.weight([&array, &d], gradients.change_on(gpu)?)?;
        }
    }
    let Some(term) = &of.term else {
        return Ok(Array::of_kernel(gpu, dx, &[n, k]).into());
    };
    let dx = term_backward(term, gpu, (x, dy), Some(dx.written()), gradients)?;
    Ok(dx.map_or_else(|| x.clone(), Tensor::from)) // it is wanted
}

/// The layer of each run of rows that see one member.
fn layers<'a>(of: &'a Affine<'_>) -> impl Iterator<Item = Layer> + 'a {
    let layout = of.parameters.layout();
    let (outputs, inputs) = of.shape;
    of.rows.by_member().filter_map(move |(member, rows)| {
        let from = member * layout.len();
        let at = |factor| {
            let range = layout.range(of.site, factor)?;
            Some(from + range.start..from + range.end)
        };
        Some(Layer {
            rows,
            weight: at(Factor::Weight)?,
            bias: at(Factor::Bias)?,
            inputs,
            outputs,
        })
    })
}
