//! Models in GGUF: llama.cpp's names and row order to Hugging Face's.
//!
//! For Llama and Mistral llama.cpp rotates neighbouring pairs, Hugging Face the two halves of a
//! head, so its converter interleaves the rows of `q` and `k` within each head of width `c`:
//!
//! ```text
//! gguf[h·c + 2j + t] = hf[h·c + t·c/2 + j]        j < c/2, t ∈ {0, 1}
//! ```
//!
//! Reading undoes it; rows move whole, so quantised blocks stay intact. Other architectures keep
//! their rows.

use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;

use super::architecture::{ARCHITECTURES, Architecture, BLOCK_PARTS, TENSORS, names};
use super::gguf_header::{Header, Metadata, TensorInfo};
use super::{
    Checkpoint, Entry, KNOWN_TENSORS, RowOrder, TensorType, TokenizerSource, corrupt, unsupported,
};
use crate::backbone::{BackboneConfig, RopeScaling, Window};
use crate::{Error, Result};

const ROPE_FACTORS: &str = "rope_freqs.weight";

/// Hyper-parameters that would change the result and that the decoder doesn't have; 0 means "off".
const FOREIGN: [&str; 8] = [
    "expert_count",
    "attention.scale",
    "attention.max_alibi_bias",
    "attention.clamp_kqv",
    "attention.temperature_length",
    "logit_scale",
    "embedding_scale",
    "residual_scale",
];

/// Opens the file at `path`, already in memory as `map`.
pub(super) fn open(path: &Path, map: Arc<Mmap>) -> Result<Checkpoint> {
    let header = Header::parse(&map, path)?;
    let metadata = Metadata {
        header: &header,
        bytes: &map,
        path,
    };
    if let Some(parts) = metadata.count("split.count")?.filter(|parts| *parts > 1) {
        return Err(split(path, parts));
    }
    let Some(name) = metadata.text("general.architecture")? else {
        return Err(corrupt(path, "general.architecture is missing"));
    };
    let known = ARCHITECTURES
        .iter()
        .find(|architecture| architecture.gguf == name);
    let Some(architecture) = known else {
        let supported = names(|architecture| architecture.gguf);
        return Err(unsupported("architecture", name, &supported));
    };
    let mut entries = entries(metadata)?;
    let config = Keys {
        metadata,
        architecture,
    }
    .config(&entries)?;
    entries.retain(|(name, _)| name != ROPE_FACTORS);
    if architecture.interleaved {
        for (name, entry) in &mut entries {
            if name.contains(".q_proj.") || name.contains(".k_proj.") {
                entry.rows = RowOrder::Interleaved {
                    head_dim: config.head_dim,
                };
            }
        }
    }
    Ok(Checkpoint {
        path: path.to_owned(),
        format: "gguf",
        config,
        maps: vec![map],
        tensors: entries.into_iter().collect(),
        tokenizer: TokenizerSource::Gguf(header),
        notices: Vec::new(),
    })
}

/// Whether a file bears the name of a part of a model, such as `model-00001-of-00003.gguf`.
pub(super) fn is_part(path: &Path) -> bool {
    let is_number =
        |digits: &str| digits.len() == 5 && digits.bytes().all(|it| it.is_ascii_digit());
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    let halves = stem.and_then(|stem| stem.rsplit_once("-of-"));
    halves.is_some_and(|(before, parts)| {
        let part = before.rsplit_once('-').map_or(before, |(_, part)| part);
        is_number(part) && is_number(parts)
    })
}

