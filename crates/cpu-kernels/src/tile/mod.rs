//! Small matrix products in registers, for matrices that fit the cache.
//!
//! ```text
//! C = A·B   or   C += Aᵀ·B        C (m, n),  B (k, n)
//! ```
//!
//! Every element of C is one chain of multiply-adds in the order of k, whatever the tile. A and B
//! are written as words first ([`Entry`]): k counts words, of one depth or of two. `m` is a
//! multiple of [`ROWS`], `n` of [`WIDTH`], `k` of 8 without a transpose: operands are padded with
//! zeros.

mod entry;

use std::marker::PhantomData;

pub(crate) use super::simd::WIDTH;
use super::simd::{Level, padded};
pub(crate) use entry::{Bf16Pairs, Entry, Exact, Rounded};

/// Rows are padded to multiples of this.
pub(crate) const ROWS: usize = 8;
/// Steps of k between two looks at the bounds.
const DEPTH: usize = 8;

/// Rows of `stride` floats each, padded with zeros.
pub(crate) struct Matrix {
    pub(crate) values: Vec<f32>,
    pub(crate) stride: usize,
}

impl Matrix {
    /// Zeros; rows are padded to whole vectors.
    pub(crate) fn zeros(rows: usize, columns: usize) -> Self {
        let stride = columns.next_multiple_of(WIDTH);
        Self {
            values: vec![0.0; rows * stride],
            stride,
        }
    }

    pub(crate) fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.stride..][..self.stride]
    }

    pub(crate) fn row_mut(&mut self, index: usize) -> &mut [f32] {
        &mut self.values[index * self.stride..][..self.stride]
    }

    /// The rows from `first` on.
    pub(crate) fn rows_from(&mut self, first: usize) -> RowsMut<'_> {
        RowsMut {
            values: &mut self.values[first * self.stride..],
            stride: self.stride,
        }
    }
}

/// The last rows of a matrix.
pub(crate) struct RowsMut<'a> {
    values: &'a mut [f32],
    stride: usize,
}

/// The operand A, or Aᵀ by its rows: words in rows of `stride`.
pub(crate) struct Left<E> {
    words: Vec<u32>,
    stride: usize,
    entry: PhantomData<E>,
}

impl<E: Entry> Left<E> {
    /// Room for the words of a matrix with `rows` rows of `columns`, either way.
    pub(crate) fn with_room(rows: usize, columns: usize) -> Self {
        Self {
            words: vec![0; rows * columns.next_multiple_of(WIDTH)],
            stride: 0,
            entry: PhantomData,
        }
    }

    /// A (m, depths) for [`multiply`].
    #[inline(always)]
    pub(crate) fn set<L: Level>(&mut self, a: &Matrix, [m, depths]: [usize; 2]) {
        self.stride = depths.div_ceil(E::DEPTHS);
        for (row, words) in self.words.chunks_exact_mut(self.stride).take(m).enumerate() {
            E::along::<L>(&a.row(row)[..depths], words);
        }
    }

    /// Aᵀ (m, depths) for [`multiply_transposed`], from A's rows, one per depth.
    #[inline(always)]
    pub(crate) fn set_transposed<L: Level>(&mut self, a: &Matrix, [m, depths]: [usize; 2]) {
        self.stride = m;
        let steps = self.words.chunks_exact_mut(m);
        for (step, words) in steps.take(depths.div_ceil(E::DEPTHS)).enumerate() {
            let first = a.row(step * E::DEPTHS).as_chunks().0;
            let second = a.row(step * E::DEPTHS + E::DEPTHS - 1).as_chunks().0;
            let pairs = first.iter().zip(second);
            for (words, (first, second)) in words.as_chunks_mut().0.iter_mut().zip(pairs) {
                *words = E::across::<L>(&[*first, *second]);
            }
        }
    }
}

/// The operand B (k, n) in panels of [`WIDTH`] columns: panel p holds all words of its columns.
pub(crate) struct Panels<E> {
    lanes: Vec<[u32; WIDTH]>,
    steps: usize,
    entry: PhantomData<E>,
}

impl<E: Entry> Panels<E> {
    /// Zeros, with room for `depths` rows of `columns`.
    pub(crate) fn zeros(depths: usize, columns: usize) -> Self {
        let steps = depths.div_ceil(E::DEPTHS);
        Self {
            lanes: vec![[0; WIDTH]; steps * columns.div_ceil(WIDTH)],
            steps,
            entry: PhantomData,
        }
    }

