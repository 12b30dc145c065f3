//! Small vocabularies behind the published rules of each family
//! (`tools/goldens/tokenizer_families.py`).
#![expect(clippy::unwrap_used, reason = "test code")]

use std::path::{Path, PathBuf};

use blob_core::tokenizer::Tokenizer;
use blob_core::weights::Checkpoint;
use serde_json::Value;

use crate::support::Scratch;
use crate::support::gguf_writer::GgufWriter;
use crate::support::tiny_model::{TinyModel, gqa_config};

/// What a family is called in GGUF files.
#[derive(Clone, Copy)]
enum Gguf {
    /// Byte-level BPE with a pre-tokenizer.
    Gpt2(&'static str),
    /// SentencePiece.
    Llama,
}

const FAMILIES: [(&str, Gguf); 5] = [
    ("qwen", Gguf::Gpt2("qwen2")),
    ("llama3", Gguf::Gpt2("llama-bpe")),
    ("tekken", Gguf::Gpt2("tekken")),
    ("mistral-v1", Gguf::Llama),
    ("mistral-v3", Gguf::Llama),
];

pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn golden(name: &str) -> PathBuf {
    repository("tests/goldens").join(format!("tokenizer-{name}.json"))
}

pub fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

pub fn questions(file: &str) -> Vec<String> {
    let path = repository("../../assets/exam_topics").join(file);
    let lines = std::fs::read_to_string(path).unwrap();
    let question = |line| {
        let row: Value = serde_json::from_str(line).unwrap();
        row["question"].as_str().unwrap().to_owned()
    };
    lines.lines().map(question).collect()
}

/// FNV-1a, 64 bits, of the ids as little-endian words.
pub fn fnv1a(ids: &[u32]) -> String {
    let bytes = ids.iter().flat_map(|id| id.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// Every text has the ids of the golden, but for awkward ones that `differs` knows.
fn check(family: &str, tokenizer: &Tokenizer, differs: impl Fn(&str) -> bool) {
    let expected = json(&golden(&format!("{family}-ids")));
    for case in expected["awkward"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
        let equal = tokenizer.encode(text, true).unwrap() == ids;
        assert_eq!(
            equal,
            !differs(text),
            "{family}: {text:?}, expected {ids:?}"
        );
    }
    let mut count = 0;
    for (file, hashes) in expected["files"].as_object().unwrap() {
        let texts = questions(file);
        assert_eq!(texts.len(), hashes.as_array().unwrap().len());
        let batch = tokenizer.encode_batch(&texts, true).unwrap();
        for ((text, ids), hash) in texts.iter().zip(&batch).zip(hashes.as_array().unwrap()) {
            assert_eq!(fnv1a(ids), hash.as_str().unwrap(), "{family}: {text:?}");
            count += 1;
        }
    }
    assert!(count >= 1000);
}

/// The vocabulary of a `tokenizer.json` as llama.cpp's converter writes it.
fn as_gguf(file: &Value, kind: Gguf) -> GgufWriter {
    let vocab = file["model"]["vocab"].as_object().unwrap();
    let added = file["added_tokens"].as_array().unwrap().iter();
    let added: Vec<(&str, u64)> = added
        .map(|token| {
            (
                token["content"].as_str().unwrap(),
                token["id"].as_u64().unwrap(),
            )
        })
        .collect();
    let plain = vocab
        .iter()
        .map(|(token, id)| (token.as_str(), id.as_u64().unwrap()));
    let mut tokens: Vec<(&str, u64)> = plain.chain(added.iter().copied()).collect();
    tokens.sort_by_key(|(_, id)| *id);
    tokens.dedup();
    assert!(tokens.iter().zip(0..).all(|((_, id), at)| *id == at));
    let is_added = |token: &str| added.iter().any(|(text, _)| *text == token);
    let id_of = |wanted: &str| {
        let found = tokens.iter().find(|(token, _)| *token == wanted);
        usize::try_from(found.unwrap().1).unwrap()
    };
    let texts: Vec<&str> = tokens.iter().map(|(token, _)| *token).collect();
    let mut gguf = TinyModel::new(gqa_config(), 1).gguf();
    match kind {
        Gguf::Gpt2(pre) => {
            let types: Vec<i32> = texts
                .iter()
                .map(|it| if is_added(it) { 3 } else { 1 })
                .collect();
            let merges = file["model"]["merges"].as_array().unwrap().iter();
            let merges: Vec<String> = merges
                .map(|pair| {
                    format!(
                        "{} {}",
                        pair[0].as_str().unwrap(),
                        pair[1].as_str().unwrap()
                    )
                })
                .collect();
            gguf.text("tokenizer.ggml.model", "gpt2")
                .text("tokenizer.ggml.pre", pre)
                .texts("tokenizer.ggml.tokens", &texts)
                .texts("tokenizer.ggml.merges", &merges)
                .integers("tokenizer.ggml.token_type", &types);
            match pre {
                "llama-bpe" => {
                    gguf.count("tokenizer.ggml.bos_token_id", id_of("<|begin_of_text|>"))
                }
                "tekken" => gguf.count("tokenizer.ggml.bos_token_id", id_of("<s>")),
                _ => gguf.flag("tokenizer.ggml.add_bos_token", false),
            };
        }
        Gguf::Llama => {
            let kinds: Vec<i32> = (texts.iter())
                .map(|token| match *token {
                    "<unk>" => 2,
                    token if is_added(token) => 3,
                    token if token.starts_with("<0x") => 6,
                    _ => 1,
                })
                .collect();
            let scores: Vec<f32> = (0..texts.len() as u16).map(|id| -f32::from(id)).collect();
            gguf.text("tokenizer.ggml.model", "llama")
                .texts("tokenizer.ggml.tokens", &texts)
                .floats("tokenizer.ggml.scores", &scores)
                .integers("tokenizer.ggml.token_type", &kinds);
        }
    }
    gguf
}

#[test]
fn every_family_has_the_ids_of_its_original_from_tokenizer_json() {
    for (family, _) in FAMILIES {
        let tokenizer = Tokenizer::from_file(&golden(family)).unwrap();
        check(family, &tokenizer, |_| false);
        assert_eq!(tokenizer.adds_bos(), family != "qwen");
        assert_eq!(tokenizer.is_llama_class(), family.starts_with("mistral"));
    }
}

/// Where the newer `tokenizer.json` of Mistral leaves SentencePiece, which GGUF files follow: it
/// puts no space before a text that begins with one, nor behind a special token.
fn leaves_sentencepiece(text: &str) -> bool {
    let after = |special: &str| text.split(special).skip(1).any(|rest| !rest.is_empty());
    text.starts_with(' ') || ["<unk>", "<s>", "</s>"].into_iter().any(after)
}

#[test]
fn every_family_has_the_ids_of_its_original_from_gguf() {
    for (family, kind) in FAMILIES {
        let scratch = Scratch::new();
        let gguf = as_gguf(&json(&golden(family)), kind);
        let path = scratch.write("tiny.gguf", gguf.bytes());
        let tokenizer = Tokenizer::of(&Checkpoint::open(&path).unwrap()).unwrap();
        check(family, &tokenizer, |text| {
            family == "mistral-v3" && leaves_sentencepiece(text)
        });
    }
}
