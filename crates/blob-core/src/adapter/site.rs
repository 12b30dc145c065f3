//! Where an adapter sits: a linear layer of a block, or the head.

use serde::{Deserialize, Serialize};

use crate::backbone::BackboneConfig;

/// The linear layers of a decoder, by their Hugging Face names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Module {
    /// Queries.
    #[serde(rename = "q_proj")]
    Q,
    /// Keys.
    #[serde(rename = "k_proj")]
    K,
    /// Values.
    #[serde(rename = "v_proj")]
    V,
    /// Output of the attention.
    #[serde(rename = "o_proj")]
    O,
    /// Gate of the SwiGLU.
    #[serde(rename = "gate_proj")]
    Gate,
    /// Linear part of the SwiGLU.
    #[serde(rename = "up_proj")]
    Up,
    /// Output of the SwiGLU.
    #[serde(rename = "down_proj")]
    Down,
    /// The vocabulary head.
    #[serde(rename = "lm_head")]
    LmHead,
}

impl Module {
    /// All modules, in order.
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

    /// The Hugging Face name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Q => "q_proj",
            Self::K => "k_proj",
            Self::V => "v_proj",
            Self::O => "o_proj",
            Self::Gate => "gate_proj",
            Self::Up => "up_proj",
            Self::Down => "down_proj",
            Self::LmHead => "lm_head",
        }
    }

    fn parent(self) -> &'static str {
        match self {
            Self::Q | Self::K | Self::V | Self::O => "self_attn.",
            Self::Gate | Self::Up | Self::Down => "mlp.",
            Self::LmHead => "",
        }
    }
}

/// One adapted layer. The head's `block` is the number of blocks.
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
                match module {
                    Module::LmHead => backbone.num_layers..backbone.num_layers + 1,
                    _ => 0..backbone.num_layers,
                }
                .map(move |block| Self { block, module })
            })
            .collect();
        sites.sort_unstable();
        sites.dedup();
        sites
    }

    /// The slot of the noise counters: 8·block + module.
    pub fn slot(self) -> u32 {
        (self.block * 8 + self.module as usize) as u32
    }

    /// The layer's Hugging Face name, without `.weight`.
    pub fn path(self) -> String {
        match self.module {
            Module::LmHead => "lm_head".into(),
            module => format!(
                "model.layers.{}.{}{}",
                self.block,
                module.parent(),
                module.name()
            ),
        }
    }

    /// The site of a Hugging Face name such as `model.layers.3.self_attn.q_proj`.
    pub fn parse(path: &str, backbone: &BackboneConfig) -> Option<Self> {
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
        Module::ALL
            .into_iter()
            .filter(|module| *module != Module::LmHead)
            .find(|module| rest.strip_prefix(module.parent()) == Some(module.name()))
            .map(|module| Self { block, module })
    }

    /// (outputs m, inputs k) of the layer.
    pub fn shape(self, backbone: &BackboneConfig) -> (usize, usize) {
        let (d, f) = (backbone.hidden_size, backbone.intermediate_size);
        match self.module {
            Module::Q => (backbone.query_width(), d),
            Module::K | Module::V => (backbone.kv_width(), d),
            Module::O => (d, backbone.query_width()),
            Module::Gate | Module::Up => (f, d),
            Module::Down => (d, f),
            Module::LmHead => (backbone.vocab_size, d),
        }
    }
}
