//! Gated linear unit with SiLU (Shazeer 2020, arXiv:2002.05202).
//!
//! ```text
//! y = silu(g) ∘ u        silu(g) = g·σ(g),  σ(g) = 1/(1 + e^−g)
//! dg = dy ∘ u ∘ σ(g)·(1 + g·(1 − σ(g)))        du = dy ∘ silu(g)
//! ```
//!
//! Shapes: `n` tokens, `f` inner width.

use candle_core::Tensor;

use super::{contract, read, wrap};
use crate::Result;
use crate::kernels::cpu::swiglu as cpu;

/// `y`: gate (n, f), up (n, f) → (n, f).
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when the shapes differ.
pub fn forward(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    let (n, f) = contract::matrix("gate", gate)?;
    contract::shape("up", up, &[n, f])?;
    wrap(cpu::forward(&read(gate)?, &read(up)?), (n, f))
}

/// `(dgate, dup)`: gate, up, dy (n, f) each → (n, f) each.
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when the shapes differ.
pub fn backward(gate: &Tensor, up: &Tensor, dy: &Tensor) -> Result<(Tensor, Tensor)> {
    let (n, f) = contract::matrix("gate", gate)?;
    contract::shape("up", up, &[n, f])?;
    contract::shape("dy of SwiGLU", dy, &[n, f])?;
    let inputs: [&[f32]; 3] = [&read(gate)?, &read(up)?, &read(dy)?];
    let [d_gate, d_up] = cpu::backward(inputs);
    Ok((wrap(d_gate, (n, f))?, wrap(d_up, (n, f))?))
}

#[cfg(test)]
mod tests {
    use super::super::oracle::{
        assert_close, assert_gradient, assert_same_bits_on_any_thread_count, bits, tensor, values,
    };
    use super::*;
    use crate::kernels::cpu::gemm::{
        Direction, Epilogue, FrozenMatrix, Operand, Part, Precision, SideBySide, Stack, collect,
    };
    use crate::weights::{HostTensor, StoredMatrix};
    use candle_core::{DType, Device};

    fn reference(gate: &Tensor, up: &Tensor) -> candle_core::Result<Tensor> {
        let gate = gate.to_dtype(DType::F64)?;
        let silu = (&gate / (gate.neg()?.exp()? + 1.0)?)?;
        silu * up.to_dtype(DType::F64)?
    }

    #[test]
    fn forward_is_the_plain_composition() {
        let (gate, up) = ((tensor(1, 5, 37) * 4.0).unwrap(), tensor(2, 5, 37));
        let y = forward(&gate, &up).unwrap();
        assert_close(&y, &reference(&gate, &up).unwrap(), 1e-6);
    }

    #[test]
    fn backward_is_the_gradient_of_the_reference() {
        let (gate, up, dy) = (tensor(1, 3, 17), tensor(2, 3, 17), tensor(3, 3, 17));
        let (d_gate, d_up) = backward(&gate, &up, &dy).unwrap();
        assert_gradient(&d_gate, &gate, &dy, |gate| reference(gate, &up));
        assert_gradient(&d_up, &up, &dy, |up| reference(&gate, up));
    }

    #[test]
    fn a_closed_gate_stays_finite() {
        let gate = Tensor::new(&[[-1e4_f32, -90.0, 90.0, 1e4]], &Device::Cpu).unwrap();
        let ones = gate.ones_like().unwrap();
        let (d_gate, d_up) = backward(&gate, &ones, &ones).unwrap();
        assert_eq!(values(&d_gate)[2..], [1.0, 1.0]);
        assert_eq!(values(&d_up)[2..], [90.0, 1e4]);
        for value in values(&d_gate)[..2].iter().chain(&values(&d_up)[..2]) {
            assert!(value.abs() < 1e-30);
        }
    }

