//! One factor of a layer's curvature, Σ_t w·x_t x_tᵀ, summed up row by row in bounded memory.
//!
//! ```text
//! Gram     S = Σ x xᵀ (d, d)                                  d small: exact
//! sketch   Y = S·Ω (d, ℓ), Ω (d, ℓ) of normals, ℓ = 2K + 8    d large: one pass, no order
//!          C = chol(Ωᵀ Y_ν)    E = Y_ν C⁻¹ = U diag(e) Vᵀ     Y_ν = Y + νΩ
//!          S ≈ U diag(max(e² − ν, 0)) Uᵀ, cut to its K largest
//! ```
//!
//! Tropp, Yurtsever, Udell & Cevher 2017 (arXiv:1706.05736) algorithm 3: the error in the trace
//! norm is at most 1 + K/(ℓ − K − 1) < 2 times that of the best rank K, the result is positive, and
//! exact where S has rank ℓ or less. ν is what f32 leaves open of Y. Ω is the same in every fit.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Directions;
use crate::noise::{NoiseKey, Phase, Purpose, Stream};
use crate::ops::products;
use crate::spectrum::{Spectrum, dot};

/// Factors of at most this width keep all their directions.
const WHOLE: usize = 64;

/// Below this share of the largest, f32 sums hold rounding alone.
const ROUNDING: f64 = 1e-9;

/// Directions that are kept of a factor of a width.
pub(super) fn kept(width: usize, rank: usize) -> usize {
    if width <= WHOLE {
        width
    } else {
        rank.min(width)
    }
}

/// ℓ; `None` where the Gram matrix is no larger.
fn sketched(width: usize, rank: usize) -> Option<usize> {
    let columns = 2 * rank + 8;
    (width > WHOLE && columns < width).then_some(columns)
}

/// Values of the sum, and of the Ω that it shares with sums of its width.
pub(super) fn values(width: usize, rank: usize) -> (usize, usize) {
    match sketched(width, rank) {
        Some(columns) => (columns * width, columns * width),
        None => (width * width, 0),
    }
}

/// The Ωs of a fit by their widths, each (ℓ, d).
#[derive(Default)]
pub(super) struct Omegas(BTreeMap<usize, Arc<Vec<f32>>>);

impl Omegas {
    fn of(&mut self, width: usize, columns: usize) -> Arc<Vec<f32>> {
        let omega = self.0.entry(width).or_insert_with(|| {
            let mut values = vec![0.0; columns * width];
            let key = NoiseKey {
                slot: 0,
                purpose: Purpose::Sketch,
                sample: 0,
            };
            Stream::new(0, 0, Phase::Evaluation).fill_normal(&mut values, key);
            Arc::new(values)
        });
        Arc::clone(omega)
    }
}

/// S, or what stands for it.
pub(super) enum Sum {
    /// (d, d)
    Gram { width: usize, values: Vec<f32> },
    /// Yᵀ and Ωᵀ, (ℓ, d).
    Sketch {
        width: usize,
        y: Vec<f32>,
        omega: Arc<Vec<f32>>,
    },
    /// Of a vocabulary, of which few tokens have values: S by pairs of tokens.
    Tokens {
        width: usize,
        pairs: BTreeMap<(u32, u32), f64>,
    },
}

impl Sum {
    /// Of rows of a width.
    pub(super) fn new(width: usize, rank: usize, omegas: &mut Omegas) -> Self {
        match sketched(width, rank) {
            Some(columns) => Self::Sketch {
                width,
                y: vec![0.0; columns * width],
                omega: omegas.of(width, columns),
            },
            None => Self::Gram {
                width,
                values: vec![0.0; width * width],
            },
        }
    }

    /// Of the tokens of a vocabulary.
    pub(super) fn of_tokens(width: usize) -> Self {
        let pairs = BTreeMap::new();
        Self::Tokens { width, pairs }
    }

    /// Adds Σ_t x_t x_tᵀ of rows x (n, d).
    pub(super) fn add(&mut self, x: &[f32]) {
        match self {
            Self::Gram { width, values } => products::add_outer(x, x, *width, values),
            Self::Sketch { width, y, omega } => {
                let sketched = products::by_rows(x, omega, *width);
                products::add_outer(&sketched, x, *width, y);
            }
            Self::Tokens { .. } => {}
        }
    }

    /// Adds x xᵀ of one row that has values at these tokens alone.
    pub(super) fn add_tokens(&mut self, tokens: &[u32], values: &[f32]) {
        let Self::Tokens { pairs, .. } = self else {
            return;
        };
        for (&one, &x) in tokens.iter().zip(values) {
            for (&other, &y) in tokens.iter().zip(values) {
                *pairs.entry((one, other)).or_insert(0.0) += f64::from(x) * f64::from(y);
            }
        }
    }

