//! `eˣ` and `tanh x` in f32, sixteen at a time.
//!
//! ```text
//! x = n·ln 2 + r,  n integer,  |r| ≤ ln 2 / 2        eˣ = 2ⁿ·(1 + r + r²·q(r))
//! tanh x = m/(m + 2),  m = e²ˣ − 1 = 2ⁿ·(r + r²·q(r)) + (2ⁿ − 1)
//! ```
//!
//! `q` has degree 4, fitted minimax to `(eʳ − 1 − r)/r²` with weight `r²/eʳ` (largest relative
//! error 4e-9). Within 2 ulp wherever the result is a normal number; subnormal results are rounded
//! once more. −∞ and x < −104 give 0, x > 88.73 gives ∞, NaN gives NaN. tanh is within 4 ulp: near
//! 0 nothing is subtracted from 1.

use super::simd::{Level, ROUNDER};

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// High part of ln 2: nine bits, so that `n·LN2_HIGH` is exact.
const LN2_HIGH: f32 = 355.0 / 512.0;
const LN2_LOW: f32 = -2.121_944_4e-4;
const Q: [f32; 5] = [
    0.499_999_94,
    0.166_665_21,
    0.041_668_39,
    0.008_368_717,
    0.001_381_459_8,
];

/// `eˣ`, lane by lane.
#[inline(always)]
pub(crate) fn exp<L: Level>(x: L::Vector) -> L::Vector {
    let of = L::splat;
    // Beyond these bounds the result is 0 or ∞; a NaN is neither larger nor smaller and stays.
    let x = L::smaller(L::larger(x, of(-104.0)), of(89.0));
    let (rise, n) = reduced::<L>(x);
    L::times_power(L::add(rise, of(1.0)), n)
}

/// `tanh x`, lane by lane.
#[inline(always)]
pub(crate) fn tanh<L: Level>(x: L::Vector) -> L::Vector {
    let of = L::splat;
    // ±1 beyond; a NaN stays.
    let x = L::smaller(L::larger(x, of(-10.0)), of(10.0));
    let (rise, n) = reduced::<L>(L::add(x, x));
    let power = L::times_power(of(1.0), n);
    let m = L::fma(rise, power, L::add(power, of(-1.0)));
    L::multiply(m, L::reciprocal(L::add(m, of(2.0))))
}

/// `values_j ← exp(values_j − shift)` in whole vectors; their sum.
#[inline(always)]
pub(crate) fn exp_of_differences<L: Level>(values: &mut [f32], shift: f32) -> f32 {
    let mut sum = L::splat(0.0);
    for values in values.as_chunks_mut().0 {
        let power = exp::<L>(L::add(L::load(values), L::splat(-shift)));
        L::store(power, values);
        sum = L::add(sum, power);
    }
    L::sum(sum)
}

/// `r + r²·q(r)` and `n` of x.
#[inline(always)]
fn reduced<L: Level>(x: L::Vector) -> (L::Vector, L::Vector) {
    let of = L::splat;
    let shifted = L::fma(x, of(LOG2_E), of(ROUNDER));
    let n = L::add(shifted, of(-ROUNDER));
    let r = L::fma(n, of(-LN2_LOW), L::fma(n, of(-LN2_HIGH), x));
    let q = L::fma(of(Q[4]), r, of(Q[3]));
    let q = L::fma(q, r, of(Q[2]));
    let q = L::fma(q, r, of(Q[1]));
    let q = L::fma(q, r, of(Q[0]));
    (L::fma(L::multiply(r, r), q, r), n)
}

#[cfg(test)]
mod tests {
    use super::super::isa::Available;
    use super::super::simd::{Kernel, WIDTH, padded, run_on};
    use super::*;

    #[derive(Clone, Copy)]
    enum Function {
        Exp,
        Tanh,
    }