/// What is said of a model in several files.
pub(super) fn split(path: &Path, parts: usize) -> Error {
    Error::ModelCorrupt {
        path: path.to_owned(),
        reason: format!("this is one part of a GGUF model that was split into {parts}"),
        hint: "join the parts first: llama-gguf-split --merge FIRST-PART.gguf WHOLE.gguf",
    }
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
            return Err(unsupported("tensor", &tensor.name, KNOWN_TENSORS));
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
    let ours = |table: &[(&str, &'static str)], name: &str| {
        let known = table.iter().find(|(theirs, _)| *theirs == name);
        known.map(|(_, ours)| *ours)
    };
    if name == ROPE_FACTORS {
        return Some(name.to_owned());
    }
    if let Some(whole) = ours(&TENSORS, name) {
        return Some(whole.to_owned());
    }
    let (block, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    let block: u32 = block.parse().ok()?;
    let (part, kind) = rest.rsplit_once('.')?;
    let part = ours(&BLOCK_PARTS, part)?;
    matches!(kind, "weight" | "bias").then(|| format!("model.layers.{block}.{part}.{kind}"))
}

/// The metadata of a model, whose keys begin with the name of its architecture.
struct Keys<'a> {
    metadata: Metadata<'a>,
    architecture: &'a Architecture,
}

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture.gguf)
    }

    fn count(&self, name: &str) -> Result<Option<usize>> {
        self.metadata.count(&self.key(name))
    }

    fn number(&self, name: &str) -> Result<Option<f64>> {
        self.metadata.number(&self.key(name))
    }

    fn corrupt(&self, reason: impl Into<String>) -> Error {
        corrupt(self.metadata.path, reason)
    }

    fn missing(&self, name: &str) -> Error {
        self.corrupt(format!("{} is missing", self.key(name)))
    }

    fn required(&self, name: &str) -> Result<usize> {
        self.count(name)?.ok_or_else(|| self.missing(name))
    }

    fn config(&self, entries: &[(String, Entry)]) -> Result<BackboneConfig> {
        for name in FOREIGN {
            if let Some(value) = self.number(name)?.filter(|value| *value != 0.0) {
                let value = format!("{} = {value}", self.key(name));
                return Err(unsupported("hyper-parameter", value, "0"));
            }
        }
        let find = |wanted: &str| entries.iter().find(|(name, _)| name == wanted);
        let embedding = find("model.embed_tokens.weight")
            .ok_or_else(|| self.corrupt("token_embd.weight is missing"))?;
        let vocab_size = embedding.1.shape.first().copied().unwrap_or(0);
        if let Some(stated) = self.count("vocab_size")?.filter(|size| *size != vocab_size) {
            let key = self.key("vocab_size");
            let reason = format!("{key} is {stated}, token_embd.weight has {vocab_size} rows");
            return Err(self.corrupt(reason));
        }
        let hidden_size = self.required("embedding_length")?;
        let num_heads = self.required("attention.head_count")?;
        let num_layers = self.required("block_count")?;
        let max_position_embeddings = self.required("context_length")?;
        let eps = "attention.layer_norm_rms_epsilon";
        let stated_bias = entries.iter().any(|(name, _)| name.ends_with("_proj.bias"));
        let config = BackboneConfig {
            vocab_size,
            hidden_size,
            intermediate_size: self.required("feed_forward_length")?,
            num_layers,
            num_heads,
            num_kv_heads: self.count("attention.head_count_kv")?.unwrap_or(num_heads),
            head_dim: self.head_dim(hidden_size, num_heads)?,
            rms_norm_eps: self.number(eps)?.ok_or_else(|| self.missing(eps))?,
            rope_theta: self.number("rope.freq_base")?.unwrap_or(10_000.0),
            rope_scaling: self.rope_scaling(find(ROPE_FACTORS).map(|(_, entry)| entry))?,
            max_position_embeddings,
            tie_word_embeddings: find("lm_head.weight").is_none(),
            biases: self.architecture.biases.modules(stated_bias),
            context_end: None,
            qk_norm: self.architecture.qk_norm,
            encoder: None,
            window: self
                .window(num_layers)?
                .filter(|window| window.size < max_position_embeddings),
        };
        config
            .check()
            .map_err(|broken| self.corrupt(broken.to_string()))?;
        Ok(config)
    }

    /// Width of a head; keys, values and the rotated part have to agree.
    fn head_dim(&self, hidden_size: usize, num_heads: usize) -> Result<usize> {
        let rotated = self.count("rope.dimension_count")?;
        let key = self.count("attention.key_length")?;
        let width = match key.or(rotated) {
            Some(width) => width,
            None if num_heads > 0 && hidden_size.is_multiple_of(num_heads) => {
                hidden_size / num_heads
            }
            None => {
                let reason = format!("{num_heads} heads must divide the width, {hidden_size}");
                return Err(self.corrupt(reason));
            }
        };
        let value = self.count("attention.value_length")?;
        for (what, other) in [
            ("rotated part of a head", rotated),
            ("width of value heads", value),
        ] {
            if let Some(other) = other.filter(|other| *other != width) {
                let supported = format!("that of the keys, {width}");
                return Err(unsupported(what, other.to_string(), &supported));
            }
        }
        Ok(width)
    }

    /// The sliding window: of every block, or of those for which the pattern is true, as in llama.cpp.
    fn window(&self, num_layers: usize) -> Result<Option<Window>> {
        let Some(size) = (self.count("attention.sliding_window")?).filter(|size| *size != 0) else {
            return Ok(None);
        };
        let pattern = "attention.sliding_window_pattern";
        let blocks: Vec<usize> = match self.metadata.flags(&self.key(pattern))? {
            None => (0..num_layers).collect(),
            Some(flags) if flags.len() == num_layers => {
                (0..num_layers).filter(|block| flags[*block]).collect()
            }
            Some(flags) => {
                let rule = format!("{} must have {num_layers} entries", self.key(pattern));
                return Err(self.corrupt(format!("{rule}, got {}", flags.len())));
            }
        };
        Ok((!blocks.is_empty()).then_some(Window { size, blocks }))
    }

    /// Linear scaling from the metadata, or Llama 3's factors, which llama.cpp stores as a tensor.
    fn rope_scaling(&self, factors: Option<&Entry>) -> Result<RopeScaling> {
        let legacy = self.number("rope.scale_linear")?;
        let kind = self.metadata.text(&self.key("rope.scaling.type"))?;
        let factor = self.number("rope.scaling.factor")?.or(legacy);
        let scaling = match (kind, factor) {
            (Some("none"), _) | (None, None) => RopeScaling::None,
            (Some("linear") | None, Some(factor)) if (factor - 1.0).abs() < f64::EPSILON => {
                RopeScaling::None
            }
            (Some("linear") | None, Some(factor)) => RopeScaling::Linear { factor },
            (Some("linear"), None) => return Err(self.missing("rope.scaling.factor")),
            (Some(other), _) => {
                let supported = "none, linear, rope_freqs.weight";
                return Err(unsupported("rope scaling", other, supported));
            }
        };
        let Some(entry) = factors else {
            return Ok(scaling);
        };
        if scaling != RopeScaling::None {
            let value = "linear with rope_freqs.weight";
            return Err(unsupported("rope scaling", value, "one of both"));
        }
        if entry.kind != TensorType::F32 {
            // As llama.cpp writes and reads it.
            let kind = entry.kind.name();
            return Err(unsupported("type of rope_freqs.weight", kind, "F32"));
        }
        let (factors, _) = self.metadata.bytes[entry.at.clone()].as_chunks();
        let factors = factors.iter().map(|bytes| f32::from_le_bytes(*bytes));
        Ok(RopeScaling::Factors {
            factors: factors.collect(),
        })
    }
}
