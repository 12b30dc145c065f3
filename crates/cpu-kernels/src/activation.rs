//! GELU in both forms and SiLU, element by element; equations in `ops::activation`. As rows of a
//! product's operand they and their gradients are computed while these are staged.
//!
//! The exact form takes the tail of the normal distribution by Abramowitz & Stegun 7.1.26,
//! `1 − Φ(x) = ½·P(t)·e^(−x²/2)` with `t = 1/(1 + p·x/√2)` for x ≥ 0, off by at most 7.5e-8.

#![expect(unsafe_code, reason = "a result's memory holds nothing before")]

use std::mem::MaybeUninit;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::exp::exp;
use super::gemm::{FrozenMatrix, Operand, RowSource, StackedWeights};
use super::output::{Slot, Unwritten};
use super::prefetch;
use super::rows::row;
use super::simd::{self, Kernel, Level, WIDTH, padded};
use crate::Result;

/// Elements per parallel piece.
const PIECE: usize = 8192;

/// Which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// `x·Φ(x)` by the error function.
    Gelu,
    /// Its approximation by tanh.
    GeluTanh,
    /// `x·σ(x)`.
    Silu,
}

const P: f32 = 0.327_591_1;
const TAIL: [f32; 5] = [
    0.254_829_6,
    -0.284_496_72,
    1.421_413_8,
    -1.453_152,
    1.061_405_4,
];
/// 1/√(2π)
const INV_SQRT_TAU: f32 = 0.398_942_3;
/// 2·√(2/π)
const TWICE_SQRT_2_OVER_PI: f32 = 1.595_769;
const CUBIC: f32 = 0.044_715;

impl Activation {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Gelu, Self::GeluTanh, Self::Silu];

    #[inline(always)]
    pub(super) fn value<L: Level>(self, x: L::Vector) -> L::Vector {
        match self {
            // max(x, 0) − |x|·(1 − Φ(|x|))
            Self::Gelu => {
                let (tail, _) = tail_and_power::<L>(x);
                let positive = L::larger(x, L::splat(0.0));
                L::fma(L::scale(-1.0, size::<L>(x)), tail, positive)
            }
            Self::GeluTanh => L::multiply(x, open::<L>(x)),
            Self::Silu => L::multiply(x, sigmoid::<L>(x)),
        }
    }

    #[inline(always)]
    pub(super) fn slope<L: Level>(self, x: L::Vector) -> L::Vector {
        match self {
            // Φ(x) + x·φ(x)
            Self::Gelu => {
                let (tail, power) = tail_and_power::<L>(x);
                let beyond = L::add(L::splat(0.5), L::scale(-1.0, tail));
                let phi = L::fma(sign::<L>(x), beyond, L::splat(0.5));
                L::fma(L::scale(INV_SQRT_TAU, x), power, phi)
            }
            // σ(2z) + x·σ(2z)·(1 − σ(2z))·2z'
            Self::GeluTanh => {
                let open = open::<L>(x);
                let closed = L::add(L::splat(1.0), L::scale(-1.0, open));
                let square = L::multiply(x, x);
                let inner = L::fma(L::splat(3.0 * CUBIC), square, L::splat(1.0));
                let inner = L::scale(TWICE_SQRT_2_OVER_PI, inner);
                let rise = L::multiply(L::multiply(x, open), L::multiply(closed, inner));
                L::add(open, rise)
            }
            // σ·(1 + x·(1 − σ))
            Self::Silu => {
                let open = sigmoid::<L>(x);
                let closed = L::add(L::splat(1.0), L::scale(-1.0, open));
                L::multiply(open, L::fma(x, closed, L::splat(1.0)))
            }
        }
    }

    /// dx. Not a closure: two uses of one are a call each, and vectors then pass through memory.
    #[inline(always)]
    fn gradient<L: Level>(self, x: &[f32; WIDTH], dy: &[f32; WIDTH]) -> L::Vector {
        L::multiply(L::load(dy), self.slope::<L>(L::load(x)))
    }
}

