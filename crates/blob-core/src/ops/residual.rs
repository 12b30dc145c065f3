//! The sum of two streams: `y = a + b`; its adjoint hands `dy` to both, so none is needed.

use candle_core::Tensor;

use super::{contract, fresh, read, wrap};
use crate::Result;
use crate::kernels::cpu::residual as cpu;

/// `a + b`: (n, d), (n, d) → (n, d).
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when the shapes differ.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (n, d) = contract::matrix("the residual stream", a)?;
    contract::shape("what is added to the residual stream", b, &[n, d])?;
    let mut y = fresh(n * d);
    cpu::add(&read(a)?, &read(b)?, &mut y);
    wrap(y, (n, d))
}

#[cfg(test)]
mod tests {
    use super::super::oracle::{assert_same_bits_on_any_thread_count, bits, tensor};
    use super::*;

    #[test]
    fn add_is_the_plain_sum() {
        let (a, b) = (tensor(1, 70, 555), tensor(2, 70, 555));
        assert_eq!(bits(&add(&a, &b).unwrap()), bits(&(&a + &b).unwrap()));
        assert_same_bits_on_any_thread_count(|| vec![add(&a, &b).unwrap()]);
    }

    #[test]
    fn streams_of_other_shapes_are_refused() {
        let error = add(&tensor(1, 2, 6), &tensor(2, 3, 4)).unwrap_err();
        assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
    }
}