    /// Tokens with values.
    pub(super) fn tokens(&self) -> usize {
        match self {
            Self::Tokens { pairs, .. } => pairs.keys().filter(|(one, other)| one == other).count(),
            _ => 0,
        }
    }

    /// The largest directions of w·S.
    pub(super) fn directions(&self, weight: f64, rank: usize) -> Directions {
        match self {
            Self::Gram { width, values } => {
                let columns = symmetric(values, *width);
                let Spectrum { v, d, .. } = Spectrum::down_to(ROUNDING, columns);
                let pairs = d.into_iter().zip(v).take(kept(*width, rank));
                Directions::new(*width, pairs.map(|(value, v)| (weight * value, v)))
            }
            Self::Sketch { width, y, omega } => {
                let pairs = sketched_spectrum(*width, y, omega).into_iter();
                let pairs = pairs.take(kept(*width, rank));
                Directions::new(*width, pairs.map(|(value, v)| (weight * value, v)))
            }
            Self::Tokens { width, pairs } => {
                let tokens: Vec<u32> = pairs
                    .keys()
                    .filter(|(one, other)| one == other)
                    .map(|&(token, _)| token)
                    .collect();
                let value = |one, other| pairs.get(&(one, other)).copied().unwrap_or(0.0);
                let column = |&one| tokens.iter().map(|&other| value(one, other)).collect();
                let columns = tokens.iter().map(column).collect();
                let Spectrum { v, d, .. } = Spectrum::down_to(ROUNDING, columns);
                let spread = |v: Vec<f64>| {
                    let mut all = vec![0.0; *width];
                    for (&token, value) in tokens.iter().zip(v) {
                        all[token as usize] = value;
                    }
                    all
                };
                let pairs = d.into_iter().zip(v);
                Directions::new(*width, pairs.map(|(value, v)| (weight * value, spread(v))))
            }
        }
    }
}

/// The columns of a symmetric matrix whose halves were rounded apart.
fn symmetric(values: &[f32], width: usize) -> Vec<Vec<f64>> {
    let at = |i: usize, j: usize| f64::from(values[i * width + j]);
    let column = |j| {
        (0..width)
            .map(|i| f64::midpoint(at(i, j), at(j, i)))
            .collect()
    };
    (0..width).map(column).collect()
}

/// Eigenvalues and eigenvectors of what a sketch stands for, falling.
fn sketched_spectrum(width: usize, y: &[f32], omega: &[f32]) -> Vec<(f64, Vec<f64>)> {
    let columns = |values: &[f32]| -> Vec<Vec<f64>> {
        let column = |row: &[f32]| row.iter().map(|&value| f64::from(value)).collect();
        values.chunks_exact(width).map(column).collect()
    };
    let (y, omega) = (columns(y), columns(omega));
    let size: f64 = y.iter().map(|column| dot(column, column)).sum();
    let mut shift = (width as f64).sqrt() * f64::from(f32::EPSILON) * size.sqrt();
    // What rounding took away is given back; more of it where that was not enough.
    for _ in 0..8 {
        let shifted: Vec<Vec<f64>> = y
            .iter()
            .zip(&omega)
            .map(|(y, omega)| y.iter().zip(omega).map(|(y, o)| y + shift * o).collect())
            .collect();
        if let Some(lower) = cholesky(&omega, &shifted) {
            let whitened = solved(&lower, &shifted);
            let Spectrum { columns, d, .. } = Spectrum::down_to(ROUNDING, whitened);
            let pairs = d.into_iter().zip(columns).filter(|(d, _)| *d > 0.0);
            let pair = |(d, column): (f64, Vec<f64>)| {
                let unit = column.into_iter().map(|value| value / d).collect();
                ((d * d - shift).max(0.0), unit)
            };
            return pairs.map(pair).collect();
        }
        shift *= 10.0;
    }
    Vec::new()
}

/// L of Ωᵀ·Y = L·Lᵀ, row by row; `None` where it is not positive.
fn cholesky(omega: &[Vec<f64>], y: &[Vec<f64>]) -> Option<Vec<Vec<f64>>> {
    let mut lower: Vec<Vec<f64>> = Vec::with_capacity(y.len());
    for i in 0..y.len() {
        let mut row = Vec::with_capacity(i + 1);
        for j in 0..=i {
            let both = f64::midpoint(dot(&omega[i], &y[j]), dot(&omega[j], &y[i]));
            let of_others: f64 = match lower.get(j) {
                Some(other) => dot(&row[..j], &other[..j]),
                None => dot(&row, &row),
            };
            let rest = both - of_others;
            row.push(match lower.get(j) {
                Some(other) => rest / other[j],
                None if rest > 0.0 => rest.sqrt(),
                None => return None,
            });
        }
        lower.push(row);
    }
    Some(lower)
}