/// σ(x).
#[inline(always)]
pub(super) fn sigmoid<L: Level>(x: L::Vector) -> L::Vector {
    let power = exp::<L>(L::scale(-1.0, x));
    L::reciprocal(L::add(L::splat(1.0), power))
}

#[inline(always)]
fn size<L: Level>(x: L::Vector) -> L::Vector {
    L::larger(x, L::scale(-1.0, x))
}

/// −1, 0 or 1; in between for subnormal numbers, where it does not matter.
#[inline(always)]
fn sign<L: Level>(x: L::Vector) -> L::Vector {
    let far = L::scale(f32::MAX, x);
    L::smaller(L::larger(far, L::splat(-1.0)), L::splat(1.0))
}

/// 1 − Φ(|x|) and e^(−x²/2).
#[inline(always)]
fn tail_and_power<L: Level>(x: L::Vector) -> (L::Vector, L::Vector) {
    let of = L::splat;
    let power = exp::<L>(L::scale(-0.5, L::multiply(x, x)));
    let z = L::scale(std::f32::consts::FRAC_1_SQRT_2, size::<L>(x));
    let t = L::reciprocal(L::fma(of(P), z, of(1.0)));
    let sum = L::fma(of(TAIL[4]), t, of(TAIL[3]));
    let sum = L::fma(sum, t, of(TAIL[2]));
    let sum = L::fma(sum, t, of(TAIL[1]));
    let sum = L::fma(sum, t, of(TAIL[0]));
    let tail = L::scale(0.5, L::multiply(L::multiply(sum, t), power));
    (tail, power)
}

/// σ(2z), z = √(2/π)·(x + 0.044715·x³).
#[inline(always)]
fn open<L: Level>(x: L::Vector) -> L::Vector {
    let square = L::multiply(x, x);
    let inner = L::fma(L::splat(CUBIC), square, L::splat(1.0));
    let twice = L::scale(-TWICE_SQRT_2_OVER_PI, L::multiply(x, inner));
    L::reciprocal(L::add(L::splat(1.0), exp::<L>(twice)))
}

/// y of x.
pub fn forward(activation: Activation, x: &[f32]) -> Vec<f32> {
    let mut y = Unwritten::new(x.len());
    (x.par_chunks(PIECE), y.slots().par_chunks_mut(PIECE))
        .into_par_iter()
        .for_each(|(x, y)| simd::run(Forward { activation, x, y }));
    // SAFETY: both have one length, and each piece is written as a whole.
    unsafe { y.assume_written() }
}

/// dx of x and dy; both have one length.
///
/// # Panics
/// Unless the lengths fit.
pub fn backward(activation: Activation, [x, dy]: [&[f32]; 2]) -> Vec<f32> {
    assert_eq!(x.len(), dy.len());
    let mut dx = Unwritten::new(x.len());
    (
        x.par_chunks(PIECE),
        dy.par_chunks(PIECE),
        dx.slots().par_chunks_mut(PIECE),
    )
        .into_par_iter()
        .for_each(|(x, dy, dx)| {
            simd::run(Backward {
                activation,
                x,
                dy,
                dx,
            });
        });
    // SAFETY: as in `forward`.
    unsafe { dx.assume_written() }
}

struct Forward<'a> {
    activation: Activation,
    x: &'a [f32],
    y: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        values::<L, _>(self.activation, self.x, self.y);
    }
}

struct Backward<'a> {
    activation: Activation,
    x: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        gradients::<L, _>(self.activation, [self.x, self.dy], self.dx);
    }
}

/// The rows of y.
pub struct ActivatedRows<'a> {
    /// Which form.
    pub activation: Activation,
    /// x, row after row.
    pub x: &'a [f32],
}

impl ActivatedRows<'_> {
    /// n rows, computed while they are staged for a weight's forward product.
    ///
    /// # Errors
    /// As [`FrozenMatrix::stage`].
    pub fn staged_for(&self, weight: &FrozenMatrix, n: usize) -> Result<Operand> {
        weight.stage_rows(self, n)
    }
}

