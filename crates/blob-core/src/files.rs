//! Files that the engine writes, named `f32` tensors in them (safetensors), and what is wrong with
//! files in words that are not a library's.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};

use crate::{Error, Result};

/// Writes `bytes` whole or not at all: under a temporary name, synced, then renamed.
///
/// # Errors
/// `BPEFT_IO`; an earlier file of that name is then intact.
pub fn atomic_write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".partial");
    let partial = path.with_file_name(name);
    let write = || {
        let mut file = File::create(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)?;
        match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
            _ => Ok(()),
        }
    };
    write().map_err(|source| {
        // Best effort: the error that matters is the first one.
        let _ = fs::remove_file(&partial);
        Error::Io {
            path: path.to_path_buf(),
            source,
        }
    })
}

/// Shapes and values by name.
pub(crate) type NamedTensors<'a> = BTreeMap<String, (Vec<usize>, &'a [f32])>;

/// Named f32 tensors as the bytes of a safetensors file, in order of their names.
pub(crate) fn safetensors_bytes(path: &Path, tensors: &NamedTensors<'_>) -> Result<Vec<u8>> {
    let raw: Vec<(&String, &Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| {
            (
                name,
                shape,
                values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            )
        })
        .collect();
    let failed = |error: SafeTensorError| Error::Checkpoint {
        path: path.to_path_buf(),
        reason: error.to_string(),
    };
    let views = raw
        .iter()
        .map(|(name, shape, bytes)| {
            Ok((*name, TensorView::new(Dtype::F32, (*shape).clone(), bytes)?))
        })
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(failed)?;
    safetensors::serialize(views, None).map_err(failed)
}

/// The tensors of a file, or what is wrong with it.
pub(crate) fn read_tensors(bytes: &[u8]) -> std::result::Result<SafeTensors<'_>, String> {
    if bytes.is_empty() {
        return Err("the file is empty".into());
    }
    SafeTensors::deserialize(bytes).map_err(|error| match error {
        SafeTensorError::HeaderTooSmall
        | SafeTensorError::HeaderTooLarge
        | SafeTensorError::InvalidHeaderLength
        | SafeTensorError::MetadataIncompleteBuffer => {
            "the file is cut off, or was never in the format safetensors".into()
        }
        error => format!("the file is damaged: {error}"),
    })
}

/// What is wrong with a JSON file: serde's message without the names of Rust's types.
pub(crate) fn json_reason(error: &serde_json::Error) -> String {
    const WORDS: [(&str, &str); 8] = [
        ("usize", "a whole number from 0 on"),
        ("u32", "a whole number from 0 on"),
        ("u64", "a whole number from 0 on"),
        ("f32", "a number"),
        ("f64", "a number"),
        ("a map", "an object"),
        ("a sequence", "a list"),
        ("struct", "an object, as in"),
    ];
    WORDS.iter().fold(error.to_string(), |text, (rust, word)| {
        text.replace(&format!("expected {rust}"), &format!("expected {word}"))
    })
}

/// The values of an f32 tensor.
pub(crate) fn f32_values(view: &TensorView) -> Option<Vec<f32>> {
    (view.dtype() == Dtype::F32).then(|| {
        view.data()
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            .collect()
    })
}
