//! Llama models in GGUF: llama.cpp's names and row order to Hugging Face's.
//!
//! llama.cpp rotates neighbouring pairs, Hugging Face the two halves of a head, so its converter
//! interleaves the rows of `q` and `k` within each head of width `c`:
//!
//! ```text
//! gguf[h·c + 2j + t] = hf[h·c + t·c/2 + j]        j < c/2, t ∈ {0, 1}
//! ```
//!
//! Reading undoes it; rows move whole, so quantised blocks stay intact.

use std::path::Path;

use std::sync::Arc;

use memmap2::Mmap;

use super::dequantize::TensorType;
use super::gguf_header::{Header, Metadata, TensorInfo};
use super::{Checkpoint, Entry, RowOrder, TokenizerSource, corrupt, unsupported};
use crate::Result;
use crate::backbone::{DecoderConfig, RopeScaling};
use crate::kernels::cpu::simd::Portable;

const ROPE_FACTORS: &str = "rope_freqs.weight";

/// Hyper-parameters that would change the result and that the decoder doesn't have; 0 means "off".
const FOREIGN: [&str; 9] = [
    "llama.expert_count",
    "llama.attention.scale",
    "llama.attention.sliding_window",
    "llama.attention.max_alibi_bias",
    "llama.attention.clamp_kqv",
    "llama.attention.temperature_length",
    "llama.logit_scale",
    "llama.embedding_scale",
    "llama.residual_scale",
];

/// Opens the file at `path`, already in memory as `map`.
pub(super) fn open(path: &Path, map: Arc<Mmap>) -> Result<Checkpoint> {
    let header = Header::parse(&map, path)?;
    let metadata = Metadata {
        header: &header,
        bytes: &map,
        path,
    };
    match metadata.text("general.architecture")? {
        Some("llama") => {}
        Some(other) => return Err(unsupported("architecture", other, "llama")),
        None => return Err(corrupt(path, "general.architecture is missing")),
    }
    let entries = entries(metadata)?;
    let config = config(metadata, &entries)?;
    let tensors = entries
        .into_iter()
        .filter(|(name, _)| name != ROPE_FACTORS)
        .map(|(name, mut entry)| {
            if name.ends_with("q_proj.weight") || name.ends_with("k_proj.weight") {
                entry.rows = RowOrder::Interleaved {
                    head_dim: config.head_dim,
                };
            }
            (name, entry)
        })
        .collect();
    Ok(Checkpoint {
        path: path.to_owned(),
        format: "gguf",
        config,
        maps: vec![map],
        tensors,
        tokenizer: TokenizerSource::Gguf(header),
    })
}

/// The table of tensors under Hugging Face's names, every range checked.
fn entries(metadata: Metadata) -> Result<Vec<(String, Entry)>> {
    let Metadata {
        header,
        bytes,
        path,
    } = metadata;
    let mut entries = Vec::with_capacity(header.tensors.len());
    for tensor in &header.tensors {
        let Some(name) = hugging_face_name(&tensor.name) else {
            if tensor.name.ends_with(".attn_rot_embd.weight") {
                continue; // the plain rotary frequencies, stored by old converters
            }
            let supported = "the weights of a Llama decoder without biases";
            return Err(unsupported("tensor", &tensor.name, supported));
        };
        entries.push((name, entry(tensor, header, bytes.len(), path)?));
    }

    let mut by_place: Vec<_> = entries.iter().collect();
    by_place.sort_by_key(|(_, entry)| (entry.at.start, entry.at.end));
    for [(first, before), (second, after)] in by_place.array_windows() {
        if before.at.end > after.at.start {
            return Err(corrupt(path, format!("{first} and {second} overlap")));
        }
    }
    let mut names: Vec<_> = entries.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    if let Some([name, _]) = names.array_windows().find(|[one, other]| one == other) {
        return Err(corrupt(path, format!("{name} occurs twice")));
    }
    Ok(entries)
}

