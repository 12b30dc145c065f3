//! Every test runs on all paths that this machine has.

mod combined;
mod int8;
mod outliers;
mod refusals;
mod stacked_weights;

use half::bf16;

use super::int8::MAX_INT8_DEPTH;
use super::{Addend, Direction, Epilogue, FrozenMatrix, LowRankUpdate, Precision};
use crate::isa::{self, Isa};
use crate::marks::{BitRows, Effect, Marks};
use crate::stored::{HostTensor, StoredMatrix};

const PRECISIONS: [Precision; 2] = [Precision::F32, Precision::Bf16];
const ALL_PRECISIONS: [Precision; 3] = [Precision::F32, Precision::Bf16, Precision::Int8];
const DIRECTIONS: [Direction; 2] = [Direction::Forward, Direction::Backward];

fn matrix(w: &[f32], n: usize, k: usize, precision: Precision) -> FrozenMatrix {
    let tensor = HostTensor {
        shape: vec![n, k],
        data: w.to_vec(),
    };
    FrozenMatrix::new(StoredMatrix::from_tensor(&tensor).unwrap(), precision).unwrap()
}

/// `out` of a product on one path.
fn product(
    (weight, direction): (&FrozenMatrix, Direction),
    path: Isa,
    x: &[f32],
    m: usize,
    epilogue: &Epilogue<'_>,
) -> Vec<f32> {
    let cols = match direction {
        Direction::Forward => weight.rows(),
        Direction::Backward => weight.columns(),
    };
    let mut out = vec![f32::NAN; m * cols];
    let staged = weight.stage_for(path, direction, x, m).unwrap();
    weight
        .multiply(direction, &staged, &mut out, epilogue)
        .unwrap();
    out
}

fn transposed(w: &[f32], n: usize, k: usize) -> Vec<f32> {
    (0..k * n).map(|i| w[i % n * k + i / n]).collect()
}

fn paths() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|path| path.is_available())
}

/// Normal enough values in (−2, 2) by SplitMix64.
fn values(seed: u64, length: usize) -> Vec<f32> {
    (1..=length as u64)
        .map(|i| {
            let mut z = seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let (a, b) = ((z >> 40) as f32, ((z >> 16) & 0xff_ffff) as f32);
            (a + b) / (1 << 23) as f32 - 2.0
        })
        .collect()
}

