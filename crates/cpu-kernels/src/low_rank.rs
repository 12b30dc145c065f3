//! The thin products of low-rank terms: `n` rows, `k` features, `r` ranks, row-major.
//!
//! ```text
//! dots    h (n, r)  = (x ∘ S)·aᵀ             x (n, k), a (r, k)
//! spread  y (n, k) += c·h·a                  h (n, r), a (r, k)
//! outer   g (r, k) += pᵀ·(x ∘ S)             p (n, r), x (n, k)
//! ```
//!
//! `S` are signs, a mask of zeros and ones, or absent (`marks`). Sums run in an order that depends
//! on the shape only: `dots` over k in 16 lanes, `spread` over the ranks, `outer` over the rows one
//! after another, split between threads by columns.

use rayon::prelude::*;

use super::marks::{BITS_PER_WORD, Effect, Marks};
use super::simd::{self, Kernel, Level, WIDTH, padded};

/// Rows of one task.
const ROWS: usize = 32;
/// Columns of one task of `outer`: two vectors, one word of bits.
const COLUMNS: usize = 2 * WIDTH;
const _: () = assert!(COLUMNS == BITS_PER_WORD);

/// h = (x ∘ S)·aᵀ: (n, k), (r, k) → (n, r).
pub fn dots(x: &[f32], a: &[f32], k: usize, marks: Option<Marks<'_>>, h: &mut [f32]) {
    let r = a.len() / k;
    h.par_chunks_mut(ROWS * r)
        .zip(x.par_chunks(ROWS * k))
        .enumerate()
        .for_each(|(chunk, (h, x))| {
            let marks = marks.map(|marks| marks.from(chunk * ROWS));
            simd::run(Dots { x, a, k, marks, h });
        });
}

struct Dots<'a> {
    x: &'a [f32],
    a: &'a [f32],
    k: usize,
    marks: Option<Marks<'a>>,
    h: &'a mut [f32],
}

impl Kernel for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(mut self) {
        let rows = self.x.len() / self.k;
        let mut row = 0;
        while row + 4 <= rows {
            self.rows::<L, 4>(row);
            row += 4;
        }
        while row < rows {
            self.rows::<L, 1>(row);
            row += 1;
        }
    }
}

impl<'a> Dots<'a> {
    #[inline(always)]
    fn rows<L: Level, const M: usize>(&mut self, row: usize) {
        let r = self.a.len() / self.k;
        let mut rank = 0;
        while rank + 4 <= r {
            self.block::<L, M, 4>(row, rank);
            rank += 4;
        }
        while rank < r {
            self.block::<L, M, 1>(row, rank);
            rank += 1;
        }
    }

    /// `M` rows of x by `N` ranks: in 16 lanes each, which are then added pairwise.
    #[inline(always)]
    fn block<L: Level, const M: usize, const N: usize>(&mut self, row: usize, rank: usize) {
        let (k, r) = (self.k, self.a.len() / self.k);
        let x: [&[f32]; M] = std::array::from_fn(|i| &self.x[(row + i) * k..(row + i + 1) * k]);
        let a: [&[f32]; N] = std::array::from_fn(|j| &self.a[(rank + j) * k..(rank + j + 1) * k]);
        let bits = |marks: Marks<'a>| std::array::from_fn(|i| marks.bits.row(row + i));
        let sums = match self.marks {
            None => products::<L, M, N, NONE>(x, a, [&[]; M]),
            Some(marks) => match marks.effect {
                Effect::Flip => products::<L, M, N, FLIPPED>(x, a, bits(marks)),
                Effect::Drop => products::<L, M, N, DROPPED>(x, a, bits(marks)),
            },
        };
        for i in 0..M {
            for j in 0..N {
                let mut sum = L::sum(sums[i][j]);
                for at in k / WIDTH * WIDTH..k {
                    let x = match self.marks {
                        Some(marks) if marks.bits.is_set(row + i, at) => {
                            marks.effect.on_one(x[i][at])
                        }
                        _ => x[i][at],
                    };
                    sum = L::fused(x, a[j][at], sum);
                }
                self.h[(row + i) * r + rank + j] = sum;
            }
        }
    }
}

/// What [`products`] does to x.
const NONE: u8 = 0;
const FLIPPED: u8 = 1;
const DROPPED: u8 = 2;

