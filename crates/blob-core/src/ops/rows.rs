//! Picks rows of a matrix, such as the last token of each segment.
//!
//! ```text
//! y_b = x_{r_b}        dx_t = Σ_{b: r_b = t} dy_b
//! ```
//!
//! Shapes: `n` tokens, `d` width, `B` rows picked.

use candle_core::Tensor;

use super::{contract, read, wrap};
use crate::Result;
use crate::kernels::cpu::rows as cpu;

/// x (n, d), rows (B) → (B, d).
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when a row lies outside of `x`.
pub fn gather(x: &Tensor, rows: &[u32]) -> Result<Tensor> {
    let (n, d) = contract::matrix("x of the gather", x)?;
    contract::indices("rows to gather", rows, n)?;
    wrap(cpu::gather(&read(x)?, d, rows), (rows.len(), d))
}

/// The adjoint of [`gather`]: dy (B, d), rows (B) → (n, d), zero where no row was picked.
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when a row is not below `n`, or `dy` does not have one row each.
pub fn scatter(dy: &Tensor, rows: &[u32], n: usize) -> Result<Tensor> {
    let (_, d) = contract::matrix("dy of the gather", dy)?;
    contract::shape("dy of the gather", dy, &[rows.len(), d])?;
    contract::indices("rows to scatter to", rows, n)?;
    let mut dx = vec![0.0; n * d];
    cpu::scatter(&read(dy)?, d, rows, &mut dx);
    wrap(dx, (n, d))
}

#[cfg(test)]
mod tests {
    use super::super::oracle::{assert_gradient, bits, tensor};
    use super::*;
    use candle_core::Device;

    fn reference(x: &Tensor, rows: &[u32]) -> candle_core::Result<Tensor> {
        x.index_select(&Tensor::new(rows, &Device::Cpu)?, 0)
    }

    #[test]
    fn scatter_is_the_gradient_of_gather_even_for_a_row_picked_twice() {
        let (x, dy, rows) = (tensor(1, 5, 3), tensor(2, 4, 3), [4, 0, 3, 0]);
        let picked = gather(&x, &rows).unwrap();
        assert_eq!(bits(&picked), bits(&reference(&x, &rows).unwrap()));
        let dx = scatter(&dy, &rows, 5).unwrap();
        assert_gradient(&dx, &x, &dy, |x| reference(x, &rows));
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
