//! SwiGLU, element by element; equations in `ops::swiglu`.

use rayon::prelude::*;

use super::exp::exp;
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

struct Forward<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        for ((y, &gate), &up) in self.y.iter_mut().zip(self.gate).zip(self.up) {
            *y = gate * sigmoid::<L>(gate) * up;
        }
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
            let open = sigmoid::<L>(gate);
            let slope = open * L::fused(gate, 1.0 - open, 1.0);
            *d_gate = dy * up * slope;
            *d_up = dy * gate * open;
        }
    }
}
