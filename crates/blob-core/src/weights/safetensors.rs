//! Hugging Face folders: `config.json` with `model.safetensors`, whole or in shards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use ::safetensors::Dtype;
use ::safetensors::tensor::Metadata;
use serde::Deserialize;

use super::encoder_names::is_index;
use super::{
    Checkpoint, Entry, RowOrder, TensorType, TokenizerPlace, corrupt, map, not_found, other_file,
    unsupported_type,
};
use crate::files::json_reason;
use crate::other_file::OtherFile;
use crate::{Error, Result};

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// The plain rotary frequencies, stored by old versions of transformers.
const ROTARY_TABLE: &str = ".rotary_emb.inv_freq";
const LENGTH_BYTES: usize = 8;
/// The format's own limit for the JSON header of a weight file.
const LONGEST_HEADER: usize = 100_000_000;
/// Larger than any JSON file of a model apart from its tokenizer.
const LONGEST_JSON: u64 = 64 << 20;

/// The part of `model.safetensors.index.json` that says where tensors are.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Opens the model in `folder`.
pub(super) fn open(folder: &Path) -> Result<Checkpoint> {
    let config_file = folder.join("config.json");
    let config = super::hf_config::parse(&read(&config_file)?, &config_file)?;
    let mut maps = Vec::new();
    let mut tensors = BTreeMap::new();
    let shards = shards(folder)?;
    let indexed: BTreeSet<String> = shards.values().flatten().flatten().cloned().collect();
    for (shard, wanted) in shards {
        let path = folder.join(&shard);
        if wanted.is_some() && !path.exists() {
            return Err(Error::ModelNotFound {
                path,
                reason: format!("{INDEX} names this file, which is not there"),
                hint: "fetch every file that the index names",
            });
        }
        let bytes = map(&path)?;
        let mut found = entries(&bytes, maps.len(), &path)?;
        match wanted {
            None => tensors.append(&mut found),
            Some(names) => {
                for name in names {
                    let entry = found.remove(&name);
                    let entry = entry
                        .ok_or_else(|| corrupt(&path, format!("the tensor {name} is missing")))?;
                    tensors.insert(name, entry);
                }
                found.retain(|name, _| !indexed.contains(name));
                tensors.append(&mut found); // what the index forgot counts too
            }
        }
        maps.push(bytes);
    }
    tensors.retain(|name, _| !name.ends_with(ROTARY_TABLE));
    let norm_offset = if config.gemma.is_some() { 1.0 } else { 0.0 };
    let mut checkpoint = Checkpoint {
        norm_offset,
        path: folder.to_owned(),
        format: "safetensors",
        config,
        maps,
        tensors,
        tokenizer: TokenizerPlace::Folder(folder.to_owned()),
        notices: Vec::new(),
    };
    match &checkpoint.config.encoder {
        Some(encoder) => checkpoint.settle_encoder(encoder.family),
        None => checkpoint.settle_head()?,
    }
    Ok(checkpoint)
}

impl Checkpoint {
    /// A head under `tie_word_embeddings`: a copy of the embedding is dropped, another one is kept,
    /// and the model is untied, as transformers does it.
    fn settle_head(&mut self) -> Result<()> {
        let (embedding, head) = ("model.embed_tokens.weight", "lm_head.weight");
        if !self.config.tie_word_embeddings || !self.has(head) {
            return Ok(());
        }
        let shape = [self.config.vocab_size, self.config.hidden_size];
        let [embedding, own] = [self.stored(embedding, &shape)?, self.stored(head, &shape)?];
        let [mut one, mut other] = [(); 2].map(|()| vec![0.0; shape[1]]);
        let equal = (0..shape[0]).all(|row| {
            embedding.row(row, &mut one);
            own.row(row, &mut other);
            one.iter()
                .zip(&other)
                .all(|(one, other)| one.to_bits() == other.to_bits())
        });
        if equal {
            self.tensors.remove(head);
        } else {
            self.config.tie_word_embeddings = false;
        }
        Ok(())
    }
}