impl RowSource for ActivatedRows<'_> {
    #[inline(always)]
    fn row<'r, L: Level>(&'r self, index: usize, buffer: &'r mut [f32]) -> &'r [f32] {
        values::<L, _>(self.activation, row(self.x, index, buffer.len()), buffer);
        buffer
    }

    #[inline(always)]
    fn prefetch(&self, index: usize, width: usize) {
        prefetch::row(self.x, index, width);
    }
}

/// The rows of dx.
pub struct ActivationGradientRows<'a> {
    /// Which form.
    pub activation: Activation,
    /// x, row after row.
    pub x: &'a [f32],
    /// dy, likewise.
    pub dy: &'a [f32],
}

impl ActivationGradientRows<'_> {
    /// n rows, computed while they are staged for the weight of the layer that gave x.
    pub fn staged_for(&self, stack: &StackedWeights<'_>, n: usize) -> Operand {
        stack.stage(self, n)
    }
}

impl RowSource for ActivationGradientRows<'_> {
    #[inline(always)]
    fn row<'r, L: Level>(&'r self, index: usize, buffer: &'r mut [f32]) -> &'r [f32] {
        let inputs = [self.x, self.dy].map(|values| row(values, index, buffer.len()));
        gradients::<L, _>(self.activation, inputs, buffer);
        buffer
    }

    #[inline(always)]
    fn prefetch(&self, index: usize, width: usize) {
        prefetch::row(self.x, index, width);
        prefetch::row(self.dy, index, width);
    }
}

/// dx of x and dy, of one length.
#[inline(always)]
fn gradients<L: Level, S: Slot>(activation: Activation, inputs: [&[f32]; 2], dx: &mut [S]) {
    let [(xs, x), (dys, dy)] = inputs.map(<[f32]>::as_chunks::<WIDTH>);
    let (dxs, dx) = dx.as_chunks_mut::<WIDTH>();
    for ((x, dy), dx) in xs.iter().zip(dys).zip(dxs) {
        S::put_vector::<L>(dx, activation.gradient::<L>(x, dy));
    }
    if !dx.is_empty() {
        let mut last = [0.0; WIDTH];
        let (x, dy) = (padded(x, 0.0), padded(dy, 0.0));
        L::store(activation.gradient::<L>(&x, &dy), &mut last);
        for (dx, last) in dx.iter_mut().zip(last) {
            dx.put(last);
        }
    }
}

/// y of x, of one length.
#[inline(always)]
fn values<L: Level, S: Slot>(activation: Activation, x: &[f32], y: &mut [S]) {
    let (xs, x) = x.as_chunks::<WIDTH>();
    let (ys, y) = y.as_chunks_mut::<WIDTH>();
    for (x, y) in xs.iter().zip(ys) {
        S::put_vector::<L>(y, activation.value::<L>(L::load(x)));
    }
    if !y.is_empty() {
        let mut last = [0.0; WIDTH];
        L::store(activation.value::<L>(L::load(&padded(x, 0.0))), &mut last);
        for (y, last) in y.iter_mut().zip(last) {
            y.put(last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::isa::Available;
    use super::super::simd::run_on;
    use super::*;

    #[test]
    fn far_from_zero_it_is_a_ramp_on_every_path_and_nan_stays() {
        let x = [f32::NEG_INFINITY, -200.0, -0.0, 40.0, 3e38, f32::NAN];
        for path in Available::all() {
            for activation in Activation::ALL {
                let mut y = vec![MaybeUninit::new(7.0); x.len()];
                run_on(
                    path,
                    Forward {
                        activation,
                        x: &x[1..],
                        y: &mut y[1..],
                    },
                );
                // SAFETY: all were written at their start.
                let y: Vec<f32> = y.iter().map(|y| unsafe { y.assume_init() }).collect();
                assert_eq!(y[1..5], [0.0, 0.0, 40.0, 3e38], "{activation:?}");
                assert!(y[5].is_nan(), "{activation:?}");
            }
        }
    }
}