/// Sixteen partial sums of each row of x, under its marks, with each row of a.
#[inline(always)]
fn products<L: Level, const M: usize, const N: usize, const MARKS: u8>(
    x: [&[f32]; M],
    a: [&[f32]; N],
    bits: [&[u32]; M],
) -> [[L::Vector; N]; M] {
    let mut sums = [[L::splat(0.0); N]; M];
    let count = x[0].len() / WIDTH;
    // One length that the compiler sees, instead of a check at each access.
    let x = x.map(|x| &x.as_chunks::<WIDTH>().0[..count]);
    let a = a.map(|a| &a.as_chunks::<WIDTH>().0[..count]);
    let words = if MARKS == NONE { 0 } else { count.div_ceil(2) };
    let bits = bits.map(|bits| &bits[..words]);
    for chunk in 0..count {
        let mut right = [L::splat(0.0); N];
        for (right, a) in right.iter_mut().zip(&a) {
            *right = L::load(&a[chunk]);
        }
        for i in 0..M {
            let mut left = L::load(&x[i][chunk]);
            if MARKS != NONE {
                let bits = (bits[i][chunk / 2] >> (16 * (chunk % 2))) as u16;
                left = if MARKS == FLIPPED {
                    L::flip(left, bits)
                } else {
                    L::clear(left, bits)
                };
            }
            for j in 0..N {
                sums[i][j] = L::fma(left, right[j], sums[i][j]);
            }
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
        marks: None,
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
            for (block, y) in y.chunks_mut(WIDTH).enumerate() {
                let from = block * WIDTH;
                if let Ok(y) = <&mut [f32; WIDTH]>::try_from(&mut *y) {
                    let mut sum = *y;
                    for (row, &h) in h.iter().enumerate() {
                        let a = &self.a[row * k + from..row * k + from + WIDTH];
                        for lane in 0..WIDTH {
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

/// g += pᵀ·(x ∘ S): (n, r), (n, k) → (r, k).
pub fn outer(p: &[f32], x: &[f32], k: usize, marks: Option<Marks<'_>>, g: &mut [f32]) {
    let r = g.len() / k;
    let sums: Vec<Vec<[f32; COLUMNS]>> = (0..k.div_ceil(COLUMNS))
        .into_par_iter()
        .map(|block| {
            let mut sums = vec![[0.0; COLUMNS]; r];
            simd::run(Outer {
                p,
                x,
                k,
                marks,
                block,
                sums: &mut sums,
            });
            sums
        })
        .collect();
    for (block, sums) in sums.iter().enumerate() {
        let columns = block * COLUMNS..k.min((block + 1) * COLUMNS);
        for (g, sums) in g.chunks_exact_mut(k).zip(sums) {
            for (g, sum) in g[columns.clone()].iter_mut().zip(sums) {
                *g += sum;
            }
        }
    }
}

/// The columns of one block of [`outer`].
struct Outer<'a> {
    p: &'a [f32],
    x: &'a [f32],
    k: usize,
    marks: Option<Marks<'a>>,
    block: usize,
    sums: &'a mut [[f32; COLUMNS]],
}

impl Kernel for Outer<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(mut self) {
        let r = self.sums.len();
        let mut rank = 0;
        while rank + 8 <= r {
            self.ranks::<L, 8>(rank);
            rank += 8;
        }
        while rank < r {
            self.ranks::<L, 1>(rank);
            rank += 1;
        }
    }
}

impl Outer<'_> {
    #[inline(always)]
    fn ranks<L: Level, const N: usize>(&mut self, rank: usize) {
        let r = self.sums.len();
        let columns = self.block * COLUMNS..self.k.min((self.block + 1) * COLUMNS);
        let mut sums = [[L::load(&[0.0; WIDTH]); 2]; N];
        let rows = self.p.chunks_exact(r).zip(self.x.chunks_exact(self.k));
        for (row, (p, x)) in rows.enumerate() {
            let x = &x[columns.clone()];
            let lanes: [f32; COLUMNS];
            let halves = if let Some(whole) = x.first_chunk::<COLUMNS>() {
                whole.as_chunks::<WIDTH>().0
            } else {
                lanes = padded(x, 0.0);
                lanes.as_chunks::<WIDTH>().0
            };
            let mut x = [L::load(&halves[0]), L::load(&halves[1])];
            if let Some(Marks { bits, effect }) = self.marks {
                x[0] = effect.on::<L>(x[0], bits.half_word(row, 2 * self.block));
                x[1] = effect.on::<L>(x[1], bits.half_word(row, 2 * self.block + 1));
            }
            for (sums, &p) in sums.iter_mut().zip(&p[rank..rank + N]) {
                sums[0] = L::axpy(p, x[0], sums[0]);
                sums[1] = L::axpy(p, x[1], sums[1]);
            }
        }
        for (sums, out) in sums.into_iter().zip(&mut self.sums[rank..rank + N]) {
            for (sum, half) in sums.into_iter().zip(out.as_chunks_mut::<WIDTH>().0) {
                L::store(sum, half);
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marks::BitRows;

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
            dots(&x, &a, k, None, &mut got);
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
            outer(&h, &x, k, None, &mut got);
            let expected: Vec<f64> = (0..r * k)
                .map(|i| 1.0 + sum(n, &|t| at(&h, t, i / k, r) * at(&x, t, i % k, k)))
                .collect();
            close(&got, &expected);
        }
    }

    #[test]
    fn marks_do_to_the_values_that_they_name_what_they_say() {
        for (n, k, r) in [(3, 16, 4), (33, 37, 5), (70, 64, 8), (5, 100, 9)] {
            let (x, a, p) = (values(n * k, 1), values(r * k, 2), values(n * r, 3));
            let stride = k.div_ceil(32);
            let words: Vec<u32> = (0..n * stride)
                .map(|i| (i as u32 + 1).wrapping_mul(0x9e37_79b9))
                .collect();
            let bits = BitRows {
                words: &words,
                stride,
            };
            for (effect, factor) in [(Effect::Flip, -1.0), (Effect::Drop, 0.0)] {
                let marks = Marks { bits, effect };
                let expected_of = |at: usize| {
                    let (row, column) = (at / k, at % k);
                    let bit = words[row * stride + column / 32] >> (column % 32) & 1;
                    if bit == 1 { factor * x[at] } else { x[at] }
                };
                let marked: Vec<f32> = (0..n * k).map(expected_of).collect();
                let (mut got, mut expected) = (vec![0.0; n * r], vec![0.0; n * r]);
                dots(&x, &a, k, Some(marks), &mut got);
                dots(&marked, &a, k, None, &mut expected);
                assert_eq!(got, expected);
                let (mut got, mut expected) = (vec![0.0; r * k], vec![0.0; r * k]);
                outer(&p, &x, k, Some(marks), &mut got);
                outer(&p, &marked, k, None, &mut expected);
                assert_eq!(got, expected);
            }
        }
    }
}
