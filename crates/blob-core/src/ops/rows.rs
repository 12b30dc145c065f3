//! Picks rows of a matrix, such as the last token of each segment.
//!
//! ```text
//! y_b = x_{r_b}        dx_t = Σ_{b: r_b = t} dy_b
//! ```
//!
//! Shapes: `n` tokens, `d` width, `B` rows picked.

use std::ops::Range;

use super::{Tensor, read, shapes, wrap};
use crate::kernels::cpu::rows as cpu;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::{affine, pointwise as cuda};
use crate::{Error, Result};

/// x (n, d), rows (B) → (B, d).
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when a row lies outside of `x`.
pub fn gather(x: &Tensor, rows: &[u32]) -> Result<Tensor> {
    let (n, d) = shapes::matrix("x of the gather", x)?;
    shapes::indices("rows to gather", rows, n)?;
    #[cfg(feature = "cuda")]
    if let Some(x) = x.array() {
        return Ok(cuda::gather(x.gpu(), x, rows)?.into());
    }
    wrap(cpu::gather(&read(x)?, d, rows), (rows.len(), d))
}

/// The adjoint of [`gather`]: dy (B, d), rows (B) → (n, d), zero where no row was picked.
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when a row is not below `n`, or `dy` does not have one row each.
pub fn scatter(dy: &Tensor, rows: &[u32], n: usize) -> Result<Tensor> {
    let (_, d) = shapes::matrix("dy of the gather", dy)?;
    shapes::check("dy of the gather", dy, &[rows.len(), d])?;
    shapes::indices("rows to scatter to", rows, n)?;
    #[cfg(feature = "cuda")]
    if let Some(dy) = dy.array().filter(|_| is_each_named_once(rows)) {
        return Ok(cuda::scatter(dy.gpu(), dy, rows, n)?.into());
    }
    let mut dx = vec![0.0; n * d];
    cpu::scatter(&read(dy)?, d, rows, &mut dx);
    wrap(dx, (n, d))
}

/// Rows of a GPU's scatter are written at once, not one after another.
#[cfg(feature = "cuda")]
fn is_each_named_once(rows: &[u32]) -> bool {
    let mut named = rows.to_vec();
    named.sort_unstable();
    named.windows(2).all(|pair| pair[0] != pair[1])
}

/// The rows of some ranges of x (n, d), one after another.
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when a range lies outside of `x`.
pub fn repeat(x: &Tensor, ranges: &[Range<usize>]) -> Result<Tensor> {
    let (n, d) = shapes::matrix("x of the repetition", x)?;
    if let Some(range) = ranges.iter().find(|r| r.start > r.end || r.end > n) {
        return Err(Error::InvalidInput(format!(
            "rows to repeat must be below {n}, got {range:?}"
        )));
    }
    #[cfg(feature = "cuda")]
    if let Some(x) = x.array() {
        let rows: Vec<u32> = ranges
            .iter()
            .cloned()
            .flatten()
            .map(|row| row as u32)
            .collect();
        return Ok(cuda::gather(x.gpu(), x, &rows)?.into());
    }
    let values = read(x)?;
    let rows: usize = ranges.iter().map(Range::len).sum();
    let mut repeated = Vec::with_capacity(rows * d);
    for range in ranges {
        repeated.extend_from_slice(&values[range.start * d..range.end * d]);
    }
    wrap(repeated, (rows, d))
}

/// Where a value of a matrix lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Below n.
    pub row: usize,
    /// Below d.
    pub column: usize,
}

impl Place {
    /// Among the values in row order, of a matrix with d columns.
    fn index(self, d: usize) -> usize {
        self.row * d + self.column
    }
}

/// Single values of x (n, d), (L).
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when a place lies outside of `x`.
pub fn pick(x: &Tensor, places: &[Place]) -> Result<Tensor> {
    let (n, d) = shapes::matrix("x of the pick", x)?;
    check_places(places, (n, d))?;
    #[cfg(feature = "cuda")]
    if let Some(x) = x.array() {
        return Ok(affine::pick(x, &in_order(places, d))?.into());
    }
    let values = read(x)?;
    let picked = places.iter().map(|place| values[place.index(d)]);
    wrap(picked.collect(), places.len())
}

/// The adjoint of [`pick`]: dy, one per place → (n, d).
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when a place lies outside, or there is not one value each.
pub fn put(dy: &Tensor, places: &[Place], (n, d): (usize, usize)) -> Result<Tensor> {
    check_places(places, (n, d))?;
    shapes::check("values to put", dy, &[places.len()])?;
    #[cfg(feature = "cuda")]
    if let Some(dy) = dy.array() {
        return Ok(affine::put(dy, &in_order(places, d), (n, d))?.into());
    }
    let mut dx = vec![0.0; n * d];
    for (place, dy) in places.iter().zip(&*read(dy)?) {
        dx[place.index(d)] += dy;
    }
    wrap(dx, (n, d))
}

