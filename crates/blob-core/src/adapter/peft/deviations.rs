//! The columns of a covariance of low rank in a member's file: `….lora_A_deviations` (K, r, k) and
//! `….lora_B_deviations` (K, m, r) for every layer, which PEFT ignores.

use std::collections::BTreeMap;

use safetensors::tensor::TensorView;

use super::shape_of;
use super::values::to_f32;
use crate::adapter::{Adapter, Factor, Layout, MOST_DEVIATIONS, OwnLayers, Site, TermShape};
use crate::backbone::BackboneConfig;

/// What follows the layer in the name of a factor's columns.
const SUFFIXES: [(Factor, &str); 2] = [
    (Factor::A, ".lora_A_deviations"),
    (Factor::B, ".lora_B_deviations"),
];

/// Layer and factor of a name without its prefix, if it names columns.
pub(super) fn part_of(name: &str) -> Option<(&str, Factor)> {
    let mut suffixes = SUFFIXES.into_iter();
    suffixes.find_map(|(factor, suffix)| Some((name.strip_suffix(suffix)?, factor)))
}

/// Shape and values by the names of a member's tensors, without the prefix.
pub(super) fn tensors(
    adapter: &Adapter,
    backbone: &BackboneConfig,
    member: usize,
) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let Some(deviations) = adapter.deviations() else {
        return Vec::new();
    };
    let columns = deviations.columns();
    let terms = adapter.parameters().layout().terms();
    let all = terms.iter().flat_map(|(&site, term)| {
        SUFFIXES.map(|(factor, suffix)| {
            let [rows, width] = term.of(factor);
            let values = (0..columns).flat_map(|k| deviations.column(member, k, site, factor));
            let name = format!("{}{suffix}", backbone.published(&site.path()));
            (name, vec![columns, rows, width], values.copied().collect())
        })
    });
    all.collect()
}

/// The columns that a file has, layer by layer.
#[derive(Default)]
pub(super) struct Found {
    columns: Option<usize>,
    parts: BTreeMap<(Site, Factor), Vec<f32>>,
}

impl Found {
    /// Takes a tensor in, or gives the rule that it breaks.
    pub(super) fn insert(
        &mut self,
        (site, factor): (Site, Factor),
        view: &TensorView,
        (rank, backbone): (usize, &BackboneConfig),
    ) -> Result<(), String> {
        let [rows, width] = shape_of(site, rank, backbone).of(factor);
        let columns = match *view.shape() {
            [columns, r, w]
                if (1..=MOST_DEVIATIONS).contains(&columns) && [r, w] == [rows, width] =>
            {
                columns
            }
            _ => {
                return Err(format!(
                    "have shape [K, {rows}, {width}] with K from 1 to {MOST_DEVIATIONS}, got {:?}",
                    view.shape()
                ));
            }
        };
        if *self.columns.get_or_insert(columns) != columns {
            return Err(format!("have the K of the other layers, got {columns}"));
        }
        let values = to_f32(view)
            .filter(|values| values.iter().all(|value| value.is_finite()))
            .ok_or_else(|| String::from("be F32, F16 or BF16, and finite"))?;
        self.parts.insert((site, factor), values);
        Ok(())
    }

    /// Column after column, each with the layout of the points; `None` without any.
    pub(super) fn complete(
        self,
        terms: BTreeMap<Site, TermShape>,
    ) -> Result<Option<Vec<Vec<f32>>>, String> {
        let Some(columns) = self.columns else {
            return Ok(None);
        };
        let layout = Layout::new(terms, None, OwnLayers::default());
        let mut all = vec![vec![0.0; layout.len()]; columns];
        for parameter in layout.parameters() {
            let Some(values) = self.parts.get(&(parameter.site, parameter.factor)) else {
                return Err(format!(
                    "{} must have deviations as the other layers do",
                    parameter.site.path()
                ));
            };
            let parts = values.chunks_exact(parameter.range.len());
            for (column, part) in all.iter_mut().zip(parts) {
                column[parameter.range.clone()].copy_from_slice(part);
            }
        }
        Ok(Some(all))
    }
}
