//! Reductions over a row, in an order that depends on its length alone.
//!
//! Element `j` goes to lane `j mod 32`; lanes are then added in halves.

use super::simd::{Level, WIDTH, padded};

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
        sums = dot_added::<L>(sums, a, b);
    }
    if !a_rest.is_empty() {
        sums = dot_added::<L>(sums, &padded(a_rest, 0.0), &padded(b_rest, 0.0));
    }
    L::sum(L::add(sums[0], sums[1]))
}

#[inline(always)]
fn dot_added<L: Level>(sums: [L::Vector; 2], a: &[f32; LANES], b: &[f32; LANES]) -> [L::Vector; 2] {
    let (a, b) = (halves::<L>(a), halves::<L>(b));
    [L::fma(a[0], b[0], sums[0]), L::fma(a[1], b[1], sums[1])]
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
        sums = dot3_added::<L>(sums, [a, b, c]);
    }
    if !a_rest.is_empty() {
        let [a, b, c] = [a_rest, b_rest, c_rest].map(|rest| padded(rest, 0.0));
        sums = dot3_added::<L>(sums, [&a, &b, &c]);
    }
    L::sum(L::add(sums[0], sums[1]))
}

#[inline(always)]
fn dot3_added<L: Level>(mut sums: [L::Vector; 2], [a, b, c]: [&[f32; LANES]; 3]) -> [L::Vector; 2] {
    let (a, b, c) = (halves::<L>(a), halves::<L>(b), halves::<L>(c));
    for half in 0..2 {
        sums[half] = L::fma(L::multiply(a[half], b[half]), c[half], sums[half]);
    }
    sums
}

/// `Σ_j a_j`.
#[inline(always)]
pub(crate) fn sum<L: Level>(a: &[f32]) -> f32 {
    let mut sums = [L::splat(0.0); 2];
    let (chunks, rest) = a.as_chunks::<LANES>();
    for chunk in chunks {
        sums = added::<L>(sums, chunk);
    }
    if !rest.is_empty() {
        sums = added::<L>(sums, &padded(rest, 0.0));
    }
    L::sum(L::add(sums[0], sums[1]))
}

#[inline(always)]
fn added<L: Level>(sums: [L::Vector; 2], a: &[f32; LANES]) -> [L::Vector; 2] {
    let a = halves::<L>(a);
    [L::add(sums[0], a[0]), L::add(sums[1], a[1])]
}

/// `Σ_j (a_j − center)²`.
#[inline(always)]
pub(crate) fn squares_around<L: Level>(a: &[f32], center: f32) -> f32 {
    let mut sums = [L::splat(0.0); 2];
    let (chunks, rest) = a.as_chunks::<LANES>();
    for chunk in chunks {
        sums = squares_added::<L>(sums, chunk, center);
    }
    if !rest.is_empty() {
        sums = squares_added::<L>(sums, &padded(rest, center), center);
    }
    L::sum(L::add(sums[0], sums[1]))
}

#[inline(always)]
fn squares_added<L: Level>(
    mut sums: [L::Vector; 2],
    a: &[f32; LANES],
    center: f32,
) -> [L::Vector; 2] {
    for (sum, a) in sums.iter_mut().zip(halves::<L>(a)) {
        let difference = L::add(a, L::splat(-center));
        *sum = L::fma(difference, difference, *sum);
    }
    sums
}

/// The largest value; −∞ of nothing; NaNs are passed over.
#[inline(always)]
pub(crate) fn max<L: Level>(values: &[f32]) -> f32 {
    let mut largest = [L::splat(f32::NEG_INFINITY); 2];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        largest = larger::<L>(largest, chunk);
    }
    if !rest.is_empty() {
        largest = larger::<L>(largest, &padded(rest, f32::NEG_INFINITY));
    }
    L::largest(L::larger(largest[0], largest[1]))
}

#[inline(always)]
fn larger<L: Level>(largest: [L::Vector; 2], values: &[f32; LANES]) -> [L::Vector; 2] {
    let values = halves::<L>(values);
    [
        L::larger(largest[0], values[0]),
        L::larger(largest[1], values[1]),
    ]
}

/// The two vectors of a chunk. By hand: the compiler makes scalars of a loop that ends in a fold.
#[inline(always)]
fn halves<L: Level>(chunk: &[f32; LANES]) -> [L::Vector; 2] {
    let (halves, _) = chunk.as_chunks::<WIDTH>();
    [L::load(&halves[0]), L::load(&halves[1])]
}

#[cfg(test)]
mod tests {
    use super::super::isa::Available;
    use super::super::simd::{Kernel, run_on};
    use super::*;

    struct Reductions<'a>(&'a [f32], &'a [f32]);

    impl Kernel for Reductions<'_> {
        type Output = [u32; 3];

        #[inline(always)]
        fn run<L: Level>(self) -> [u32; 3] {
            let Self(a, b) = self;
            [dot::<L>(a, b), dot3::<L>(a, b, b), max::<L>(a)].map(f32::to_bits)
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
                a.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            ];
            for path in Available::all() {
                assert_eq!(
                    run_on(path, Reductions(&a, &b)),
                    expected.map(|value| (value + 0.0).to_bits()),
                    "{len} on {path:?}"
                );
            }
        }
    }
}
