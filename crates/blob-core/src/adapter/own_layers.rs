//! Layers of an adapter's own: the classification head of an encoder, trained whole or frozen.
//!
//! It belongs to the adapter and not to the backbone, whether it is trained or not: it begins from
//! a seed, and is worth nothing where it is not saved. W starts as N(0, s²) with transformers'
//! `initializer_range` s, b as 0; or both as the base's file has them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Adapter, LoraConfig, Module, OwnLayers, Site};
use crate::backbone::{BackboneConfig, MOST_CLASSES};
use crate::noise::{NoiseKey, Phase, Purpose, Stream};
use crate::weights::HostTensor;
use crate::{Error, Result};

/// The classification head of an encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeadConfig {
    /// Classes.
    pub classes: usize,
    /// Whether the optimizer of the factors moves it; if not, it is frozen, and may have low-rank
    /// terms.
    pub trained: bool,
    /// Whether it starts from the seed even where the base has one.
    #[serde(default)]
    pub fresh: bool,
}

/// W (m, k) and b (m) where they lie in an adapter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OwnLayerRef<'a> {
    /// W, (m, k).
    pub weight: &'a [f32],
    /// b, (m).
    pub bias: &'a [f32],
}

/// [`OwnLayerRef`] to be changed; of gradients, what they are added to.
#[derive(Debug)]
pub struct OwnLayerMut<'a> {
    /// W, (m, k).
    pub weight: &'a mut [f32],
    /// b, (m).
    pub bias: &'a mut [f32],
}

/// W and b by themselves, by their sites.
pub type OwnValues = BTreeMap<Site, [HostTensor; 2]>;

impl OwnLayers {
    /// The layers of a head that are not the base's own.
    pub(crate) fn of_head(head: Option<HeadConfig>, backbone: &BackboneConfig) -> Self {
        let (Some(head), Some(encoder)) = (head, &backbone.encoder) else {
            return Self::default();
        };
        let backbone = &backbone.with_classes(head.classes);
        let of_base = encoder.head.pools.then_some(Module::Dense);
        let own = [Module::Dense, Module::Classifier].into_iter();
        let own = own.filter(|module| Some(*module) != of_base).map(|module| {
            let block = backbone.num_layers;
            let site = Site { block, module };
            (site, site.shape(backbone))
        });
        Self {
            shapes: own.collect(),
            trained: head.trained,
        }
    }
}

impl LoraConfig {
    /// Checks the head and the layers that are adapted against a model.
    pub(super) fn check_for(&self, backbone: &BackboneConfig) -> Result<()> {
        let invalid = |field, rule, value: String| Err(Error::InvalidConfig { field, rule, value });
        let named = |module: &Module| module.name().to_owned();
        if let Some(module) = self
            .target_modules
            .iter()
            .find(|it| !backbone.modules().contains(it))
        {
            let rule = match backbone.encoder {
                Some(_) => "must name layers of an encoder",
                None => "must name layers of a decoder",
            };
            return invalid("target_modules", rule, named(module));
        }
        let Some(head) = self.head else {
            if backbone.encoder.is_none() {
                return Ok(());
            }
            return invalid("head", "must be given for an encoder", "null".into());
        };
        let Some(encoder) = &backbone.encoder else {
            let rule = "must be left out for a decoder, which answers by its vocabulary";
            return invalid("head", rule, format!("{head:?}"));
        };
        if !(2..=MOST_CLASSES).contains(&head.classes) {
            let rule = "must have between 2 and 2^24 classes";
            return invalid("head", rule, head.classes.to_string());
        }
        match encoder.classes {
            Some(classes) if classes != head.classes && !head.fresh => {
                let rule = "must have as many classes as the base's own head, or be fresh";
                return invalid("head", rule, format!("{} for {classes}", head.classes));
            }
            _ => {}
        }
        let own = OwnLayers::of_head(self.head, backbone);
        let is_own = |module: &&Module| own.shapes.keys().any(|site| site.module == **module);
        match self.target_modules.iter().find(is_own) {
            Some(module) if head.trained => {
                let rule = "must not name layers of a head that is trained whole";
                invalid("target_modules", rule, named(module))
            }
            _ => Ok(()),
        }
    }
}

impl Adapter {
    /// Initial values of a member's own layers: a pure function of the seed and the site.
    pub(super) fn initialise_own_layers(&mut self, range: f64) {
        let sites: Vec<_> = self
            .parameters
            .layout()
            .own_layers()
            .shapes
            .keys()
            .copied()
            .collect();
        for member in 0..self.config.members {
            let seed = self.config.seed.wrapping_add(member as u64);
            let stream = Stream::new(seed, 0, Phase::Initialisation);
            for &site in &sites {
                let Some(own) = self.parameters.own_layer_mut(member, site) else {
                    continue;
                };
                let key = NoiseKey {
                    slot: site.slot(),
                    purpose: Purpose::Gaussian,
                    sample: 0,
                };
                stream.fill_normal(own.weight, key);
                for weight in own.weight {
                    *weight *= range as f32;
                }
            }
        }
    }

    /// Copies the layers of an adapter that has the same, of every member.
    pub(super) fn copy_own_layers(&mut self, from: &Self) {
        let layout = self.parameters.layout().clone();
        for member in 0..self.config.members {
            for &site in layout.own_layers().shapes.keys() {
                let (to, from) = (
                    self.parameters.own_layer_mut(member, site),
                    from.parameters.own_layer(member, site),
                );
                if let (Some(to), Some(from)) = (to, from) {
                    to.weight.copy_from_slice(from.weight);
                    to.bias.copy_from_slice(from.bias);
                }
            }
        }
    }

    /// Copies layers into a member; those that it does not have, or of another shape, are left out.
    pub(crate) fn set_own_layers(&mut self, member: usize, layers: &OwnValues) {
        for (&site, [weight, bias]) in layers {
            let Some(own) = self.parameters.own_layer_mut(member, site) else {
                continue;
            };
            if own.weight.len() == weight.data.len() && own.bias.len() == bias.data.len() {
                own.weight.copy_from_slice(&weight.data);
                own.bias.copy_from_slice(&bias.data);
            }
        }
    }
}
