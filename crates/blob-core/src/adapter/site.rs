//! Where an adapter sits: a linear layer of a block, or the head.

use serde::{Deserialize, Serialize};

use crate::backbone::BackboneConfig;

/// The linear layers of a backbone, by the names that Llama's have; transformers' names of encoders
/// are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Module {
    /// Queries.
    #[serde(
        rename = "q_proj",
        alias = "query",
        alias = "q_lin",
        alias = "query_proj"
    )]
    Q,
    /// Keys.
    #[serde(rename = "k_proj", alias = "key", alias = "k_lin", alias = "key_proj")]
    K,
    /// Values.
    #[serde(
        rename = "v_proj",
        alias = "value",
        alias = "v_lin",
        alias = "value_proj"
    )]
    V,
    /// Queries, keys and values in one.
    #[serde(rename = "qkv_proj", alias = "Wqkv", alias = "attn.Wqkv")]
    Qkv,
    /// Output of the attention.
    #[serde(
        rename = "o_proj",
        alias = "attention.output.dense",
        alias = "out_lin",
        alias = "attention.out_lin",
        alias = "attn.Wo"
    )]
    O,
    /// Gate of a gated MLP.
    #[serde(rename = "gate_proj")]
    Gate,
    /// Up of the MLP.
    #[serde(
        rename = "up_proj",
        alias = "intermediate.dense",
        alias = "lin1",
        alias = "ffn.lin1"
    )]
    Up,
    /// Gate and up in one.
    #[serde(rename = "gate_up_proj", alias = "Wi", alias = "mlp.Wi")]
    GateUp,
    /// Output of the MLP.
    #[serde(
        rename = "down_proj",
        alias = "output.dense",
        alias = "lin2",
        alias = "ffn.lin2",
        alias = "mlp.Wo"
    )]
    Down,
    /// The vocabulary head.
    #[serde(rename = "lm_head")]
    LmHead,
    /// First layer of an encoder's head; of BERT the pooler.
    #[serde(
        rename = "dense",
        alias = "pooler.dense",
        alias = "classifier.dense",
        alias = "pre_classifier",
        alias = "head.dense"
    )]
    Dense,
    /// Output of an encoder's head.
    #[serde(
        rename = "classifier",
        alias = "classifier.out_proj",
        alias = "out_proj"
    )]
    Classifier,
}

impl Module {
    /// Those of a decoder, in order.
    pub const ALL: [Self; 8] = [
        Self::Q,
        Self::K,
        Self::V,
        Self::O,
        Self::Gate,
        Self::Up,
        Self::Down,
        Self::LmHead,
    ];

    /// Those of a decoder whose layers of one input are one, in order.
    pub const OF_FUSED_DECODERS: [Self; 5] =
        [Self::Qkv, Self::O, Self::GateUp, Self::Down, Self::LmHead];

    /// Those of an encoder, in order.
    pub const OF_ENCODERS: [Self; 8] = [
        Self::Q,
        Self::K,
        Self::V,
        Self::O,
        Self::Up,
        Self::Down,
        Self::Dense,
        Self::Classifier,
    ];

    /// Those of an encoder whose layers of one input are one, in order.
    pub const OF_FUSED_ENCODERS: [Self; 6] = [
        Self::Qkv,
        Self::O,
        Self::GateUp,
        Self::Down,
        Self::Dense,
        Self::Classifier,
    ];

    /// The engine's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Q => "q_proj",
            Self::K => "k_proj",
            Self::V => "v_proj",
            Self::Qkv => "qkv_proj",
            Self::O => "o_proj",
            Self::Gate => "gate_proj",
            Self::Up => "up_proj",
            Self::GateUp => "gate_up_proj",
            Self::Down => "down_proj",
            Self::LmHead => "lm_head",
            Self::Dense => "dense",
            Self::Classifier => "classifier",
        }
    }

    fn parent(self) -> &'static str {
        match self {
            Self::Q | Self::K | Self::V | Self::Qkv | Self::O => "self_attn.",
            Self::Gate | Self::Up | Self::GateUp | Self::Down => "mlp.",
            Self::LmHead | Self::Dense | Self::Classifier => "",
        }
    }

    /// Whether it is part of the head, which follows the last block.
    pub fn is_of_head(self) -> bool {
        matches!(self, Self::LmHead | Self::Dense | Self::Classifier)
    }
}

