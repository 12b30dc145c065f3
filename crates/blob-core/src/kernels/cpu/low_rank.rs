//! The thin products of low-rank terms: `n` rows, `k` features, `r` ranks, row-major.
//!
//! ```text
//! dots    h (n, r)  = x (n, k)·aᵀ            a (r, k)
//! spread  y (n, k) += c·h (n, r)·a           a (r, k)
//! outer   g (r, k) += pᵀ·x                   p (n, r), x (n, k)
//! ```
//!
//! Sums run in an order that depends on the shape only: `dots` over k in 16 lanes, `spread` over the
//! ranks, `outer` over the rows one after another, split between threads by columns.

use rayon::prelude::*;

use super::simd::{self, Kernel, Level};

const LANES: usize = 16;
/// Ranks whose accumulators share one walk over the features.
const RANKS: usize = 4;
/// Rows of one task.
const ROWS: usize = 32;

/// h = x·aᵀ: (n, k), (r, k) → (n, r).
pub fn dots(x: &[f32], a: &[f32], k: usize, h: &mut [f32]) {
    let r = a.len() / k;
    h.par_chunks_mut(ROWS * r)
        .zip(x.par_chunks(ROWS * k))
        .for_each(|(h, x)| simd::run(Dots { x, a, k, h }));
}

struct Dots<'a> {
    x: &'a [f32],
    a: &'a [f32],
    k: usize,
    h: &'a mut [f32],
}

impl Kernel for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let r = self.a.len() / self.k;
        for (h, x) in self.h.chunks_exact_mut(r).zip(self.x.chunks_exact(self.k)) {
            let mut groups = h.chunks_exact_mut(RANKS);
            let mut rows = self.a.chunks_exact(RANKS * self.k);
            for (h, a) in groups.by_ref().zip(rows.by_ref()) {
                h.copy_from_slice(&dot_rows::<L, RANKS>(x, a));
            }
            for (h, a) in groups
                .into_remainder()
                .iter_mut()
                .zip(rows.remainder().chunks_exact(self.k))
            {
                [*h] = dot_rows::<L, 1>(x, a);
            }
        }
    }
}

/// Σ x·a of `N` rows of a (N, k): in 16 lanes each, which are then added pairwise.
#[inline(always)]
fn dot_rows<L: Level, const N: usize>(x: &[f32], a: &[f32]) -> [f32; N] {
    let k = x.len();
    let mut lanes = [[0.0f32; LANES]; N];
    let blocks = k / LANES * LANES;
    for from in (0..blocks).step_by(LANES) {
        let x = &x[from..from + LANES];
        for (row, lanes) in lanes.iter_mut().enumerate() {
            let a = &a[row * k + from..row * k + from + LANES];
            for lane in 0..LANES {
                lanes[lane] = L::fused(x[lane], a[lane], lanes[lane]);
            }
        }
    }
    let mut sums = [0.0; N];
    for (row, (sum, lanes)) in sums.iter_mut().zip(&mut lanes).enumerate() {
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                lanes[lane] += lanes[lane + width];
            }
            width /= 2;
        }
        *sum = lanes[0];
        for at in blocks..k {
            *sum = L::fused(x[at], a[row * k + at], *sum);
        }
    }
    sums
}

/// Σ x·a, as [`dots`] computes it.
pub fn dot(x: &[f32], a: &[f32]) -> f32 {
    let mut h = [0.0];
    simd::run(Dots {
        x,
        a,
        k: x.len(),
        h: &mut h,
    });
    h[0]
}

/// y += c·h·a: (n, r), (r, k) → (n, k).
pub fn spread(h: &[f32], a: &[f32], k: usize, c: f32, y: &mut [f32]) {
    let r = a.len() / k;
    y.par_chunks_mut(ROWS * k)
        .zip(h.par_chunks(ROWS * r))
        .for_each(|(y, h)| simd::run(Spread { h, a, k, c, y }));
}

struct Spread<'a> {
    h: &'a [f32],
    a: &'a [f32],
    k: usize,
    c: f32,
    y: &'a mut [f32],
}

