//! How fast this machine multiplies by frozen weights, for estimates.

use std::time::{Duration, Instant};

use super::gemm::{Direction, Epilogue, FrozenMatrix, Precision};
use crate::Result;
use crate::stored::{HostTensor, StoredMatrix};

/// y (n, m) = x (n, k)·Wᵀ: larger than the caches that a core has for itself.
const SHAPE: [usize; 3] = [512, 1024, 1024];
/// How long something is measured.
const BUDGET: Duration = Duration::from_millis(200);

/// Seconds of the fastest of the runs that a while holds.
pub(crate) fn least_seconds(mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    let (start, mut least) = (Instant::now(), f64::INFINITY);
    while start.elapsed() < BUDGET {
        let begin = Instant::now();
        run()?;
        least = least.min(begin.elapsed().as_secs_f64());
    }
    Ok(least)
}

/// FLOP/s of large products, forward and back, in the caller's pool: the best of some runs.
///
/// # Errors
/// As [`FrozenMatrix::multiply`].
pub fn of_products(precision: Precision) -> Result<f64> {
    let [n, m, k] = SHAPE;
    let ramp = |len: usize| (0..len).map(|i| (i % 251) as f32 / 251.0 - 0.5).collect();
    let stored = StoredMatrix::from_tensor(&HostTensor {
        shape: vec![m, k],
        data: ramp(m * k),
    })?;
    let weight = FrozenMatrix::new(stored, precision)?;
    let mut seconds = 0.0;
    for (direction, depth, columns) in [(Direction::Forward, k, m), (Direction::Backward, m, k)] {
        let (x, mut y): (Vec<f32>, _) = (ramp(n * depth), vec![0.0; n * columns]);
        seconds += least_seconds(|| {
            let staged = weight.stage(direction, &x, n)?;
            weight.multiply(direction, &staged, &mut y, &Epilogue::NONE)
        })?;
    }
    Ok((4 * n * m * k) as f64 / seconds)
}
