//! The curvature of Laplace's approximation in an adapter's file, which PEFT ignores.
//!
//! Of each matrix that it covers, `….lora_A`, `….lora_B` or the head's layer itself, by its name:
//! `…_curvature_input` (K, i) and `…_curvature_output` (K, o), the unit eigenvectors of both
//! factors, and their eigenvalues `…_values` (K); the prior's precision as `laplace_precision` (1).

use std::collections::BTreeMap;
use std::sync::Arc;

use safetensors::tensor::TensorView;

use super::values::to_f32;
use crate::adapter::{Adapter, Factor, Layout, Site};
use crate::backbone::BackboneConfig;
use crate::laplace::{Curvature, Directions, Laplace, MatrixCurvature, matrices_of};

const PRECISION: &str = "laplace_precision";

/// Sides of a matrix.
const SIDES: [&str; 2] = ["_curvature_input", "_curvature_output"];
const VALUES: &str = "_values";

/// Shape and values by the names of an adapter's tensors, without the prefix.
pub(super) fn tensors(
    adapter: &Adapter,
    backbone: &BackboneConfig,
) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let Some(laplace) = adapter.curvature() else {
        return Vec::new();
    };
    let mut all = vec![(PRECISION.into(), vec![1], vec![laplace.precision as f32])];
    for (&(site, factor), matrix) in &laplace.curvature.matrices {
        let name = name_of(site, factor, backbone);
        for (side, directions) in SIDES.iter().zip([&matrix.input, &matrix.output]) {
            let count = directions.values().len();
            let values = directions.values().iter().map(|&value| value as f32);
            let (name, width) = (format!("{name}{side}"), directions.width());
            all.push((format!("{name}{VALUES}"), vec![count], values.collect()));
            all.push((name, vec![count, width], directions.vectors().to_vec()));
        }
    }
    all
}

/// Whether a name without its prefix is of a curvature.
pub(super) fn is_part(name: &str) -> bool {
    name == PRECISION || SIDES.iter().any(|side| name.contains(side))
}

/// What a file has of a curvature: shape and values by name.
#[derive(Default)]
pub(super) struct Found(BTreeMap<String, (Vec<usize>, Vec<f32>)>);

impl Found {
    /// Takes a tensor in, or gives the rule that it breaks.
    pub(super) fn insert(&mut self, name: &str, view: &TensorView) -> Result<(), String> {
        let values = to_f32(view)
            .filter(|values| values.iter().all(|value| value.is_finite()))
            .ok_or_else(|| String::from("be F32, F16 or BF16, and finite"))?;
        self.0
            .insert(name.to_owned(), (view.shape().to_vec(), values));
        Ok(())
    }

    /// The curvature of an adapter of that layout; `None` without any.
    pub(super) fn complete(
        mut self,
        layout: &Layout,
        backbone: &BackboneConfig,
    ) -> Result<Option<Laplace>, String> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let precision = match self
            .0
            .remove(PRECISION)
            .as_ref()
            .map(|(_, values)| &values[..])
        {
            Some(&[precision]) if precision > 0.0 => f64::from(precision),
            _ => return Err(format!("{PRECISION} must be one number above 0")),
        };
        let mut matrices = BTreeMap::new();
        for ((site, factor), [outputs, inputs]) in matrices_of(layout, 0) {
            let name = name_of(site, factor, backbone);
            if !self.0.contains_key(&format!("{name}{}", SIDES[0])) {
                continue;
            }
            let matrix = MatrixCurvature {
                input: self.side(&format!("{name}{}", SIDES[0]), inputs)?,
                output: self.side(&format!("{name}{}", SIDES[1]), outputs)?,
            };
            matrices.insert((site, factor), matrix);
        }
        if let Some(name) = self.0.keys().next() {
            return Err(format!(
                "tensor {name:?} must be of a matrix that the adapter has"
            ));
        }
        let curvature = Arc::new(Curvature { matrices });
        Ok(Some(Laplace {
            curvature,
            precision,
        }))
    }

    fn side(&mut self, name: &str, width: usize) -> Result<Directions, String> {
        let mut take = |name: &str| {
            let found = self.0.remove(name);
            found.ok_or_else(|| format!("tensor {name:?} must be there"))
        };
        let (shape, vectors) = take(name)?;
        let (of_values, values) = take(&format!("{name}{VALUES}"))?;
        let count = values.len();
        let rises = values.windows(2).any(|pair| pair[0] < pair[1]);
        if shape != [count, width] || of_values != [count] || count > width {
            return Err(format!(
                "tensor {name:?} must have shape [K, {width}] with K values, got {shape:?} and \
                 {of_values:?}"
            ));
        }
        if rises || values.iter().any(|&value| value < 0.0) {
            return Err(format!(
                "the values of {name:?} must fall and be at least 0"
            ));
        }
        let values = values.into_iter().map(f64::from).collect();
        Ok(Directions::of_values(width, values, vectors))
    }
}

fn name_of(site: Site, factor: Factor, backbone: &BackboneConfig) -> String {
    format!("{}.{}", backbone.published(&site.path()), factor.name())
}
