//! A covariance of low rank beside the diagonal one: columns that a whole draw adds (SWAG,
//! arXiv:1902.02476 §3.2).
//!
//! ```text
//! θ_s = μ + σ∘E_s + D z_s      D (P, K)      z_s ~ N(0, I_K), one for all layers of a member
//! Cov(θ) = diag(σ²) + D Dᵀ
//! ```

use std::sync::Arc;

use super::{Adapter, Covariance, Draw, Factor, Gaussian, Layout, OwnLayers, Parameters, Site};
use crate::noise::{NoiseKey, Purpose};
use crate::{Error, Result};

/// Most columns.
pub const MOST_DEVIATIONS: usize = 64;

/// D of each member, column after column, each with the layout of the low-rank factors; layers of
/// the adapter's own stay at their mean.
#[derive(Debug, Clone)]
pub struct Deviations {
    columns: usize,
    values: Parameters,
}

impl Deviations {
    /// K.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// A column of a member's layer, if the layer is adapted.
    pub fn column(&self, member: usize, column: usize, site: Site, factor: Factor) -> &[f32] {
        let range = self.values.layout().range(site, factor);
        let values = self.values.member(member * self.columns + column);
        range.map_or(&[], |range| &values[range])
    }

    /// Adds D z to the factors of one drawn member, from a block on.
    pub(super) fn add_to(&self, points: &mut [f32], draw: &Draw, from_block: usize) {
        let mut z = vec![0.0; self.columns];
        let key = NoiseKey {
            slot: 0,
            purpose: Purpose::Deviations,
            sample: draw.sample,
        };
        draw.stream.fill_normal(&mut z, key);
        for (column, z) in z.iter().enumerate() {
            let values = self.values.member(draw.member * self.columns + column);
            let parameters = self.values.layout().parameters().iter();
            for parameter in parameters.filter(|parameter| parameter.site.block >= from_block) {
                let range = parameter.range.clone();
                for (point, deviation) in points[range.clone()].iter_mut().zip(&values[range]) {
                    *point += draw.sign * z * deviation;
                }
            }
        }
    }
}

impl Adapter {
    /// The same Gaussian over A and B with these columns of each member, which have the layout of
    /// its low-rank factors.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` for another kind of adapter, or columns that do not fit it.
    pub fn with_deviations(self, columns: usize, values: &[Vec<f32>]) -> Result<Self> {
        let terms = self.parameters.layout().terms().clone();
        let layout = Arc::new(Layout::new(terms, None, OwnLayers::default()));
        let members = self.parameters.members();
        let fits = (1..=MOST_DEVIATIONS).contains(&columns)
            && values.len() == columns * members
            && values.iter().all(|column| column.len() == layout.len());
        if self.config.gaussian() != Some(Gaussian::AAndB) || !fits {
            return Err(Error::InvalidInput(format!(
                "columns of a covariance must be 1 to {MOST_DEVIATIONS} for each of {members} \
                 members, of {} values, beside a Gaussian over A and B, got {} in all",
                layout.len(),
                values.len()
            )));
        }
        let mut all = Parameters::zeros(layout, values.len());
        for (index, column) in values.iter().enumerate() {
            all.member_mut(index).copy_from_slice(column);
        }
        let deviations = Deviations {
            columns,
            values: all,
        };
        Ok(self.with_covariance(Covariance::Columns(deviations)))
    }

    /// The covariance of low rank, if there is one.
    pub fn deviations(&self) -> Option<&Deviations> {
        match &self.covariance {
            Some(Covariance::Columns(deviations)) => Some(deviations),
            Some(Covariance::Curvature(_)) | None => None,
        }
    }
}