/// Weight files with the tensors to take from each; `None` means all.
fn shards(folder: &Path) -> Result<BTreeMap<String, Option<Vec<String>>>> {
    if folder.join(WEIGHTS).exists() {
        return Ok(BTreeMap::from([(WEIGHTS.to_owned(), None)]));
    }
    let path = folder.join(INDEX);
    if !path.exists() {
        if let Some(pickle) = pickle_in(folder)? {
            return Err(other_file(&pickle, OtherFile::Pickle));
        }
        return Err(not_found(
            folder,
            format!("it holds neither {WEIGHTS} nor {INDEX}"),
        ));
    }
    let index: Index = serde_json::from_slice(&read(&path)?)
        .map_err(|error| corrupt(&path, json_reason(&error)))?;
    let mut shards: BTreeMap<String, Option<Vec<String>>> = BTreeMap::new();
    for (name, file) in index.weight_map {
        let mut parts = Path::new(&file).components();
        if !matches!(
            (parts.next(), parts.next()),
            (Some(Component::Normal(_)), None)
        ) {
            let reason = format!("{name}: a shard must be a file name, got {file:?}");
            return Err(corrupt(&path, reason));
        }
        shards
            .entry(file)
            .or_default()
            .get_or_insert_default()
            .push(name);
    }
    Ok(shards)
}

/// The first file of `folder`, by name, that is a model in PyTorch's own format.
fn pickle_in(folder: &Path) -> Result<Option<PathBuf>> {
    let mut pickles = Vec::new();
    for item in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let item = item.map_err(Error::io(folder))?.path();
        // Beside the model there may be others, such as training_args.bin.
        let is_model = (item.file_name().and_then(|name| name.to_str())).is_some_and(|name| {
            ["pytorch_model", "consolidated"]
                .iter()
                .any(|it| name.starts_with(it))
        });
        if is_model && OtherFile::is_named_pickle(&item) {
            pickles.push(item);
        }
    }
    pickles.sort();
    Ok(pickles.into_iter().next())
}

/// The tensors of one weight file: a JSON header that says where they are, then their bytes.
fn entries(bytes: &[u8], map: usize, path: &Path) -> Result<BTreeMap<String, Entry>> {
    let length = bytes
        .first_chunk::<LENGTH_BYTES>()
        .map(|it| u64::from_le_bytes(*it));
    let data_start = length
        .and_then(|length| usize::try_from(length).ok())
        .filter(|length| *length <= LONGEST_HEADER)
        .map(|length| LENGTH_BYTES + length);
    let Some((data_start, header)) =
        data_start.and_then(|end| Some((end, bytes.get(LENGTH_BYTES..end)?)))
    else {
        let reason = match length {
            Some(length) => {
                format!(
                    "the header claims {length} bytes of a file of {}",
                    bytes.len()
                )
            }
            None => format!(
                "the file must begin with a length of 8 bytes, has {}",
                bytes.len()
            ),
        };
        return Err(corrupt(path, reason));
    };
    // checks that sizes match types and shapes and that tensors lie gapless behind each other
    let metadata: Metadata = serde_json::from_slice(header)
        .map_err(|error| corrupt(path, format!("the header is malformed: {error}")))?;
    let data_len = bytes.len() - data_start;
    if metadata.data_len() != data_len {
        let reason = format!(
            "tensors need {} bytes, the file has {data_len}",
            metadata.data_len()
        );
        return Err(corrupt(path, reason));
    }
    let mut entries = BTreeMap::new();
    // By name: of two that are refused, always the same one is named.
    let tensors: BTreeMap<_, _> = metadata.tensors().into_iter().collect();
    for (name, info) in tensors {
        if is_index(&name) {
            continue;
        }
        let kind = match info.dtype {
            Dtype::F32 => TensorType::F32,
            Dtype::F16 => TensorType::F16,
            Dtype::BF16 => TensorType::Bf16,
            other => {
                let of = (name.as_str(), path);
                return Err(unsupported_type(&other.to_string(), of, "F32, F16, BF16"));
            }
        };
        let (start, end) = info.data_offsets;
        let entry = Entry {
            map,
            at: data_start + start..data_start + end,
            kind,
            shape: info.shape.clone(),
            rows: RowOrder::AsStored,
        };
        entries.insert(name, entry);
    }
    Ok(entries)
}

/// A JSON file of moderate size.
fn read(path: &Path) -> Result<Vec<u8>> {
    match std::fs::metadata(path) {
        Ok(file) if file.len() > LONGEST_JSON => {
            let reason = format!("must have at most {LONGEST_JSON} bytes, got {}", file.len());
            return Err(corrupt(path, reason));
        }
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(not_found(path, "there is no such file"));
        }
        Err(error) => return Err(Error::io(path)(error)),
    }
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    match OtherFile::of(&bytes) {
        Some(other) => Err(other_file(path, other)),
        None => Ok(bytes),
    }
}
