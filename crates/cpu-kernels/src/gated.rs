//! Gated linear units, element by element; equations in `ops::gated`. As rows of a product's
//! operand they are computed while these are staged.

#![expect(unsafe_code, reason = "a result's memory holds nothing before")]

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::activation::{Activation, sigmoid};
use super::gemm::{Combine, Combined, FrozenMatrix, Operand, RowSource, StackedWeights};
use super::output::{Slot, Unwritten};
use super::prefetch;
use super::rows::row;
use super::simd::{self, Kernel, Level, WIDTH, padded};
use crate::Result;

/// Elements per parallel piece.
const PIECE: usize = 8192;

/// y; all have one length.
///
/// # Panics
/// Unless the lengths fit.
pub fn forward(activation: Activation, gate: &[f32], up: &[f32]) -> Vec<f32> {
    assert_eq!(gate.len(), up.len());
    let mut y = Unwritten::new(gate.len());
    (
        gate.par_chunks(PIECE),
        up.par_chunks(PIECE),
        y.slots().par_chunks_mut(PIECE),
    )
        .into_par_iter()
        .for_each(|(gate, up, y)| {
            simd::run(Forward {
                activation,
                gate,
                up,
                y,
            });
        });
    // SAFETY: all have one length, and each piece is written as a whole.
    unsafe { y.assume_written() }
}

/// dL/d_gate and dL/d_up; all have one length.
///
/// # Panics
/// Unless the lengths fit.
pub fn backward(activation: Activation, [gate, up, dy]: [&[f32]; 3]) -> [Vec<f32>; 2] {
    assert_eq!([up.len(), dy.len()], [gate.len(); 2]);
    let [mut d_gate, mut d_up] = [(); 2].map(|()| Unwritten::new(gate.len()));
    (
        gate.par_chunks(PIECE),
        up.par_chunks(PIECE),
        dy.par_chunks(PIECE),
        d_gate.slots().par_chunks_mut(PIECE),
        d_up.slots().par_chunks_mut(PIECE),
    )
        .into_par_iter()
        .for_each(|(gate, up, dy, d_gate, d_up)| {
            simd::run(Backward {
                activation,
                gate,
                up,
                dy,
                d_gate,
                d_up,
            });
        });
    // SAFETY: as in `forward`.
    [d_gate, d_up].map(|gradient| unsafe { gradient.assume_written() })
}

impl Activation {
    /// y.
    #[inline(always)]
    fn gate<L: Level>(self, gate: L::Vector, up: L::Vector) -> L::Vector {
        L::multiply(self.value::<L>(gate), up)
    }

    /// dL/d_gate and dL/d_up.
    #[inline(always)]
    fn gate_back<L: Level>(self, [gate, up, dy]: [L::Vector; 3]) -> [L::Vector; 2] {
        let d_gate = L::multiply(L::multiply(dy, up), self.slope::<L>(gate));
        let d_up = match self {
            Self::Silu => L::multiply(L::multiply(dy, gate), sigmoid::<L>(gate)),
            Self::Gelu | Self::GeluTanh => L::multiply(dy, self.value::<L>(gate)),
        };
        [d_gate, d_up]
    }
}

/// y of x·Gᵀ and x·Uᵀ, which nobody else reads; the arguments and what comes back are those of
/// `FrozenMatrix::multiply_combined`.
///
/// # Errors
/// As there.
pub fn of_products(
    activation: Activation,
    [gate, up]: [&FrozenMatrix; 2],
    x: &Operand,
    keeps_products: bool,
) -> Result<(Combined, Option<Vec<u32>>)> {
    match activation {
        Activation::Silu => gate.multiply_combined::<BySilu>(up, x, keeps_products),
        Activation::Gelu => gate.multiply_combined::<ByGelu>(up, x, keeps_products),
        Activation::GeluTanh => gate.multiply_combined::<ByGeluTanh>(up, x, keeps_products),
    }
}

struct BySilu;
struct ByGelu;
struct ByGeluTanh;

impl Combine for BySilu {
    #[inline(always)]
    fn combine<L: Level>(gate: L::Vector, up: L::Vector) -> L::Vector {
        Activation::Silu.gate::<L>(gate, up)
    }
}