fn rounded(value: f32, precision: Precision) -> f64 {
    match precision {
        Precision::F32 => f64::from(value),
        Precision::Bf16 | Precision::Int8 | Precision::Int8Mixed => bf16::from_f32(value).to_f64(),
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Compares out (m, n) with start + x (m, k) · Wᵀ in `f64` on rounded operands.
///
/// Tolerance: the bound of a chain of k additions in `f32`, (k + 1) · 2⁻²⁴ · Σ|terms|.
fn assert_product(
    out: &[f32],
    (x, w, start): (&[f32], &[f32], &[f32]),
    (m, n, k): (usize, usize, usize),
    precision: Precision,
    path: Isa,
) {
    for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
        let start = f64::from(start[i * n + j]);
        let (mut exact, mut size) = (start, start.abs());
        for t in 0..k {
            let term = rounded(x[i * k + t], precision) * rounded(w[j * k + t], precision);
            exact += term;
            size += term.abs();
        }
        let error = (f64::from(out[i * n + j]) - exact).abs();
        let limit = (k + 1) as f64 * 2f64.powi(-24) * size;
        assert!(
            error <= limit,
            "{path:?} {precision:?} ({m}, {n}, {k}) at ({i}, {j}): error {error:e} > {limit:e}"
        );
    }
}

#[test]
fn products_of_any_shape_agree_with_f64_on_every_path_in_both_directions() {
    let shapes = [
        (1, 1, 1),
        (2, 33, 3),
        (3, 5, 7),
        (11, 31, 16),
        (12, 32, 384),
        (13, 64, 385),
        (25, 70, 770),
        (97, 40, 17),
        (200, 129, 33),
        (4, 300, 1537),
    ];
    for (seed, shape @ (m, n, k)) in (0..).zip(shapes) {
        let (x, w) = (values(seed, m * k), values(seed + 100, n * k));
        for precision in PRECISIONS {
            let forward = matrix(&w, n, k, precision);
            let backward = matrix(&transposed(&w, n, k), k, n, precision);
            for path in paths() {
                let zeros = vec![0.0; m * n];
                let out = product((&forward, Direction::Forward), path, &x, m, &Epilogue::NONE);
                assert_product(&out, (&x, &w, &zeros), shape, precision, path);
                let same = product(
                    (&backward, Direction::Backward),
                    path,
                    &x,
                    m,
                    &Epilogue::NONE,
                );
                assert_eq!(bits(&out), bits(&same), "{path:?} {precision:?} {shape:?}");
            }
        }
    }
}

/// (m, cols) of c·left·right under marks, in `f64`.
fn low_rank(update: &LowRankUpdate<'_>, m: usize, cols: usize) -> Vec<f64> {
    let rank = update.right.len() / cols;
    let mut sum = vec![0.0; m * cols];
    for (i, j) in update
        .rows
        .clone()
        .flat_map(|i| (0..cols).map(move |j| (i, j)))
    {
        let value: f64 = (0..rank)
            .map(|r| f64::from(update.left[i * rank + r]) * f64::from(update.right[r * cols + j]))
            .sum();
        let factor = match update.marks {
            Some(Marks { bits, effect })
                if bits.words[i * bits.stride + j / 32] >> (j % 32) & 1 == 1 =>
            {
                if effect == Effect::Flip { -1.0 } else { 0.0 }
            }
            _ => 1.0,
        };
        sum[i * cols + j] = factor * f64::from(update.factor) * value;
    }
    sum
}

#[test]
fn an_epilogue_adds_what_it_says_to_the_bare_product() {
    let (m, n, k, rank) = (29, 45, 70, 3);
    let w = values(2, n * k);
    for (precision, direction) in ALL_PRECISIONS
        .into_iter()
        .flat_map(|precision| DIRECTIONS.map(|direction| (precision, direction)))
    {
        let (cols, depth) = match direction {
            Direction::Forward => (n, k),
            Direction::Backward => (k, n),
        };
        let (x, addend) = (values(1, m * depth), values(3, m * cols));
        let (left, right) = (values(4, m * rank), values(5, rank * cols));
        let stride = cols.div_ceil(32);
        let words: Vec<u32> = (1..=m * stride)
            .map(|i| (i as u32).wrapping_mul(0x9e37_79b9))
            .collect();
        let update = |rows, factor, marks| LowRankUpdate {
            rows,
            left: &left,
            right: &right,
            factor,
            marks,
        };
        let marks = |effect| {
            let bits = BitRows {
                words: &words,
                stride,
            };
            Some(Marks { bits, effect })
        };
        let (signs, mask) = (marks(Effect::Flip), marks(Effect::Drop));
        let updates = [
            update(0..m, 0.5, None),
            update(0..13, 1.0, signs),
            update(13..m, -2.0, signs),
            update(2..m, 1.5, mask),
        ];
        let weight = matrix(&w, n, k, precision);
        for path in paths() {
            let bare = product((&weight, direction), path, &x, m, &Epilogue::NONE);
            let whole = Epilogue {
                updates: &updates,
                addend: Addend::Matrix(&addend),
            };
            let out = product((&weight, direction), path, &x, m, &whole);
            let terms: Vec<_> = updates.iter().map(|it| low_rank(it, m, cols)).collect();
            for at in 0..m * cols {
                let sum: f64 = terms.iter().map(|term| term[at]).sum();
                let expected = f64::from(bare[at]) + sum + f64::from(addend[at]);
                let error = (f64::from(out[at]) - expected).abs();
                assert!(
                    error < 1e-4,
                    "{path:?} {precision:?} {direction:?} {at}: {error:e}"
                );
            }
            let mut twice = bare.clone();
            let staged = weight.stage_for(path, direction, &x, m).unwrap();
            let again = Epilogue {
                updates: &[],
                addend: Addend::Out,
            };
            weight
                .multiply(direction, &staged, &mut twice, &again)
                .unwrap();
            let doubled: Vec<f32> = bare.iter().map(|value| value + value).collect();
            assert_eq!(bits(&twice), bits(&doubled));
        }
    }
}

#[test]
fn the_bits_of_a_row_depend_neither_on_the_batch_nor_on_the_threads() {
    let (m, n, k) = (137, 300, 801);
    let w = values(7, n * k);
    let order: Vec<usize> = (0..m).map(|i| (i * 50 + 3) % m).collect();
    for (path, precision) in paths().flat_map(|path| ALL_PRECISIONS.map(|p| (path, p))) {
        let weight = matrix(&w, n, k, precision);
        for direction in DIRECTIONS {
            let (cols, depth) = match direction {
                Direction::Forward => (n, k),
                Direction::Backward => (k, n),
            };
            let x = values(6, m * depth);
            let permuted: Vec<f32> = order
                .iter()
                .flat_map(|&i| &x[i * depth..][..depth])
                .copied()
                .collect();
            let run = |threads: usize, x: &[f32]| {
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap();
                let rows = x.len() / depth;
                let out =
                    pool.install(|| product((&weight, direction), path, x, rows, &Epilogue::NONE));
                bits(&out)
            };
            let whole = run(1, &x);
            for threads in [1, 2, 40] {
                assert_eq!(run(threads, &x), whole, "{path:?} {threads}");
                let mixed = run(threads, &permuted);
                for (row, &i) in mixed.chunks(cols).zip(&order) {
                    assert_eq!(
                        row,
                        &whole[i * cols..][..cols],
                        "{path:?} {threads} permuted"
                    );
                }
                for rows in [1, 7, 37] {
                    let part = run(threads, &x[40 * depth..][..rows * depth]);
                    assert_eq!(part, whole[40 * cols..][..rows * cols], "{path:?} {rows}");
                }
            }
        }
    }
}

#[test]
fn bf16_operands_round_to_nearest_even_and_keep_nan_and_infinity() {
    let cases = [
        (1.0 + 1.0 / 256.0, 1.0),
        (1.0 + 1.001 / 256.0, 1.0 + 1.0 / 128.0),
        (1.0 + 3.0 / 256.0, 1.0 + 2.0 / 128.0),
        (-1.0 - 3.0 / 256.0, -1.0 - 2.0 / 128.0),
        (f32::MAX, f32::INFINITY),
        (f32::INFINITY, f32::INFINITY),
        (f32::NEG_INFINITY, f32::NEG_INFINITY),
        (f32::NAN, f32::NAN),
        (f32::from_bits(0x7f80_0001), f32::NAN), // its upper half alone would read as infinity
        (f32::from_bits(0x7fff_ffff), f32::NAN), // rounding up would overflow into the sign
    ];
    for path in paths() {
        for (value, expected) in cases {
            for (x, w) in [(value, 1.0), (1.0, value)] {
                let weight = matrix(&[w], 1, 1, Precision::Bf16);
                let out = product(
                    (&weight, Direction::Forward),
                    path,
                    &[x],
                    1,
                    &Epilogue::NONE,
                );
                let same = out[0].to_bits() == expected.to_bits();
                assert!(
                    same || (out[0].is_nan() && expected.is_nan()),
                    "{path:?} {x} · {w}"
                );
            }
        }
    }
}

#[test]
fn a_nan_stays_in_its_row_and_its_column() {
    let (m, n, k) = (13, 35, 5);
    let (mut x, mut w) = (values(9, m * k), values(10, n * k));
    (x[2 * k + 4], w[33 * k + 4]) = (f32::NAN, f32::INFINITY);
    for (path, precision) in paths().flat_map(|path| PRECISIONS.map(|p| (path, p))) {
        let weight = matrix(&w, n, k, precision);
        let out = product((&weight, Direction::Forward), path, &x, m, &Epilogue::NONE);
        for (i, value) in out.iter().enumerate() {
            assert_eq!(value.is_nan(), i / n == 2, "{path:?} {precision:?} {i}");
            assert_eq!(
                value.is_finite(),
                i / n != 2 && i % n != 33,
                "{path:?} {precision:?} {i}"
            );
        }
    }
}

#[test]
fn an_empty_batch_is_a_product_too() {
    for direction in DIRECTIONS {
        let weight = matrix(&[1.0, 2.0], 2, 1, Precision::F32);
        assert!(
            product(
                (&weight, direction),
                isa::current(),
                &[],
                0,
                &Epilogue::NONE
            )
            .is_empty()
        );
    }
}
