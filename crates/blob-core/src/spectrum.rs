//! Singular values and vectors of matrices of few columns, by one-sided Jacobi rotations (Hestenes
//! 1958), which find small singular values as exactly as large ones.
//!
//! ```text
//! B = U diag(d) Vᵀ      B·V = U diag(d)      B (m, r), d falls
//! ```
//!
//! Of a symmetric positive matrix d are its eigenvalues, and V its eigenvectors.

/// B·V, V and d of B (m, r).
pub(crate) struct Spectrum {
    /// Column i of BV, (m).
    pub(crate) columns: Vec<Vec<f64>>,
    /// Column i of V, (r).
    pub(crate) v: Vec<Vec<f64>>,
    /// Falling.
    pub(crate) d: Vec<f64>,
}

/// Far more than the six or so that Jacobi's method takes.
const MOST_SWEEPS: usize = 60;

/// The columns of a matrix (m, r).
pub(crate) fn columns_of(values: &[f32], r: usize) -> Vec<Vec<f64>> {
    let column = |i| values.iter().skip(i).step_by(r).map(|&value| value.into());
    (0..r).map(|i| column(i).collect()).collect()
}

impl Spectrum {
    /// To the last digit.
    pub(crate) fn of(columns: Vec<Vec<f64>>) -> Self {
        Self::down_to(0.0, columns)
    }

    /// Columns that are at most this share of the largest are left as they come.
    pub(crate) fn down_to(share: f64, mut columns: Vec<Vec<f64>>) -> Self {
        let rank = columns.len();
        let unit = |i| (0..rank).map(move |k| f64::from(u8::from(i == k)));
        let mut v: Vec<Vec<f64>> = (0..rank).map(|i| unit(i).collect()).collect();
        let squares = columns.iter().map(|column| dot(column, column));
        let floor = share * share * squares.fold(0.0, f64::max);
        for _ in 0..MOST_SWEEPS {
            let mut is_orthogonal = true;
            for p in 0..rank {
                for q in p + 1..rank {
                    let (of_p, of_q) =
                        (dot(&columns[p], &columns[p]), dot(&columns[q], &columns[q]));
                    let both = dot(&columns[p], &columns[q]);
                    if both.abs() <= 1e-15 * (of_p * of_q).sqrt() || of_p.min(of_q) < floor {
                        continue;
                    }
                    is_orthogonal = false;
                    let zeta = (of_q - of_p) / (2.0 * both);
                    let tangent = zeta.signum() / (zeta.abs() + zeta.hypot(1.0));
                    rotate(&mut columns, (p, q), tangent);
                    rotate(&mut v, (p, q), tangent);
                }
            }
            if is_orthogonal {
                break;
            }
        }
        let mut all: Vec<_> = columns
            .into_iter()
            .zip(v)
            .map(|(column, v)| (dot(&column, &column).sqrt(), column, v))
            .collect();
        all.sort_by(|one, other| other.0.total_cmp(&one.0));
        let mut sorted = Self {
            columns: Vec::new(),
            v: Vec::new(),
            d: Vec::new(),
        };
        for (d, column, v) in all {
            sorted.d.push(d);
            sorted.columns.push(column);
            sorted.v.push(v);
        }
        sorted
    }
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Turns columns p and q, p before q, by the angle of a tangent.
fn rotate(columns: &mut [Vec<f64>], (p, q): (usize, usize), tangent: f64) {
    let cosine = 1.0 / tangent.hypot(1.0);
    let sine = cosine * tangent;
    let (before, from_q) = columns.split_at_mut(q);
    for (of_p, of_q) in before[p].iter_mut().zip(&mut from_q[0]) {
        (*of_p, *of_q) = (cosine * *of_p - sine * *of_q, sine * *of_p + cosine * *of_q);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_singular_values_of_a_known_matrix() {
        // [[3, 0], [4, 5]]: √45 and √5.
        let spectrum = Spectrum::of(columns_of(&[3.0, 0.0, 4.0, 5.0], 2));
        for (found, expected) in spectrum.d.iter().zip([45f64.sqrt(), 5f64.sqrt()]) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }

    #[test]
    fn of_a_symmetric_matrix_they_are_eigenvalues_and_eigenvectors() {
        // [[2, 1], [1, 2]]: 3 along (1, 1), 1 along (1, −1).
        let spectrum = Spectrum::of(columns_of(&[2.0, 1.0, 1.0, 2.0], 2));
        assert!((spectrum.d[0] - 3.0).abs() < 1e-12 && (spectrum.d[1] - 1.0).abs() < 1e-12);
        let [first, second] = [&spectrum.v[0], &spectrum.v[1]];
        assert!((first[0] - first[1]).abs() < 1e-12 && (second[0] + second[1]).abs() < 1e-12);
        assert!((dot(first, first) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn negligible_columns_are_left_as_they_are() {
        let columns = vec![vec![1.0, 0.0], vec![1e-12, 1e-12]];
        let spectrum = Spectrum::down_to(1e-9, columns.clone());
        assert_eq!(spectrum.columns, columns);
    }
}
