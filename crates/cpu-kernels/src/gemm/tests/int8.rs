//! Products in eight bits.

use super::*;

#[test]
fn an_integer_product_is_the_rounded_operands_product_exactly_on_every_path() {
    for (seed, (m, n, k)) in (0..).zip([
        (1, 1, 1),
        (5, 33, 7),
        (14, 70, 257),
        (20, 36, 65),
        (25, 40, 96),
    ]) {
        let (x, w) = (values(seed, m * k), values(seed + 100, n * k));
        let weight = matrix(&w, n, k, Precision::Int8);
        let levels = |row: &[f32]| -> (f32, Vec<f64>) {
            let scale = row.iter().fold(0f32, |max, v| max.max(v.abs())) / 127.0;
            let level = |v: &f32| f64::from((v * (1.0 / scale)).round_ties_even());
            (scale, row.iter().map(level).collect())
        };
        let rows: Vec<_> = x.chunks_exact(k).map(levels).collect();
        let columns: Vec<_> = w.chunks_exact(k).map(levels).collect();
        for path in paths() {
            let out = product((&weight, Direction::Forward), path, &x, m, &Epilogue::NONE);
            for (i, (x_scale, x)) in rows.iter().enumerate() {
                for (j, (w_scale, w)) in columns.iter().enumerate() {
                    let sum: f64 = x.iter().zip(w).map(|(x, w)| x * w).sum();
                    // Sums and offsets become f32 once, whatever the path.
                    let limit = 2f64.powi(-22)
                        * (sum.abs() + 255.0 * 127.0 * k as f64)
                        * f64::from(x_scale * w_scale);
                    let expected = sum * f64::from(x_scale * w_scale);
                    let error = (f64::from(out[i * n + j]) - expected).abs();
                    assert!(error <= limit, "{path:?} ({i}, {j}): {error:e} > {limit:e}");
                }
            }
        }
        let all: Vec<_> = paths()
            .map(|path| {
                bits(&product(
                    (&weight, Direction::Forward),
                    path,
                    &x,
                    m,
                    &Epilogue::NONE,
                ))
            })
            .collect();
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

#[test]
fn int8_goes_back_through_the_rounded_weight() {
    let (m, n, k) = (7, 40, 50);
    let (dy, w) = (values(1, m * n), values(2, n * k));
    let weight = matrix(&w, n, k, Precision::Int8);
    let rounded = weight.values();
    assert!(rounded.iter().zip(&w).any(|(rounded, w)| rounded != w));
    let farthest = rounded.iter().zip(&w).map(|(a, b)| (a - b).abs());
    assert!(farthest.fold(0.0, f32::max) < 2.01 / 127.0);
    let plain = matrix(&rounded, n, k, Precision::Bf16);
    for path in paths() {
        let dx = product(
            (&weight, Direction::Backward),
            path,
            &dy,
            m,
            &Epilogue::NONE,
        );
        let same = product((&plain, Direction::Backward), path, &dy, m, &Epilogue::NONE);
        assert_eq!(bits(&dx), bits(&same));
    }
}

#[test]
fn a_value_that_is_not_finite_poisons_its_row_in_int8() {
    let (m, n, k) = (13, 35, 50);
    let w = values(10, n * k);
    let weight = matrix(&w, n, k, Precision::Int8);
    for (path, bad) in paths().flat_map(|path| [f32::NAN, f32::NEG_INFINITY].map(|bad| (path, bad)))
    {
        let mut x = values(9, m * k);
        x[2 * k + 4] = bad;
        x[5 * k..6 * k].fill(0.0);
        let out = product((&weight, Direction::Forward), path, &x, m, &Epilogue::NONE);
        for (i, value) in out.iter().enumerate() {
            assert_eq!(value.is_nan(), i / n == 2, "{path:?} {i}");
            assert!(i / n != 5 || *value == 0.0, "{path:?} {i}: {value}");
        }
    }
}

#[test]
fn rows_too_small_for_a_scale_are_zeros_on_every_path() {
    let (m, n, k) = (13, 35, 50);
    let (mut x, mut w) = (values(9, m * k), values(10, n * k));
    let tiny = [1e-37, -3e-39, f32::from_bits(1)];
    for (index, value) in x[2 * k..3 * k]
        .iter_mut()
        .chain(&mut w[4 * k..5 * k])
        .enumerate()
    {
        *value = tiny[index % 3];
    }
    let weight = matrix(&w, n, k, Precision::Int8);
    for path in paths() {
        let out = product((&weight, Direction::Forward), path, &x, m, &Epilogue::NONE);
        for (i, value) in out.iter().enumerate() {
            assert_eq!(
                *value == 0.0,
                i / n == 2 || i % n == 4,
                "{path:?} {i}: {value}"
            );
        }
    }
}

#[test]
fn the_deepest_integer_product_does_not_overflow_and_a_deeper_one_is_refused() {
    let k = MAX_INT8_DEPTH;
    let weight = matrix(&vec![1.0; k], 1, k, Precision::Int8);
    for path in paths() {
        let x = vec![1.0; k];
        let out = product((&weight, Direction::Forward), path, &x, 1, &Epilogue::NONE);
        // Scales are 1/127, so the sum of products k·127² comes back as k but for roundings to f32.
        let error = f64::from(out[0]) / k as f64 - 1.0;
        assert!(
            error.abs() < 8.0 * f64::from(f32::EPSILON),
            "{path:?}: {error:e}"
        );
    }
    let deeper = HostTensor {
        shape: vec![1, k + 1],
        data: vec![1.0; k + 1],
    };
    let deeper = StoredMatrix::from_tensor(&deeper).unwrap();
    let refused = FrozenMatrix::new(deeper, Precision::Int8).unwrap_err();
    let expected = format!("at most {k} columns for products in int8, got {}", k + 1);
    assert!(refused.to_string().contains(&expected), "{refused}");
}
