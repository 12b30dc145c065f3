//! How wide the posterior of each layer is.

use super::{Adapter, Sigma, Site};
use crate::{Error, Result};

impl Adapter {
    /// Quantiles of σ in each layer, over the weights of all members, in the layers' order; empty
    /// for a point estimate, and where σ depends on the input.
    ///
    /// The quantile of fraction `p` of `n` sorted values lies at place `p·(n − 1)`, linear between
    /// its neighbours.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT`: a fraction outside of [0, 1].
    pub fn sigma_quantiles(&self, fractions: &[f64]) -> Result<Vec<(Site, Vec<f64>)>> {
        if let Some(fraction) = fractions.iter().find(|p| !(0.0..=1.0).contains(*p)) {
            return Err(Error::InvalidInput(format!(
                "a quantile's fraction must be in [0, 1], got {fraction}"
            )));
        }
        let Some(sigma) = self.sigma().filter(|_| self.sigma_mean().is_some()) else {
            return Ok(Vec::new());
        };
        let sites = self.parameters.layout().terms().keys();
        Ok(sites
            .map(|&site| (site, quantiles(self.sigmas(site, sigma), fractions)))
            .collect())
    }

    /// σ of every weight of a layer.
    fn sigmas(&self, site: Site, sigma: Sigma) -> Vec<f32> {
        (0..self.config.members)
            .flat_map(|member| self.rhos(member, site))
            .flat_map(|rho| rho.iter().map(|&value| sigma.of(value)))
            .collect()
    }
}

#[expect(
    clippy::cast_sign_loss,
    reason = "a place is a fraction of [0, 1] of the last index"
)]
fn quantiles(mut values: Vec<f32>, fractions: &[f64]) -> Vec<f64> {
    values.sort_unstable_by(f32::total_cmp);
    let Some(last) = values.len().checked_sub(1) else {
        return vec![f64::NAN; fractions.len()];
    };
    fractions
        .iter()
        .map(|fraction| {
            let place = fraction * last as f64;
            let below = (place.floor() as usize).min(last);
            let [low, high] = [below, (below + 1).min(last)].map(|at| f64::from(values[at]));
            low + (high - low) * (place - below as f64)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::quantiles;

    #[test]
    fn lie_between_the_sorted_values() {
        let values = vec![4.0, 1.0, 3.0, 2.0];
        let found = quantiles(values, &[0.0, 0.5, 0.75, 1.0]);
        assert_eq!(found, [1.0, 2.5, 3.25, 4.0]);
    }

    #[test]
    fn of_one_value_are_that_value() {
        assert_eq!(quantiles(vec![0.5], &[0.05, 0.95]), [0.5, 0.5]);
    }
}
