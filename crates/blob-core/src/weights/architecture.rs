//! What tells the architectures apart: their names, the order of their rows in GGUF, their
//! switches, and what transformers takes for fields that a `config.json` leaves out.
//!
//! A new decoder of this family is a row of [`ARCHITECTURES`]. Switches that files state for
//! themselves (widths, heads, rotary base and scaling, a tied head, ε) are no part of it.

use crate::adapter::Module;

/// One architecture.
#[expect(
    clippy::struct_excessive_bools,
    reason = "the switches of a table, each by itself"
)]
#[derive(Debug, PartialEq)]
pub(super) struct Architecture {
    /// `model_type` of `config.json`.
    pub(super) model_type: &'static str,
    /// `general.architecture` of GGUF files; the first row of a name is what such a file is.
    pub(super) gguf: &'static str,
    /// Whether GGUF files hold the rows of q and k in llama.cpp's order.
    pub(super) interleaved: bool,
    /// Whether q, k and v are one layer, and gate and up another.
    pub(super) fused: bool,
    /// Which linear layers add a bias.
    pub(super) biases: Biases,
    /// Whether `mlp_bias` is a field of it.
    pub(super) mlp_bias: bool,
    /// Whether heads of q and k have norms.
    pub(super) qk_norm: bool,
    /// Which blocks may have a sliding window.
    pub(super) windows: Windows,
    /// transformers' `num_key_value_heads`; `None`: as many as there are query heads.
    pub(super) num_kv_heads: Option<usize>,
    /// transformers' `head_dim`; `None`: the width by the query heads.
    pub(super) head_dim: Option<usize>,
    /// transformers' `max_position_embeddings`.
    pub(super) max_position_embeddings: usize,
    /// transformers' `rope_theta`.
    pub(super) rope_theta: f64,
    /// transformers' `rms_norm_eps`.
    pub(super) norm_eps: f64,
    /// What it has beside Llama, if it is one of Gemma's kind.
    pub(super) gemma: Option<Gemma>,
}

/// The switches of a Gemma, and what transformers takes for fields that are absent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Gemma {
    /// Whether what attention and MLP give passes a norm, too.
    pub(super) is_sandwich: bool,
    /// `query_pre_attn_scalar`; `None`: the width of a head, and no such field.
    pub(super) scalar: Option<f64>,
    /// `attn_logit_softcapping` and `final_logit_softcapping`.
    pub(super) caps: [Option<f64>; 2],
    /// `rope_local_base_freq`, where blocks with a window have their own.
    pub(super) window_rope_theta: Option<f64>,
    /// Blocks of the largest model, whose scores llama.cpp scales by the width of the stream over
    /// the heads; its files do not say so.
    pub(super) blocks_of_largest: usize,
}

/// Which linear layers add a bias.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Biases {
    None,
    /// Those of q, k, v; nothing in a file says so.
    QueryKeyValue,
    /// Those of q, k, v, o where `config.json` has `attention_bias`, or GGUF has the tensors.
    Stated,
}

impl Biases {
    /// The layers in a model whose file states `attention_bias`.
    pub(super) fn modules(self, stated: bool) -> Vec<Module> {
        match self {
            Self::QueryKeyValue => vec![Module::Q, Module::K, Module::V],
            Self::Stated if stated => vec![Module::Q, Module::K, Module::V, Module::O],
            Self::None | Self::Stated => Vec::new(),
        }
    }
}

/// Which blocks have a sliding window, as `config.json` says it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Windows {
    /// The fields are ignored.
    None,
    /// All, unless `sliding_window` is null.
    Everywhere,
    /// All, where `sliding_window` is a number.
    Stated,
    /// Where `use_sliding_window`: those that `layer_types` names, or from `max_window_layers` on.
    ByBlock,
    /// Those that `layer_types` names, or all but every so many-th (`sliding_window_pattern`).
    AllButEvery(usize),
}

/// transformers' `sliding_window`.
pub(super) const SLIDING_WINDOW: usize = 4096;
/// transformers' `max_window_layers`.
pub(super) const MAX_WINDOW_LAYERS: usize = 28;

const LLAMA: Architecture = Architecture {
    model_type: "llama",
    gguf: "llama",
    interleaved: true,
    fused: false,
    biases: Biases::Stated,
    mlp_bias: true,
    qk_norm: false,
    windows: Windows::None,
    num_kv_heads: None,
    head_dim: None,
    max_position_embeddings: 2048,
    rope_theta: 10_000.0,
    norm_eps: 1e-6,
    gemma: None,
};

