//! Every test runs on all paths that this machine has.

use half::bf16;

use super::{Dispatch, PackedMatrix, Precision, dispatch};

const PRECISIONS: [Precision; 2] = [Precision::F32, Precision::Bf16];

fn paths() -> impl Iterator<Item = Dispatch> {
    Dispatch::ALL.into_iter().filter(|path| path.is_available())
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
        Precision::Bf16 => bf16::from_f32(value).to_f64(),
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
    path: Dispatch,
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
fn products_of_any_shape_agree_with_f64_on_every_path() {
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
            let packed = PackedMatrix::pack(&w, n, k, precision).unwrap();
            for path in paths() {
                let mut out = vec![f32::NAN; m * n];
                packed.multiply_with(path, &x, m, &mut out, false).unwrap();
                let zeros = vec![0.0; m * n];
                assert_product(&out, (&x, &w, &zeros), shape, precision, path);
            }
        }
    }
}

#[test]
fn accumulating_adds_the_product_to_what_is_there() {
    let shape @ (m, n, k) = (14, 45, 801);
    let (x, w, start) = (values(1, m * k), values(2, n * k), values(3, m * n));
    for precision in PRECISIONS {
        let packed = PackedMatrix::pack(&w, n, k, precision).unwrap();
        for path in paths() {
            let mut out = start.clone();
            packed.multiply_with(path, &x, m, &mut out, true).unwrap();
            assert_product(&out, (&x, &w, &start), shape, precision, path);
        }
    }
}

#[test]
fn a_transposed_weight_packs_to_the_same_matrix() {
    let (n, k) = (70, 451);
    let w = values(4, n * k);
    let transposed: Vec<f32> = (0..k * n).map(|i| w[i % n * k + i / n]).collect();
    let x = values(5, 3 * n);
    for precision in PRECISIONS {
        let backward = PackedMatrix::pack_transposed(&w, n, k, precision).unwrap();
        let forward = PackedMatrix::pack(&transposed, k, n, precision).unwrap();
        assert_eq!((backward.cols(), backward.depth()), (k, n));
        for path in paths() {
            let (mut dx, mut same) = (vec![0.0; 3 * k], vec![0.0; 3 * k]);
            backward.multiply_with(path, &x, 3, &mut dx, false).unwrap();
            forward
                .multiply_with(path, &x, 3, &mut same, false)
                .unwrap();
            assert_eq!(bits(&dx), bits(&same));
        }
    }
}

#[test]
fn the_bits_of_a_row_depend_neither_on_the_batch_nor_on_the_threads() {
    let (m, n, k) = (137, 300, 801);
    let (x, w, start) = (values(6, m * k), values(7, n * k), values(8, m * n));
    let order: Vec<usize> = (0..m).map(|i| (i * 50 + 3) % m).collect();
    let permuted: Vec<f32> = order
        .iter()
        .flat_map(|&i| &x[i * k..][..k])
        .copied()
        .collect();
    let permuted_start: Vec<f32> = order
        .iter()
        .flat_map(|&i| &start[i * n..][..n])
        .copied()
        .collect();
    for (path, precision) in paths().flat_map(|path| PRECISIONS.map(|p| (path, p))) {
        let packed = PackedMatrix::pack(&w, n, k, precision).unwrap();
        let run = |threads: usize, x: &[f32], start: &[f32], accumulate: bool| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let mut out = start.to_vec();
            pool.install(|| packed.multiply_with(path, x, x.len() / k, &mut out, accumulate))
                .unwrap();
            bits(&out)
        };
        for accumulate in [false, true] {
            let whole = run(1, &x, &start, accumulate);
            for threads in [1, 2, 3] {
                assert_eq!(
                    run(threads, &x, &start, accumulate),
                    whole,
                    "{path:?} {threads}"
                );
                let mixed = run(threads, &permuted, &permuted_start, accumulate);
                for (row, &i) in mixed.chunks(n).zip(&order) {
                    assert_eq!(row, &whole[i * n..][..n], "{path:?} {threads} permuted");
                }
                for rows in [1, 7, 37] {
                    let part = run(
                        threads,
                        &x[40 * k..][..rows * k],
                        &start[40 * n..][..rows * n],
                        accumulate,
                    );
                    assert_eq!(
                        part,
                        whole[40 * n..][..rows * n],
                        "{path:?} {threads} {rows}"
                    );
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
                let packed = PackedMatrix::pack(&[w], 1, 1, Precision::Bf16).unwrap();
                let mut out = [0.0];
                packed
                    .multiply_with(path, &[x], 1, &mut out, false)
                    .unwrap();
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
        let packed = PackedMatrix::pack(&w, n, k, precision).unwrap();
        let mut out = vec![0.0; m * n];
        packed.multiply_with(path, &x, m, &mut out, false).unwrap();
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
    let packed = PackedMatrix::pack(&[1.0, 2.0], 2, 1, Precision::F32).unwrap();
    packed.multiply(&[], 0, &mut [], false).unwrap();
}

#[test]
fn wrong_lengths_are_refused_with_the_lengths() {
    let w = values(11, 6);
    for (n, k) in [(0, 6), (6, 0), (2, 4), (usize::MAX, 2)] {
        assert!(PackedMatrix::pack(&w, n, k, Precision::F32).is_err());
        assert!(PackedMatrix::pack_transposed(&w, n, k, Precision::Bf16).is_err());
    }
    let packed = PackedMatrix::pack(&w, 2, 3, Precision::F32).unwrap();
    let error = packed
        .multiply(&[0.0; 5], 2, &mut [0.0; 4], false)
        .unwrap_err();
    assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
    assert_eq!(error.to_string(), "x must hold m·depth = 2·3 values, got 5");
    assert!(packed.multiply(&[0.0; 6], 2, &mut [0.0; 5], false).is_err());
    assert!(
        packed
            .multiply(&[0.0; 6], usize::MAX, &mut [0.0; 4], false)
            .is_err()
    );
}

#[test]
fn a_path_that_the_machine_lacks_is_refused() {
    let packed = PackedMatrix::pack(&[1.0], 1, 1, Precision::Bf16).unwrap();
    for path in Dispatch::ALL {
        let result = packed.multiply_with(path, &[2.0], 1, &mut [0.0], false);
        assert_eq!(result.is_ok(), path.is_available(), "{}", path.name());
    }
}

#[test]
fn the_default_path_is_the_fastest_one_and_bf16_halves_the_memory() {
    assert_eq!(Some(dispatch()), paths().next());
    let (x, w) = (values(12, 5 * 64), values(13, 64 * 64));
    let [f32_bytes, bf16_bytes] = PRECISIONS.map(|precision| {
        let packed = PackedMatrix::pack(&w, 64, 64, precision).unwrap();
        let (mut by_default, mut by_name) = (vec![0.0; 5 * 64], vec![0.0; 5 * 64]);
        packed.multiply(&x, 5, &mut by_default, false).unwrap();
        packed
            .multiply_with(packed.dispatch(), &x, 5, &mut by_name, false)
            .unwrap();
        assert_eq!(bits(&by_default), bits(&by_name));
        assert_eq!(packed.precision(), precision);
        packed.bytes()
    });
    assert_eq!((f32_bytes, bf16_bytes), (64 * 64 * 4, 64 * 64 * 2));
}
