//! Reductions over a row, in an order that depends on its length alone.
//!
//! Element `j` goes to lane `j mod 32`; lanes are then added in halves.

use super::simd::{Level, WIDTH};

/// Partial sums of a reduction.
const LANES: usize = 2 * WIDTH;

/// `Σ_j a_j·b_j`; both must have one length.
#[inline(always)]
pub(crate) fn dot<L: Level>(a: &[f32], b: &[f32]) -> f32 {
    debug_assert_eq!(a.len(), b.len());
    let mut sums = [L::splat(0.0); 2];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        let (a, b) = (halves::<L>(a), halves::<L>(b));
        sums = [L::fma(a[0], b[0], sums[0]), L::fma(a[1], b[1], sums[1])];
    }
    let mut sums = stored::<L>(sums);
    for ((sum, &a), &b) in sums.iter_mut().zip(a_rest).zip(b_rest) {
        *sum = L::fused(a, b, *sum);
    }
    fold(sums, |a, b| a + b)
}

/// `Σ_j a_j·b_j·c_j`; all must have one length.
#[inline(always)]
pub(crate) fn dot3<L: Level>(a: &[f32], b: &[f32], c: &[f32]) -> f32 {
    debug_assert!(a.len() == b.len() && a.len() == c.len());
    let mut sums = [L::splat(0.0); 2];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let (c_chunks, c_rest) = c.as_chunks::<LANES>();
    for ((a, b), c) in a_chunks.iter().zip(b_chunks).zip(c_chunks) {
        let (a, b, c) = (halves::<L>(a), halves::<L>(b), halves::<L>(c));
        for half in 0..2 {
            sums[half] = L::fma(L::multiply(a[half], b[half]), c[half], sums[half]);
        }
    }
    let mut sums = stored::<L>(sums);
    for (((sum, &a), &b), &c) in sums.iter_mut().zip(a_rest).zip(b_rest).zip(c_rest) {
        *sum = L::fused(a * b, c, *sum);
    }
    fold(sums, |a, b| a + b)
}

/// `Σ_j a_j`.
#[inline(always)]
pub(crate) fn sum<L: Level>(values: &[f32]) -> f32 {
    let mut sums = [L::splat(0.0); 2];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        let values = halves::<L>(chunk);
        sums = [L::add(sums[0], values[0]), L::add(sums[1], values[1])];
    }
    let mut sums = stored::<L>(sums);
    for (sum, value) in sums.iter_mut().zip(rest) {
        *sum += value;
    }
    fold(sums, |a, b| a + b)
}

/// The largest value; −∞ of nothing; NaNs are passed over.
#[inline(always)]
pub(crate) fn max<L: Level>(values: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if a < b { b } else { a };
    let mut largest = [L::splat(f32::NEG_INFINITY); 2];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        let values = halves::<L>(chunk);
        for half in 0..2 {
            largest[half] = L::larger(largest[half], values[half]);
        }
    }
    let mut largest = stored::<L>(largest);
    for (largest, &value) in largest.iter_mut().zip(rest) {
        *largest = larger(*largest, value);
    }
    fold(largest, larger)
}

/// The two vectors of a chunk. Vectors by hand: the compiler makes scalars of a loop that ends in [`fold`].
#[inline(always)]
fn halves<L: Level>(chunk: &[f32; LANES]) -> [L::Vector; 2] {
    let (halves, _) = chunk.as_chunks::<WIDTH>();
    [L::load(&halves[0]), L::load(&halves[1])]
}

#[inline(always)]
fn stored<L: Level>(sums: [L::Vector; 2]) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    let (halves, _) = lanes.as_chunks_mut::<WIDTH>();
    L::store(sums[0], &mut halves[0]);
    L::store(sums[1], &mut halves[1]);
    lanes
}

#[inline(always)]
fn fold(mut lanes: [f32; LANES], combine: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = combine(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::super::simd::{Kernel, Path, run_on};
    use super::*;

    struct Reductions<'a>(&'a [f32], &'a [f32]);

    impl Kernel for Reductions<'_> {
        type Output = [u32; 4];

        #[inline(always)]
        fn run<L: Level>(self) -> [u32; 4] {
            let Self(a, b) = self;
            [dot::<L>(a, b), dot3::<L>(a, b, b), sum::<L>(a), max::<L>(a)].map(f32::to_bits)
        }
    }

    #[test]
    fn reductions_meet_exact_sums_at_every_length_and_on_every_path() {
        for len in 1..100_u8 {
            let a: Vec<f32> = (0..len).map(|j| f32::from(j % 7) - 3.0).collect();
            let b: Vec<f32> = (0..len).map(|j| f32::from(j % 5) - 1.0).collect();
            let pairs = || a.iter().zip(&b);
            let expected = [
                pairs().map(|(a, b)| a * b).sum::<f32>(),
                pairs().map(|(a, b)| a * b * b).sum(),
                a.iter().sum(),
                a.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            ];
            for path in Path::available() {
                assert_eq!(
                    run_on(path, Reductions(&a, &b)),
                    expected.map(|value| (value + 0.0).to_bits()),
                    "{len} on {path:?}"
                );
            }
        }
    }
}