    #[test]
    fn a_product_of_rows_computed_on_the_way_is_that_of_the_written_rows() {
        let floats = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let (n, f, columns) = (27, 64, 35);
        let (gate, up, dy) = (tensor(1, n, f), tensor(2, n, f), tensor(3, n, f));
        let weight = HostTensor {
            shape: vec![columns, f],
            data: floats(&tensor(4, columns, f)),
        };
        let stored = StoredMatrix::from_tensor(&weight).unwrap();
        let y = forward(&gate, &up).unwrap();
        let (d_gate, d_up) = backward(&gate, &up, &dy).unwrap();
        let [gate, up, dy] = [&gate, &up, &dy].map(floats);
        let (gate, up, dy) = (&gate[..], &up[..], &dy[..]);
        for precision in [
            Precision::F32,
            Precision::Bf16,
            Precision::Int8,
            Precision::Int8Mixed,
        ] {
            let matrix = FrozenMatrix::new(stored.clone(), precision).unwrap();
            let product = |rows: Operand| {
                let mut out = vec![0.0; n * columns];
                matrix
                    .multiply(Direction::Forward, &rows, &mut out, &Epilogue::NONE)
                    .unwrap();
                bits(&wrap(out, (n, columns)).unwrap())
            };
            let written = |x: &Tensor| {
                let x = matrix.stage(Direction::Forward, &floats(x), n);
                product(x.unwrap())
            };
            let y_rows = matrix.stage_rows(&cpu::GatedRows { gate, up }, n);
            assert_eq!(product(y_rows.unwrap()), written(&y), "{precision:?}");

            let [above, below] = [0, 1].map(|seed| {
                let weight = HostTensor {
                    shape: vec![f, columns],
                    data: floats(&tensor(5 + seed, f, columns)),
                };
                let stored = StoredMatrix::from_tensor(&weight).unwrap();
                FrozenMatrix::new(stored, precision).unwrap()
            });
            let weights = [&above, &below];
            let stack = Stack::new(&weights).unwrap();
            let product = |rows: Operand| {
                let mut out = vec![0.0; n * columns];
                stack.multiply(&rows, &mut out, &Epilogue::NONE).unwrap();
                bits(&wrap(out, (n, columns)).unwrap())
            };
            let (d_gate, d_up) = (floats(&d_gate), floats(&d_up));
            let inputs = cpu::GateUp::Apart([gate, up]);
            let gradients = cpu::GateUpGradientRows { inputs, dy };
            let parts = [&d_gate, &d_up].map(|values| Part { values, width: f });
            assert_eq!(
                product(stack.stage(&gradients, n)),
                product(stack.stage(&SideBySide(&parts), n)),
                "{precision:?}"
            );
        }
    }

    #[test]
    fn factors_in_bf16_have_the_gradients_of_the_rounded_numbers() {
        // Widths that end in a vector, and that do not.
        for f in [16, 37, 64] {
            let n = 5;
            let rounded = |x: &Tensor| {
                let x = x.to_dtype(DType::BF16).unwrap();
                x.to_dtype(DType::F32).unwrap()
            };
            let [gate, up] = [1, 2].map(|seed| rounded(&tensor(seed, n, f)));
            let dy = tensor(3, n, f);
            let floats = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let [gate, up, dy] = [&gate, &up, &dy].map(floats);
            let pairs = gate.iter().zip(&up);
            let words: Vec<u32> = pairs
                .map(|(gate, up)| gate.to_bits() >> 16 | up.to_bits())
                .collect();
            let rows = |inputs| {
                let gradients = cpu::GateUpGradientRows { inputs, dy: &dy };
                collect(&gradients, n, 2 * f)
            };
            let apart = rows(cpu::GateUp::Apart([&gate, &up]));
            assert_eq!(rows(cpu::GateUp::Rounded(&words)), apart);
        }
    }

    #[test]
    fn neither_threads_nor_neighbours_change_a_bit() {
        let (gate, up) = (tensor(1, 100, 333), tensor(2, 100, 333));
        assert_same_bits_on_any_thread_count(|| {
            let (d_gate, d_up) = backward(&gate, &up, &up).unwrap();
            vec![forward(&gate, &up).unwrap(), d_gate, d_up]
        });
        let row = |tensor: &Tensor| tensor.narrow(0, 57, 1).unwrap();
        let alone = forward(&row(&gate), &row(&up)).unwrap();
        assert_eq!(bits(&alone), bits(&row(&forward(&gate, &up).unwrap())));
    }
}
