//! Inputs that are too large for eight bits.

use super::*;

/// x with some inputs a hundred times as large, two of them in one row.
fn with_outliers(m: usize, k: usize) -> Vec<f32> {
    let mut x = values(21, m * k);
    for at in [3, k + 3, k + 40, 4 * k + 7] {
        x[at] = 100.0 + at as f32;
    }
    x
}

#[test]
fn large_inputs_are_multiplied_as_they_are() {
    let (m, n, k) = (5, 37, 64);
    let (x, w) = (with_outliers(m, k), values(22, n * k));
    let [all, mixed] =
        [Precision::Int8, Precision::Int8Mixed].map(|precision| matrix(&w, n, k, precision));
    let rounded = all.values();
    assert_eq!(rounded, mixed.values());
    for path in paths() {
        let plain = product((&all, Direction::Forward), path, &x, m, &Epilogue::NONE);
        let kept = product((&mixed, Direction::Forward), path, &x, m, &Epilogue::NONE);
        let (mut plain_error, mut kept_error) = (0.0f64, 0.0f64);
        for (at, (plain, kept)) in plain.iter().zip(&kept).enumerate() {
            let (i, j) = (at / n, at % n);
            let row = &x[i * k..(i + 1) * k];
            // What is small is rounded by the row's own largest small value.
            let small = row
                .iter()
                .filter(|x| x.abs() < 6.0)
                .fold(0.0f32, |a, x| a.max(x.abs()));
            let scale = small / 127.0;
            let expected: f64 = row
                .iter()
                .zip(&rounded[j * k..(j + 1) * k])
                .map(|(x, w)| {
                    let x = if x.abs() < 6.0 {
                        (x * (1.0 / scale)).round_ties_even() * scale
                    } else {
                        *x
                    };
                    f64::from(x) * f64::from(*w)
                })
                .sum();
            assert!(
                (f64::from(*kept) - expected).abs() < 1e-5 * (1.0 + expected.abs()),
                "{path:?} ({i}, {j}): {kept}, {expected}"
            );
            let exact: f64 = row
                .iter()
                .zip(&rounded[j * k..(j + 1) * k])
                .map(|(x, w)| f64::from(*x) * f64::from(*w))
                .sum();
            plain_error += (f64::from(*plain) - exact).powi(2);
            kept_error += (f64::from(*kept) - exact).powi(2);
        }
        assert!(
            kept_error * 1e3 < plain_error,
            "{path:?}: {kept_error} of {plain_error}"
        );
    }
}

#[test]
fn the_large_inputs_of_other_rows_change_no_bit() {
    let (m, n, k) = (5, 37, 64);
    let x = with_outliers(m, k);
    let weight = matrix(&values(22, n * k), n, k, Precision::Int8Mixed);
    let of = |x: &[f32], m| {
        product(
            (&weight, Direction::Forward),
            isa::current(),
            x,
            m,
            &Epilogue::NONE,
        )
    };
    let together = of(&x, m);
    for i in 0..m {
        let alone = of(&x[i * k..(i + 1) * k], 1);
        assert_eq!(bits(&alone), bits(&together[i * n..(i + 1) * n]), "row {i}");
    }
}

#[test]
fn a_large_input_that_is_not_finite_is_not_lost() {
    let (m, n, k) = (3, 32, 16);
    let weight = matrix(&values(23, n * k), n, k, Precision::Int8Mixed);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = with_outliers(5, 64)[..m * k].to_vec();
        x[k + 5] = bad;
        let out = product(
            (&weight, Direction::Forward),
            isa::current(),
            &x,
            m,
            &Epilogue::NONE,
        );
        for (at, value) in out.iter().enumerate() {
            assert_eq!(value.is_finite(), at / n != 1, "{bad} at {at}: {value}");
        }
    }
}
