//! transformers' names of an encoder's layers, which files and PEFT use; a decoder's are the
//! engine's.
//!
//! The engine names tensors alike whatever the architecture (`model.layers.3.self_attn.q_proj`), so
//! that nothing between a file's border and another's asks for a family.

use super::{BackboneConfig, Family};
use crate::adapter::{Module, Site};

/// The names of one family: the engine's, and transformers'.
struct Names {
    /// Of the base model within one with a head.
    prefix: &'static str,
    /// What the blocks' names begin with.
    blocks: &'static str,
    /// Of what a block's attention reads by.
    inputs: &'static [(&'static str, &'static str)],
    /// Of the rest of a block.
    parts: &'static [(&'static str, &'static str)],
    /// Of the base model beside its blocks.
    whole: &'static [(&'static str, &'static str)],
    /// Of the head.
    head: &'static [(&'static str, &'static str)],
    /// What tensors begin with that no classification reads.
    left_out: &'static [&'static str],
}

const BLOCKS: &str = "model.layers.";
const DENSE: &str = "classifier.dense";
const OUT: &str = "classifier.out_proj";

const BERT: Names = Names {
    prefix: "bert.",
    blocks: "encoder.layer.",
    inputs: &[
        ("self_attn.q_proj", "attention.self.query"),
        ("self_attn.k_proj", "attention.self.key"),
        ("self_attn.v_proj", "attention.self.value"),
    ],
    parts: &[
        ("self_attn.o_proj", "attention.output.dense"),
        ("attention_norm", "attention.output.LayerNorm"),
        ("mlp.up_proj", "intermediate.dense"),
        ("mlp.down_proj", "output.dense"),
        ("mlp_norm", "output.LayerNorm"),
    ],
    whole: &[
        ("model.embed_tokens", "embeddings.word_embeddings"),
        ("model.embed_positions", "embeddings.position_embeddings"),
        ("model.embed_types", "embeddings.token_type_embeddings"),
        ("model.embed_norm", "embeddings.LayerNorm"),
        (DENSE, "pooler.dense"),
    ],
    head: &[(OUT, "classifier")],
    left_out: &["cls.", "qa_outputs."],
};

const ROBERTA: Names = Names {
    prefix: "roberta.",
    whole: BERT.whole.split_at(4).0,
    head: &[(DENSE, DENSE), (OUT, OUT)],
    left_out: &["lm_head.", "pooler.", "qa_outputs."],
    ..BERT
};

const DISTILBERT: Names = Names {
    prefix: "distilbert.",
    blocks: "transformer.layer.",
    inputs: &[
        ("self_attn.q_proj", "attention.q_lin"),
        ("self_attn.k_proj", "attention.k_lin"),
        ("self_attn.v_proj", "attention.v_lin"),
    ],
    parts: &[
        ("self_attn.o_proj", "attention.out_lin"),
        ("attention_norm", "sa_layer_norm"),
        ("mlp.up_proj", "ffn.lin1"),
        ("mlp.down_proj", "ffn.lin2"),
        ("mlp_norm", "output_layer_norm"),
    ],
    whole: BERT.whole.split_at(4).0,
    head: &[(DENSE, "pre_classifier"), (OUT, "classifier")],
    left_out: &[
        "vocab_transform.",
        "vocab_layer_norm.",
        "vocab_projector.",
        "qa_outputs.",
    ],
};

const MODERN_BERT: Names = Names {
    prefix: "model.",
    blocks: "layers.",
    inputs: &[("self_attn.qkv_proj", "attn.Wqkv")],
    parts: &[
        ("self_attn.o_proj", "attn.Wo"),
        ("attention_norm", "attn_norm"),
        ("mlp.gate_up_proj", "mlp.Wi"),
        ("mlp.down_proj", "mlp.Wo"),
        ("mlp_norm", "mlp_norm"),
    ],
    whole: &[
        ("model.embed_tokens", "embeddings.tok_embeddings"),
        ("model.embed_norm", "embeddings.norm"),
        ("model.norm", "final_norm"),
    ],
    head: &[
        (DENSE, "head.dense"),
        ("classifier.norm", "head.norm"),
        (OUT, "classifier"),
    ],
    left_out: &["decoder."],
};

