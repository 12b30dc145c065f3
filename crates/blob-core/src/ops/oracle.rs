//! What the tests hold the operations against: seeded data, finite differences, thread pools.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};

use super::Precision;
use super::linear::Weight;
use super::low_rank::Term;
use crate::abort::Abort;
use crate::adapter::{
    Adapter, Gaussian, LoraConfig, LowRank, Module, Parameters, Posterior, Sigma, Site,
};
use crate::batch::{Batch, BatchParts};
use crate::noise::{Phase, Stream};
use crate::pass::{BatchCopy, Mode, NoiseSharing, Pass};
use crate::weights::{HostTensor, StoredMatrix};

/// Every device: in a build with `cuda` a GPU too, whose kernels `BPEFT_CUDA_KERNELS` names.
pub(crate) fn devices() -> Vec<super::Device> {
    #[cfg_attr(not(feature = "cuda"), expect(unused_mut, reason = "a GPU is added"))]
    let mut devices = super::Device::ALL.to_vec();
    #[cfg(feature = "cuda")]
    {
        let kernels = std::env::var_os("BPEFT_CUDA_KERNELS").unwrap_or_default();
        devices.push(super::Device::cuda(0, kernels.as_ref()).unwrap());
    }
    devices
}

/// A golden file. Its folder is known when a test runs, not when it is built: `cmd/gpu-check.sh`
/// runs tests where there is no checkout.
pub(crate) fn golden(name: &str) -> serde_json::Value {
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    serde_json::from_slice(&std::fs::read(format!("{folder}/tests/goldens/{name}")).unwrap())
        .unwrap()
}

/// Numbers in (−2, 2), the same for the same seed.
pub(crate) fn tensor(seed: u64, rows: usize, columns: usize) -> super::Tensor {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    let values: Vec<f32> = (0..rows * columns)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / f32::from(1_u16 << 15) / 128.0 - 2.0
        })
        .collect();
    super::wrap(values, (rows, columns)).unwrap()
}

/// All values in f64, in row order.
pub(crate) fn values(tensor: &Tensor) -> Vec<f64> {
    let tensor = tensor.to_dtype(DType::F64).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The bit patterns of an f32 tensor.
pub(crate) fn bits(tensor: &Tensor) -> Vec<u32> {
    let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

/// Every element within `tolerance` times the largest expected magnitude.
#[track_caller]
pub(crate) fn assert_close(got: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(got.dims(), expected.dims());
    assert_values_close(&values(got), &values(expected), tolerance);
}

#[track_caller]
fn assert_values_close(got: &[f64], expected: &[f64], tolerance: f64) {
    let largest = expected
        .iter()
        .fold(0.0_f64, |largest, x| largest.max(x.abs()));
    assert!(largest > 0.0, "the expected values must not all vanish");
    for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
        let error = (got - expected).abs();
        assert!(
            error <= tolerance * largest,
            "element {index}: got {got}, expected {expected} (largest magnitude {largest})"
        );
    }
}

/// Holds `gradient` against central differences of `Σ dy ∘ reference(x)`, all in f64.
///
/// The differences are good to about 1e-9, so `1e-5` of the largest entry is what f32 kernels
/// leave.
#[track_caller]
pub(crate) fn assert_gradient(
    gradient: &Tensor,
    x: &Tensor,
    dy: &Tensor,
    reference: impl Fn(&Tensor) -> crate::Result<Tensor>,
) {
    const STEP: f64 = 1e-5;
    assert_eq!(gradient.dims(), x.dims());
    let dy = dy.to_dtype(DType::F64).unwrap();
    let loss = |x: &[f64], dims: &[usize]| -> f64 {
        let x = Tensor::from_slice(x, dims, &Device::Cpu).unwrap();
        let y = (reference(&x).unwrap() * &dy).unwrap();
        y.sum_all().unwrap().to_scalar().unwrap()
    };
    let mut at = values(x);
    let differences: Vec<f64> = (0..at.len())
        .map(|index| {
            let center = at[index];
            at[index] = center + STEP;
            let above = loss(&at, x.dims());
            at[index] = center - STEP;
            let below = loss(&at, x.dims());
            at[index] = center;
            (above - below) / (2.0 * STEP)
        })
        .collect();
    assert_values_close(&values(gradient), &differences, 1e-5);
}

/// Runs `work` in pools of one, two and three threads and demands the same bits of each tensor.
#[track_caller]
pub(crate) fn assert_same_bits_on_any_thread_count(work: impl Fn() -> Vec<super::Tensor> + Sync) {
    let results = [1, 2, 3].map(|threads| -> Vec<Vec<u32>> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| work().iter().map(|tensor| bits(tensor)).collect())
    });
    assert!(results[0] == results[1] && results[0] == results[2]);
}

