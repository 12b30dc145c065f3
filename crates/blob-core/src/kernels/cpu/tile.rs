//! Small matrix products in registers, for matrices that fit the cache.
//!
//! ```text
//! C += A·B   or   C += Aᵀ·B        C (m, n),  B (k, n)
//! ```
//!
//! Every element of C is one chain of fused multiply-adds in the order of k, whatever the tile. `m`
//! is a multiple of 8, `n` of [`WIDTH`], `k` of 8 without a transpose: operands are padded with zeros when they are packed.

use super::simd::Level;
pub(crate) use super::simd::WIDTH;

/// Rows are padded to multiples of this.
pub(crate) const ROWS: usize = 8;
/// Steps of k between two looks at the bounds.
const DEPTH: usize = 8;

/// Rows of `stride` floats each.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) stride: usize,
}

/// Rows of `stride` floats each, to add to.
pub(crate) struct RowsMut<'a> {
    pub(crate) values: &'a mut [f32],
    pub(crate) stride: usize,
}

/// A matrix (depth, n) in panels of [`WIDTH`] columns: panel p holds rows 0..depth of its columns.
pub(crate) struct Panels {
    lanes: Vec<[f32; WIDTH]>,
    depth: usize,
}

impl Panels {
    /// Zeros, with room for `depth` rows of `columns`.
    pub(crate) fn zeros(depth: usize, columns: usize) -> Self {
        Self {
            lanes: vec![[0.0; WIDTH]; depth * columns.div_ceil(WIDTH)],
            depth,
        }
    }

    /// Sets row `index`; columns past `values` stay.
    #[inline(always)]
    pub(crate) fn set_row(&mut self, index: usize, values: &[f32]) {
        for (panel, values) in self
            .lanes
            .chunks_exact_mut(self.depth)
            .zip(values.chunks(WIDTH))
        {
            panel[index][..values.len()].copy_from_slice(values);
        }
    }

    /// Sets column `index`; rows past `values` stay.
    #[inline(always)]
    pub(crate) fn set_column(&mut self, index: usize, values: &[f32]) {
        let panel = &mut self.lanes[index / WIDTH * self.depth..][..self.depth];
        for (lanes, &value) in panel.iter_mut().zip(values) {
            lanes[index % WIDTH] = value;
        }
    }
}

/// `C += A·B` for the first `m` rows and `n` columns of C and the first `k` rows of B.
#[inline(always)]
pub(crate) fn multiply<L: Level>(
    c: &mut RowsMut<'_>,
    a: Rows<'_>,
    b: &Panels,
    [m, n, k]: [usize; 3],
) {
    match L::TILE_ROWS {
        8 => multiply_by::<L, 8>(c, a, b, [m, n, k]),
        4 => multiply_by::<L, 4>(c, a, b, [m, n, k]),
        _ => multiply_by::<L, 2>(c, a, b, [m, n, k]),
    }
}

/// `C += Aᵀ·B` for the first `m` rows and `n` columns of C and the first `k` rows of A and B.
#[inline(always)]
pub(crate) fn multiply_transposed<L: Level>(
    c: &mut RowsMut<'_>,
    a: Rows<'_>,
    b: &Panels,
    [m, n, k]: [usize; 3],
) {
    match L::TILE_ROWS {
        8 => multiply_transposed_by::<L, 8>(c, a, b, [m, n, k]),
        4 => multiply_transposed_by::<L, 4>(c, a, b, [m, n, k]),
        _ => multiply_transposed_by::<L, 2>(c, a, b, [m, n, k]),
    }
}

#[inline(always)]
fn multiply_by<L: Level, const R: usize>(
    c: &mut RowsMut<'_>,
    a: Rows<'_>,
    b: &Panels,
    [m, n, k]: [usize; 3],
) {
    for (p, panel) in b.lanes.chunks_exact(b.depth).take(n / WIDTH).enumerate() {
        let (panel, _) = panel[..k].as_chunks::<DEPTH>();
        for i in (0..m).step_by(R) {
            let rows: [&[[f32; DEPTH]]; R] =
                std::array::from_fn(|row| a.values[(i + row) * a.stride..][..k].as_chunks().0);
            let tile = &mut c.values[i * c.stride..];
            let mut sums = load::<L, R>(tile, c.stride, p * WIDTH);
            for (chunk, lanes) in panel.iter().enumerate() {
                let factors: [&[f32; DEPTH]; R] = std::array::from_fn(|row| &rows[row][chunk]);
                for step in 0..DEPTH {
                    let lanes = L::load(&lanes[step]);
                    for row in 0..R {
                        sums[row] = L::axpy(factors[row][step], lanes, sums[row]);
                    }
                }
            }
            store::<L, R>(tile, c.stride, p * WIDTH, sums);
        }
    }
}

