//! `tokenizer.json` with the files beside it.

use std::path::Path;

use serde_json::Value;
use tokenizers::ModelWrapper;

use super::{Engine, Tokenizer};
use crate::other_file::OtherFile;
use crate::weights::{corrupt, other_file};
use crate::{Error, Result};

/// Larger than the tokenizers of the largest vocabularies in use (about 30 MB).
const LONGEST_FILE: u64 = 256 << 20;

const WRITE_JSON: &str = "write tokenizer.json beside it, with transformers: \
     AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)";

pub(super) fn open(path: &Path) -> Result<Tokenizer> {
    let Some(json) = read(path)? else {
        return Err(missing(path));
    };
    let broken = |error: String| corrupt(path, format!("tokenizer: {error}"));
    let file = serde_json::from_slice(&json).map_err(|error| broken(error.to_string()))?;
    check(&file).map_err(broken)?;
    let mut pipeline =
        tokenizers::Tokenizer::from_bytes(&json).map_err(|error| broken(error.to_string()))?;
    pipeline.with_padding(None);
    (pipeline.with_truncation(None)).map_err(|error| broken(error.to_string()))?;

    let folder = path.parent().unwrap_or(Path::new(""));
    let beside = |name: &str| -> Result<Value> {
        let path = folder.join(name);
        match read(&path)? {
            None => Ok(Value::Null),
            Some(json) => {
                serde_json::from_slice(&json).map_err(|error| corrupt(&path, error.to_string()))
            }
        }
    };
    let (names, ids) = (beside("tokenizer_config.json")?, beside("config.json")?);
    let special = |key: &str| {
        let name = &names[format!("{key}_token")];
        let name = name.as_str().or(name["content"].as_str());
        let id = &ids[format!("{key}_token_id")];
        let id = id
            .as_u64()
            .or(id[0].as_u64())
            .and_then(|id| u32::try_from(id).ok());
        name.and_then(|name| pipeline.token_to_id(name)).or(id)
    };
    let (bos, eos) = (special("bos"), special("eos"));
    let opening = opening(&file["post_processor"]);
    let is_llama_class = matches!(pipeline.get_model(), ModelWrapper::BPE(model)
        if model.byte_fallback && pipeline.token_to_id("▁").is_some());
    Ok(Tokenizer {
        kind: "tokenizer.json".to_owned(),
        vocab_size: pipeline.get_vocab_size(true),
        bos,
        eos,
        opening,
        is_llama_class,
        rows: None,
        engine: Engine::HuggingFace(Box::new(pipeline)),
    })
}

/// What is said where there is no `tokenizer.json`.
fn missing(path: &Path) -> Error {
    let folder = path.parent().unwrap_or(Path::new(""));
    let holds = |name: &str| folder.join(name).exists();
    let (reason, hint) = if holds("tokenizer.model") {
        (
            "the folder holds the tokenizer as tokenizer.model only",
            WRITE_JSON,
        )
    } else if holds("vocab.json") {
        (
            "the folder holds the tokenizer as vocab.json and merges.txt only",
            WRITE_JSON,
        )
    } else {
        (
            "the tokenizer is missing",
            "take tokenizer.json from the place that the model came from",
        )
    };
    Error::ModelNotFound {
        path: path.to_owned(),
        reason: reason.to_owned(),
        hint,
    }
}

/// The tokens that a post-processor puts before a text. What it puts behind one is left out,
/// because prompts go on.
fn opening(processor: &Value) -> Vec<u32> {
    let id = |id: &Value| id.as_u64().and_then(|id| u32::try_from(id).ok());
    match processor["type"].as_str() {
        Some("TemplateProcessing") => {
            let pieces = processor["single"].as_array().into_iter().flatten();
            let names = pieces.map_while(|piece| piece["SpecialToken"]["id"].as_str());
            let ids = names.filter_map(|name| processor["special_tokens"][name]["ids"].as_array());
            ids.flatten().filter_map(id).collect()
        }
        Some("BertProcessing" | "RobertaProcessing") => {
            id(&processor["cls"][1]).into_iter().collect()
        }
        // Each one works on what the one before it made.
        Some("Sequence") => {
            let steps = processor["processors"].as_array().into_iter().flatten();
            steps.rev().flat_map(opening).collect()
        }
        _ => Vec::new(),
    }
}

/// The file's bytes, or `None` where there is no file.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::metadata(path) {
        Ok(file) if file.len() > LONGEST_FILE => {
            let reason = format!("must have at most {LONGEST_FILE} bytes, got {}", file.len());
            Err(corrupt(path, reason))
        }
        Ok(_) => {
            let bytes = std::fs::read(path).map_err(Error::io(path))?;
            match OtherFile::of(&bytes) {
                Some(other) => Err(other_file(path, other)),
                None => Ok(Some(bytes)),
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path)(error)),
    }
}

/// Checks what `tokenizers` takes for granted; it would panic on it.
fn check(file: &Value) -> std::result::Result<(), String> {
    check_merges(&file["model"])?;
    check_template(&file["post_processor"])
}

/// A BPE merge must not be longer than every token.
fn check_merges(model: &Value) -> std::result::Result<(), String> {
    let (Some(vocab), Some(merges)) = (model["vocab"].as_object(), model["merges"].as_array())
    else {
        return Ok(()); // not BPE, or malformed, which the library reports
    };
    let prefix = model["continuing_subword_prefix"].as_str().unwrap_or("");
    for merge in merges {
        let pair = match (merge, merge.as_array().map(Vec::as_slice)) {
            (Value::String(pair), _) => pair.split_once(' '),
            (_, Some([Value::String(left), Value::String(right)])) => {
                Some((left.as_str(), right.as_str()))
            }
            _ => None,
        };
        let joined = pair.and_then(|(left, right)| {
            let right = right.get(prefix.len()..)?;
            Some(format!("{left}{right}"))
        });
        if !joined.is_some_and(|joined| vocab.contains_key(&joined)) {
            return Err(format!("the merge {merge} must join two tokens to a third"));
        }
    }
    Ok(())
}

/// A template must define the special tokens that it puts around a text.
fn check_template(processor: &Value) -> std::result::Result<(), String> {
    if let Some(steps) = processor["processors"].as_array() {
        return steps.iter().try_for_each(check_template);
    }
    let sides = [&processor["single"], &processor["pair"]].map(Value::as_array);
    for piece in sides.into_iter().flatten().flatten() {
        let name = piece["SpecialToken"]["id"].as_str();
        if let Some(name) = name.filter(|name| processor["special_tokens"][*name].is_null()) {
            return Err(format!(
                "the template uses {name:?}, which it does not define"
            ));
        }
    }
    Ok(())
}
