//! Two products that become one matrix.

use super::super::{Combine, Combined, Operand};
use super::*;
use crate::InvalidInput;
use crate::simd::Level;

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
fn combined_products_have_the_bits_that_they_have_alone() {
    // Tiles of every height, a last panel of any width, several tasks; with many threads, tasks cut
    // by rows.
    for (m, n, k) in [
        (1, 32, 5),
        (23, 31, 40),
        (207, 32, 133),
        (207, 96, 33),
        (30, 256, 770),
    ] {
        let x = values(1, m * k);
        for (path, precision) in paths().flat_map(|path| ALL_PRECISIONS.map(|p| (path, p))) {
            let case = format!("{path:?} {precision:?} ({m}, {n}, {k})");
            let weights = [2, 3].map(|seed| matrix(&values(seed, n * k), n, k, precision));
            let alone = weights.each_ref().map(|weight| {
                let forward = (weight, Direction::Forward);
                product(forward, path, &x, m, &Epilogue::NONE)
            });
            let pairs = alone[0].iter().zip(&alone[1]);
            let expected: Vec<f32> = pairs.map(|(a, b)| a + -2.0 * b).collect();
            // What the next product makes of it, whether the tiles staged its operand or not.
            let next = matrix(&values(4, 40 * n), 40, n, precision);
            let forward = (&next, Direction::Forward);
            let of_next = product(forward, path, &expected, m, &Epilogue::NONE);
            let [first, second] = &weights;
            let staged = first.stage_for(path, Direction::Forward, &x, m).unwrap();
            for threads in [1, 2, 40] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                pool.unwrap().install(|| {
                    let (combined, products) = first
                        .multiply_combined::<Difference>(second, &staged, true)
                        .unwrap();
                    let products = products.unwrap();
                    assert_eq!(products, words(&alone[0], &alone[1]), "{case}");
                    let is_bf16 = (precision, path) == (Precision::Bf16, Isa::Avx512Bf16);
                    let operand = match combined {
                        Combined::Staged(operand) => operand,
                        Combined::Matrix(out) => {
                            assert!(!(is_bf16 && n % 32 == 0), "{case}: not staged");
                            assert_eq!(bits(&out), bits(&expected), "{case}");
                            next.stage_for(path, Direction::Forward, &out, m).unwrap()
                        }
                    };
                    let mut out = vec![f32::NAN; m * 40];
                    next.multiply(Direction::Forward, &operand, &mut out, &Epilogue::NONE)
                        .unwrap();
                    assert_eq!(bits(&out), bits(&of_next), "{case}");
                });
            }
        }
    }
}

#[test]
fn weights_that_are_not_alike_and_rows_for_others_are_refused() {
    let weight =
        |rows, columns, precision| matrix(&values(5, rows * columns), rows, columns, precision);
    let first = weight(4, 6, Precision::Bf16);
    let staged = first.stage(Direction::Forward, &[1.0; 12], 2).unwrap();
    let refused = |[a, b]: [&FrozenMatrix; 2], rows: &Operand| {
        let combined = a.multiply_combined::<Difference>(b, rows, true);
        combined.err().map(|InvalidInput(text)| text)
    };
    assert_eq!(refused([&first, &first], &staged), None);
    let mixed = weight(4, 6, Precision::Int8Mixed);
    let of_mixed = mixed.stage(Direction::Forward, &[9.0; 12], 2).unwrap();
    let others = [
        weight(5, 6, Precision::Bf16),
        weight(4, 5, Precision::Bf16),
        weight(4, 6, Precision::F32),
        weight(4, 6, Precision::Int8),
    ];
    for other in &others {
        let text = refused([&first, other], &staged).unwrap();
        assert!(text.contains("alike"), "{text}");
    }
    for (pair, rows) in [
        ([&others[2], &others[2]], &staged),
        ([&mixed, &mixed], &of_mixed),
    ] {
        assert!(refused(pair, rows).is_some());
    }
}
