//! Laplace's approximation: the curvature, its evidence, and what an adapter answers by it.
#![expect(clippy::unwrap_used, reason = "test code")]

mod answers;
mod curvature;
mod files;
mod linear_gaussian;
mod observer;
mod refusals;
#[path = "../support/mod.rs"]
mod support;

use std::sync::{Arc, Mutex};

use blob_core::abort::Abort;
use blob_core::adapter::{Adapter, Factor, LoraConfig, Module, Site};
use blob_core::backbone::{Backbone, BackboneConfig};
use blob_core::batch::Batch;
use blob_core::laplace::{Fit, FitConfig, Fitted};
use blob_core::noise::{Phase, Stream};
use blob_core::observer::{Observer, Watch};
use blob_core::ops::Tensor;
use blob_core::pass::{BatchCopy, Mode, Pass};

use crate::support::small_model::{config, lora, trained};

const SETTINGS: FitConfig = FitConfig {
    from_block: 0,
    rank: 128,
    memory_bytes: 1 << 30,
    class_tokens: 64,
    kept_bytes: None,
};

/// The head alone.
fn of_head() -> FitConfig {
    FitConfig {
        from_block: config().num_layers,
        ..SETTINGS
    }
}

/// A point adapter in the middle of its training.
fn point(modules: &[Module], backbone: &BackboneConfig) -> Adapter {
    let config = LoraConfig {
        posterior: None,
        ..lora(modules)
    };
    trained(config, backbone)
}

/// The curvature of one batch.
fn fitted(backbone: &Backbone, adapter: &Adapter, batch: &Batch, config: FitConfig) -> Fitted {
    let mut fit = Fit::new(config, adapter).unwrap();
    fit.add(backbone, adapter, batch, &Abort::default())
        .unwrap();
    fit.finish().unwrap()
}

/// The adapter under a curvature and a precision.
fn answering(fitted: &Fitted, adapter: &Adapter, precision: f64) -> Adapter {
    let posterior = fitted.posterior(precision).unwrap();
    adapter.with_laplace(posterior).unwrap()
}

fn mean_pass(batch: &Batch) -> Pass {
    let copy = BatchCopy::whole(batch, Stream::new(0, 0, Phase::Evaluation), 0);
    Pass::new(batch, vec![copy], Mode::MEAN, Abort::default())
}

fn vector(values: Vec<f32>) -> Tensor {
    Tensor::vector(values).unwrap()
}

/// Logits, and what an observer saw while `dlogits` came back.
fn observed<O: Observer + 'static>(
    backbone: &Backbone,
    adapter: &Adapter,
    (batch, dlogits): (&Batch, &[Vec<f32>]),
    observer: O,
) -> (Vec<f32>, Arc<Mutex<O>>) {
    let observer = Arc::new(Mutex::new(observer));
    let pass = mean_pass(batch).watched(Watch::by(&observer));
    let forward = backbone.forward(batch, &pass, Some(adapter), true);
    let (logits, kept) = forward.unwrap();
    let dlogits: Vec<_> = dlogits.iter().cloned().map(vector).collect();
    let mut sums = adapter.parameters().zeros_like();
    let back = backbone.backward_each(kept.unwrap(), &dlogits, &pass, adapter, 0, &mut sums);
    back.unwrap();
    (logits, observer)
}

/// Logits of a batch of one prompt, and the gradient of each by a plain backward pass.
fn jacobian(backbone: &Backbone, adapter: &Adapter, batch: &Batch) -> (Vec<f32>, Vec<Vec<f32>>) {
    let pass = mean_pass(batch);
    let forward = || backbone.forward(batch, &pass, Some(adapter), true).unwrap();
    let logits = forward().0;
    let gradient = |class: usize| {
        let mut unit = vec![0.0; logits.len()];
        unit[class] = 1.0;
        let mut sums = adapter.parameters().zeros_like();
        let kept = forward().1.unwrap();
        let back = backbone.backward(kept, &vector(unit), &pass, adapter, &mut sums);
        back.unwrap();
        sums.member(0).to_vec()
    };
    let gradients = (0..logits.len()).map(gradient).collect();
    (logits, gradients)
}

/// Every matrix that the curvature knows: its site, factor, and shape.
fn matrices(adapter: &Adapter) -> Vec<(Site, Factor, [usize; 2])> {
    let layout = adapter.parameters().layout();
    let parameters = layout.parameters().iter();
    let known = parameters.filter(|it| it.factor != Factor::Bias);
    known
        .map(|it| match it.factor {
            Factor::Weight => (it.site, it.factor, [it.shape[0], it.shape[1] + 1]),
            factor => (it.site, factor, it.shape),
        })
        .collect()
}

/// A matrix's part of a gradient, row by row; of the head's W with b as its last column.
fn part(adapter: &Adapter, (site, factor): (Site, Factor), gradient: &[f32]) -> Vec<f64> {
    let layout = adapter.parameters().layout();
    let of = |factor| &gradient[layout.range(site, factor).unwrap()];
    let values = of(factor);
    if factor != Factor::Weight {
        return values.iter().map(|&value| f64::from(value)).collect();
    }
    let bias = of(Factor::Bias);
    let rows = values.chunks_exact(values.len() / bias.len()).zip(bias);
    let with_bias = rows.flat_map(|(row, &bias)| row.iter().copied().chain([bias]));
    with_bias.map(f64::from).collect()
}

/// x of (A + λI)·x = b by elimination; A is symmetric and positive.
fn solve(a: &[Vec<f64>], precision: f64, b: &[f64]) -> Vec<f64> {
    let (mut a, mut b, n) = (a.to_vec(), b.to_vec(), b.len());
    for (i, row) in a.iter_mut().enumerate() {
        row[i] += precision;
    }
    for pivot in 0..n {
        let pivots = a[pivot].clone();
        for row in (0..n).filter(|&row| row != pivot) {
            let factor = a[row][pivot] / pivots[pivot];
            for (value, of_pivot) in a[row].iter_mut().zip(&pivots) {
                *value -= factor * of_pivot;
            }
            b[row] -= factor * b[pivot];
        }
    }
    (0..n).map(|i| b[i] / a[i][i]).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
