//! Frozen weights by their Hugging Face names, whatever file they came from.
//!
//! Files are mapped, not read: opening one costs its header. Matrices stay as they are stored:
//! bytes, their type and the order of their rows; kernels decode what they need. Files are
//! untrusted: every length and range is checked before it is used.
//!
//! Codes: `BPEFT_MODEL_NOT_FOUND` (a file is missing), `BPEFT_MODEL_CORRUPT` (truncated,
//! contradictory, incomplete), `BPEFT_UNSUPPORTED` (well-formed, but not a decoder that the engine
//! knows).

mod architecture;
mod encoder_names;
mod ggml_types;
mod gguf;
mod gguf_header;
mod hf_config;
mod safetensors;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

use self::gguf_header::Header;
pub(crate) use self::gguf_header::Metadata;
use crate::backbone::BackboneConfig;
pub use crate::kernels::cpu::stored::{HostTensor, StoredMatrix};
pub(crate) use crate::kernels::cpu::stored::{RowOrder, TensorType};
use crate::other_file::OtherFile;
use crate::{Error, Result};

/// What the tensors of a file may be.
const KNOWN_TENSORS: &str = "those that its architecture and its configuration name";

/// What a checkpoint holds, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// "gguf" or "safetensors".
    pub format: &'static str,
    /// Bytes of all tensors as stored.
    pub weight_bytes: u64,
    /// How many tensors have each type ("F32", "Q4_1", …).
    pub tensor_types: BTreeMap<String, usize>,
}

/// A model on disk: its configuration, its tensors, its tokenizer.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    format: &'static str,
    config: BackboneConfig,
    maps: Vec<Arc<Mmap>>,
    tensors: BTreeMap<String, Entry>,
    tokenizer: TokenizerPlace,
    notices: Vec<String>,
    /// What the weights of norms are stored without: Gemma's folders hold them less 1.
    norm_offset: f32,
}

/// Where one tensor lies; `at` is inside `maps[map]` and holds exactly `shape` values of `kind`.
#[derive(Debug, Clone)]
struct Entry {
    map: usize,
    at: Range<usize>,
    kind: TensorType,
    shape: Vec<usize>,
    rows: RowOrder,
}

#[derive(Debug)]
enum TokenizerPlace {
    /// In the metadata of `maps[0]`.
    Header(Header),
    /// `tokenizer.json` in this folder.
    Folder(PathBuf),
}

/// What describes a tokenizer.
pub(crate) enum TokenizerSource<'a> {
    /// Of a GGUF file.
    Metadata(Metadata<'a>),
    /// A `tokenizer.json`.
    File(PathBuf),
}

