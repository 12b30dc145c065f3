//! A point adapter made Gaussian by one scalar: training-free Bayesianization (TFB,
//! arXiv:2412.05723 §3).
//!
//! ```text
//! B = U diag(d) Vᵀ      B' = U diag(d) = BV      A' = VᵀA           B'A' = BA
//! q(A'_ij) = N(A'_ij, σ_i²)      σ_i = σq/d_i      B'·(σ ∘ E) = σq·UE
//! ```
//!
//! So the weights' noise is isotropic, of scale s·σq, in the column space of `B`, and σq scales it
//! alone: one decomposition serves every σq. d falls; U (m, r), V (r, r). Where d_i = 0 there is no
//! column of U, and σ_i = 0: `B` of a head has a row for each class that was ever asked for, others
//! are 0, so its rank may be below r. The reference divides by d_i + 1e-6 instead.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Adapter, Gaussian, LoraConfig, LowRank, Posterior, Sigma};
use crate::spectrum::{Spectrum, columns_of};
use crate::{Error, Result};

/// How σ follows from the singular values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpectrumRule {
    /// σq/d, and 0 where d ≤ 1e-6·d₁, about what f32 leaves of a direction that is not there.
    Exact,
    /// σq/(d + 1e-6).
    Reference,
}

const NEGLIGIBLE: f64 = 1e-6;

impl SpectrumRule {
    fn std(self, d: f64, largest: f64) -> f64 {
        match self {
            Self::Reference => 1.0 / (d + 1e-6),
            Self::Exact if d <= NEGLIGIBLE * largest => 0.0,
            Self::Exact => 1.0 / d,
        }
    }
}

impl Adapter {
    /// The same weights as a Gaussian of σq = 1 over A; blocks below `from_block` keep σ = 0. Of an
    /// adapter with a posterior, that of its mean.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`; `BPEFT_INVALID_INPUT` under a context.
    pub fn isotropic(&self, rule: SpectrumRule, from_block: usize) -> Result<Self> {
        self.require_no_context("an isotropic Gaussian")?;
        let config = LoraConfig {
            posterior: Some(Posterior {
                sigma: Sigma::Square,
                init_eps: 1.0,
                over: Gaussian::A,
            }),
            ..self.config.clone()
        };
        let members = (0..self.parameters.members()).map(|member| {
            let terms = self.terms(member).into_iter();
            terms
                .map(|(site, term)| (site, rotated(&term, rule, site.block >= from_block)))
                .collect()
        });
        let own = self.parameters.layout().own_layers().clone();
        let mut adapter = Self::from_parts(config, &members.collect::<Vec<_>>(), own)?;
        adapter.copy_own_layers(self);
        Ok(adapter)
    }

