//! The tokenizer in a GGUF file: byte-level BPE (`gpt2`) or SentencePiece (`llama`).

use std::collections::HashSet;

use tokenizers::AddedToken;
use tokenizers::models::bpe::{BPE, Vocab};

use super::pre_tokenizer::PreTokenizer;
use super::sentencepiece::{Piece, SentencePiece};
use super::{Engine, Tokenizer};
use crate::Result;
use crate::weights::{Metadata, corrupt, unsupported};

const NORMAL: u32 = 1;
const UNKNOWN: u32 = 2;
const CONTROL: u32 = 3;
const USER_DEFINED: u32 = 4;
const BYTE: u32 = 6;

/// Tokens with their types, in the order of their ids.
struct Vocabulary {
    tokens: Vec<String>,
    types: Vec<u32>,
}

pub(super) fn build(metadata: Metadata) -> Result<Tokenizer> {
    let Some(model) = metadata.text("tokenizer.ggml.model")? else {
        return Err(corrupt(metadata.path, "tokenizer.ggml.model is missing"));
    };
    let vocabulary = match model {
        "gpt2" | "llama" => vocabulary(metadata)?,
        other => return Err(unsupported("tokenizer", other, "gpt2, llama")),
    };
    let vocab_size = vocabulary.tokens.len();
    let id = |key: &str, default: Option<usize>| -> Result<Option<u32>> {
        let id = metadata.count(&format!("tokenizer.ggml.{key}_token_id"))?;
        match id.or(default.filter(|id| *id < vocab_size)) {
            Some(id) if id >= vocab_size => {
                let rule = format!("{key}_token_id must be below {vocab_size}");
                Err(corrupt(metadata.path, format!("{rule}, got {id}")))
            }
            id => Ok(id.map(|id| id as u32)),
        }
    };
    let sentencepiece = model == "llama"; // the fixed ids are those of Llama 1 and 2
    let (bos, eos) = (
        id("bos", sentencepiece.then_some(1))?,
        id("eos", sentencepiece.then_some(2))?,
    );
    let (engine, kind, default_bos) = if sentencepiece {
        let model = sentence_piece(metadata, vocabulary, id("unknown", Some(0))?)?;
        (
            Engine::SentencePiece(Box::new(model)),
            "gguf:llama".to_owned(),
            true,
        )
    } else {
        let name = metadata.text("tokenizer.ggml.pre")?.unwrap_or("default");
        let Some(rules) = PreTokenizer::named(name) else {
            return Err(unsupported(
                "tokenizer pre-type",
                name,
                PreTokenizer::SUPPORTED,
            ));
        };
        let pipeline = byte_level(metadata, &vocabulary, rules)?;
        (
            Engine::ByteLevel(Box::new(pipeline)),
            format!("gguf:{name}"),
            rules.adds_bos,
        )
    };
    let adds_bos = metadata
        .flag("tokenizer.ggml.add_bos_token")?
        .unwrap_or(default_bos);
    let opening = match bos {
        _ if !adds_bos => Vec::new(),
        Some(bos) => vec![bos],
        None => {
            let reason = "texts begin with BOS, but bos_token_id is missing";
            return Err(corrupt(metadata.path, reason));
        }
    };
    Ok(Tokenizer {
        engine,
        kind,
        vocab_size,
        bos,
        eos,
        opening,
        is_llama_class: sentencepiece,
        rows: None,
    })
}

fn vocabulary(metadata: Metadata) -> Result<Vocabulary> {
    let path = metadata.path;
    let texts = metadata
        .texts("tokenizer.ggml.tokens")?
        .ok_or_else(|| corrupt(path, "tokenizer.ggml.tokens is missing"))?;
    let types = match metadata.integers("tokenizer.ggml.token_type")? {
        None => vec![NORMAL; texts.len()],
        Some(types) if types.len() == texts.len() => types,
        Some(types) => {
            let reason = format!("{} tokens have {} types", texts.len(), types.len());
            return Err(corrupt(path, reason));
        }
    };
    let mut seen = HashSet::with_capacity(texts.len());
    if let Some(text) = texts
        .iter()
        .find(|text| !text.is_empty() && !seen.insert(**text))
    {
        return Err(corrupt(path, format!("the token {text:?} occurs twice")));
    }
    let name = |(id, text): (usize, &str)| match text {
        "" => format!("[EMPTY_{id}]"), // as llama.cpp does
        text => text.to_owned(),
    };
    Ok(Vocabulary {
        tokens: texts.into_iter().enumerate().map(name).collect(),
        types,
    })
}

