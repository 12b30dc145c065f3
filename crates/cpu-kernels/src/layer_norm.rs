//! Layer norm, row by row; equations in `ops::norm`.

use std::mem::MaybeUninit;

use super::lanes;
use super::norm_rows::{self, RowNorm};
use super::output::Slot;
use super::simd::Level;

/// The frozen parameters of a norm.
#[derive(Clone, Copy)]
pub struct LayerNorm<'a> {
    /// w, (d)
    pub weight: &'a [f32],
    /// b, (d)
    pub bias: &'a [f32],
    /// ε
    pub eps: f32,
}

impl LayerNorm<'_> {
    /// m and s of a row.
    #[inline(always)]
    fn moments<L: Level>(self, x: &[f32]) -> (f32, f32) {
        let d = x.len() as f32;
        let mean = lanes::sum::<L>(x) / d;
        let variance = lanes::squares_around::<L>(x, mean) / d;
        (mean, 1.0 / (variance + self.eps).sqrt())
    }
}

impl RowNorm for LayerNorm<'_> {
    /// z of a row.
    type Scratch = Vec<f32>;

    #[inline(always)]
    fn width(self) -> usize {
        self.weight.len()
    }

    #[inline(always)]
    fn scratch(self) -> Vec<f32> {
        vec![0.0; self.weight.len()]
    }

    #[inline(always)]
    fn row<L: Level>(self, x: &[f32], y: &mut [impl Slot]) {
        let (mean, inv_std) = self.moments::<L>(x);
        let parameters = self.weight.iter().zip(self.bias);
        for ((y, x), (weight, bias)) in y.iter_mut().zip(x).zip(parameters) {
            y.put(L::fused((x - mean) * inv_std, *weight, *bias));
        }
    }

    #[inline(always)]
    fn row_back<L: Level>(
        self,
        [x, dy, addend]: [&[f32]; 3],
        normed: &mut Vec<f32>,
        dx: &mut [MaybeUninit<f32>],
    ) {
        let (weight, d) = (self.weight, self.weight.len() as f32);
        let (mean, inv_std) = self.moments::<L>(x);
        for (normed, x) in normed.iter_mut().zip(x) {
            *normed = (x - mean) * inv_std;
        }
        let of_dy = lanes::dot::<L>(weight, dy) / d;
        let along_x = lanes::dot3::<L>(weight, dy, normed) / d;
        let inputs = normed.iter().zip(dy).zip(weight).zip(addend);
        for (dx, (((normed, dy), weight), addend)) in dx.iter_mut().zip(inputs) {
            let centred = L::fused(*normed, -along_x, weight * dy - of_dy);
            dx.write(L::fused(inv_std, centred, *addend));
        }
    }
}

/// y (n, d) of x (n, d).
///
/// # Panics
/// Unless the lengths fit.
pub fn forward(norm: LayerNorm<'_>, x: &[f32]) -> Vec<f32> {
    assert!(norm.bias.len() == norm.weight.len());
    norm_rows::forward(norm, x)
}

/// dx (n, d) from x, dy and what is added to it (n, d each).
pub fn backward(norm: LayerNorm<'_>, inputs: [&[f32]; 3]) -> Vec<f32> {
    norm_rows::backward(norm, inputs)
}
