//! A curvature as part of the adapter that it is of.

use std::sync::Arc;

use super::{Laplace, matrices_of};
use crate::adapter::{Adapter, Covariance, LoraConfig};
use crate::{Error, Result};

impl Adapter {
    /// The points of this adapter, of a posterior its means, with a Gaussian around them.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when the curvature is of other layers or widths, or of an ensemble.
    pub fn with_laplace(&self, laplace: Laplace) -> Result<Self> {
        let shapes = matrices_of(self.parameters().layout(), 0);
        let fits = laplace.curvature.matrices.iter().all(|(id, matrix)| {
            let own = [matrix.output.width(), matrix.input.width()];
            shapes.get(id) == Some(&own)
        });
        if !fits || self.parameters().members() != 1 {
            return Err(Error::InvalidInput(format!(
                "a curvature must be of the layers of its adapter, a single one, got {} matrices \
                 for {}",
                laplace.curvature.matrices.len(),
                shapes.len()
            )));
        }
        let config = LoraConfig {
            posterior: None,
            ..self.config().clone()
        };
        let point = self.with_gaussian(config)?;
        Ok(point.with_covariance(Covariance::Curvature(Arc::new(laplace))))
    }
}