const DEBERTA: Names = Names {
    prefix: "deberta.",
    inputs: &[
        ("self_attn.q_proj", "attention.self.query_proj"),
        ("self_attn.k_proj", "attention.self.key_proj"),
        ("self_attn.v_proj", "attention.self.value_proj"),
    ],
    whole: &[
        ("model.embed_tokens", "embeddings.word_embeddings"),
        ("model.embed_types", "embeddings.token_type_embeddings"),
        ("model.embed_norm", "embeddings.LayerNorm"),
        ("model.embed_distances", "encoder.rel_embeddings"),
        ("model.distances_norm", "encoder.LayerNorm"),
    ],
    head: &[(DENSE, "pooler.dense"), (OUT, "classifier")],
    left_out: &[
        "cls.",
        "lm_predictions.",
        "mask_predictions.",
        "embeddings.position_embeddings.",
        "qa_outputs.",
    ],
    ..BERT
};

impl Family {
    fn names(self) -> Names {
        match self {
            Self::Bert => BERT,
            Self::Roberta => ROBERTA,
            Self::DistilBert => DISTILBERT,
            Self::ModernBert => MODERN_BERT,
            Self::Deberta => DEBERTA,
        }
    }

    /// What stands before the names of the base model in a model with a head.
    pub(crate) fn prefix(self) -> &'static str {
        self.names().prefix
    }

    /// Whether a tensor belongs to another head, such as that of the pre-training.
    pub(crate) fn leaves_out(self, name: &str) -> bool {
        let names = self.names();
        let name = name.strip_prefix(names.prefix).unwrap_or(name);
        names.left_out.iter().any(|other| name.starts_with(other))
    }
}

impl BackboneConfig {
    /// transformers' name of one of the engine's, with what stands before it in a model with a
    /// head; what follows the layer (`.weight`) stays.
    pub(crate) fn published(&self, name: &str) -> String {
        let Some(encoder) = &self.encoder else {
            return name.to_owned();
        };
        let names = encoder.family.names();
        let renamed = |rest: &str, table: &[(&str, &str)]| {
            table.iter().find_map(|(own, theirs)| {
                let end = rest.strip_prefix(own)?;
                (end.is_empty() || end.starts_with('.')).then(|| format!("{theirs}{end}"))
            })
        };
        if let Some((block, rest)) = name
            .strip_prefix(BLOCKS)
            .and_then(|rest| rest.split_once('.'))
            && let Some(rest) = renamed(rest, names.inputs).or_else(|| renamed(rest, names.parts))
        {
            return format!("{}{}{block}.{rest}", names.prefix, names.blocks);
        }
        match renamed(name, names.whole) {
            Some(whole) => format!("{}{whole}", names.prefix),
            None => renamed(name, names.head).unwrap_or_else(|| name.to_owned()),
        }
    }

    /// transformers' name of a module as it ends the names of its layers.
    pub fn published_module(&self, module: Module) -> String {
        let path = self.published(&Site { block: 0, module }.path());
        let Some(encoder) = &self.encoder else {
            return module.name().to_owned();
        };
        let Names { prefix, blocks, .. } = encoder.family.names();
        let bare = path.strip_prefix(prefix).unwrap_or(&path);
        let in_block = bare
            .strip_prefix(blocks)
            .and_then(|rest| rest.split_once('.'));
        let name = in_block.map_or(bare, |(_, rest)| rest);
        // PEFT's custom: the last word, where that names these layers and no others.
        match module {
            Module::Q | Module::K | Module::V | Module::Qkv => {
                name.rsplit('.').next().unwrap_or(name).to_owned()
            }
            _ => name.to_owned(),
        }
    }
}
