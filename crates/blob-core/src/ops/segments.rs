//! What is read of each segment: its first row, or the mean of its rows.
//!
//! ```text
//! first   y_b = x_{o_b}                dx_{o_b} = dy_b
//! mean    y_b = 1/L_b·Σ_t x_t          dx_t = dy_b/L_b        t in segment b, of L_b rows from o_b
//! ```
//!
//! The first rows are picked where they lie; a mean is one pass over the rows on the host. Shapes:
//! x (n, d), y (B, d), `offsets` (B + 1).

use super::{Tensor, read, rows, shapes, wrap};
use crate::Result;

/// x (n, d) → the first row of each segment, (B, d).
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when the segments do not cover x.
pub fn first(x: &Tensor, offsets: &[u32]) -> Result<Tensor> {
    let (n, _) = shapes::matrix("x of the segments", x)?;
    shapes::segments("offsets", offsets, n)?;
    rows::gather(x, starts(offsets))
}

/// The adjoint of [`first`]: dy (B, d) → (n, d).
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when there is not one row per segment.
pub fn first_back(dy: &Tensor, offsets: &[u32]) -> Result<Tensor> {
    let n = offsets.last().map_or(0, |end| *end as usize);
    rows::scatter(dy, starts(offsets), n)
}

fn starts(offsets: &[u32]) -> &[u32] {
    &offsets[..offsets.len().saturating_sub(1)]
}

/// x (n, d) → the mean of each segment's rows, (B, d).
///
/// # Errors
/// As [`first`].
pub fn mean(x: &Tensor, offsets: &[u32]) -> Result<Tensor> {
    let (n, d) = shapes::matrix("x of the segments", x)?;
    shapes::segments("offsets", offsets, n)?;
    let values = read(x)?;
    let mut means = Vec::with_capacity((offsets.len() - 1) * d);
    for ends in offsets.windows(2) {
        let mut sums = vec![0.0_f64; d];
        for row in values[ends[0] as usize * d..ends[1] as usize * d].chunks_exact(d) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += f64::from(*value);
            }
        }
        let length = f64::from(ends[1] - ends[0]);
        means.extend(sums.iter().map(|sum| (sum / length) as f32));
    }
    wrap(means, (offsets.len() - 1, d))
}

/// The adjoint of [`mean`]: dy (B, d) → (n, d).
///
/// # Errors
/// As [`first_back`].
pub fn mean_back(dy: &Tensor, offsets: &[u32]) -> Result<Tensor> {
    let (segments, d) = shapes::matrix("dy of the segments", dy)?;
    let n = offsets.last().map_or(0, |end| *end as usize);
    shapes::segments("offsets", offsets, n)?;
    shapes::check("dy of the segments", dy, &[offsets.len() - 1, d])?;
    let values = read(dy)?;
    let mut dx = Vec::with_capacity(n * d);
    for (ends, row) in offsets
        .windows(2)
        .zip(values.chunks_exact(d).take(segments))
    {
        let length = ends[1] - ends[0];
        let share: Vec<f32> = row.iter().map(|value| value / length as f32).collect();
        for _ in 0..length {
            dx.extend_from_slice(&share);
        }
    }
    wrap(dx, (n, d))
}

#[cfg(test)]
mod tests {
    use super::super::oracle::{assert_close, assert_gradient, tensor};
    use super::*;
    use candle_core::{self as candle, DType};

    const OFFSETS: [u32; 4] = [0, 3, 4, 9];

    fn plain_mean(x: &candle::Tensor) -> Result<candle::Tensor> {
        let means = OFFSETS.windows(2).map(|ends| {
            let (start, length) = (ends[0] as usize, (ends[1] - ends[0]) as usize);
            Ok(x.narrow(0, start, length)?.mean_keepdim(0)?)
        });
        Ok(candle::Tensor::cat(&means.collect::<Result<Vec<_>>>()?, 0)?)
    }

    fn plain_first(x: &candle::Tensor) -> Result<candle::Tensor> {
        let rows = candle::Tensor::new(&OFFSETS[..3], &candle::Device::Cpu)?;
        Ok(x.index_select(&rows, 0)?)
    }

    #[test]
    fn mean_and_first_are_the_plain_ones_with_their_gradients() {
        let (x, dy) = (tensor(1, 9, 4), tensor(2, 3, 4));
        let expected = plain_mean(&x.to_dtype(DType::F64).unwrap()).unwrap();
        assert_close(&mean(&x, &OFFSETS).unwrap(), &expected, 1e-6);
        assert_gradient(&mean_back(&dy, &OFFSETS).unwrap(), &x, &dy, plain_mean);
        assert_close(
            &first(&x, &OFFSETS).unwrap(),
            &plain_first(&x).unwrap(),
            1e-9,
        );
        assert_gradient(&first_back(&dy, &OFFSETS).unwrap(), &x, &dy, plain_first);
    }

    #[test]
    fn segments_that_do_not_cover_the_rows_are_refused() {
        for error in [
            first(&tensor(1, 8, 4), &OFFSETS).unwrap_err(),
            mean(&tensor(1, 8, 4), &OFFSETS).unwrap_err(),
            mean_back(&tensor(1, 2, 4), &OFFSETS).unwrap_err(),
            first_back(&tensor(1, 2, 4), &OFFSETS).unwrap_err(),
        ] {
            assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
        }
    }
}
