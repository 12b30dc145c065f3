//! What the tests hold the operations against: seeded data, finite differences, thread pools.

use candle_core::{DType, Device, Tensor};

/// Numbers in (−2, 2), the same for the same seed.
pub(crate) fn tensor(seed: u64, rows: usize, columns: usize) -> Tensor {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    let values: Vec<f32> = (0..rows * columns)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / f32::from(1_u16 << 15) / 128.0 - 2.0
        })
        .collect();
    Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
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
/// The differences are good to about 1e-9, so `1e-5` of the largest entry is what f32 kernels leave.
#[track_caller]
pub(crate) fn assert_gradient(
    gradient: &Tensor,
    x: &Tensor,
    dy: &Tensor,
    reference: impl Fn(&Tensor) -> candle_core::Result<Tensor>,
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
pub(crate) fn assert_same_bits_on_any_thread_count(work: impl Fn() -> Vec<Tensor> + Sync) {
    let results = [1, 2, 3].map(|threads| -> Vec<Vec<u32>> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| work().iter().map(bits).collect())
    });
    assert!(results[0] == results[1] && results[0] == results[2]);
}