    /// The same mean with every σ times `factor`, for σ = ρ².
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` for another σ of ρ, or a factor that is negative or not finite.
    pub fn with_sigma_times(&self, factor: f64) -> Result<Self> {
        if self.sigma() != Some(Sigma::Square) || !(factor >= 0.0 && factor.is_finite()) {
            return Err(Error::InvalidInput(format!(
                "sigma can be scaled where it is rho squared, by a factor of 0 or more, got {} and \
                 {factor}",
                self.sigma()
                    .map_or("none".into(), |sigma| format!("{sigma:?}"))
            )));
        }
        let mut scaled = self.clone();
        let layout = Arc::clone(scaled.parameters.layout());
        for member in 0..scaled.parameters.members() {
            let of_rho = layout.point_len()..layout.trained_len();
            for rho in &mut scaled.parameters.member_mut(member)[of_rho] {
                *rho = (f64::from(*rho) * factor.sqrt()) as f32;
            }
        }
        Ok(scaled)
    }
}

/// The term in the coordinates of B's right singular vectors.
fn rotated(term: &LowRank, rule: SpectrumRule, is_random: bool) -> LowRank {
    let (rank, inputs) = (term.rank, term.inputs);
    let Spectrum { columns, v, d } = Spectrum::of(columns_of(&term.b, rank));
    let mut a = vec![0.0; term.a.len()];
    let mut rho = vec![0.0; term.a.len()];
    let mut b = vec![0.0; term.b.len()];
    let largest = d.first().copied().unwrap_or(0.0);
    for i in 0..rank {
        let row = i * inputs..(i + 1) * inputs;
        for (j, a) in a[row.clone()].iter_mut().enumerate() {
            let of_column = (0..rank).map(|k| v[i][k] * f64::from(term.a[k * inputs + j]));
            *a = of_column.sum::<f64>() as f32;
        }
        if is_random {
            rho[row].fill(rule.std(d[i], largest).sqrt() as f32);
        }
        for (b, value) in b.iter_mut().skip(i).step_by(rank).zip(&columns[i]) {
            *b = *value as f32;
        }
    }
    LowRank {
        a,
        b,
        rho: Some(rho),
        rho_b: None,
        beside: BTreeMap::new(),
        ..*term
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spectrum::dot;

    fn term(rows_of_b: usize) -> LowRank {
        let (rank, inputs, outputs) = (3, 5, 7);
        let value = |i: usize| ((i * 37 + 11) % 23) as f32 / 7.0 - 1.5;
        let b = (0..outputs * rank).map(|i| {
            if i / rank < rows_of_b {
                value(3 * i + 1)
            } else {
                0.0
            }
        });
        LowRank {
            rank,
            inputs,
            outputs,
            a: (0..rank * inputs).map(value).collect(),
            b: b.collect(),
            rho: None,
            rho_b: None,
            beside: BTreeMap::new(),
        }
    }

    fn product(term: &LowRank) -> Vec<f64> {
        let at = |m: usize, k: usize| {
            let ranks = 0..term.rank;
            let of_rank = |r| {
                let (b, a) = (term.b[m * term.rank + r], term.a[r * term.inputs + k]);
                f64::from(b) * f64::from(a)
            };
            ranks.map(of_rank).sum()
        };
        let cells = (0..term.outputs).flat_map(|m| (0..term.inputs).map(move |k| (m, k)));
        cells.map(|(m, k)| at(m, k)).collect()
    }

    #[test]
    fn rotates_without_changing_the_product_and_spreads_alike_in_every_direction() {
        let term = term(7);
        let rotated = rotated(&term, SpectrumRule::Exact, true);
        for (before, after) in product(&term).iter().zip(product(&rotated)) {
            assert!((before - after).abs() < 1e-5, "{before} {after}");
        }
        // The columns of B'·diag(σ) are those of U: orthonormal.
        let rho = rotated.rho.unwrap();
        let scaled = |i: usize| -> Vec<f64> {
            let std = f64::from(rho[i * 5]).powi(2);
            let column = rotated.b.iter().skip(i).step_by(3);
            column.map(|&b| f64::from(b) * std).collect()
        };
        for i in 0..3 {
            for j in 0..3 {
                let expected = f64::from(u8::from(i == j));
                let found = dot(&scaled(i), &scaled(j));
                assert!((found - expected).abs() < 1e-5, "{i} {j}: {found}");
            }
        }
    }

    #[test]
    fn directions_that_are_not_there_stay_deterministic() {
        let of = |rule| rotated(&term(2), rule, true).rho.unwrap();
        let exact = of(SpectrumRule::Exact);
        assert!(
            exact[..10].iter().all(|&rho| rho > 0.0) && exact[10..].iter().all(|&rho| rho == 0.0)
        );
        // The reference: 1/(0 + 1e-6).
        assert!((of(SpectrumRule::Reference)[10] - 1000.0).abs() < 1.0);
        let below = rotated(&term(7), SpectrumRule::Exact, false).rho.unwrap();
        assert!(below.iter().all(|&rho| rho == 0.0));
    }
}