/// One layer. That of the head's `block` is the number of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site {
    /// Index of the block.
    pub block: usize,
    /// The layer in it.
    pub module: Module,
}

impl Site {
    /// Every site of `modules`, in order of depth.
    pub fn all(modules: &[Module], backbone: &BackboneConfig) -> Vec<Self> {
        let mut sites: Vec<Self> = modules
            .iter()
            .flat_map(|&module| {
                if module.is_of_head() {
                    backbone.num_layers..backbone.num_layers + 1
                } else {
                    0..backbone.num_layers
                }
                .map(move |block| Self { block, module })
            })
            .collect();
        sites.sort_unstable();
        sites.dedup();
        sites
    }

    /// The slot of the noise counters, eight of each block. Either head has those of one block; a
    /// layer of several in one has that of the first.
    pub fn slot(self) -> u32 {
        let module = match self.module {
            Module::Q | Module::Qkv | Module::Dense => 0,
            Module::K => 1,
            Module::V => 2,
            Module::O => 3,
            Module::Gate | Module::GateUp => 4,
            Module::Up => 5,
            Module::Down => 6,
            Module::LmHead | Module::Classifier => 7,
        };
        8 * self.block as u32 + module
    }

    /// The layer's name, without `.weight`.
    pub fn path(self) -> String {
        match self.module {
            Module::LmHead => "lm_head".into(),
            Module::Dense => "classifier.dense".into(),
            Module::Classifier => "classifier.out_proj".into(),
            module => format!(
                "model.layers.{}.{}{}",
                self.block,
                module.parent(),
                module.name()
            ),
        }
    }

    /// The site of a layer's name in a file: the engine's of a decoder (Llama's), transformers' of
    /// an encoder, with or without the base model's prefix.
    pub fn parse(path: &str, backbone: &BackboneConfig) -> Option<Self> {
        if let Some(encoder) = &backbone.encoder {
            let prefix = encoder.family.prefix();
            let is_named = |site: &Self| {
                let name = backbone.published(&site.path());
                name == path || name.strip_prefix(prefix) == Some(path)
            };
            let sites = Self::all(backbone.modules(), backbone);
            return sites.into_iter().find(is_named);
        }
        if path == "lm_head" {
            return Some(Self {
                block: backbone.num_layers,
                module: Module::LmHead,
            });
        }
        let (block, rest) = path.strip_prefix("model.layers.")?.split_once('.')?;
        let block: usize = block
            .parse()
            .ok()
            .filter(|&block| block < backbone.num_layers)?;
        let inner = backbone.modules().iter().copied();
        inner
            .filter(|module| !module.is_of_head())
            .find(|module| rest.strip_prefix(module.parent()) == Some(module.name()))
            .map(|module| Self { block, module })
    }

    /// (outputs m, inputs k) of the layer.
    pub fn shape(self, backbone: &BackboneConfig) -> (usize, usize) {
        let (d, f) = (backbone.hidden_size, backbone.intermediate_size);
        match self.module {
            Module::Q => (backbone.query_width(), d),
            Module::K | Module::V => (backbone.kv_width(), d),
            Module::Qkv => (backbone.query_width() + 2 * backbone.kv_width(), d),
            Module::O => (d, backbone.query_width()),
            Module::Gate | Module::Up => (f, d),
            Module::GateUp => (2 * f, d),
            Module::Down => (d, f),
            Module::LmHead => (backbone.vocab_size, d),
            Module::Dense => (d, d),
            Module::Classifier => (backbone.classes(), d),
        }
    }
}