impl Combine for ByGelu {
    #[inline(always)]
    fn combine<L: Level>(gate: L::Vector, up: L::Vector) -> L::Vector {
        Activation::Gelu.gate::<L>(gate, up)
    }
}

impl Combine for ByGeluTanh {
    #[inline(always)]
    fn combine<L: Level>(gate: L::Vector, up: L::Vector) -> L::Vector {
        Activation::GeluTanh.gate::<L>(gate, up)
    }
}

/// `y`.
#[inline(always)]
fn gated<L: Level, S: Slot>(
    activation: Activation,
    [gate, up]: [&[f32; WIDTH]; 2],
    y: &mut [S; WIDTH],
) {
    S::put_vector::<L>(y, activation.gate::<L>(L::load(gate), L::load(up)));
}

/// dL/d_gate and dL/d_up.
#[inline(always)]
fn gradients<L: Level, S: Slot>(
    activation: Activation,
    inputs: [&[f32; WIDTH]; 3],
    [d_gate, d_up]: [&mut [S; WIDTH]; 2],
) {
    let [of_gate, of_up] = activation.gate_back::<L>(inputs.map(L::load));
    S::put_vector::<L>(d_gate, of_gate);
    S::put_vector::<L>(d_up, of_up);
}

struct Forward<'a> {
    activation: Activation,
    gate: &'a [f32],
    up: &'a [f32],
    y: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        gated_row::<L, _>(self.activation, [self.gate, self.up], self.y);
    }
}

struct Backward<'a> {
    activation: Activation,
    gate: &'a [f32],
    up: &'a [f32],
    dy: &'a [f32],
    d_gate: &'a mut [MaybeUninit<f32>],
    d_up: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let inputs = [self.gate, self.up, self.dy];
        row_gradients::<L, _>(self.activation, inputs, [self.d_gate, self.d_up]);
    }
}

/// The rows of y.
pub struct GatedRows<'a> {
    /// That of the gate.
    pub activation: Activation,
    /// (n, f)
    pub gate: &'a [f32],
    /// (n, f)
    pub up: &'a [f32],
}

impl GatedRows<'_> {
    /// n rows, computed while they are staged for a weight's forward product.
    ///
    /// # Errors
    /// As [`FrozenMatrix::stage`].
    pub fn staged_for(&self, weight: &FrozenMatrix, n: usize) -> Result<Operand> {
        weight.stage_rows(self, n)
    }
}

impl RowSource for GatedRows<'_> {
    #[inline(always)]
    fn row<'r, L: Level>(&'r self, index: usize, buffer: &'r mut [f32]) -> &'r [f32] {
        let inputs = [self.gate, self.up].map(|values| row(values, index, buffer.len()));
        gated_row::<L, _>(self.activation, inputs, buffer);
        buffer
    }
}

/// [`gated`] of slices of one length.
#[inline(always)]
fn gated_row<L: Level, S: Slot>(activation: Activation, [gate, up]: [&[f32]; 2], y: &mut [S]) {
    let (ys, y_rest) = y.as_chunks_mut();
    let [(gates, gate), (ups, up)] = [gate, up].map(<[f32]>::as_chunks);
    for ((y, gate), up) in ys.iter_mut().zip(gates).zip(ups) {
        gated::<L, S>(activation, [gate, up], y);
    }
    if !y_rest.is_empty() {
        let mut y = [0.0; WIDTH];
        let last = [gate, up].map(|rest| padded(rest, 0.0));
        gated::<L, f32>(activation, last.each_ref(), &mut y);
        for (slot, y) in y_rest.iter_mut().zip(y) {
            slot.put(y);
        }
    }
}

/// gate and up, (n, f).
#[derive(Clone, Copy)]
pub enum GateUp<'a> {
    /// As they are.
    Apart([&'a [f32]; 2]),
    /// Both rounded to bf16, gate in the low half of a word.
    Rounded(&'a [u32]),
}

/// The rows of `d_gate` beside those of `d_up`.
pub struct GateUpGradientRows<'a> {
    /// That of the gate.
    pub activation: Activation,
    /// What the forward pass kept.
    pub inputs: GateUp<'a>,
    /// (n, f)
    pub dy: &'a [f32],
}

impl GateUpGradientRows<'_> {
    /// n rows, computed while they are staged for the stack of both weights.
    pub fn staged_for(&self, stack: &StackedWeights<'_>, n: usize) -> Operand {
        stack.stage(self, n)
    }
}

