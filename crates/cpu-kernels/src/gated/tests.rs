use super::*;
use crate::gemm::{
    Direction, Epilogue, FrozenMatrix, Operand, Part, Precision, SideBySide, StackedWeights,
    collect,
};
use crate::stored::{HostTensor, StoredMatrix};
use half::bf16;

/// Numbers in (−2, 2), the same for the same seed.
fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / f32::from(1_u16 << 15) / 128.0 - 2.0
    };
    (0..count).map(|_| next()).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn a_product_of_rows_computed_on_the_way_is_that_of_the_written_rows() {
    for activation in Activation::ALL {
        assert_a_product_of_rows_is_that_of_the_written_rows(activation);
    }
}

fn assert_a_product_of_rows_is_that_of_the_written_rows(activation: Activation) {
    let (n, f, columns) = (27, 64, 35);
    let [gate, up, dy] = [1, 2, 3].map(|seed| numbers(seed, n * f));
    let weight = HostTensor {
        shape: vec![columns, f],
        data: numbers(4, columns * f),
    };
    let stored = StoredMatrix::from_tensor(&weight).unwrap();
    let y = forward(activation, &gate, &up);
    let [d_gate, d_up] = backward(activation, [&gate, &up, &dy]);
    let (gate, up, dy) = (&gate[..], &up[..], &dy[..]);
    for precision in Precision::ALL {
        let matrix = FrozenMatrix::new(stored.clone(), precision).unwrap();
        let product = |rows: Operand| {
            let out = matrix.product(Direction::Forward, &rows, &Epilogue::NONE);
            bits(&out.unwrap())
        };
        let written = |x: &[f32]| {
            let x = matrix.stage(Direction::Forward, x, n);
            product(x.unwrap())
        };
        let y_rows = matrix.stage_rows(
            &GatedRows {
                activation,
                gate,
                up,
            },
            n,
        );
        assert_eq!(product(y_rows.unwrap()), written(&y), "{precision:?}");

        let [above, below] = [0, 1].map(|seed| {
            let weight = HostTensor {
                shape: vec![f, columns],
                data: numbers(5 + seed, f * columns),
            };
            let stored = StoredMatrix::from_tensor(&weight).unwrap();
            FrozenMatrix::new(stored, precision).unwrap()
        });
        let weights = [&above, &below];
        let stack = StackedWeights::new(&weights).unwrap();
        let product = |rows: Operand| {
            let out = stack.product(&rows, &Epilogue::NONE);
            bits(&out.unwrap())
        };
        let inputs = GateUp::Apart([gate, up]);
        let gradients = GateUpGradientRows {
            activation,
            inputs,
            dy,
        };
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
    let widths = [16, 37, 64].into_iter();
    for (f, activation) in widths.flat_map(|f| Activation::ALL.map(|activation| (f, activation))) {
        let n = 5;
        let rounded = |x: f32| bf16::from_f32(x).to_f32();
        let [gate, up] = [1, 2].map(|seed| {
            let numbers = numbers(seed, n * f).into_iter();
            numbers.map(rounded).collect::<Vec<_>>()
        });
        let dy = numbers(3, n * f);
        let pairs = gate.iter().zip(&up);
        let words: Vec<u32> = pairs
            .map(|(gate, up)| gate.to_bits() >> 16 | up.to_bits())
            .collect();
        let rows = |inputs| {
            let gradients = GateUpGradientRows {
                activation,
                inputs,
                dy: &dy,
            };
            collect(&gradients, n, 2 * f)
        };
        let apart = rows(GateUp::Apart([&gate, &up]));
        assert_eq!(rows(GateUp::Rounded(&words)), apart);
    }
}
