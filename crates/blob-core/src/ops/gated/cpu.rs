//! Gated linear units on the kernels of the CPU.

use super::{Gates, Held, Layers};
use crate::kernels::cpu::gated::{self as cpu, GateUp, GateUpGradientRows, GatedRows};
use crate::kernels::cpu::gemm::{Combined, Direction, Operand};
use crate::ops::activation::Activation;
use crate::ops::linear::{Input, Staged, Weight, product};
use crate::ops::{Tensor, read, shapes, wrap};
use crate::{Error, Result};

/// Both layers as one product, and their outputs rounded to bf16 when `keep`.
pub(super) fn forward(
    layers: &Layers<'_>,
    x: &Input,
    keep: bool,
) -> Result<(Input, Option<Vec<u32>>)> {
    let Staged::Cpu(staged) = &x.staged else {
        return Err(Error::InvalidInput(
            "the input of the gates must be staged for their device, got a reference's".into(),
        ));
    };
    let [gate, up] = &layers.gate_and_up;
    let (gate, up) = (gate.weight.cpu()?, up.weight.cpu()?);
    let (y, words) = cpu::of_products(layers.activation, [gate, up], staged, keep)?;
    let n = x.rows();
    let y = match y {
        Combined::Staged(y) => y,
        Combined::Matrix(y) => {
            let reader = layers.reader.weight.cpu()?;
            reader.stage(Direction::Forward, &y, n)?
        }
    };
    Ok((Input::new(n, None, Staged::Cpu(y)), words))
}

/// dL/dx, of rows of `[dg | du]` that are computed while they are staged.
pub(super) fn backward(
    gates: &Gates,
    weights: [&Weight; 2],
    dy: &Tensor,
    addend: Option<&Tensor>,
) -> Result<Tensor> {
    let dy = &*read(dy)?;
    let apart;
    let inputs = match &gates.held {
        Held::Apart([gate, up]) => {
            apart = (read(gate)?, read(up)?);
            GateUp::Apart([&apart.0, &apart.1])
        }
        Held::Rounded(words) => GateUp::Rounded(words),
        #[cfg(feature = "cuda")]
        Held::RoundedThere(_) => {
            return Err(Error::InvalidInput(
                "gates must lie on the device of their layers".into(),
            ));
        }
    };
    let (n, k) = (gates.rows(), weights[0].columns());
    let rows = GateUpGradientRows {
        activation: gates.activation,
        inputs,
        dy,
    };
    let dx = product(weights, |stack| rows.staged_for(stack, n), &[], addend)?;
    wrap(dx, (n, k))
}

/// y (n, f) of gate and up (n, f).
pub(super) fn hidden(activation: Activation, [gate, up]: &[Tensor; 2]) -> Result<Tensor> {
    let (n, f) = shapes::matrix("gate", gate)?;
    shapes::check("up", up, &[n, f])?;
    wrap(cpu::forward(activation, &read(gate)?, &read(up)?), (n, f))
}

/// y, computed while it is staged.
pub(super) fn staged(
    activation: Activation,
    [gate, up]: &[Tensor; 2],
    reader: &Weight,
) -> Result<Operand> {
    let (n, gate, up) = (gate.dim(0)?, &*read(gate)?, &*read(up)?);
    let rows = GatedRows {
        activation,
        gate,
        up,
    };
    Ok(rows.staged_for(reader.cpu()?, n)?)
}

/// dgate and dup of gate, up and dy, (n, f) each.
pub(super) fn gradients(
    activation: Activation,
    [gate, up]: &[Tensor; 2],
    dy: &Tensor,
) -> Result<[Tensor; 2]> {
    let (n, f) = shapes::matrix("gate", gate)?;
    shapes::check("up", up, &[n, f])?;
    shapes::check("dy of the gates", dy, &[n, f])?;
    let inputs: [&[f32]; 3] = [&read(gate)?, &read(up)?, &read(dy)?];
    let [d_gate, d_up] = cpu::backward(activation, inputs);
    Ok([wrap(d_gate, (n, f))?, wrap(d_up, (n, f))?])
}
