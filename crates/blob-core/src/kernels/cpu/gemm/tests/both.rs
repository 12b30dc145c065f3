//! Two products that become one matrix.

use super::super::{Combine, Combined};
use super::*;
use crate::kernels::cpu::simd::Level;

/// a − 2·b: which is which shows.
struct Difference;

impl Combine for Difference {
    fn combine<L: Level>(first: L::Vector, second: L::Vector) -> L::Vector {
        L::add(first, L::scale(-2.0, second))
    }
}

fn words(values: &[f32], others: &[f32]) -> Vec<u32> {
    let half = |value: &f32| u32::from(bf16::from_f32(*value).to_bits());
    let pairs = values.iter().zip(others);
    pairs
        .map(|(low, high)| half(low) | half(high) << 16)
        .collect()
}

#[test]
fn both_products_have_the_bits_that_they_have_alone() {
    // Tiles of every height, a last panel of any width, several tasks.
    for (m, n, k) in [(1, 32, 5), (23, 31, 40), (207, 96, 33), (30, 256, 770)] {
        let x = values(1, m * k);
        for (path, precision) in paths().flat_map(|path| ALL_PRECISIONS.map(|p| (path, p))) {
            let weights = [2, 3].map(|seed| matrix(&values(seed, n * k), n, k, precision));
            let alone = weights.each_ref().map(|weight| {
                let forward = (weight, Direction::Forward);
                product(forward, path, &x, m, &Epilogue::NONE)
            });
            let pairs = alone[0].iter().zip(&alone[1]);
            let expected: Vec<f32> = pairs.map(|(a, b)| a + -2.0 * b).collect();
            let [first, second] = &weights;
            let staged = first.stage_for(path, Direction::Forward, &x, m).unwrap();
            let mut factors = vec![0; m * n];
            let case = format!("{path:?} {precision:?} ({m}, {n}, {k})");

            let matrix =
                first.multiply_both::<Difference>(second, &staged, Some(&mut factors), true);
            let Combined::Matrix(out) = matrix.unwrap() else {
                panic!("{case}: a matrix was asked for");
            };
            assert_eq!(bits(&out), bits(&expected), "{case}");
            assert_eq!(factors, words(&alone[0], &alone[1]), "{case}");

            // The next product reads the same, whether the tiles staged its operand or not.
            let next = super::matrix(&values(4, 40 * n), 40, n, precision);
            let staged = match first
                .multiply_both::<Difference>(second, &staged, None, false)
                .unwrap()
            {
                Combined::Staged(staged) => staged,
                Combined::Matrix(out) => {
                    assert!(
                        precision != Precision::Bf16 || path != Dispatch::Avx512Bf16 || n % 32 != 0,
                        "{case}: not staged"
                    );
                    next.stage_for(path, Direction::Forward, &out, m).unwrap()
                }
            };
            let mut out = vec![f32::NAN; m * 40];
            next.multiply(Direction::Forward, &staged, &mut out, &Epilogue::NONE)
                .unwrap();
            let forward = (&next, Direction::Forward);
            let expected = product(forward, path, &expected, m, &Epilogue::NONE);
            assert_eq!(bits(&out), bits(&expected), "{case}");
        }
    }
}

#[test]
fn weights_of_another_shape_and_rows_for_others_are_refused() {
    let weight =
        |rows, columns, precision| matrix(&values(5, rows * columns), rows, columns, precision);
    let first = weight(4, 6, Precision::Bf16);
    let staged = first.stage(Direction::Forward, &[1.0; 12], 2).unwrap();
    let both = |other: &FrozenMatrix, factors: usize| {
        let mut factors = vec![0; factors];
        first
            .multiply_both::<Difference>(other, &staged, Some(&mut factors), true)
            .map(|_| ())
    };
    assert!(both(&weight(4, 6, Precision::Bf16), 8).is_ok());
    for error in [
        both(&weight(5, 6, Precision::Bf16), 8).unwrap_err(),
        both(&weight(4, 5, Precision::Bf16), 8).unwrap_err(),
        both(&first, 7).unwrap_err(),
    ] {
        assert_eq!(error.code(), "BPEFT_INVALID_INPUT", "{error}");
    }
    let mixed = weight(4, 6, Precision::Int8Mixed);
    let large = mixed.stage(Direction::Forward, &[9.0; 12], 2).unwrap();
    let error = mixed
        .multiply_both::<Difference>(&mixed, &large, None, true)
        .err()
        .unwrap();
    assert!(error.to_string().contains("large inputs"), "{error}");
}