    /// Sets the first rows of B; all have one length.
    #[inline(always)]
    pub(crate) fn set_rows<'a, L: Level>(&mut self, mut rows: impl Iterator<Item = &'a [f32]>) {
        let mut step = 0;
        while let Some(first) = rows.next() {
            let second = if E::DEPTHS == 2 { rows.next() } else { None };
            for (panel, lanes) in self.lanes.chunks_exact_mut(self.steps).enumerate() {
                let depths = [Some(first), second].map(|row| sixteen(row, panel * WIDTH));
                lanes[step] = E::across::<L>(&depths);
            }
            step += 1;
        }
    }

    /// Sets the first columns of B; all have one length.
    #[inline(always)]
    pub(crate) fn set_columns<'a, L: Level>(&mut self, columns: impl Iterator<Item = &'a [f32]>) {
        let mut words = vec![0; self.steps];
        for (index, column) in columns.enumerate() {
            E::along::<L>(column, &mut words);
            let panel = &mut self.lanes[index / WIDTH * self.steps..][..self.steps];
            for (lanes, word) in panel.iter_mut().zip(&words) {
                lanes[index % WIDTH] = *word;
            }
        }
    }

    /// B from `column` on, a multiple of [`WIDTH`].
    pub(crate) fn columns_from(&self, column: usize) -> Corner<'_, E> {
        self.corner(column, 0)
    }

    /// B from the row `depth` on, a multiple of [`WIDTH`].
    pub(crate) fn depths_from(&self, depth: usize) -> Corner<'_, E> {
        self.corner(0, depth)
    }

    fn corner(&self, column: usize, depth: usize) -> Corner<'_, E> {
        Corner {
            lanes: &self.lanes[column / WIDTH * self.steps..],
            steps: self.steps,
            first_step: depth / E::DEPTHS,
            entry: PhantomData,
        }
    }
}

/// The operand B from a column and a depth on.
#[derive(Clone, Copy)]
pub(crate) struct Corner<'a, E> {
    lanes: &'a [[u32; WIDTH]],
    steps: usize,
    first_step: usize,
    entry: PhantomData<E>,
}

/// Sixteen values of a row from column `from` on; zeros past its end.
#[inline(always)]
fn sixteen(row: Option<&[f32]>, from: usize) -> [f32; WIDTH] {
    let values = row.and_then(|row| row.get(from..)).unwrap_or_default();
    if let Some(values) = values.first_chunk() {
        return *values;
    }
    padded(values, 0.0)
}

/// `C = A·B` for the first `m` rows and `n` columns of C and the first `k` steps of A and B.
#[inline(always)]
pub(crate) fn multiply<L: Level, E: Entry>(
    c: &mut Matrix,
    a: &Left<E>,
    b: Corner<'_, E>,
    [m, n, k]: [usize; 3],
) {
    const { assert!(matches!(L::TILE_ROWS, 2 | 4 | 8)) };
    match L::TILE_ROWS {
        8 => multiply_by::<L, E, 8>(c, a, b, [m, n, k]),
        4 => multiply_by::<L, E, 4>(c, a, b, [m, n, k]),
        _ => multiply_by::<L, E, 2>(c, a, b, [m, n, k]),
    }
}

/// `C += Aᵀ·B` for the first `m` rows and `n` columns of C and the first `k` steps of A and B.
#[inline(always)]
pub(crate) fn multiply_transposed<L: Level, E: Entry>(
    c: &mut RowsMut<'_>,
    a: &Left<E>,
    b: &Panels<E>,
    [m, n, k]: [usize; 3],
) {
    const { assert!(matches!(L::TILE_ROWS, 2 | 4 | 8)) };
    match L::TILE_ROWS {
        8 => multiply_transposed_by::<L, E, 8>(c, a, b, [m, n, k]),
        4 => multiply_transposed_by::<L, E, 4>(c, a, b, [m, n, k]),
        _ => multiply_transposed_by::<L, E, 2>(c, a, b, [m, n, k]),
    }
}

#[inline(always)]
fn multiply_by<L: Level, E: Entry, const R: usize>(
    c: &mut Matrix,
    a: &Left<E>,
    b: Corner<'_, E>,
    [m, n, k]: [usize; 3],
) {
    for (p, panel) in b.lanes.chunks_exact(b.steps).take(n / WIDTH).enumerate() {
        let (panel, _) = panel[b.first_step..][..k].as_chunks::<DEPTH>();
        for i in (0..m).step_by(R) {
            let rows: [&[[u32; DEPTH]]; R] =
                std::array::from_fn(|row| a.words[(i + row) * a.stride..][..k].as_chunks().0);
            let tile = &mut c.values[i * c.stride..];
            let mut sums = [L::splat(0.0); R];
            for (chunk, lanes) in panel.iter().enumerate() {
                let factors: [&[u32; DEPTH]; R] = std::array::from_fn(|row| &rows[row][chunk]);
                for step in 0..DEPTH {
                    for row in 0..R {
                        sums[row] =
                            E::multiply_add::<L>(factors[row][step], &lanes[step], sums[row]);
                    }
                }
            }
            store::<L, R>(tile, c.stride, p * WIDTH, sums);
        }
    }
}