fn byte_level(
    metadata: Metadata,
    vocabulary: &Vocabulary,
    rules: PreTokenizer,
) -> Result<tokenizers::Tokenizer> {
    let path = metadata.path;
    let tokens = vocabulary.tokens.iter().zip(0..);
    let vocab: Vocab = tokens.map(|(token, id)| (token.clone(), id)).collect();
    let mut merges = Vec::new();
    let pairs = metadata.texts("tokenizer.ggml.merges")?;
    for pair in pairs.ok_or_else(|| corrupt(path, "tokenizer.ggml.merges is missing"))? {
        let split = pair.split_once(' ');
        let known = split.filter(|(left, right)| {
            // the model's builder relies on it: it would panic on a merge longer than every token
            [*left, *right, &format!("{left}{right}")]
                .iter()
                .all(|token| vocab.contains_key(*token))
        });
        let Some((left, right)) = known else {
            let reason = format!("the merge {pair:?} must join two tokens to a third");
            return Err(corrupt(path, reason));
        };
        merges.push((left.to_owned(), right.to_owned()));
    }
    let broken = |error: tokenizers::Error| corrupt(path, format!("tokenizer: {error}"));
    let model = BPE::builder()
        .vocab_and_merges(vocab, merges)
        .ignore_merges(rules.ignores_merges)
        .build()
        .map_err(broken)?;
    let mut pipeline = rules.pipeline(model).map_err(broken)?;
    let added = vocabulary.tokens.iter().zip(&vocabulary.types);
    let added = added.filter_map(|(token, kind)| match *kind {
        UNKNOWN | CONTROL => Some(AddedToken::from(token.clone(), true)),
        USER_DEFINED => Some(AddedToken::from(token.clone(), false).normalized(false)),
        _ => None,
    });
    pipeline.add_tokens(added).map_err(broken)?;
    Ok(pipeline)
}

fn sentence_piece(
    metadata: Metadata,
    vocabulary: Vocabulary,
    unknown: Option<u32>,
) -> Result<SentencePiece> {
    let path = metadata.path;
    let scores = metadata
        .floats("tokenizer.ggml.scores")?
        .ok_or_else(|| corrupt(path, "tokenizer.ggml.scores is missing"))?;
    if scores.len() != vocabulary.tokens.len() {
        let reason = format!(
            "{} tokens have {} scores",
            vocabulary.tokens.len(),
            scores.len()
        );
        return Err(corrupt(path, reason));
    }
    let tokens = vocabulary.tokens.into_iter();
    let mut pieces = Vec::with_capacity(scores.len());
    for ((text, kind), score) in tokens.zip(vocabulary.types).zip(scores) {
        pieces.push(match kind {
            UNKNOWN | CONTROL => Piece::Control(text),
            USER_DEFINED => Piece::UserDefined(text),
            BYTE => Piece::Byte(byte_of(&text).ok_or_else(|| {
                corrupt(path, format!("byte tokens look like <0x0A>, got {text:?}"))
            })?),
            _ if score.is_nan() => {
                return Err(corrupt(path, format!("the score of {text:?} is no number")));
            }
            _ => Piece::Normal { text, score },
        });
    }
    let prefix = metadata
        .flag("tokenizer.ggml.add_space_prefix")?
        .unwrap_or(true);
    SentencePiece::new(pieces, unknown, prefix).ok_or_else(|| {
        corrupt(
            path,
            "the vocabulary needs all 256 byte tokens or an unknown token",
        )
    })
}

/// The byte that a token such as `<0x0A>` stands for.
fn byte_of(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok())?
}
