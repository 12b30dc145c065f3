//! From a Gaussian over logits to probabilities: f ~ N(μ, Λ) of one prompt, C classes.
//!
//! ```text
//! probit   p_c ∝ 1/Σ_j exp(−(μ_c − μ_j)/√(1 + (π/8)·Var(f_c − f_j)))    Var = Λ_cc + Λ_jj − 2Λ_cj
//! bridge   α_c = (1 − 2/C + e^{μ_c} Σ_j e^{−μ_j}/C²)/Λ_cc    p_c = α_c/Σ α     given Σ_c f_c = 0
//! sample   f_s = μ + L z_s,  L Lᵀ = Λ,  z_s ~ N(0, I)                   p = mean of softmax f_s
//! ```
//!
//! The probit approximation of σ (MacKay 1992) in softmax's identity 1/p_c = Σ_j e^{−(f_c − f_j)},
//! after Lu, Ie & Sha, arXiv:2006.07584 (mf2): of two classes MacKay's own, and unlike the form
//! with Λ_cc alone it does not see what moves all logits together. The Laplace bridge: Hobbhahn et
//! al., arXiv:2003.01227.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// How probabilities are made of a Gaussian over logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// In closed form, by the probit approximation.
    #[default]
    Probit,
    /// In closed form, by the Laplace bridge.
    Bridge,
    /// Samples of the logits.
    Sample,
}

/// Probabilities by the probit approximation; `covariance` (C, C).
pub(super) fn probit(mean: &[f32], covariance: &[f64]) -> Vec<f64> {
    let classes = mean.len();
    let share = |c: usize| {
        let term = |j: usize| {
            let difference = f64::from(mean[c]) - f64::from(mean[j]);
            let variance = covariance[c * classes + c] + covariance[j * classes + j]
                - covariance[c * classes + j]
                - covariance[j * classes + c];
            (-difference / (1.0 + PI / 8.0 * variance.max(0.0)).sqrt()).exp()
        };
        1.0 / (0..classes).map(term).sum::<f64>()
    };
    normalised((0..classes).map(share).collect())
}

/// Probabilities by the Laplace bridge.
pub(super) fn bridge(mean: &[f32], covariance: &[f64]) -> Vec<f64> {
    let classes = mean.len();
    let sums: Vec<f64> = covariance
        .chunks_exact(classes)
        .map(|row| row.iter().sum())
        .collect();
    let total: f64 = sums.iter().sum();
    let mean: Vec<f64> = mean.iter().map(|&value| f64::from(value)).collect();
    let shift = if total > 0.0 {
        mean.iter().sum::<f64>() / total
    } else {
        0.0
    };
    // Given that the logits sum up to 0.
    let centred: Vec<f64> = mean
        .iter()
        .zip(&sums)
        .map(|(m, sum)| m - sum * shift)
        .collect();
    let alpha = |c: usize| {
        let taken = if total > 0.0 {
            sums[c] * sums[c] / total
        } else {
            0.0
        };
        let variance = covariance[c * classes + c] - taken;
        let count = classes as f64;
        let powers: f64 = centred
            .iter()
            .map(|other| (centred[c] - other).min(700.0).exp())
            .sum();
        // Of no variance at all α is without bounds: the mean alone is left.
        (1.0 - 2.0 / count + powers / (count * count)) / variance.max(1e-12)
    };
    normalised((0..classes).map(alpha).collect())
}

fn normalised(shares: Vec<f64>) -> Vec<f64> {
    let total: f64 = shares.iter().sum();
    shares.into_iter().map(|share| share / total).collect()
}

/// μ + L z: one draw of the logits.
pub(super) fn drawn(mean: &[f32], root: &[f64], z: &[f32]) -> Vec<f32> {
    let rows = root.chunks_exact(mean.len().max(1));
    let moved = mean.iter().zip(rows).map(|(mean, row)| {
        let sum: f64 = row.iter().zip(z).map(|(l, z)| l * f64::from(*z)).sum();
        (f64::from(*mean) + sum) as f32
    });
    moved.collect()
}