impl Kernel for Spread<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let (k, c) = (self.k, self.c);
        let r = self.a.len() / k;
        for (y, h) in self.y.chunks_exact_mut(k).zip(self.h.chunks_exact(r)) {
            for (block, y) in y.chunks_mut(LANES).enumerate() {
                let from = block * LANES;
                if let Ok(y) = <&mut [f32; LANES]>::try_from(&mut *y) {
                    let mut sum = *y;
                    for (row, &h) in h.iter().enumerate() {
                        let a = &self.a[row * k + from..row * k + from + LANES];
                        for lane in 0..LANES {
                            sum[lane] = L::fused(c * h, a[lane], sum[lane]);
                        }
                    }
                    *y = sum;
                } else {
                    for (column, y) in y.iter_mut().enumerate() {
                        for (row, &h) in h.iter().enumerate() {
                            *y = L::fused(c * h, self.a[row * k + from + column], *y);
                        }
                    }
                }
            }
        }
    }
}

/// g += pᵀ·x: (n, r), (n, k) → (r, k).
pub fn outer(p: &[f32], x: &[f32], k: usize, g: &mut [f32]) {
    let r = g.len() / k;
    let sums: Vec<Vec<f32>> = (0..k.div_ceil(LANES))
        .into_par_iter()
        .map(|block| {
            let from = block * LANES;
            let width = LANES.min(k - from);
            let mut sums = vec![0.0; r * LANES];
            simd::run(Outer {
                p,
                x,
                k,
                from,
                width,
                sums: &mut sums,
            });
            sums
        })
        .collect();
    for (block, sums) in sums.iter().enumerate() {
        let from = block * LANES;
        for (row, sums) in sums.chunks_exact(LANES).enumerate() {
            let to = k.min(from + LANES);
            for (g, sum) in g[row * k + from..row * k + to].iter_mut().zip(sums) {
                *g += sum;
            }
        }
    }
}

/// The columns `from..from + width` of [`outer`], (r, 16).
struct Outer<'a> {
    p: &'a [f32],
    x: &'a [f32],
    k: usize,
    from: usize,
    width: usize,
    sums: &'a mut [f32],
}

impl Kernel for Outer<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let r = self.sums.len() / LANES;
        let mut row = 0;
        while row < r {
            if r - row >= RANKS {
                let sums = self.rows::<L, RANKS>(row, r);
                self.sums[row * LANES..(row + RANKS) * LANES].copy_from_slice(sums.as_flattened());
                row += RANKS;
            } else {
                let sums = self.rows::<L, 1>(row, r);
                self.sums[row * LANES..(row + 1) * LANES].copy_from_slice(sums.as_flattened());
                row += 1;
            }
        }
    }
}

impl Outer<'_> {
    #[inline(always)]
    fn rows<L: Level, const N: usize>(&self, row: usize, r: usize) -> [[f32; LANES]; N] {
        let mut sums = [[0.0f32; LANES]; N];
        for (p, x) in self.p.chunks_exact(r).zip(self.x.chunks_exact(self.k)) {
            let mut columns = [0.0; LANES];
            let x = &x[self.from..self.from + self.width];
            match <&[f32; LANES]>::try_from(x) {
                Ok(x) => columns = *x,
                Err(_) => columns[..self.width].copy_from_slice(x),
            }
            for (sums, &p) in sums.iter_mut().zip(&p[row..row + N]) {
                for lane in 0..LANES {
                    sums[lane] = L::fused(p, columns[lane], sums[lane]);
                }
            }
        }
        sums
    }
}

/// The transpose of a row-major (m, r) matrix.
pub fn transposed(b: &[f32], r: usize) -> Vec<f32> {
    let m = b.len() / r;
    let mut out = vec![0.0; b.len()];
    for (row, values) in b.chunks_exact(r).enumerate() {
        for (column, &value) in values.iter().enumerate() {
            out[column * m + row] = value;
        }
    }
    out
}

