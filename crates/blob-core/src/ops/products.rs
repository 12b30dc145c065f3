//! Products of matrices in the host's memory, for what is computed of rows that an observer sees
//! (`laplace`): a curvature is summed there, whatever device runs the passes.
//!
//! ```text
//! by_rows      y = x·aᵀ       (n, k), (m, k) → (n, m)
//! by_columns   y = x·b        (n, k), (k, m) → (n, m)
//! add_outer    s += pᵀ·x      (n, m), (n, k) → (m, k)
//! ```
//!
//! In f32, by the processor's kernels of low-rank terms.

use crate::kernels::cpu::low_rank as cpu;

/// x·aᵀ: x (n, `k`), a (m, `k`) → (n, m).
pub(crate) fn by_rows(x: &[f32], a: &[f32], k: usize) -> Vec<f32> {
    let mut y = vec![0.0; x.len() / k * (a.len() / k)];
    if !y.is_empty() {
        cpu::dots(x, a, k, None, &mut y);
    }
    y
}

/// x·b: x (n, k), b (k, `m`) → (n, m).
pub(crate) fn by_columns(x: &[f32], b: &[f32], m: usize) -> Vec<f32> {
    by_rows(x, &cpu::transposed(b, m), b.len() / m)
}

/// Adds pᵀ·x to `sum` (m, `k`): p (n, m), x (n, `k`).
pub(crate) fn add_outer(p: &[f32], x: &[f32], k: usize, sum: &mut [f32]) {
    cpu::outer(p, x, k, None, sum);
}

#[cfg(test)]
mod tests {
    use super::super::oracle::{assert_close, tensor};
    use super::super::{Tensor, read, wrap};
    use super::*;

    fn product(x: &Tensor, y: &candle_core::Tensor) -> candle_core::Tensor {
        x.matmul(&y.contiguous().unwrap()).unwrap()
    }

    #[test]
    fn they_are_the_plain_products() {
        let (n, k, m) = (5, 70, 3);
        let (x, a, p) = (tensor(1, n, k), tensor(2, m, k), tensor(3, n, m));
        let (x_values, a_values) = (read(&x).unwrap(), read(&a).unwrap());
        let y = wrap(by_rows(&x_values, &a_values, k), (n, m)).unwrap();
        assert_close(&y, &product(&x, &a.t().unwrap()), 1e-6);
        let b = tensor(4, k, m);
        let y = wrap(by_columns(&x_values, &read(&b).unwrap(), m), (n, m)).unwrap();
        assert_close(&y, &product(&x, &b), 1e-6);
        let mut sum = a_values.to_vec();
        add_outer(&read(&p).unwrap(), &x_values, k, &mut sum);
        let transposed: Tensor = p.t().unwrap().contiguous().unwrap().into();
        let expected = (product(&transposed, &x) + &*a).unwrap();
        assert_close(&wrap(sum, (m, k)).unwrap(), &expected, 1e-6);
        assert!(by_rows(&x_values, &[], k).is_empty());
    }
}