fn entry(tensor: &TensorInfo, header: &Header, file_len: usize, path: &Path) -> Result<Entry> {
    let TensorInfo {
        name,
        shape,
        code,
        offset,
    } = tensor;
    let kind = TensorType::from_ggml(*code)
        .map_err(|kind| unsupported("tensor type", kind, TensorType::SUPPORTED))?;
    let row = shape.last().copied().unwrap_or(1);
    let elements = shape
        .iter()
        .try_fold(1_usize, |all, size| all.checked_mul(*size));
    let size = (kind.bytes(row)).and(elements.and_then(|elements| kind.bytes(elements)));
    let Some(size) = size else {
        let rule = format!("{name}: rows must hold whole {} blocks, got", kind.name());
        return Err(corrupt(path, format!("{rule} the shape {shape:?}")));
    };
    if !offset.is_multiple_of(header.alignment as u64) {
        let rule = format!(
            "{name}: the offset must be a multiple of {}",
            header.alignment
        );
        return Err(corrupt(path, format!("{rule}, got {offset}")));
    }
    let start = usize::try_from(*offset).ok();
    let start = start.and_then(|offset| header.data_start.checked_add(offset));
    let end = start.and_then(|start| start.checked_add(size));
    let (Some(start), Some(end)) = (start, end.filter(|end| *end <= file_len)) else {
        let place = format!("{name}: {size} bytes at offset {offset} of the data");
        return Err(corrupt(
            path,
            format!("{place}, the file ends at byte {file_len}"),
        ));
    };
    Ok(Entry {
        map: 0,
        at: start..end,
        kind,
        shape: shape.clone(),
        rows: RowOrder::AsStored,
    })
}

/// `blk.3.attn_q.weight` → `model.layers.3.self_attn.q_proj.weight`.
fn hugging_face_name(name: &str) -> Option<String> {
    let known = match name {
        "token_embd.weight" => "model.embed_tokens.weight",
        "output_norm.weight" => "model.norm.weight",
        "output.weight" => "lm_head.weight",
        ROPE_FACTORS => ROPE_FACTORS,
        _ => {
            let (layer, part) = name.strip_prefix("blk.")?.split_once('.')?;
            let layer: u32 = layer.parse().ok()?;
            let part = match part.strip_suffix(".weight")? {
                "attn_norm" => "input_layernorm",
                "attn_q" => "self_attn.q_proj",
                "attn_k" => "self_attn.k_proj",
                "attn_v" => "self_attn.v_proj",
                "attn_output" => "self_attn.o_proj",
                "ffn_norm" => "post_attention_layernorm",
                "ffn_gate" => "mlp.gate_proj",
                "ffn_up" => "mlp.up_proj",
                "ffn_down" => "mlp.down_proj",
                _ => return None,
            };
            return Some(format!("model.layers.{layer}.{part}.weight"));
        }
    };
    Some(known.to_owned())
}