/// The columns of Y·L⁻ᵀ.
fn solved(lower: &[Vec<f64>], y: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut out: Vec<Vec<f64>> = Vec::with_capacity(y.len());
    for (row, column) in lower.iter().zip(y) {
        let mut column = column.clone();
        for (factor, done) in row.iter().zip(&out) {
            for (value, done) in column.iter_mut().zip(done) {
                *value -= factor * done;
            }
        }
        let pivot = row.last().copied().unwrap_or(1.0);
        for value in &mut column {
            *value /= pivot;
        }
        out.push(column);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 90;

    /// Rows whose sum has the eigenvalues 4^−i along `rank` directions that are not axes.
    fn rows(rank: usize) -> Vec<f32> {
        let mut normals = vec![0.0; rank * WIDTH];
        let key = NoiseKey {
            slot: 7,
            purpose: Purpose::Gaussian,
            sample: 0,
        };
        Stream::new(1, 0, Phase::Initialisation).fill_normal(&mut normals, key);
        let columns: Vec<Vec<f64>> = normals
            .chunks_exact(WIDTH)
            .map(|row| row.iter().map(|&value| f64::from(value)).collect())
            .collect();
        let Spectrum { columns, d, .. } = Spectrum::of(columns);
        let scaled = columns
            .iter()
            .zip(d)
            .enumerate()
            .flat_map(|(i, (column, d))| {
                let scale = 0.5f64.powf(i as f64) / d;
                column.iter().map(move |value| (scale * value) as f32)
            });
        scaled.collect()
    }

    fn summed(rows: &[f32], rank: usize) -> Directions {
        let mut sum = Sum::new(WIDTH, rank, &mut Omegas::default());
        for row in rows.chunks(3 * WIDTH) {
            sum.add(row);
        }
        sum.directions(2.0, rank)
    }

    #[test]
    fn a_sketch_finds_the_largest_directions_where_the_others_are_small() {
        assert!(matches!(
            Sum::new(WIDTH, 5, &mut Omegas::default()),
            Sum::Sketch { .. }
        ));
        let rows = rows(12);
        let found = summed(&rows, 5);
        assert_eq!(found.values().len(), 5);
        for (i, value) in found.values().iter().enumerate() {
            let expected = 2.0 * 0.25f64.powf(i as f64);
            // Of the largest: what f32 leaves open.
            assert!((value - expected).abs() < 2e-4, "{i}: {value} {expected}");
            let own = &rows[i * WIDTH..(i + 1) * WIDTH];
            let vector = &found.vectors()[i * WIDTH..(i + 1) * WIDTH];
            let along: f32 = own.iter().zip(vector).map(|(x, v)| x * v).sum();
            let length = 0.5f32.powf(i as f32);
            assert!((along.abs() / length - 1.0).abs() < 1e-2, "{i}: {along}");
        }
    }

    #[test]
    fn what_is_kept_never_exceeds_the_sum_and_is_within_twice_of_the_best() {
        // 60 directions in a sketch of 2·5 + 8 columns.
        let mut flat = rows(60);
        for (i, row) in flat.chunks_exact_mut(WIDTH).enumerate() {
            let length: f32 = row.iter().map(|x| x * x).sum::<f32>().sqrt();
            for x in row {
                *x *= (1.0 + i as f32).powf(-0.5) / length;
            }
        }
        let all: f64 = (0..60).map(|i| 2.0 / (1.0 + f64::from(i))).sum();
        let best: f64 = (0..5).map(|i| 2.0 / (1.0 + f64::from(i))).sum();
        let found = summed(&flat, 5);
        let kept: f64 = found.values().iter().sum();
        assert!(
            kept <= best && all - kept <= 2.0 * (all - best),
            "{kept} {best} {all}"
        );
        for (i, value) in found.values().iter().enumerate() {
            assert!(
                *value <= 2.0 / (1.0 + i as f64) * (1.0 + 1e-5),
                "{i}: {value}"
            );
        }
    }

    #[test]
    fn tokens_of_a_vocabulary_are_summed_as_if_all_had_values() {
        let mut sum = Sum::of_tokens(6);
        sum.add_tokens(&[4, 1], &[3.0, 0.0]);
        sum.add_tokens(&[1, 5], &[0.0, 2.0]);
        assert_eq!(sum.tokens(), 3);
        let found = sum.directions(1.0, 10);
        assert_eq!(found.values(), [9.0, 4.0]);
        let [first, second] = [4, 5].map(|at| (0..6).map(move |i| f32::from(u8::from(i == at))));
        let vectors: Vec<f32> = found.vectors().iter().map(|v| v.abs()).collect();
        assert_eq!(vectors, first.chain(second).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_added_has_no_directions() {
        for rank in [5, 90] {
            let none = Sum::new(WIDTH, rank, &mut Omegas::default()).directions(1.0, rank);
            assert!(none.values().is_empty(), "{rank}");
        }
    }
}