    struct Of<'a>(Function, &'a mut [f32]);

    impl Kernel for Of<'_> {
        type Output = ();

        #[inline(always)]
        fn run<L: Level>(self) {
            for values in self.1.chunks_mut(WIDTH) {
                let mut lanes = padded(values, 0.0);
                let x = L::load(&lanes);
                let y = match self.0 {
                    Function::Exp => exp::<L>(x),
                    Function::Tanh => tanh::<L>(x),
                };
                L::store(y, &mut lanes);
                values.copy_from_slice(&lanes[..values.len()]);
            }
        }
    }

    fn exp_of(path: Available, x: &[f32]) -> Vec<f32> {
        let mut values = x.to_vec();
        run_on(path, Of(Function::Exp, &mut values));
        values
    }

    fn tanh_of(path: Available, x: &[f32]) -> Vec<f32> {
        let mut values = x.to_vec();
        run_on(path, Of(Function::Tanh, &mut values));
        values
    }

    /// Distance in units of the last place of the exact value's f32.
    fn ulps(got: f32, exact: f64) -> f64 {
        let rounded = exact as f32;
        let ulp = f64::from(f32::from_bits(rounded.to_bits() + 1)) - f64::from(rounded);
        (f64::from(got) - exact).abs() / ulp
    }

    #[test]
    fn exp_is_within_two_ulp_of_f64_over_its_whole_range() {
        let x: Vec<f32> = (0_u16..=60_000)
            .map(|i| -87.3 + 176.0 * f32::from(i) / 60_000.0)
            .chain((0_u16..=20_000).map(|i| -0.4 + 0.8 * f32::from(i) / 20_000.0))
            .collect();
        for path in Available::all() {
            let worst = exp_of(path, &x)
                .into_iter()
                .zip(&x)
                .map(|(got, &x)| ulps(got, f64::from(x).exp()))
                .fold(0.0, f64::max);
            assert!(worst < 2.0, "{worst} ulp on {path:?}");
        }
    }

    #[test]
    fn exp_underflows_gradually_and_saturates() {
        for path in Available::all() {
            let x = [
                f32::NEG_INFINITY,
                -1e30,
                -104.0,
                89.0,
                1e30,
                f32::INFINITY,
                0.0,
                -0.0,
            ];
            let got = exp_of(path, &x);
            let infinity = f32::INFINITY;
            assert_eq!(
                got,
                [0.0, 0.0, 0.0, infinity, infinity, infinity, 1.0, 1.0],
                "{path:?}"
            );
            assert!(
                exp_of(path, &[f32::NAN, -f32::NAN])
                    .iter()
                    .all(|y| y.is_nan())
            );
            let subnormal = exp_of(path, &[-88.0, -95.0, -100.0, -103.0]);
            for (&got, x) in subnormal.iter().zip([-88.0_f64, -95.0, -100.0, -103.0]) {
                assert!(ulps(got, x.exp()) < 2.0, "exp({x}) = {got:e} on {path:?}");
            }
        }
    }

    #[test]
    fn exp_has_the_same_bits_on_both_vector_paths() {
        let x: Vec<f32> = (0_u16..1000).map(|i| f32::from(i) * 0.19 - 104.0).collect();
        let paths = Available::all();
        for path in paths.get(1..).unwrap_or_default() {
            assert_eq!(exp_of(*path, &x), exp_of(paths[1], &x));
        }
    }

    #[test]
    fn tanh_is_within_four_ulp_of_f64_and_odd_and_saturates() {
        let x: Vec<f32> = (1_u16..=60_000)
            .map(|i| 12.0 * f32::from(i) / 60_000.0)
            .chain((1_u16..=20_000).map(|i| 0.4 * f32::from(i) / 20_000.0))
            .chain((1..100).map(|i| 0.5_f32.powi(i)))
            .collect();
        let negative: Vec<_> = x.iter().map(|x| -x).collect();
        for path in Available::all() {
            let (above, below) = (tanh_of(path, &x), tanh_of(path, &negative));
            for (&x, (&y, &below)) in x.iter().zip(above.iter().zip(&below)) {
                let exact = f64::from(x).tanh();
                assert!(ulps(y, exact) < 4.0, "tanh({x}) = {y} on {path:?}");
                assert!(
                    ulps(-below, exact) < 4.0,
                    "tanh(−{x}) = {below} on {path:?}"
                );
            }
            let ends = [f32::NEG_INFINITY, -30.0, -0.0, 0.0, 30.0, f32::INFINITY];
            assert_eq!(tanh_of(path, &ends), [-1.0, -1.0, 0.0, 0.0, 1.0, 1.0]);
            assert!(tanh_of(path, &[f32::NAN])[0].is_nan());
        }
    }
}