const GEMMA: Architecture = Architecture {
    model_type: "gemma",
    gguf: "gemma",
    interleaved: false,
    mlp_bias: false,
    num_kv_heads: Some(16),
    head_dim: Some(256),
    max_position_embeddings: 8192,
    gemma: Some(Gemma {
        is_sandwich: false,
        scalar: None,
        caps: [None, None],
        window_rope_theta: None,
        blocks_of_largest: usize::MAX,
    }),
    ..LLAMA
};

/// Every architecture; Qwen2.5 is Qwen2.
pub(super) const ARCHITECTURES: [Architecture; 8] = [
    LLAMA,
    Architecture {
        model_type: "mistral",
        biases: Biases::None,
        mlp_bias: false,
        windows: Windows::Everywhere,
        num_kv_heads: Some(8),
        max_position_embeddings: 131_072,
        ..LLAMA
    },
    Architecture {
        model_type: "qwen2",
        gguf: "qwen2",
        interleaved: false,
        biases: Biases::QueryKeyValue,
        mlp_bias: false,
        windows: Windows::ByBlock,
        num_kv_heads: Some(32),
        max_position_embeddings: 32_768,
        ..LLAMA
    },
    Architecture {
        model_type: "qwen3",
        gguf: "qwen3",
        interleaved: false,
        mlp_bias: false,
        qk_norm: true,
        windows: Windows::ByBlock,
        num_kv_heads: Some(32),
        head_dim: Some(128),
        max_position_embeddings: 32_768,
        ..LLAMA
    },
    Architecture {
        model_type: "phi3",
        gguf: "phi3",
        interleaved: false,
        fused: true,
        biases: Biases::None,
        mlp_bias: false,
        windows: Windows::Stated,
        max_position_embeddings: 4096,
        norm_eps: 1e-5,
        ..LLAMA
    },
    GEMMA,
    Architecture {
        model_type: "gemma2",
        gguf: "gemma2",
        num_kv_heads: Some(4),
        windows: Windows::AllButEvery(2),
        gemma: Some(Gemma {
            is_sandwich: true,
            scalar: Some(256.0),
            caps: [Some(50.0), Some(30.0)],
            window_rope_theta: None,
            blocks_of_largest: 46,
        }),
        ..GEMMA
    },
    Architecture {
        model_type: "gemma3_text",
        gguf: "gemma3",
        num_kv_heads: Some(4),
        qk_norm: true,
        windows: Windows::AllButEvery(6),
        max_position_embeddings: 131_072,
        rope_theta: 1_000_000.0,
        gemma: Some(Gemma {
            is_sandwich: true,
            scalar: Some(256.0),
            caps: [None, None],
            window_rope_theta: Some(10_000.0),
            blocks_of_largest: 62,
        }),
        ..GEMMA
    },
];

/// GGUF's names of whole tensors, and Hugging Face's.
pub(super) const TENSORS: [(&str, &str); 3] = [
    ("token_embd.weight", "model.embed_tokens.weight"),
    ("output_norm.weight", "model.norm.weight"),
    ("output.weight", "lm_head.weight"),
];

/// GGUF's names of the parts of a block (`blk.3.attn_q.weight`), and Hugging Face's
/// (`model.layers.3.self_attn.q_proj.weight`).
pub(super) const BLOCK_PARTS: [(&str, &str); 11] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// GGUF's names of the norms around the parts of a block that has four, and Hugging Face's.
pub(super) const SANDWICH_PARTS: [(&str, &str); 3] = [
    ("post_attention_norm", "post_attention_layernorm"),
    ("ffn_norm", "pre_feedforward_layernorm"),
    ("post_ffw_norm", "post_feedforward_layernorm"),
];

/// GGUF's names of layers that are several in one, and Hugging Face's.
pub(super) const FUSED_PARTS: [(&str, &str); 2] = [
    ("attn_qkv", "self_attn.qkv_proj"),
    ("ffn_up", "mlp.gate_up_proj"),
];

/// Indices of all blocks but every `nth`.
pub(super) fn all_but_every(nth: usize, blocks: usize) -> Vec<usize> {
    let has_window = |block: &usize| !(block + 1).is_multiple_of(nth);
    (0..blocks).filter(has_window).collect()
}

/// The names that `of` gives all architectures, without repetitions, for people.
pub(super) fn names(of: impl Fn(&Architecture) -> &'static str) -> String {
    let mut names: Vec<_> = ARCHITECTURES.iter().map(of).collect();
    names.dedup();
    names.join(", ")
}
