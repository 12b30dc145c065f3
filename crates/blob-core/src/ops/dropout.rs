//! Inverted dropout of rows of activations (Srivastava et al. 2014): its masks, and as the bases of
//! encoders were trained with it.
//!
//! ```text
//! y_tj = x_tj·m_tj        dx_tj = dy_tj·m_tj        m = 0 with probability p, else 1/(1 − p)
//! ```
//!
//! m is a function of the row, its copy and the place in the model, so that a pass that is computed
//! again sees it again; it is its own adjoint. A host's loop on every device. Shapes: x (n, d).

use rayon::prelude::*;

use super::{Tensor, read, shapes, wrap};
use crate::Result;
use crate::kernels::cpu::dropout;
use crate::kernels::cpu::marks::{BitRows, Effect, Marks};
use crate::noise::{DropRate, NoiseKey, Purpose};
use crate::pass::{Group, Pass, Rows};

/// m of a matrix (n, d).
pub(super) struct DropoutMask {
    words: Vec<u32>,
    width: usize,
    rate: DropRate,
}

impl DropoutMask {
    /// Of rows of a width; `key` says who asks for those of a group.
    pub(super) fn drawn(
        (rows, width): (&Rows, usize),
        rate: DropRate,
        key: impl Fn(&Group) -> NoiseKey,
    ) -> Self {
        let of_row = |row: usize| {
            let (id, group) = (rows.ids[row], rows.group_of(row));
            group.stream.row_draw(id, key(group))
        };
        let draws: Vec<_> = (0..rows.ids.len()).map(of_row).collect();
        let mut words = vec![0; draws.len() * width.div_ceil(32)];
        dropout::dropped(&mut words, width, rate.below(), &draws);
        Self { words, width, rate }
    }

    /// Its zeros.
    pub(super) fn marks(&self) -> Marks<'_> {
        Marks {
            bits: BitRows {
                words: &self.words,
                stride: self.width.div_ceil(32),
            },
            effect: Effect::Drop,
        }
    }

    /// What is not 0 in it.
    pub(super) fn kept(&self) -> f32 {
        self.rate.kept()
    }

    /// x ∘ m.
    pub(super) fn apply(&self, x: &mut [f32]) {
        self.multiply(x, self.kept());
    }

    /// x ∘ m but for [`Self::kept`].
    pub(super) fn clear(&self, x: &mut [f32]) {
        self.multiply(x, 1.0);
    }

    fn multiply(&self, x: &mut [f32], kept: f32) {
        let rows = self.words.par_chunks_exact(self.width.div_ceil(32));
        rows.zip(x.par_chunks_exact_mut(self.width))
            .for_each(|(words, x)| {
                for (word, x) in words.iter().zip(x.chunks_mut(32)) {
                    for (bit, x) in x.iter_mut().enumerate() {
                        *x *= if word >> bit & 1 == 1 { 0.0 } else { kept };
                    }
                }
            });
    }
}

/// The masks of one place in a pass.
#[derive(Clone, Copy)]
pub struct Dropout<'a> {
    pass: &'a Pass,
    rows: &'a Rows,
    slot: u32,
}

impl<'a> Dropout<'a> {
    /// Of rows of a pass, at the slot of the layer that they come from; `None` where nothing is
    /// dropped.
    pub fn at(pass: &'a Pass, rows: &'a Rows, slot: u32) -> Option<Self> {
        let of = Self { pass, rows, slot };
        (pass.mode.base_dropout > 0.0).then_some(of)
    }

    /// y of x, and dx of dy.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when x does not have one row for each of the pass.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let (_, d) = shapes::matrix("x of the dropout", x)?;
        shapes::check("x of the dropout", x, &[self.rows.ids.len(), d])?;
        let mut values = read(x)?.to_vec();
        if let Some(rate) = DropRate::of(self.pass.mode.base_dropout) {
            let key = |group: &Group| NoiseKey {
                slot: self.slot,
                purpose: Purpose::BaseDropout,
                sample: group.sample,
            };
            DropoutMask::drawn((self.rows, d), rate, key).apply(&mut values);
        }
        wrap(values, (self.rows.ids.len(), d))
    }
}

#[cfg(test)]
mod tests {
    use super::super::oracle::{bits, pass_of, tensor};
    use super::*;
    use crate::ops::Tensor;

    fn values(x: &Tensor) -> Vec<f32> {
        x.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn a_share_of_the_values_is_dropped_and_the_rest_keeps_the_mean() {
        let mut pass = pass_of(&[30, 20], 2);
        assert!(Dropout::at(&pass, &pass.all_rows, 3).is_none());
        pass.mode.base_dropout = 0.25;
        let (n, d) = (100, 64);
        let ones = wrap(vec![1.0; n * d], (n, d)).unwrap();
        let masks = [3, 6].map(|slot| {
            let dropout = Dropout::at(&pass, &pass.all_rows, slot).unwrap();
            values(&dropout.apply(&ones).unwrap())
        });
        let dropped = masks[0].iter().filter(|it| **it == 0.0).count() as f64;
        let share = dropped / (n * d) as f64;
        assert!((share - 0.25).abs() < 0.02, "{share}"); // four standard deviations: 0.022
        let kept = masks[0].iter().find(|it| **it != 0.0).unwrap();
        assert!((kept - 1.0 / 0.75).abs() < 1e-6); // a quarter of 65,536 is whole
        // Places, copies and rows have masks of their own.
        assert_ne!(masks[0], masks[1]);
        assert_ne!(masks[0][..50 * d], masks[0][50 * d..]);
        assert_ne!(masks[0][..d], masks[0][d..2 * d]);
    }

    #[test]
    fn it_is_the_plain_product_with_the_factors_of_each_token() {
        let (mut pass, (n, d)) = (pass_of(&[3, 2], 2), (10, 40));
        pass.mode.base_dropout = 0.25;
        let (rows, rate) = (&pass.all_rows, DropRate::of(0.25).unwrap());
        let mut factors = vec![0.0; n * d];
        for (row, factors) in factors.chunks_exact_mut(d).enumerate() {
            let group = rows.group_of(row);
            let key = NoiseKey {
                slot: 3,
                purpose: Purpose::BaseDropout,
                sample: group.sample,
            };
            let id = rows.ids[row];
            group.stream.fill_dropout(factors, rate, id, key);
        }
        let (x, factors) = (tensor(1, n, d), wrap(factors, (n, d)).unwrap());
        let dropout = Dropout::at(&pass, rows, 3).unwrap();
        let expected = (&*x * &*factors).unwrap();
        assert_eq!(bits(&dropout.apply(&x).unwrap()), bits(&expected));
    }

    #[test]
    fn it_is_its_own_adjoint_and_the_same_again() {
        let mut pass = pass_of(&[3, 2], 1);
        pass.mode.base_dropout = 0.5;
        let dropout = Dropout::at(&pass, &pass.all_rows, 3).unwrap();
        let (x, y) = (tensor(1, 5, 7), tensor(2, 5, 7));
        let dot =
            |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum() };
        let of = |x: &Tensor| values(&dropout.apply(x).unwrap());
        assert!((dot(&of(&x), &values(&y)) - dot(&values(&x), &of(&y))).abs() < 1e-4);
        assert_eq!(of(&x), of(&x));
        assert!(dropout.apply(&tensor(1, 4, 7)).is_err());
    }
}
