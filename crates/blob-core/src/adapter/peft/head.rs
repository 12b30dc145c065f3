//! The classification head in a member's file.

use std::collections::BTreeMap;

use super::values::checked_values;
use super::{Tensors, names};
use crate::adapter::{Factor, HeadConfig, Module, OwnLayers, OwnValues, Site};
use crate::backbone::{BackboneConfig, MOST_CLASSES};
use crate::weights::HostTensor;

/// The layers of a head, and what head that is; or the rule that the file breaks.
pub(super) fn of_file(
    tensors: &Tensors<'_>,
    backbone: &BackboneConfig,
) -> std::result::Result<(OwnValues, Option<HeadConfig>), String> {
    if backbone.encoder.is_none() {
        return Ok((OwnValues::new(), None));
    }
    let mut found = BTreeMap::new();
    let mut trained = false;
    for (bare, part) in tensors {
        let Some(of) = names::own_part(bare, backbone) else {
            continue;
        };
        trained |= !of.is_base_layer;
        if let Some((other, _)) = found.insert((of.site, of.factor), part) {
            return Err(format!(
                "the head must have one {}, got {:?} and {other:?}",
                of.factor.name(),
                part.0
            ));
        }
    }
    let is_output = |(site, factor): &(Site, Factor)| {
        site.module == Module::Classifier && *factor == Factor::Weight
    };
    let output = found.iter().find(|(of, _)| is_output(of));
    let classes = output.and_then(|(_, (_, view))| view.shape().first().copied());
    let classes = classes.unwrap_or(backbone.classes());
    if classes == 0 {
        return Err("the file must hold the classification head, which the base lacks".into());
    }
    if !(2..=MOST_CLASSES).contains(&classes) {
        return Err(format!(
            "the head must have between 2 and 2^24 classes, got {classes}"
        ));
    }
    let head = HeadConfig {
        classes,
        trained,
        fresh: false,
    };
    if found.is_empty() {
        return Ok((OwnValues::new(), Some(head)));
    }
    let shapes = OwnLayers::of_head(Some(head), backbone).shapes;
    let mut own = OwnValues::new();
    for (site, (outputs, inputs)) in shapes {
        let mut part = |factor, shape: Vec<usize>| {
            let layer = backbone.published(&site.path());
            let (name, view) = found
                .remove(&(site, factor))
                .ok_or_else(|| format!("{layer} must have both a weight and a bias"))?;
            let data = checked_values(view, &shape)
                .map_err(|rule| format!("tensor {name:?} must {rule}"))?;
            Ok::<_, String>(HostTensor { shape, data })
        };
        let weight = part(Factor::Weight, vec![outputs, inputs])?;
        let bias = part(Factor::Bias, vec![outputs])?;
        own.insert(site, [weight, bias]);
    }
    Ok((own, Some(head)))
}
