use super::*;

/// o, log_sum_exp, dq, dk, dv of one problem on one path; what products read is exact in bf16.
fn everything(path: Available, precision: Precision, mask: Mask) -> [Vec<f32>; 5] {
    capped(path, precision, mask, None)
}

/// As [`everything`], of scores under a cap.
fn capped(
    path: Available,
    precision: Precision,
    mask: Mask,
    soft_cap: Option<f32>,
) -> [Vec<f32>; 5] {
    let wave = |len: u16, pace: f32| -> Vec<f32> {
        (0..len)
            .map(|at| 1.5 * (pace * f32::from(at)).sin())
            .map(|value| f32::from_bits(simd::bf16_bits(value)))
            .collect()
    };
    let (q, k, v) = (wave(50 * 64, 0.7), wave(50 * 32, 1.3), wave(50 * 32, 2.9));
    let problem = Problem {
        q: &q,
        k: &k,
        v: &v,
        num_kv_heads: 2,
        group: 2,
        head_dim: 16,
        scale: 0.25, // exact too
        soft_cap,
        offsets: &[0, 41, 50],
        queries: Queries::Every,
        mask,
        precision,
    };
    let [o, log_sum_exp] = forward_on(path, problem);
    let d_o = wave(50 * 64, 0.3);
    let saved = Saved {
        o: &o,
        log_sum_exp: &log_sum_exp,
        d_o: &d_o,
    };
    let [dq, dk, dv] = backward_on(path, problem, saved);
    [o, log_sum_exp, dq, dk, dv]
}

/// Every difference is at most `tolerance` times the largest value.
fn assert_close(result: &[Vec<f32>; 5], expected: &[Vec<f32>; 5], tolerance: f32) {
    for (values, expected) in result.iter().zip(expected) {
        let largest = expected.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for (a, b) in values.iter().zip(expected) {
            assert!((a - b).abs() < tolerance * largest, "{a}, {b} of {largest}");
        }
    }
}

#[test]
fn vector_paths_agree_bit_by_bit_and_with_the_portable_path_closely() {
    let bits = |result: &[Vec<f32>; 5]| {
        result.each_ref().map(|values| {
            values
                .iter()
                .map(|value| value.to_bits())
                .collect::<Vec<_>>()
        })
    };
    let masks = [Mask::Causal, Mask::Window(19), Mask::Full];
    for (mask, soft_cap) in masks
        .into_iter()
        .flat_map(|mask| [(mask, None), (mask, Some(3.0))])
    {
        let all = |path| capped(path, Precision::F32, mask, soft_cap);
        let results: Vec<_> = Available::all().into_iter().map(all).collect();
        for result in &results {
            assert_close(result, &results[0], 1e-5);
        }
        for pair in results[1..].windows(2) {
            assert!(bits(&pair[0]) == bits(&pair[1]));
        }
    }
}

#[test]
fn rounding_changes_the_probabilities_and_their_gradients_alone() {
    for (path, mask) in Available::all()
        .into_iter()
        .flat_map(|path| [Mask::Causal, Mask::Window(19)].map(|mask| (path, mask)))
    {
        let exact = everything(Available::PORTABLE, Precision::F32, mask);
        let rounded = everything(path, Precision::Bf16, mask);
        // Scores of exact operands: no more than the order of a sum.
        for (a, b) in rounded[1].iter().zip(&exact[1]) {
            assert!((a - b).abs() < 1e-5, "{path:?}: {a}, {b}");
        }
        // p and ds are off by at most 2⁻⁹ of themselves each, in sums of fewer than 50 of either
        // sign.
        assert_close(&rounded, &exact, 4.0 / 512.0);
        for index in [0, 2, 3, 4] {
            assert!(
                rounded[index] != exact[index],
                "{path:?}: nothing was rounded"
            );
        }
    }
}
