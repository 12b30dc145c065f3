//! The evidence of a curvature, and the precision of the prior that maximises it (MacKay 1992,
//! Neural Computation 4:415; Immer et al., arXiv:2104.04975).
//!
//! ```text
//! ln Z(λ) = −NLL − (λ/2)‖θ*‖² − ½ Σ_i ln(1 + f_i/λ)      f_i: eigenvalues of F; NLL: sum over rows
//! λ·d ln Z/dλ = ½ (γ(λ) − λ‖θ*‖²)      γ(λ) = Σ_i f_i/(f_i + λ)      determined parameters
//! ```
//!
//! γ falls with λ and λ‖θ*‖² rises, so there is one maximum, found by bisection of ln λ. There is
//! none where F = 0 (no row is in doubt: λ → 0) or where θ* = 0 (λ → ∞).

use std::sync::Arc;

use super::{Curvature, Laplace};
use crate::{Error, Result};

/// A curvature, and what the evidence needs beside it.
pub struct Fitted {
    /// F.
    pub curvature: Arc<Curvature>,
    /// ‖θ*‖² of what it covers.
    pub squared_norm: f64,
    /// Rows.
    pub rows: usize,
    /// Sum over the rows, in nats.
    pub nll: f64,
}

/// Where a maximum is looked for, in ln λ: 1e-13 to 1e13.
const ENDS: (f64, f64) = (-30.0, 30.0);

/// Bisections to the last digit of an f64 in that interval.
const BISECTIONS: usize = 60;

impl Fitted {
    /// ln Z at λ, in nats.
    pub fn evidence(&self, precision: f64) -> f64 {
        let logarithms = self.eigenvalues().map(|f| (f / precision).ln_1p());
        -self.nll - 0.5 * (precision * self.squared_norm + logarithms.sum::<f64>())
    }

    /// γ at λ.
    pub fn determined(&self, precision: f64) -> f64 {
        self.eigenvalues().map(|f| f / (f + precision)).sum()
    }

    /// The λ of largest evidence.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` where the evidence has no maximum.
    pub fn best_precision(&self) -> Result<f64> {
        let slope = |log: f64| {
            let precision = log.exp();
            self.determined(precision) - precision * self.squared_norm
        };
        let (mut low, mut high) = ENDS;
        let rises = (slope(low), slope(high));
        if !(rises.0 > 0.0 && rises.1 < 0.0) {
            let why = if rises.0 <= 0.0 && self.squared_norm == 0.0 {
                "the adapter is 0, and so is the curvature"
            } else if rises.0 <= 0.0 {
                "no row is in doubt, so that the curvature is 0"
            } else {
                "the curvature is too large for weights so small"
            };
            return Err(Error::InvalidInput(format!(
                "the evidence must have a maximum at a precision between 1e-13 and 1e13, got none: \
                 {why}; give a precision"
            )));
        }
        for _ in 0..BISECTIONS {
            let middle = f64::midpoint(low, high);
            if slope(middle) > 0.0 {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(f64::midpoint(low, high).exp())
    }

    /// The posterior under a prior of precision λ, rounded to the f32 that files hold.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG` for a λ that is not positive and finite.
    pub fn posterior(&self, precision: f64) -> Result<Laplace> {
        check_precision(precision)?;
        let precision = f64::from(precision as f32);
        check_precision(precision)?;
        let curvature = Arc::clone(&self.curvature);
        Ok(Laplace {
            curvature,
            precision,
        })
    }

    fn eigenvalues(&self) -> impl Iterator<Item = f64> + '_ {
        let matrices = self.curvature.matrices.values();
        matrices.flat_map(super::MatrixCurvature::eigenvalues)
    }
}

/// # Errors
/// `BPEFT_INVALID_CONFIG`.
pub(super) fn check_precision(precision: f64) -> Result<()> {
    if precision.is_finite() && precision > 0.0 {
        return Ok(());
    }
    Err(Error::InvalidConfig {
        field: "precision",
        rule: "must be positive and finite",
        value: precision.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::adapter::{Factor, Module, Site};
    use crate::laplace::{Directions, MatrixCurvature};

    fn fitted(l: f64, squared_norm: f64) -> Fitted {
        let one = |value: f64| Directions::new(1, [(value, vec![1.0])].into_iter());
        let site = Site {
            block: 0,
            module: Module::Q,
        };
        let matrix = MatrixCurvature {
            input: one(l),
            output: one(2.0),
        };
        Fitted {
            curvature: Arc::new(Curvature {
                matrices: BTreeMap::from([((site, Factor::A), matrix)]),
            }),
            squared_norm,
            rows: 3,
            nll: 0.25,
        }
    }

    #[test]
    fn one_weight_of_known_curvature_has_the_evidence_of_the_formula() {
        // f = 6: ln Z = −0.25 − ½(λ·4 + ln(1 + 6/λ)); the maximum solves 6/(6 + λ) = 4λ.
        let fitted = fitted(3.0, 4.0);
        let expected = -0.25 - 0.5 * (8.0 + 4f64.ln());
        assert!((fitted.evidence(2.0) - expected).abs() < 1e-12);
        let best = (-24.0 + (24f64 * 24.0 + 96.0).sqrt()) / 8.0;
        assert!((fitted.best_precision().unwrap() - best).abs() < 1e-12);
        for other in [0.9 * best, 1.1 * best] {
            assert!(fitted.evidence(other) < fitted.evidence(best));
        }
    }

    #[test]
    fn an_evidence_without_a_maximum_is_told_from_both_sides() {
        let sure = Fitted {
            curvature: Arc::new(Curvature {
                matrices: BTreeMap::new(),
            }),
            ..fitted(3.0, 4.0)
        };
        let error = sure.best_precision().unwrap_err().to_string();
        assert!(error.contains("no row is in doubt"), "{error}");
        let empty = Fitted {
            curvature: Arc::clone(&sure.curvature),
            ..fitted(3.0, 0.0)
        };
        let error = empty.best_precision().unwrap_err().to_string();
        assert!(error.contains("the adapter is 0"), "{error}");
        let error = fitted(3.0, 0.0).best_precision().unwrap_err().to_string();
        assert!(error.contains("weights so small"), "{error}");
        for precision in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let error = sure.posterior(precision).unwrap_err();
            assert_eq!(error.code(), "BPEFT_INVALID_CONFIG", "{precision}");
        }
    }
}
