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

mod hyper_parameters;

use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;

use self::hyper_parameters::HyperParameters;
use super::architecture::{
    ARCHITECTURES, Architecture, BLOCK_PARTS, FUSED_PARTS, SANDWICH_PARTS, TENSORS, names,
};
use super::gguf_header::{Header, Metadata, TensorInfo};
use super::{
    Checkpoint, Entry, KNOWN_TENSORS, RowOrder, TokenizerPlace, corrupt, ggml_types, unsupported,
    unsupported_type,
};
use crate::{Error, Result};

const ROPE_FACTORS: &str = "rope_freqs.weight";
/// LongRoPE's, up to the context of the original training and beyond it.
const SHORT_FACTORS: &str = "rope_factors_short.weight";
const LONG_FACTORS: &str = "rope_factors_long.weight";
const FACTORS: [&str; 3] = [ROPE_FACTORS, SHORT_FACTORS, LONG_FACTORS];

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
    let mut entries = entries(metadata, architecture)?;
    let config = HyperParameters {
        metadata,
        architecture,
    }
    .config(&entries)?;
    entries.retain(|(name, _)| !FACTORS.contains(&name.as_str()));
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
        norm_offset: 0.0, // llama.cpp adds it when it converts
        path: path.to_owned(),
        format: "gguf",
        config,
        maps: vec![map],
        tensors: entries.into_iter().collect(),
        tokenizer: TokenizerPlace::Header(header),
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
fn entries(metadata: Metadata, architecture: &Architecture) -> Result<Vec<(String, Entry)>> {
    let Metadata {
        header,
        bytes,
        path,
    } = metadata;
    let mut entries = Vec::with_capacity(header.tensors.len());
    for tensor in &header.tensors {
        let Some(name) = hugging_face_name(&tensor.name, architecture) else {
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
    let kind = ggml_types::from_ggml(*code)
        .map_err(|kind| unsupported_type(&kind, (name.as_str(), path), ggml_types::SUPPORTED))?;
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
fn hugging_face_name(name: &str, architecture: &Architecture) -> Option<String> {
    let ours = |table: &[(&str, &'static str)], name: &str| {
        let known = table.iter().find(|(theirs, _)| *theirs == name);
        known.map(|(_, ours)| *ours)
    };
    if FACTORS.contains(&name) {
        return Some(name.to_owned());
    }
    if let Some(whole) = ours(&TENSORS, name) {
        return Some(whole.to_owned());
    }
    let (block, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    let block: u32 = block.parse().ok()?;
    let (part, kind) = rest.rsplit_once('.')?;
    let is_sandwich = architecture.gemma.is_some_and(|gemma| gemma.is_sandwich);
    let sandwich = ours(&SANDWICH_PARTS, part).filter(|_| is_sandwich);
    let fused = ours(&FUSED_PARTS, part).filter(|_| architecture.fused);
    let own = sandwich.or(fused);
    let part = own.or_else(|| ours(&BLOCK_PARTS, part))?;
    matches!(kind, "weight" | "bias").then(|| format!("model.layers.{block}.{part}.{kind}"))
}