/// A frozen weight of numbers in (−2, 2).
pub(crate) fn weight(
    seed: u64,
    (rows, columns): (usize, usize),
    precision: Precision,
    device: super::Device,
) -> Weight {
    let tensor = HostTensor {
        shape: vec![rows, columns],
        data: tensor(seed, rows, columns)
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap(),
    };
    let stored = StoredMatrix::from_tensor(&tensor).unwrap();
    Weight::new(stored, precision, device).unwrap()
}

/// A pass over prompts of these lengths, each of `samples` draws of which has signs of its own.
pub(crate) fn pass_of(lengths: &[u32], samples: u32) -> Pass {
    let ends = lengths.iter().scan(0, |end, length| {
        *end += length;
        Some(*end)
    });
    let offsets: Vec<u32> = std::iter::once(0).chain(ends).collect();
    let prompts = lengths.len() as u32;
    let batch = Batch::new(BatchParts {
        ids: vec![0; offsets[lengths.len()] as usize],
        offsets,
        answers: [0, 1].repeat(lengths.len()),
        answer_offsets: (0..=prompts).map(|prompt| 2 * prompt).collect(),
        labels: vec![0; lengths.len()],
        rows: (0..prompts).collect(),
    });
    let stream = Stream::new(3, 1, Phase::Training { micro_batch: 0 });
    let (batch, mode) = (batch.unwrap(), Mode::MEAN);
    let copy = |sample| BatchCopy::whole(&batch, stream, sample);
    let mode = Mode {
        sampling: Some(NoiseSharing::Token),
        dropout: 0.25,
        ..mode
    };
    Pass::new(
        &batch,
        (0..samples).map(copy).collect(),
        mode,
        Abort::default(),
    )
}

/// Gaussian terms of rank 3 in the middle of their training.
pub(crate) struct Terms {
    adapter: Adapter,
}

impl Terms {
    /// At layers of these sites and shapes (m, k).
    pub(crate) fn new(sites: &[(Site, (usize, usize))]) -> Self {
        let config = LoraConfig {
            rank: 3,
            alpha: 6.0,
            dropout: 0.0,
            target_modules: Module::ALL.to_vec(),
            posterior: Some(Posterior {
                sigma: Sigma::Square,
                init_eps: 0.05,
                over: Gaussian::A,
            }),
            seed: 1,
            members: 1,
            head: None,
        };
        let numbers = |seed, rows, columns| -> Vec<f32> {
            tensor(seed, rows, columns)
                .flatten_all()
                .unwrap()
                .to_vec1()
                .unwrap()
        };
        let term = |(site, (outputs, inputs)): &(Site, (usize, usize))| {
            let (seed, outputs, inputs) = (u64::from(site.slot()), *outputs, *inputs);
            let term = LowRank {
                rank: 3,
                inputs,
                outputs,
                a: numbers(seed, 3, inputs),
                b: numbers(seed + 100, outputs, 3),
                rho: Some(numbers(seed + 200, 3, inputs)),
                rho_b: None,
                beside: BTreeMap::new(),
            };
            (*site, term)
        };
        let terms: BTreeMap<_, _> = sites.iter().map(term).collect();
        let adapter = Adapter::from_terms(config, &[terms]).unwrap();
        Self { adapter }
    }

    /// The term of a site on all rows of a pass.
    pub(crate) fn term<'a>(&'a self, site: Site, pass: &'a Pass) -> Option<Term<'a>> {
        Term::at(&self.adapter, site, &pass.all_rows, pass)
    }

    /// All of them.
    pub(crate) fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    /// Gradients of nothing yet.
    pub(crate) fn zeros(&self) -> Parameters {
        self.adapter.parameters().zeros_like()
    }
}

/// Every factor's gradient within `tolerance` of its largest expected entry.
#[track_caller]
pub(crate) fn assert_parameters_close(got: &Parameters, expected: &Parameters, tolerance: f64) {
    for parameter in got.layout().parameters() {
        let of = |parameters: &Parameters| -> Vec<f64> {
            let values = &parameters.member(0)[parameter.range.clone()];
            values.iter().map(|value| f64::from(*value)).collect()
        };
        assert_values_close(&of(got), &of(expected), tolerance);
    }
}
