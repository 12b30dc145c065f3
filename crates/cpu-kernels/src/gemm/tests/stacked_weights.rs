//! Several weights behind one input.

use super::super::{Part, SideBySide, StackedWeights};
use super::*;
use crate::decode::tests::four_bit_matrix;
use crate::stored::TensorType;

const ROWS: [usize; 3] = [7, 40, 33];

/// `out` (m, k) of a stack on one path, with dy_i side by side.
fn stacked(
    weights: &[&FrozenMatrix],
    path: Isa,
    dys: &[Vec<f32>],
    epilogue: &Epilogue<'_>,
) -> Vec<f32> {
    let stack = StackedWeights::new(weights).unwrap();
    let parts: Vec<_> = dys
        .iter()
        .zip(weights)
        .map(|(dy, weight)| Part {
            values: dy,
            width: weight.rows(),
        })
        .collect();
    let m = parts[0].values.len() / parts[0].width;
    let staged = stack.stage_on(path.available().unwrap(), &SideBySide(&parts), m);
    stack.product(&staged, epilogue).unwrap()
}

#[test]
fn a_stack_is_the_sum_of_its_products() {
    let (m, k) = (29, 70);
    // Whole numbers, so that no order of a sum changes a bit; odd rows leave half a word between
    // the parts.
    let whole =
        |seed, length| -> Vec<f32> { values(seed, length).iter().map(|v| v.round()).collect() };
    let dys = [0, 1, 2].map(|i| whole(30 + i as u64, m * ROWS[i]));
    let addend = whole(40, m * k);
    for (path, precision) in paths().flat_map(|path| PRECISIONS.map(|p| (path, p))) {
        let weights =
            [0, 1, 2].map(|i| matrix(&whole(50 + i as u64, ROWS[i] * k), ROWS[i], k, precision));
        let mut sum = addend.clone();
        for (weight, dy) in weights.iter().zip(&dys) {
            let epilogue = Epilogue::NONE;
            let one = product((weight, Direction::Backward), path, dy, m, &epilogue);
            sum.iter_mut().zip(one).for_each(|(sum, one)| *sum += one);
        }
        let epilogue = Epilogue {
            updates: &[],
            addend: Addend::Matrix(&addend),
        };
        let out = stacked(&weights.each_ref(), path, &dys, &epilogue);
        assert_eq!(out, sum, "{path:?} {precision:?}");
    }
}

#[test]
fn weights_that_are_stored_differently_may_be_stacked() {
    let (m, k) = (13, 512);
    let in_blocks = |kind, rows, precision| {
        FrozenMatrix::new(four_bit_matrix(kind, (rows, k)), precision).unwrap()
    };
    for precision in ALL_PRECISIONS {
        let weights = [
            in_blocks(TensorType::Nf4, ROWS[0], precision),
            in_blocks(TensorType::Q4K, ROWS[1], precision),
            matrix(&values(62, ROWS[2] * k), ROWS[2], k, precision),
        ];
        let names = weights.each_ref().map(FrozenMatrix::type_name);
        assert!(names[0] != names[1] && names[1] != names[2], "{names:?}");
        let dys = [0, 1, 2].map(|i| values(70 + i as u64, m * ROWS[i]));
        let depth = ROWS.iter().sum();
        let beside: Vec<f32> = (0..m)
            .flat_map(|row| {
                let part = |i: usize| &dys[i][row * ROWS[i]..(row + 1) * ROWS[i]];
                [part(0), part(1), part(2)].concat()
            })
            .collect();
        let below = weights.each_ref().map(FrozenMatrix::values).concat();
        for path in paths() {
            let out = stacked(&weights.each_ref(), path, &dys, &Epilogue::NONE);
            let zeros = vec![0.0; m * k];
            let operands = (&beside[..], &transposed(&below, depth, k)[..], &zeros[..]);
            assert_product(&out, operands, (m, k, depth), precision, path);
        }
    }
}

#[test]
fn weights_that_do_not_fit_and_rows_for_others_are_refused() {
    let [a, b] = [4, 5].map(|rows| matrix(&values(80, rows * 6), rows, 6, Precision::Bf16));
    let narrow = matrix(&values(81, 12), 4, 3, Precision::Bf16);
    let exact = matrix(&values(81, 24), 4, 6, Precision::F32);
    for weights in [&[][..], &[&a, &narrow], &[&a, &exact]] {
        assert!(StackedWeights::new(weights).is_err());
    }
    let (both, alone) = ([&a, &b], [&a]);
    let rows = [0.0; 9];
    let parts = [&rows[..4], &rows[4..]].map(|values| Part {
        values,
        width: values.len(),
    });
    let staged = StackedWeights::new(&both)
        .unwrap()
        .stage(&SideBySide(&parts), 1);
    let product = |stack: StackedWeights<'_>| stack.product(&staged, &Epilogue::NONE);
    assert_eq!(
        product(StackedWeights::new(&both).unwrap()).unwrap().len(),
        6
    );
    let turned = [&b, &a];
    for other in [&alone[..], &turned] {
        let error = product(StackedWeights::new(other).unwrap()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("of depth [4, 5]"), "{text}");
    }
}