impl Checkpoint {
    /// Opens a model.
    ///
    /// `path` is a `.gguf` file; a folder with `config.json` and `model.safetensors` (or its
    /// sharded form with an index), or a `.safetensors` file in such a folder; or a folder whose
    /// only model is one `.gguf` file.
    pub fn open(path: &Path) -> Result<Self> {
        let kind = std::fs::metadata(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => not_found(path, "there is no such file or folder"),
            _ => Error::io(path)(error),
        })?;
        let extension = path.extension().unwrap_or_default();
        let checkpoint = if kind.is_dir() {
            Self::open_folder(path)?
        } else if extension.eq_ignore_ascii_case("gguf") {
            gguf::open(path, map(path)?)?
        } else if extension.eq_ignore_ascii_case("safetensors") {
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            if !folder.join("config.json").exists() {
                return Err(not_found(path, "there is no config.json beside it"));
            }
            safetensors::open(folder)?
        } else {
            map(path)?; // says so if it is a pickle, or a web page
            let value = path.to_string_lossy();
            return Err(unsupported("model file", value, ".gguf, .safetensors"));
        };
        checkpoint.check_complete()?;
        Ok(checkpoint)
    }

    fn open_folder(folder: &Path) -> Result<Self> {
        if folder.join("config.json").exists() {
            return safetensors::open(folder);
        }
        let mut found = Vec::new();
        for item in std::fs::read_dir(folder).map_err(Error::io(folder))? {
            let item = item.map_err(Error::io(folder))?.path();
            if item
                .extension()
                .is_some_and(|it| it.eq_ignore_ascii_case("gguf"))
            {
                found.push(item);
            }
        }
        found.sort();
        match found.as_slice() {
            [file] => gguf::open(file, map(file)?),
            [] if folder.join("adapter_config.json").exists() => Err(Error::ModelNotFound {
                path: folder.to_owned(),
                reason: "it holds an adapter and no model".into(),
                hint: "name the model that it was trained on, and the folder as the adapter",
            }),
            [] => Err(not_found(
                folder,
                "it holds neither config.json nor a .gguf file",
            )),
            [first, ..] if found.iter().all(|file| gguf::is_part(file)) => {
                Err(gguf::split(first, found.len()))
            }
            [first, ..] => Err(not_found(
                folder,
                format!(
                    "it holds {} .gguf files; name one, such as {}",
                    found.len(),
                    first.file_name().unwrap_or_default().display()
                ),
            )),
        }
    }

    /// The file or folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Shape of the model.
    pub fn config(&self) -> &BackboneConfig {
        &self.config
    }

    /// What opening left out, and what an adapter starts anew.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// What describes the model's tokenizer.
    pub(crate) fn tokenizer_source(&self) -> TokenizerSource<'_> {
        match &self.tokenizer {
            TokenizerPlace::Folder(folder) => TokenizerSource::File(folder.join("tokenizer.json")),
            TokenizerPlace::Header(header) => TokenizerSource::Metadata(Metadata {
                header,
                bytes: &self.maps[0],
                path: &self.path,
            }),
        }
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether there is a tensor `name`; a tied head is none.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The tensor `name` as it is stored, which must have `shape`; its last dimension are the
    /// columns.
    pub fn stored(&self, name: &str, shape: &[usize]) -> Result<StoredMatrix> {
        let entry = self.entry(name, shape)?;
        let columns = match (shape, entry.rows) {
            // the rows of a bias are numbers
            ([_], RowOrder::Interleaved { .. }) => 1,
            _ => shape.last().copied().unwrap_or(1),
        };
        let rows = shape.iter().product::<usize>() / columns.max(1);
        let map = Arc::clone(&self.maps[entry.map]);
        Ok(StoredMatrix::mapped(
            map,
            entry.at.clone(),
            entry.kind,
            (rows, columns),
            entry.rows,
        )?)
    }

    /// What is added to the stored values of a norm's weight.
    pub(crate) fn norm_offset_of(&self, name: &str) -> Option<f32> {
        let is_of_norm = name.ends_with("norm.weight");
        (is_of_norm && self.norm_offset != 0.0).then_some(self.norm_offset)
    }

    /// What the checkpoint holds.
    pub fn summary(&self) -> Summary {
        let mut tensor_types = BTreeMap::new();
        for entry in self.tensors.values() {
            *tensor_types
                .entry(entry.kind.name().to_owned())
                .or_insert(0) += 1;
        }
        Summary {
            format: self.format,
            weight_bytes: self.tensors.values().map(|it| it.at.len() as u64).sum(),
            tensor_types,
        }
    }

    fn entry(&self, name: &str, shape: &[usize]) -> Result<&Entry> {
        let Some(entry) = self.tensors.get(name) else {
            return Err(self.missing(name));
        };
        if entry.shape == shape {
            return Ok(entry);
        }
        let got = &entry.shape;
        let name = self.config.published(name);
        let reason = format!("{name} must have the shape {shape:?}, got {got:?}");
        Err(unfit(&self.path, reason))
    }

    fn missing(&self, name: &str) -> Error {
        let published = self.config.published(name);
        let is_pooler = name.starts_with("classifier.") && !name.starts_with("classifier.out_proj");
        if self.config.pools() && is_pooler {
            let norms = self
                .config
                .encoder
                .as_ref()
                .is_some_and(|encoder| encoder.head.norms);
            return Error::ModelCorrupt {
                path: self.path.clone(),
                reason: format!("{published} is missing, and the classification reads the pooler"),
                hint: if norms {
                    "take the checkpoint of masked words: the base model alone has no head"
                } else {
                    "take a checkpoint with a pooler, which one of masked words alone has not"
                },
            };
        }
        unfit(&self.path, format!("the tensor {published} is missing"))
    }

    /// Checks that every tensor of the architecture is there, in its shape, and no other.
    fn check_complete(&self) -> Result<()> {
        let mut others: BTreeSet<&str> = self.names().collect();
        for (name, shape) in self.config.tensors() {
            self.entry(&name, &shape)?;
            others.remove(name.as_str());
        }
        match others.first() {
            None => Ok(()),
            Some(name) => Err(unsupported("tensor", *name, KNOWN_TENSORS)),
        }
    }
}

/// Maps the file at `path`.
#[expect(
    unsafe_code,
    reason = "a memory map is the point: weights are paged in when used"
)]
fn map(path: &Path) -> Result<Arc<Mmap>> {
    let file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => not_found(path, "there is no such file"),
        _ => Error::io(path)(error),
    })?;
    if file.metadata().map_err(Error::io(path))?.len() == 0 {
        return Err(corrupt(path, "the file is empty"));
    }
    // SAFETY: the map is only read, as bytes for which every pattern is valid. The usual caveat of
    // maps stays: the file must not be cut short by another program while the model is open.
    let map = unsafe { Mmap::map(&file) }.map_err(Error::io(path))?;
    match OtherFile::of(&map) {
        Some(other) => Err(other_file(path, other)),
        None => Ok(Arc::new(map)),
    }
}

/// An error that says what the file at `path` is instead of a model's.
pub(crate) fn other_file(path: &Path, other: OtherFile) -> Error {
    Error::ModelCorrupt {
        path: path.to_owned(),
        reason: other.reason().into(),
        hint: other.hint(),
    }
}

fn not_found(path: &Path, reason: impl Into<String>) -> Error {
    Error::ModelNotFound {
        path: path.to_owned(),
        reason: reason.into(),
        hint: "a model is a .gguf file, a folder with config.json and *.safetensors, \
               builtin:tiny or builtin:random",
    }
}

/// A file that was not written or copied whole.
pub(crate) fn corrupt(path: &Path, reason: impl Into<String>) -> Error {
    let is_json = path.extension().is_some_and(|it| it == "json");
    Error::ModelCorrupt {
        path: path.to_owned(),
        reason: reason.into(),
        hint: if is_json {
            "mend the file, or take the one that was published with the model"
        } else {
            "compare its size and hash with the original's, then copy or convert it again"
        },
    }
}

/// A configuration and tensors that are not of one model.
fn unfit(path: &Path, reason: impl Into<String>) -> Error {
    Error::ModelCorrupt {
        path: path.to_owned(),
        reason: reason.into(),
        hint: "configuration and weights are not of one model: take both from the same place",
    }
}

/// A type that no product knows, of a tensor of a file.
fn unsupported_type(kind: &str, (name, path): (&str, &Path), supported: &str) -> Error {
    let value = format!("{kind} of {name} in {}", path.display());
    unsupported("tensor type", value, supported)
}

pub(crate) fn unsupported(what: &'static str, value: impl Into<String>, supported: &str) -> Error {
    Error::Unsupported {
        what,
        value: value.into(),
        supported: supported.to_owned(),
    }
}