/// Places of a matrix with d columns, as those of a run of values.
#[cfg(feature = "cuda")]
fn in_order(places: &[Place], d: usize) -> Vec<u32> {
    places.iter().map(|place| place.index(d) as u32).collect()
}

fn check_places(places: &[Place], (n, d): (usize, usize)) -> Result<()> {
    let is_outside = |place: &&Place| place.row >= n || place.column >= d;
    match places.iter().find(is_outside) {
        Some(Place { row, column }) => Err(Error::InvalidInput(format!(
            "places must lie in a matrix of ({n}, {d}), got ({row}, {column})"
        ))),
        None => Ok(()),
    }
}

/// x + y, (n, d) each.
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when the shapes differ.
pub fn sum(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let (n, d) = shapes::matrix("x of the sum", x)?;
    shapes::check("y of the sum", y, &[n, d])?;
    #[cfg(feature = "cuda")]
    if let Some(x) = x.array() {
        return Ok(cuda::sum(x.gpu(), x, &y.on(x.gpu())?)?.into());
    }
    wrap(cpu::sum([&read(x)?, &read(y)?]), (n, d))
}

#[cfg(test)]
mod tests {
    use super::super::oracle::{
        assert_gradient, assert_same_bits_on_any_thread_count, bits, devices, tensor,
    };
    use super::*;
    use candle_core as candle;

    fn reference(x: &candle::Tensor, rows: &[u32]) -> Result<candle::Tensor> {
        Ok(x.index_select(&candle::Tensor::new(rows, &candle::Device::Cpu)?, 0)?)
    }

    #[test]
    fn scatter_is_the_gradient_of_gather_even_for_a_row_picked_twice() {
        let (x, dy, rows) = (tensor(1, 5, 3), tensor(2, 4, 3), [4, 0, 3, 0]);
        for device in devices() {
            let [x_there, dy_there] = [&x, &dy].map(|it| device.place(it.clone()).unwrap());
            let picked = gather(&x_there, &rows).unwrap();
            assert_eq!(bits(&picked), bits(&reference(&x, &rows).unwrap()));
            let dx = scatter(&dy_there, &rows, 5).unwrap();
            assert_gradient(&dx, &x, &dy, |x| reference(x, &rows));
        }
    }

    #[test]
    fn put_is_the_gradient_of_pick_even_for_a_place_picked_twice() {
        let place = |row, column| Place { row, column };
        let (x, places) = (tensor(1, 3, 2), [place(0, 1), place(2, 0), place(0, 1)]);
        let all: Vec<f32> = x.flatten_all().unwrap().to_vec1().unwrap();
        for device in devices() {
            let x = device.place(x.clone()).unwrap();
            let picked = pick(&x, &places).unwrap().to_vec().unwrap();
            assert_eq!(picked, [all[1], all[4], all[1]]);
            let dy = wrap(vec![1.0, 2.0, 4.0], 3).unwrap();
            let dx = put(&device.place(dy).unwrap(), &places, (3, 2)).unwrap();
            assert_eq!(dx.to_vec().unwrap(), [0.0, 5.0, 0.0, 0.0, 2.0, 0.0]);
        }
        assert_eq!(
            pick(&x, &[place(3, 0)]).unwrap_err().code(),
            "BPEFT_INVALID_INPUT"
        );
    }

    #[test]
    fn a_sum_is_that_of_each_element_on_any_number_of_threads() {
        let (x, y) = (tensor(1, 700, 37), tensor(2, 700, 37));
        let expected: candle::Tensor = (&*x + &*y).unwrap();
        for device in devices() {
            let there = |it: &Tensor| device.place(it.clone()).unwrap();
            let got = sum(&there(&x), &there(&y)).unwrap();
            assert_eq!(bits(&got), bits(&expected));
        }
        assert_same_bits_on_any_thread_count(|| vec![sum(&x, &y).unwrap()]);
        assert!(sum(&x, &tensor(2, 37, 700)).is_err());
    }

    #[test]
    fn rows_out_of_range_are_refused() {
        for error in [
            gather(&tensor(1, 5, 3), &[5]).unwrap_err(),
            scatter(&tensor(1, 1, 3), &[5], 5).unwrap_err(),
            scatter(&tensor(1, 2, 3), &[1], 5).unwrap_err(),
        ] {
            assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
        }
    }
}
