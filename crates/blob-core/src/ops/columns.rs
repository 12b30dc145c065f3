//! Columns of a matrix as matrices of their own, such as the queries, keys and values of one layer.
//!
//! ```text
//! x = [ y_1 | y_2 | … ]        dx = [ dy_1 | dy_2 | … ]
//! ```
//!
//! Shapes: x (n, Σ w_p), y_p (n, w_p).

#[cfg(feature = "cuda")]
use super::rows;
use super::{Tensor, read, shapes, wrap};
use crate::{Error, Result};

/// The matrices that lie side by side in x.
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when the widths do not make up x.
pub fn cut<const N: usize>(x: &Tensor, widths: [usize; N]) -> Result<[Tensor; N]> {
    let (n, columns) = shapes::matrix("x of the cut", x)?;
    if widths.contains(&0) || widths.iter().sum::<usize>() != columns {
        let rule = format!("columns to cut must make up {columns}");
        return Err(Error::InvalidInput(format!("{rule}, got {widths:?}")));
    }
    let mut parts = Vec::with_capacity(N);
    let mut first = 0;
    for width in widths {
        parts.push(part(x, (n, columns), first..first + width)?);
        first += width;
    }
    parts.try_into().map_err(|_| internal())
}

/// The adjoint of [`cut`]: x of its parts.
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when they differ in their rows.
pub fn join<const N: usize>(parts: [&Tensor; N]) -> Result<Tensor> {
    let mut widths = [0; N];
    let n = parts.first().ok_or_else(internal)?.dim(0)?;
    for (part, width) in parts.into_iter().zip(&mut widths) {
        let (_, columns) = shapes::matrix("a part of the join", part)?;
        shapes::check("a part of the join", part, &[n, columns])?;
        *width = columns;
    }
    let columns: usize = widths.iter().sum();
    #[cfg(feature = "cuda")]
    if parts.iter().all(|part| part.array().is_some()) {
        return join_on_gpu(&parts, (n, columns), &widths);
    }
    let mut x = vec![0.0; n * columns];
    let mut first = 0;
    for (part, width) in parts.into_iter().zip(widths) {
        let values = read(part)?;
        for (x, part) in x.chunks_exact_mut(columns).zip(values.chunks_exact(width)) {
            x[first..first + width].copy_from_slice(part);
        }
        first += width;
    }
    wrap(x, (n, columns))
}

fn part(x: &Tensor, (n, columns): (usize, usize), range: std::ops::Range<usize>) -> Result<Tensor> {
    let width = range.len();
    #[cfg(feature = "cuda")]
    if x.array().is_some() {
        let (pieces, rows) = pieces((n, columns), range);
        return rows::gather(&x.reshape(pieces)?, &rows)?.reshape((n, width));
    }
    let values = read(x)?;
    let mut part = Vec::with_capacity(n * width);
    for row in values.chunks_exact(columns) {
        part.extend_from_slice(&row[range.clone()]);
    }
    wrap(part, (n, width))
}

/// x as rows of pieces that no border of `range` cuts, and which of these are in the range.
#[cfg(feature = "cuda")]
fn pieces(
    (n, columns): (usize, usize),
    range: std::ops::Range<usize>,
) -> ((usize, usize), Vec<u32>) {
    let mut piece = columns;
    for size in [range.start, range.len()] {
        let mut rest = size;
        while rest != 0 {
            (piece, rest) = (rest, piece % rest);
        }
    }
    let all = columns / piece;
    let of_row = |row: usize| row * all + range.start / piece..row * all + range.end / piece;
    let rows = (0..n).flat_map(of_row).map(|row| row as u32).collect();
    ((n * all, piece), rows)
}

/// Each part in its place among zeros; their sum.
#[cfg(feature = "cuda")]
fn join_on_gpu(parts: &[&Tensor], shape: (usize, usize), widths: &[usize]) -> Result<Tensor> {
    let (mut first, mut sum) = (0, None);
    for (part, width) in parts.iter().zip(widths) {
        let ((all, piece), rows) = pieces(shape, first..first + width);
        first += width;
        let placed = rows::scatter(&part.reshape((rows.len(), piece))?, &rows, all)?;
        let placed = placed.reshape(shape)?;
        sum = Some(match sum {
            None => placed,
            Some(sum) => rows::sum(&sum, &placed)?,
        });
    }
    sum.ok_or_else(internal)
}

fn internal() -> Error {
    Error::InvalidInput("a matrix must have at least one part".into())
}

#[cfg(test)]
mod tests {
    use candle_core as candle;

    use super::super::oracle::{assert_gradient, bits, devices, tensor};
    use super::*;

    #[test]
    fn parts_are_the_columns_and_their_join_is_the_gradient() {
        let x = tensor(1, 3, 10);
        for device in devices() {
            let placed = device.place(x.clone()).unwrap();
            let parts = cut(&placed, [4, 2, 4]).unwrap();
            for (part, (first, width)) in parts.iter().zip([(0, 4), (4, 2), (6, 4)]) {
                assert_eq!(bits(part), bits(&x.narrow(1, first, width).unwrap()));
            }
            assert_eq!(bits(&join(parts.each_ref()).unwrap()), bits(&x));
        }
    }

    #[test]
    fn a_join_is_the_plain_one_and_the_gradient_of_a_cut() {
        let (x, of_parts) = (tensor(1, 3, 10), [tensor(2, 3, 4), tensor(3, 3, 6)]);
        let dy = candle::Tensor::cat(&of_parts.each_ref().map(|part| &**part), 1).unwrap();
        for device in devices() {
            let there = of_parts
                .each_ref()
                .map(|part| device.place(part.clone()).unwrap());
            let dx = join(there.each_ref()).unwrap();
            assert_eq!(bits(&dx), bits(&dy));
            assert_gradient(&dx, &x, &dy, |x| {
                let parts = [x.narrow(1, 0, 4)?, x.narrow(1, 4, 6)?];
                Ok(candle::Tensor::cat(&parts, 1)?)
            });
        }
    }

    #[test]
    fn widths_that_do_not_make_up_the_matrix_are_refused() {
        for error in [
            cut(&tensor(1, 3, 10), [4, 5]).unwrap_err(),
            cut(&tensor(1, 3, 10), [10, 0]).unwrap_err(),
            join([&tensor(1, 3, 4), &tensor(1, 2, 4)]).unwrap_err(),
        ] {
            assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
        }
    }
}