/// Flips the signs of every row's values: `fill` writes row i's sign bits.
pub fn flip_rows(x: &[f32], k: usize, fill: impl Fn(usize, &mut [u32]) + Sync) -> Vec<f32> {
    let mut flipped = vec![0.0; x.len()];
    flipped
        .par_chunks_mut(ROWS * k)
        .zip(x.par_chunks(ROWS * k))
        .enumerate()
        .for_each(|(chunk, (out, x))| {
            let mut bits = vec![0u32; k];
            for (i, (out, x)) in out.chunks_exact_mut(k).zip(x.chunks_exact(k)).enumerate() {
                fill(chunk * ROWS + i, &mut bits);
                for ((out, x), bit) in out.iter_mut().zip(x).zip(&bits) {
                    *out = f32::from_bits(x.to_bits() ^ bit);
                }
            }
        });
    flipped
}

/// Multiplies every row's values by factors: `fill` writes row i's factors.
pub fn scale_rows(x: &[f32], k: usize, fill: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    let mut scaled = vec![0.0; x.len()];
    scaled
        .par_chunks_mut(ROWS * k)
        .zip(x.par_chunks(ROWS * k))
        .enumerate()
        .for_each(|(chunk, (out, x))| {
            for (i, (out, x)) in out.chunks_exact_mut(k).zip(x.chunks_exact(k)).enumerate() {
                fill(chunk * ROWS + i, out);
                for (out, x) in out.iter_mut().zip(x) {
                    *out *= x;
                }
            }
        });
    scaled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(len: usize, salt: usize) -> Vec<f32> {
        (0..len)
            .map(|i| ((i * 7919 + salt * 104_729) % 1000) as f32 / 500.0 - 1.0)
            .collect()
    }

    fn close(got: &[f32], expected: &[f64]) {
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(expected) {
            assert!(
                (f64::from(*got) - expected).abs() < 1e-4,
                "{got} {expected}"
            );
        }
    }

    #[test]
    fn products_agree_with_their_definitions_for_every_tail() {
        for (n, k, r) in [(1, 1, 1), (3, 16, 4), (33, 37, 5), (70, 64, 8), (5, 100, 3)] {
            let (x, a, h) = (values(n * k, 1), values(r * k, 2), values(n * r, 3));
            let at = |m: &[f32], row: usize, column: usize, width: usize| {
                f64::from(m[row * width + column])
            };
            let sum = |len: usize, f: &dyn Fn(usize) -> f64| (0..len).map(f).sum::<f64>();

            let mut got = vec![0.0; n * r];
            dots(&x, &a, k, &mut got);
            let expected: Vec<f64> = (0..n * r)
                .map(|i| sum(k, &|t| at(&x, i / r, t, k) * at(&a, i % r, t, k)))
                .collect();
            close(&got, &expected);

            let mut got = vec![1.0; n * k];
            spread(&h, &a, k, 0.5, &mut got);
            let expected: Vec<f64> = (0..n * k)
                .map(|i| 1.0 + 0.5 * sum(r, &|j| at(&h, i / k, j, r) * at(&a, j, i % k, k)))
                .collect();
            close(&got, &expected);

            let mut got = vec![1.0; r * k];
            outer(&h, &x, k, &mut got);
            let expected: Vec<f64> = (0..r * k)
                .map(|i| 1.0 + sum(n, &|t| at(&h, t, i / k, r) * at(&x, t, i % k, k)))
                .collect();
            close(&got, &expected);
        }
    }

    #[test]
    fn flipping_twice_gives_the_rows_back() {
        let x = values(40 * 7, 1);
        let fill = |row: usize, bits: &mut [u32]| {
            bits.iter_mut()
                .enumerate()
                .for_each(|(i, bit)| *bit = u32::from((row + i).is_multiple_of(3)) << 31);
        };
        let once = flip_rows(&x, 7, fill);
        assert!(once[0] == -x[0] && once[1] == x[1] && once[7 + 2] == -x[7 + 2]);
        assert_eq!(flip_rows(&once, 7, fill), x);
    }
}
