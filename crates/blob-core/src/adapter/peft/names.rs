//! What PEFT's files call the parts of an adapter.

use super::config::PeftConfig;
use crate::adapter::{Adapter, Factor, Module, OwnLayers, Site};
use crate::backbone::BackboneConfig;

const BASE_LAYER: &str = ".base_layer";

/// The names of one adapter's parts.
pub(super) struct Names<'a> {
    adapter: &'a Adapter,
    backbone: &'a BackboneConfig,
}

impl<'a> Names<'a> {
    pub(super) fn new(adapter: &'a Adapter, backbone: &'a BackboneConfig) -> Self {
        Self { adapter, backbone }
    }

    /// A parameter's name without the file's prefix.
    pub(super) fn of(&self, site: Site, factor: Factor) -> String {
        let layer = self.backbone.published(&site.path());
        if factor.is_own() {
            let under = if self.adapter.has(site) {
                BASE_LAYER
            } else {
                ""
            };
            return format!("{layer}{under}.{}", factor.name());
        }
        format!("{layer}{}", suffix_of(factor))
    }

    /// What `adapter_config.json` says.
    pub(super) fn config(&self, base_model: &str) -> PeftConfig {
        let layout = self.adapter.parameters().layout();
        let saved = saved(
            layout.own_layers(),
            |site| !self.adapter.has(site),
            self.backbone,
        );
        // Of a classification PEFT saves the whole `classifier`, which low-rank terms may sit in.
        let task_type = match (&self.backbone.encoder, saved.is_empty()) {
            (None, _) => Some("CAUSAL_LM"),
            (Some(_), false) if !self.adapts_the_head() => Some("SEQ_CLS"),
            (Some(_), _) => None,
        };
        let targets = self.targets();
        PeftConfig::new(self.adapter.config(), base_model, targets, saved, task_type)
    }

    fn adapts_the_head(&self) -> bool {
        let mut own_layers = self
            .adapter
            .parameters()
            .layout()
            .own_layers()
            .shapes
            .keys();
        own_layers.any(|site| self.adapter.has(*site))
    }

    /// The names that end those of the adapted layers, and of no other.
    fn targets(&self) -> Vec<String> {
        let modules = &self.adapter.config().target_modules;
        let names = modules.iter().flat_map(|&module| {
            // `output.dense` ends the attention's output too.
            let is_ambiguous = self.backbone.published_module(module) == "output.dense"
                && !modules.contains(&Module::O);
            if is_ambiguous {
                let blocks = 0..self.backbone.num_layers;
                let name = |block| self.backbone.published(&Site { block, module }.path());
                return blocks.map(name).collect();
            }
            vec![self.backbone.published_module(module)]
        });
        names.collect()
    }
}

/// PEFT's `modules_to_save`: the modules that hold the layers of an adapter's own.
fn saved(
    own_layers: &OwnLayers,
    is_saved: impl Fn(Site) -> bool,
    backbone: &BackboneConfig,
) -> Vec<String> {
    let all = own_layers.shapes.len();
    let sites = own_layers
        .shapes
        .keys()
        .copied()
        .filter(|&site| is_saved(site));
    let names: Vec<String> = sites.map(|site| backbone.published(&site.path())).collect();
    // RoBERTa's two layers are one module.
    let parent = |name: &String| name.split_once('.').map(|(parent, _)| parent.to_owned());
    match names.first().and_then(parent) {
        Some(one)
            if names.len() == all && names.iter().all(|it| parent(it) == Some(one.clone())) =>
        {
            vec![one]
        }
        _ => names,
    }
}

/// Which part of a layer of an adapter's own a tensor is.
pub(super) struct OwnPart {
    pub(super) site: Site,
    pub(super) factor: Factor,
    /// Whether it is under a low-rank term.
    pub(super) is_base_layer: bool,
}

/// The part that a name without its prefix is of, if it is one.
pub(super) fn own_part(name: &str, backbone: &BackboneConfig) -> Option<OwnPart> {
    backbone.encoder.as_ref()?;
    if low_rank(name).is_some() {
        return None;
    }
    let (layer, factor) = Factor::own().find_map(|factor| {
        let layer = name.strip_suffix(factor.name())?.strip_suffix('.')?;
        Some((layer, factor))
    })?;
    let bare = layer.strip_suffix(BASE_LAYER);
    let site = Site::parse(bare.unwrap_or(layer), backbone)?;
    let is_own = match site.module {
        Module::Dense => !backbone.encoder.as_ref()?.head.pools,
        module => module == Module::Classifier,
    };
    is_own.then_some(OwnPart {
        site,
        factor,
        is_base_layer: bare.is_some(),
    })
}

/// Layer and factor of a low-rank term by a name without its prefix.
pub(super) fn low_rank(name: &str) -> Option<(&str, Factor)> {
    Factor::of_terms().find_map(|factor| Some((name.strip_suffix(&suffix_of(factor))?, factor)))
}

/// What follows the layer in PEFT's name of a factor; what PEFT does not know has no `.weight`.
fn suffix_of(factor: Factor) -> String {
    let name = factor.name();
    if factor.is_low_rank() {
        return format!(".{name}.weight");
    }
    format!(".{name}")
}
