//! How fast this machine multiplies by frozen weights, for estimates.

use std::time::{Duration, Instant};

use super::gemm::{Direction, Epilogue, FrozenMatrix, Precision};
use crate::Result;
use crate::stored::{HostTensor, StoredMatrix};

/// y (n, m) = x (n, k)·Wᵀ: larger than the caches that a core has for itself.
const SHAPE: [usize; 3] = [512, 1024, 1024];
/// How long each direction is measured.
const BUDGET: Duration = Duration::from_millis(200);

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
        let (start, mut best) = (Instant::now(), f64::INFINITY);
        while start.elapsed() < BUDGET {
            let begin = Instant::now();
            let staged = weight.stage(direction, &x, n)?;
            weight.multiply(direction, &staged, &mut y, &Epilogue::NONE)?;
            best = best.min(begin.elapsed().as_secs_f64());
        }
        seconds += best;
    }
    Ok((4 * n * m * k) as f64 / seconds)
}