#[inline(always)]
fn multiply_transposed_by<L: Level, const R: usize>(
    c: &mut RowsMut<'_>,
    a: Rows<'_>,
    b: &Panels,
    [m, n, k]: [usize; 3],
) {
    for (p, panel) in b.lanes.chunks_exact(b.depth).take(n / WIDTH).enumerate() {
        for i in (0..m).step_by(R) {
            let tile = &mut c.values[i * c.stride..];
            let mut sums = load::<L, R>(tile, c.stride, p * WIDTH);
            for (row_of_a, lanes) in a.values.chunks_exact(a.stride).zip(&panel[..k]) {
                let factors = &row_of_a[i..i + R];
                let lanes = L::load(lanes);
                for row in 0..R {
                    sums[row] = L::axpy(factors[row], lanes, sums[row]);
                }
            }
            store::<L, R>(tile, c.stride, p * WIDTH, sums);
        }
    }
}

/// The rows of a tile; every row of C is padded, so each has a whole vector at `column`.
#[inline(always)]
fn load<L: Level, const R: usize>(tile: &[f32], stride: usize, column: usize) -> [L::Vector; R] {
    std::array::from_fn(|row| match tile[row * stride + column..].first_chunk() {
        Some(values) => L::load(values),
        None => L::load(&[0.0; WIDTH]),
    })
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
    use super::super::simd::{Kernel, Path, run_on};
    use super::*;

    struct Products<'a> {
        a: Rows<'a>,
        a_transposed: Rows<'a>,
        b: &'a Panels,
        shape: [usize; 3],
    }

    impl Kernel for Products<'_> {
        type Output = [Vec<f32>; 2];

        #[inline(always)]
        fn run<L: Level>(self) -> [Vec<f32>; 2] {
            let [m, n, _] = self.shape;
            let mut both = [vec![1.0; m * n], vec![1.0; m * n]];
            let [plain, transposed] = &mut both;
            let rows = |values| RowsMut { values, stride: n };
            multiply::<L>(&mut rows(plain), self.a, self.b, self.shape);
            let rows = |values| RowsMut { values, stride: n };
            multiply_transposed::<L>(&mut rows(transposed), self.a_transposed, self.b, self.shape);
            both
        }
    }

    #[test]
    fn products_add_exactly_what_the_definition_says() {
        let shape @ [m, n, k] = [16, 32, 24];
        let entry_a = |i: usize, j: usize| ((i * 5 + j * 3) % 7) as f32 - 3.0;
        let entry_b = |i: usize, j: usize| ((i * 11 + j) % 5) as f32 - 2.0;
        let a: Vec<f32> = (0..m * k).map(|at| entry_a(at / k, at % k)).collect();
        let a_transposed: Vec<f32> = (0..m * k).map(|at| entry_a(at % m, at / m)).collect();
        let mut by_rows = Panels::zeros(k, n);
        let mut by_columns = Panels::zeros(k, n);
        for i in 0..k {
            by_rows.set_row(i, &(0..n).map(|j| entry_b(i, j)).collect::<Vec<_>>());
        }
        for j in 0..n {
            by_columns.set_column(j, &(0..k).map(|i| entry_b(i, j)).collect::<Vec<_>>());
        }
        let expected: Vec<f32> = (0..m * n)
            .map(|at| {
                1.0 + (0..k)
                    .map(|l| entry_a(at / n, l) * entry_b(l, at % n))
                    .sum::<f32>()
            })
            .collect();
        for path in Path::available() {
            for b in [&by_rows, &by_columns] {
                let (a, a_transposed) = (
                    Rows {
                        values: &a,
                        stride: k,
                    },
                    Rows {
                        values: &a_transposed,
                        stride: m,
                    },
                );
                let products = run_on(
                    path,
                    Products {
                        a,
                        a_transposed,
                        b,
                        shape,
                    },
                );
                assert_eq!(products, [expected.clone(), expected.clone()], "{path:?}");
            }
        }
    }
}
