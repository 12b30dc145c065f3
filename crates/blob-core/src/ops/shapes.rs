//! What operations demand of their operands, before a kernel indexes them.

use super::Tensor;
use crate::{Error, Result};

/// `(rows, columns)` of a matrix with at least one column.
pub(super) fn matrix(name: &str, tensor: &Tensor) -> Result<(usize, usize)> {
    match *tensor.dims() {
        [rows, columns] if columns > 0 => Ok((rows, columns)),
        ref dims => Err(Error::InvalidInput(format!(
            "{name} must be a matrix with columns, got shape {dims:?}"
        ))),
    }
}

/// Checks the whole shape.
pub(crate) fn check(name: &str, tensor: &Tensor, expected: &[usize]) -> Result<()> {
    if tensor.dims() == expected {
        return Ok(());
    }
    Err(Error::InvalidInput(format!(
        "{name} must have shape {expected:?}, got {:?}",
        tensor.dims()
    )))
}

/// Checks that `offsets` cut `total` items into segments of at least one.
pub(super) fn segments(name: &str, offsets: &[u32], total: usize) -> Result<()> {
    let starts_at_zero = offsets.first() == Some(&0);
    let ends_at_total = offsets.last().is_some_and(|&end| end as usize == total);
    let rises = offsets.windows(2).all(|ends| ends[0] < ends[1]);
    if starts_at_zero && ends_at_total && rises {
        return Ok(());
    }
    Err(Error::InvalidInput(format!(
        "{name} must rise strictly from 0 to {total}, got {offsets:?}"
    )))
}

/// Checks that every index names a row.
pub(super) fn indices(name: &str, indices: &[u32], rows: usize) -> Result<()> {
    match indices.iter().find(|&&index| index as usize >= rows) {
        None => Ok(()),
        Some(index) => Err(Error::InvalidInput(format!(
            "{name} must be below {rows}, got {index}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_must_rise_strictly_from_zero_to_the_total() {
        assert!(segments("offsets", &[0, 1, 4], 4).is_ok());
        for (offsets, total) in [
            (&[][..], 0),
            (&[0, 4][..], 5),
            (&[1, 4][..], 4),
            (&[0, 2, 2, 4][..], 4),
            (&[0, 3, 2, 4][..], 4),
        ] {
            let error = segments("offsets", offsets, total).unwrap_err();
            assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
        }
    }
}
