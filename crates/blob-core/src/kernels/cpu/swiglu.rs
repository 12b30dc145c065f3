//! SwiGLU, element by element; equations in `ops::swiglu`. As rows of a product's operand it is computed while
//! they are staged.

use rayon::prelude::*;

use super::exp::exp;
use super::gemm::Rows;
use super::simd::{self, Kernel, Level};

/// Elements per parallel piece.
const PIECE: usize = 8192;

/// Writes `y`; all have one length.
pub(crate) fn forward(gate: &[f32], up: &[f32], y: &mut [f32]) {
    (
        gate.par_chunks(PIECE),
        up.par_chunks(PIECE),
        y.par_chunks_mut(PIECE),
    )
        .into_par_iter()
        .for_each(|(gate, up, y)| simd::run(Forward { gate, up, y }));
}

/// Writes `d_gate` and `d_up`; all have one length.
pub(crate) fn backward([gate, up, dy]: [&[f32]; 3], [d_gate, d_up]: [&mut [f32]; 2]) {
    (
        gate.par_chunks(PIECE),
        up.par_chunks(PIECE),
        dy.par_chunks(PIECE),
        d_gate.par_chunks_mut(PIECE),
        d_up.par_chunks_mut(PIECE),
    )
        .into_par_iter()
        .for_each(|(gate, up, dy, d_gate, d_up)| {
            simd::run(Backward {
                gate,
                up,
                dy,
                d_gate,
                d_up,
            });
        });
}

#[inline(always)]
fn sigmoid<L: Level>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<L>(-x))
}

/// dL/d_gate and dL/d_up.
#[inline(always)]
fn gradients<L: Level>(gate: f32, up: f32, dy: f32) -> (f32, f32) {
    let open = sigmoid::<L>(gate);
    let slope = open * L::fused(gate, 1.0 - open, 1.0);
    (dy * up * slope, dy * gate * open)
}

struct Forward<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let Self { gate, up, y } = self;
        Gated { gate, up }.row::<L>(0, y);
    }
}

struct Backward<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    dy: &'a [f32],
    d_gate: &'a mut [f32],
    d_up: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let inputs = self.gate.iter().zip(self.up).zip(self.dy);
        let outputs = self.d_gate.iter_mut().zip(self.d_up);
        for (((&gate, &up), &dy), (d_gate, d_up)) in inputs.zip(outputs) {
            (*d_gate, *d_up) = gradients::<L>(gate, up, dy);
        }
    }
}

/// The rows of `y`.
pub(crate) struct Gated<'a> {
    pub(crate) gate: &'a [f32],
    pub(crate) up: &'a [f32],
}

impl Rows for Gated<'_> {
    #[inline(always)]
    fn row<'r, L: Level>(&'r self, index: usize, room: &'r mut [f32]) -> &'r [f32] {
        let [gate, up] = [self.gate, self.up].map(|values| row_of(values, index, room.len()));
        for ((y, &gate), &up) in room.iter_mut().zip(gate).zip(up) {
            *y = gate * sigmoid::<L>(gate) * up;
        }
        room
    }
}

/// The rows of `d_gate`, or with `UP` of `d_up`.
pub(crate) struct Gradient<'a, const UP: bool> {
    pub(crate) gate: &'a [f32],
    pub(crate) up: &'a [f32],
    pub(crate) dy: &'a [f32],
}

impl<const UP: bool> Rows for Gradient<'_, UP> {
    #[inline(always)]
    fn row<'r, L: Level>(&'r self, index: usize, room: &'r mut [f32]) -> &'r [f32] {
        let inputs = [self.gate, self.up, self.dy];
        let [gate, up, dy] = inputs.map(|values| row_of(values, index, room.len()));
        for (((gradient, &gate), &up), &dy) in room.iter_mut().zip(gate).zip(up).zip(dy) {
            let (d_gate, d_up) = gradients::<L>(gate, up, dy);
            *gradient = if UP { d_up } else { d_gate };
        }
        room
    }
}

#[inline(always)]
fn row_of(values: &[f32], index: usize, width: usize) -> &[f32] {
    &values[index * width..][..width]
}