impl RowSource for GateUpGradientRows<'_> {
    #[inline(always)]
    fn row<'r, L: Level>(&'r self, index: usize, buffer: &'r mut [f32]) -> &'r [f32] {
        let (d_gate, d_up) = buffer.split_at_mut(buffer.len() / 2);
        let width = d_gate.len();
        let dy = row(self.dy, index, width);
        match self.inputs {
            GateUp::Apart(inputs) => {
                let [gate, up] = inputs.map(|values| row(values, index, width));
                row_gradients::<L, _>(self.activation, [gate, up, dy], [d_gate, d_up]);
            }
            GateUp::Rounded(words) => {
                let words = row(words, index, width);
                let (whole, rest) = words.as_chunks();
                let done = WIDTH * whole.len();
                let (gates, gate_rest) = d_gate.split_at_mut(done);
                let (ups, up_rest) = d_up.split_at_mut(done);
                let results = gates
                    .as_chunks_mut()
                    .0
                    .iter_mut()
                    .zip(ups.as_chunks_mut().0);
                for ((words, dy), (d_gate, d_up)) in whole.iter().zip(dy.as_chunks().0).zip(results)
                {
                    let [gate, up] = halves(words);
                    gradients::<L, f32>(self.activation, [&gate, &up, dy], [d_gate, d_up]);
                }
                if !rest.is_empty() {
                    let [gate, up] = halves(&padded(rest, 0));
                    let inputs = [&gate[..rest.len()], &up[..rest.len()], &dy[done..]];
                    row_gradients::<L, _>(self.activation, inputs, [gate_rest, up_rest]);
                }
            }
        }
        buffer
    }

    #[inline(always)]
    fn prefetch(&self, index: usize, width: usize) {
        let width = width / 2;
        match self.inputs {
            GateUp::Apart(inputs) => {
                for values in inputs {
                    prefetch::row(values, index, width);
                }
            }
            GateUp::Rounded(words) => prefetch::row(words, index, width),
        }
        prefetch::row(self.dy, index, width);
    }
}

/// The numbers in the low and in the high halves of words.
#[inline(always)]
fn halves(words: &[u32; WIDTH]) -> [[f32; WIDTH]; 2] {
    [
        words.map(|word| f32::from_bits(word << 16)),
        words.map(|word| f32::from_bits(word & 0xffff_0000)),
    ]
}

/// [`gradients`] of slices of one length.
#[inline(always)]
fn row_gradients<L: Level, S: Slot>(
    activation: Activation,
    inputs: [&[f32]; 3],
    outputs: [&mut [S]; 2],
) {
    let [(gates, gate), (ups, up), (dys, dy)] = inputs.map(<[f32]>::as_chunks);
    let [(d_gates, d_gate), (d_ups, d_up)] = outputs.map(<[S]>::as_chunks_mut);
    let inputs = gates.iter().zip(ups).zip(dys);
    for (((gate, up), dy), (d_gate, d_up)) in inputs.zip(d_gates.iter_mut().zip(d_ups)) {
        gradients::<L, S>(activation, [gate, up, dy], [d_gate, d_up]);
    }
    if !d_gate.is_empty() {
        let [mut last_gate, mut last_up] = [[0.0; WIDTH]; 2];
        let inputs = [gate, up, dy].map(|rest| padded(rest, 0.0));
        gradients::<L, f32>(
            activation,
            inputs.each_ref(),
            [&mut last_gate, &mut last_up],
        );
        let last = last_gate.into_iter().zip(last_up);
        for ((d_gate, d_up), (gate, up)) in d_gate.iter_mut().zip(d_up).zip(last) {
            d_gate.put(gate);
            d_up.put(up);
        }
    }
}

#[cfg(test)]
mod tests;