#[inline(always)]
fn multiply_transposed_by<L: Level, E: Entry, const R: usize>(
    c: &mut RowsMut<'_>,
    a: &Left<E>,
    b: &Panels<E>,
    [m, n, k]: [usize; 3],
) {
    for (p, panel) in b.lanes.chunks_exact(b.steps).take(n / WIDTH).enumerate() {
        for i in (0..m).step_by(R) {
            let tile = &mut c.values[i * c.stride..];
            let mut sums = load::<L, R>(tile, c.stride, p * WIDTH);
            for (step_of_a, lanes) in a.words.chunks_exact(a.stride).zip(&panel[..k]) {
                let factors = &step_of_a[i..i + R];
                for row in 0..R {
                    sums[row] = E::multiply_add::<L>(factors[row], lanes, sums[row]);
                }
            }
            store::<L, R>(tile, c.stride, p * WIDTH, sums);
        }
    }
}

/// The rows of a tile; every row of C is padded, so each has a whole vector at `column`.
#[inline(always)]
fn load<L: Level, const R: usize>(tile: &[f32], stride: usize, column: usize) -> [L::Vector; R] {
    // A loop, because a closure would lose the instruction set.
    let mut sums = [L::splat(0.0); R];
    for (row, sums) in sums.iter_mut().enumerate() {
        if let Some(values) = tile[row * stride + column..].first_chunk() {
            *sums = L::load(values);
        }
    }
    sums
}

#[inline(always)]
fn store<L: Level, const R: usize>(
    tile: &mut [f32],
    stride: usize,
    column: usize,
    sums: [L::Vector; R],
) {
    for row in 0..R {
        if let Some(values) = tile[row * stride + column..].first_chunk_mut() {
            L::store(sums[row], values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::isa::Available;
    use super::super::simd::{Kernel, run_on};
    use super::*;

    struct Products<'a> {
        a: &'a Matrix,
        a_transposed: &'a Matrix,
        b: &'a Matrix,
        b_transposed: &'a Matrix,
        shape: [usize; 3],
    }

    impl Products<'_> {
        #[inline(always)]
        fn of<L: Level, E: Entry>(&self) -> [Vec<f32>; 2] {
            let [m, n, k] = self.shape;
            let shape = [m, n, k / E::DEPTHS];
            let mut both = [(); 2].map(|()| Matrix::zeros(m, n));
            for c in &mut both {
                c.values.fill(1.0);
            }
            let mut left = Left::<E>::with_room(m.max(k), m.max(k));
            let (mut by_rows, mut by_columns) = (Panels::zeros(k, n), Panels::zeros(k, n));
            by_rows.set_rows::<L>(self.b.values.chunks_exact(n));
            by_columns.set_columns::<L>(
                self.b_transposed
                    .values
                    .chunks(self.b_transposed.stride)
                    .map(|row| &row[..k]),
            );
            left.set::<L>(self.a, [m, k]);
            multiply::<L, E>(&mut both[0], &left, by_rows.columns_from(0), shape);
            left.set_transposed::<L>(self.a_transposed, [m, k]);
            multiply_transposed::<L, E>(&mut both[1].rows_from(0), &left, &by_columns, shape);
            both.map(|c| c.values)
        }
    }

    impl Kernel for Products<'_> {
        type Output = [[Vec<f32>; 2]; 3];
        const ROUNDS: bool = true;

        #[inline(always)]
        fn run<L: Level>(self) -> Self::Output {
            [
                self.of::<L, Exact>(),
                self.of::<L, Rounded>(),
                self.of::<L, Bf16Pairs>(),
            ]
        }
    }

    fn matrix(rows: usize, columns: usize, entry: impl Fn(usize, usize) -> f32) -> Matrix {
        let mut matrix = Matrix::zeros(rows, columns);
        for i in 0..rows {
            for (j, value) in matrix.row_mut(i)[..columns].iter_mut().enumerate() {
                *value = entry(i, j);
            }
        }
        matrix
    }

    #[test]
    fn products_are_exactly_what_the_definition_says() {
        let shape @ [m, n, k] = [16, 32, 48];
        let entry_a = |i: usize, j: usize| ((i * 5 + j * 3) % 7) as f32 - 3.0;
        let entry_b = |i: usize, j: usize| ((i * 11 + j) % 5) as f32 - 2.0;
        let expected: Vec<f32> = (0..m * n)
            .map(|at| {
                (0..k)
                    .map(|l| entry_a(at / n, l) * entry_b(l, at % n))
                    .sum::<f32>()
            })
            .collect();
        for path in Available::all() {
            // Small integers are bf16 numbers, so that rounding changes nothing.
            let products = run_on(
                path,
                Products {
                    a: &matrix(m, k, entry_a),
                    a_transposed: &matrix(k, m, |i, j| entry_a(j, i)),
                    b: &matrix(k, n, entry_b),
                    b_transposed: &matrix(n, k, |i, j| entry_b(j, i)),
                    shape,
                },
            );
            for [product, added] in &products {
                assert_eq!(*product, expected, "{path:?}");
                let expected: Vec<f32> = expected.iter().map(|value| 1.0 + value).collect();
                assert_eq!(*added, expected, "{path:?}");
            }
        }
    }
}