/// L of Λ = L·Lᵀ (C, C), whose directions without variance stay without.
pub(super) fn root(covariance: &[f64], classes: usize) -> Vec<f64> {
    let mut lower = vec![0.0; classes * classes];
    let largest = (0..classes)
        .map(|c| covariance[c * classes + c])
        .fold(0.0, f64::max);
    for i in 0..classes {
        for j in 0..=i {
            let both = f64::midpoint(covariance[i * classes + j], covariance[j * classes + i]);
            let done: f64 = (0..j)
                .map(|k| lower[i * classes + k] * lower[j * classes + k])
                .sum();
            let rest = both - done;
            let pivot = lower[j * classes + j];
            lower[i * classes + j] = if i == j {
                if rest > 1e-12 * largest {
                    rest.sqrt()
                } else {
                    0.0
                }
            } else if pivot > 0.0 {
                rest / pivot
            } else {
                0.0
            };
        }
    }
    lower
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_near(found: &[f64], expected: &[f64], tolerance: f64) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < tolerance, "{found} {expected}");
        }
        assert_eq!(found.len(), expected.len());
    }

    /// E softmax(f) by a grid of 4σ over three classes.
    fn integral(mean: &[f32], covariance: &[f64]) -> Vec<f64> {
        let root = root(covariance, 3);
        let (mut sums, mut weights) = ([0.0; 3], 0.0);
        let points: Vec<f32> = (-20..=20).map(|i| 0.2 * i as f32).collect();
        for &x in &points {
            for &y in &points {
                for &z in &points {
                    let weight = f64::from(-0.5 * (x * x + y * y + z * z)).exp();
                    let f = drawn(mean, &root, &[x, y, z]);
                    let powers = f.iter().map(|&f| f64::from(f).exp()).collect();
                    for (sum, p) in sums.iter_mut().zip(normalised(powers)) {
                        *sum += weight * p;
                    }
                    weights += weight;
                }
            }
        }
        sums.iter().map(|sum| sum / weights).collect()
    }

    const MEAN: [f32; 3] = [1.2, -0.3, 0.1];
    /// With much that moves all three together.
    const COVARIANCE: [f64; 9] = [5.0, 3.8, 4.1, 3.8, 4.6, 3.9, 4.1, 3.9, 5.5];

    #[test]
    fn closed_forms_are_near_the_integral() {
        let expected = integral(&MEAN, &COVARIANCE);
        assert_near(&probit(&MEAN, &COVARIANCE), &expected, 0.02);
        assert_near(&bridge(&MEAN, &COVARIANCE), &expected, 0.08);
        // The mean alone is surer.
        assert!(probit(&MEAN, &[0.0; 9])[0] > expected[0] + 0.02);
    }

    #[test]
    fn what_moves_all_logits_together_changes_nothing() {
        let moved = COVARIANCE.map(|value| value + 3.0);
        let shifted = MEAN.map(|value| value + 7.0);
        assert_near(&probit(&shifted, &moved), &probit(&MEAN, &COVARIANCE), 1e-6);
    }

    #[test]
    fn without_variance_they_are_softmax() {
        let powers = MEAN.iter().map(|&f| f64::from(f).exp()).collect();
        assert_near(&probit(&MEAN, &[0.0; 9]), &normalised(powers), 1e-12);
    }

    #[test]
    fn of_two_classes_probit_is_mackays() {
        // Var(f_0 − f_1) = 2 + 1 − 2·0.4 = 2.2, μ_0 − μ_1 = 1.5.
        let kappa = 1.0 / (1.0 + PI / 8.0 * 2.2f64).sqrt();
        let first = 1.0 / (1.0 + (-kappa * 1.5f64).exp());
        assert_near(
            &probit(&[1.0, -0.5], &[2.0, 0.4, 0.4, 1.0]),
            &[first, 1.0 - first],
            1e-7,
        );
    }

    #[test]
    fn bridge_is_laplace_torchs() {
        // laplace-torch 0.2, link_approx="bridge", of MEAN and COVARIANCE.
        let expected = laplace_torch();
        assert_near(&bridge(&MEAN, &COVARIANCE), &expected, 1e-5);
    }

    /// By its formulas, written out: the conditional moments, then α.
    fn laplace_torch() -> Vec<f64> {
        let row = |c: usize| COVARIANCE[3 * c..3 * c + 3].iter().sum::<f64>();
        let total: f64 = COVARIANCE.iter().sum();
        let sum: f64 = MEAN.iter().map(|&m| f64::from(m)).sum();
        let mean: Vec<f64> = (0..3)
            .map(|c| f64::from(MEAN[c]) - row(c) * sum / total)
            .collect();
        let inverse: f64 = mean.iter().map(|m| (-m).exp()).sum();
        let alpha = |c: usize| {
            let variance = COVARIANCE[4 * c] - row(c) * row(c) / total;
            (1.0 - 2.0 / 3.0 + mean[c].exp() / 9.0 * inverse) / variance
        };
        normalised((0..3).map(alpha).collect())
    }

    #[test]
    fn a_root_gives_the_covariance_back_also_of_one_direction() {
        for covariance in [
            COVARIANCE,
            [4.0, 2.0, -2.0, 2.0, 1.0, -1.0, -2.0, -1.0, 1.0],
        ] {
            let lower = root(&covariance, 3);
            for (at, expected) in covariance.iter().enumerate() {
                let (i, j) = (at / 3, at % 3);
                let found: f64 = (0..3).map(|k| lower[3 * i + k] * lower[3 * j + k]).sum();
                assert!((found - expected).abs() < 1e-9, "{found} {expected}");
            }
        }
    }
}