fn config(metadata: Metadata, entries: &[(String, Entry)]) -> Result<DecoderConfig> {
    let path = metadata.path;
    for key in FOREIGN {
        if let Some(value) = metadata.number(key)?.filter(|value| *value != 0.0) {
            return Err(unsupported(
                "hyper-parameter",
                format!("{key} = {value}"),
                "0",
            ));
        }
    }
    let required = |key: &str| {
        let count = metadata.count(key)?;
        count.ok_or_else(|| corrupt(path, format!("{key} is missing")))
    };
    let find = |wanted: &str| entries.iter().find(|(name, _)| name == wanted);
    let embedding = find("model.embed_tokens.weight")
        .ok_or_else(|| corrupt(path, "token_embd.weight is missing"))?;
    let vocab_size = embedding.1.shape.first().copied().unwrap_or(0);
    if let Some(stated) = metadata
        .count("llama.vocab_size")?
        .filter(|size| *size != vocab_size)
    {
        let reason =
            format!("llama.vocab_size is {stated}, token_embd.weight has {vocab_size} rows");
        return Err(corrupt(path, reason));
    }
    let hidden_size = required("llama.embedding_length")?;
    let num_heads = required("llama.attention.head_count")?;
    let eps = "llama.attention.layer_norm_rms_epsilon";
    let config = DecoderConfig {
        vocab_size,
        hidden_size,
        intermediate_size: required("llama.feed_forward_length")?,
        num_layers: required("llama.block_count")?,
        num_heads,
        num_kv_heads: metadata
            .count("llama.attention.head_count_kv")?
            .unwrap_or(num_heads),
        head_dim: head_dim(metadata, hidden_size, num_heads)?,
        rms_norm_eps: metadata
            .number(eps)?
            .ok_or_else(|| corrupt(path, format!("{eps} is missing")))?,
        rope_theta: metadata.number("llama.rope.freq_base")?.unwrap_or(10_000.0),
        rope_scaling: rope_scaling(metadata, find(ROPE_FACTORS).map(|(_, entry)| entry))?,
        max_position_embeddings: required("llama.context_length")?,
        tie_word_embeddings: find("lm_head.weight").is_none(),
    };
    config
        .check()
        .map_err(|broken| corrupt(path, broken.to_string()))?;
    Ok(config)
}

/// Width of a head; keys, values and the rotated part have to agree.
fn head_dim(metadata: Metadata, hidden_size: usize, num_heads: usize) -> Result<usize> {
    let rotated = metadata.count("llama.rope.dimension_count")?;
    let key = metadata.count("llama.attention.key_length")?;
    let width = match key.or(rotated) {
        Some(width) => width,
        None if num_heads > 0 && hidden_size.is_multiple_of(num_heads) => hidden_size / num_heads,
        None => {
            let reason = format!("{num_heads} heads must divide the width, {hidden_size}");
            return Err(corrupt(metadata.path, reason));
        }
    };
    for (what, other) in [
        ("rotated part of a head", rotated),
        (
            "width of value heads",
            metadata.count("llama.attention.value_length")?,
        ),
    ] {
        if let Some(other) = other.filter(|other| *other != width) {
            return Err(unsupported(
                what,
                other.to_string(),
                &format!("that of the keys, {width}"),
            ));
        }
    }
    Ok(width)
}

/// Linear scaling from the metadata, or Llama 3's factors, which llama.cpp stores as a tensor.
fn rope_scaling(metadata: Metadata, factors: Option<&Entry>) -> Result<RopeScaling> {
    let legacy = metadata.number("llama.rope.scale_linear")?;
    let kind = metadata.text("llama.rope.scaling.type")?;
    let factor = metadata.number("llama.rope.scaling.factor")?.or(legacy);
    let scaling = match (kind, factor) {
        (Some("none"), _) | (None, None) => RopeScaling::None,
        (Some("linear") | None, Some(factor)) if (factor - 1.0).abs() < f64::EPSILON => {
            RopeScaling::None
        }
        (Some("linear") | None, Some(factor)) => RopeScaling::Linear { factor },
        (Some("linear"), None) => {
            let reason = "llama.rope.scaling.factor is missing";
            return Err(corrupt(metadata.path, reason));
        }
        (Some(other), _) => {
            return Err(unsupported(
                "rope scaling",
                other,
                "none, linear, rope_freqs.weight",
            ));
        }
    };
    let Some(entry) = factors else {
        return Ok(scaling);
    };
    if scaling != RopeScaling::None {
        let value = "linear with rope_freqs.weight";
        return Err(unsupported("rope scaling", value, "one of both"));
    }
    let mut factors = vec![0.0; entry.shape.iter().product()];
    let stored = &metadata.bytes[entry.at.clone()];
    let row = std::iter::once((stored, factors.as_mut_slice()));
    entry.kind.dequantize::<Portable>(row);
    Ok(RopeScaling::Factors { factors })
}
