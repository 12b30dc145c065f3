#![expect(clippy::unwrap_used, reason = "test code")]

use blob_core::tokenizer::Tokenizer;
use blob_core::weights::Checkpoint;
use serde_json::{Value, json};

use crate::support::Scratch;
use crate::support::gguf_writer::GgufWriter;
use crate::support::tiny_model::{TinyModel, gqa_config};

const VOCABULARY: &str = include_str!("../goldens/tokenizer-smollm2-vocabulary.txt");
const PROMPTS: &str = include_str!("../goldens/tokenizer-smollm2-prompts.jsonl");
const PRE_TYPES: &str = include_str!("../goldens/tokenizer-pre-types.jsonl");
const SENTENCEPIECE: &str = include_str!("../goldens/tokenizer-sentencepiece.json");

/// Texts and their ids, line by line.
fn cases(lines: &str) -> impl Iterator<Item = (Value, String, Vec<u32>)> {
    lines.lines().map(|line| {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = case["text"].as_str().unwrap().to_owned();
        let ids = serde_json::from_value(case["ids"].clone()).unwrap();
        (case, text, ids)
    })
}

fn tokenizer_of(gguf: &GgufWriter) -> blob_core::Result<Tokenizer> {
    let path = Scratch::new();
    Tokenizer::of(&Checkpoint::open(&path.write("tiny.gguf", gguf.bytes()))?)
}

/// A tiny model with SmolLM2's vocabulary and the pre-tokenizer `pre`.
fn smollm2(pre: &str) -> GgufWriter {
    let mut lines = VOCABULARY.lines();
    let control: usize = lines.next().unwrap().parse().unwrap();
    let tokens: Vec<&str> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let merges: Vec<&str> = lines.collect();
    let mut types = vec![1; tokens.len()];
    types[..control].fill(3);
    let mut gguf = TinyModel::new(gqa_config(), 1).gguf();
    gguf.text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", pre)
        .texts("tokenizer.ggml.tokens", &tokens)
        .texts("tokenizer.ggml.merges", &merges)
        .integers("tokenizer.ggml.token_type", &types)
        .count("tokenizer.ggml.bos_token_id", 1)
        .count("tokenizer.ggml.eos_token_id", 2);
    gguf
}

/// A handful of byte-level tokens.
pub fn add_byte_level(gguf: &mut GgufWriter) {
    let tokens = [
        "<s>", "</s>", "W", "h", "i", "c", "Ġ", "ch", "Wh", "Whi", "Which", "<mark>",
    ];
    gguf.text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", "smollm")
        .texts("tokenizer.ggml.tokens", &tokens)
        .texts("tokenizer.ggml.merges", &["c h", "W h", "Wh i", "Whi ch"])
        .integers(
            "tokenizer.ggml.token_type",
            &[3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4],
        )
        .flag("tokenizer.ggml.add_bos_token", true)
        .count("tokenizer.ggml.bos_token_id", 0)
        .count("tokenizer.ggml.eos_token_id", 1);
}

/// A handful of pieces without byte tokens.
pub fn add_sentence_piece(gguf: &mut GgufWriter) {
    gguf.text("tokenizer.ggml.model", "llama")
        .texts(
            "tokenizer.ggml.tokens",
            &["<unk>", "<s>", "</s>", "▁", "W", "▁W", "<0x0A>"],
        )
        .floats(
            "tokenizer.ggml.scores",
            &[0.0, 0.0, 0.0, -2.0, -3.0, -1.0, 0.0],
        )
        .integers("tokenizer.ggml.token_type", &[2, 3, 3, 1, 1, 1, 6]);
}

/// The tokens of [`add_byte_level`] as Hugging Face writes them.
pub fn tokenizer_json() -> Value {
    json!({
        "version": "1.0",
        "truncation": { "direction": "Right", "max_length": 4, "strategy": "LongestFirst",
            "stride": 0 },
        "padding": null,
        "added_tokens": [
            { "id": 0, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
              "normalized": false, "special": true },
            { "id": 1, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": false,
              "normalized": false, "special": true },
        ],
        "normalizer": null,
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
            "use_regex": true },
        "post_processor": { "type": "TemplateProcessing",
            "single": [{ "SpecialToken": { "id": "<s>", "type_id": 0 } },
                       { "Sequence": { "id": "A", "type_id": 0 } }],
            "pair": [{ "Sequence": { "id": "A", "type_id": 0 } },
                     { "Sequence": { "id": "B", "type_id": 1 } }],
            "special_tokens": { "<s>": { "id": "<s>", "ids": [0], "tokens": ["<s>"] } } },
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
            "use_regex": true },
        "model": { "type": "BPE", "dropout": null, "unk_token": null,
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false,
            "byte_fallback": false, "ignore_merges": false,
            "vocab": { "<s>": 0, "</s>": 1, "W": 2, "h": 3, "i": 4, "c": 5, "Ġ": 6, "ch": 7,
                       "Wh": 8, "Whi": 9, "Which": 10 },
            "merges": [["c", "h"], ["W", "h"], ["Wh", "i"], ["Whi", "ch"]] },
    })
}

#[test]
fn real_prompts_get_the_ids_of_the_original_pipeline() {
    let tokenizer = tokenizer_of(&smollm2("smollm")).unwrap();
    assert_eq!(
        (tokenizer.kind(), tokenizer.vocab_size()),
        ("gguf:smollm", 49152)
    );
    assert_eq!(
        (tokenizer.bos_token_id(), tokenizer.eos_token_id()),
        (Some(1), Some(2))
    );
    assert!(!tokenizer.adds_bos() && !tokenizer.is_llama_class());
    let (texts, expected): (Vec<_>, Vec<_>) =
        cases(PROMPTS).map(|(_, text, ids)| (text, ids)).unzip();
    assert!(texts.len() >= 1000);
    let batch = tokenizer.encode_batch(&texts, true).unwrap();
    for ((text, ids), expected) in texts.iter().zip(&batch).zip(&expected) {
        assert_eq!(ids, expected, "{text}");
        assert_eq!(&tokenizer.decode(ids).unwrap(), text);
    }
}

#[test]
fn each_pre_tokenizer_cuts_awkward_texts_like_the_original() {
    let mut cut: Option<(String, Tokenizer)> = None;
    let mut count = 0;
    for (case, text, expected) in cases(PRE_TYPES) {
        let pre = case["pre"].as_str().unwrap();
        if cut.as_ref().is_none_or(|(last, _)| last != pre) {
            let mut gguf = smollm2(pre);
            gguf.flag("tokenizer.ggml.add_bos_token", false);
            cut = Some((pre.to_owned(), tokenizer_of(&gguf).unwrap()));
        }
        let (_, tokenizer) = cut.as_ref().unwrap();
        assert_eq!(
            tokenizer.encode(&text, true).unwrap(),
            expected,
            "{pre}: {text:?}"
        );
        count += 1;
    }
    assert!(count > 200);
}

#[test]
fn a_sentencepiece_vocabulary_gives_the_ids_of_sentencepiece() {
    let golden: Value = serde_json::from_str(SENTENCEPIECE).unwrap();
    let list = |key: &str| golden[key].as_array().unwrap().iter();
    let tokens: Vec<_> = list("tokens").map(|it| it.as_str().unwrap()).collect();
    let scores: Vec<_> = list("scores")
        .map(|it| it.as_f64().unwrap() as f32)
        .collect();
    let types: Vec<_> = list("types")
        .map(|it| it.as_i64().unwrap() as i32)
        .collect();
    let mut gguf = TinyModel::new(gqa_config(), 1).gguf();
    gguf.text("tokenizer.ggml.model", "llama")
        .texts("tokenizer.ggml.tokens", &tokens)
        .floats("tokenizer.ggml.scores", &scores)
        .integers("tokenizer.ggml.token_type", &types);
    let tokenizer = tokenizer_of(&gguf).unwrap();
    assert_eq!(tokenizer.kind(), "gguf:llama");
    assert!(tokenizer.adds_bos() && tokenizer.is_llama_class());
    for case in list("cases") {
        let text = case["text"].as_str().unwrap();
        let expected: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
        assert_eq!(tokenizer.encode(text, false).unwrap(), expected, "{text:?}");
        let ids = tokenizer.encode(text, true).unwrap();
        assert_eq!((ids[0], &ids[1..]), (1, expected.as_slice()));
        assert_eq!(tokenizer.decode(&ids).unwrap(), text);
    }
}

#[test]
fn special_tokens_are_found_in_texts_and_left_out_of_decoded_ones() {
    let mut gguf = TinyModel::new(gqa_config(), 1).gguf();
    add_byte_level(&mut gguf);
    let tokenizer = tokenizer_of(&gguf).unwrap();
    assert_eq!(
        tokenizer.encode("Which</s><mark>", true).unwrap(),
        [0, 10, 1, 11]
    );
    assert_eq!(tokenizer.encode("Which", false).unwrap(), [10]);
    assert_eq!(tokenizer.decode(&[0, 10, 1, 11]).unwrap(), "Which<mark>");
    assert_eq!(
        tokenizer.decode(&[12]).unwrap_err().code(),
        "BPEFT_INVALID_INPUT"
    );
}

#[test]
fn a_tokenizer_file_is_read_with_its_neighbours_and_never_truncates() {
    let scratch = Scratch::new();
    let path = scratch.write("tokenizer.json", tokenizer_json().to_string());
    scratch.write(
        "config.json",
        json!({ "bos_token_id": 5, "eos_token_id": [1, 2] }).to_string(),
    );
    let names = json!({ "bos_token": { "content": "<s>" }, "eos_token": null });
    scratch.write("tokenizer_config.json", names.to_string());
    let tokenizer = Tokenizer::from_file(&path).unwrap();
    assert_eq!(
        (tokenizer.kind(), tokenizer.vocab_size()),
        ("tokenizer.json", 11)
    );
    assert_eq!(
        (tokenizer.bos_token_id(), tokenizer.eos_token_id()),
        (Some(0), Some(1))
    );
    assert!(tokenizer.adds_bos() && !tokenizer.is_llama_class());
    let text = "Which Which Which";
    assert_eq!(tokenizer.encode(text, true).unwrap(), [0, 10, 6, 10, 6, 10]);
    assert_eq!(tokenizer.encode(text, false).unwrap(), [10, 6, 10, 6, 10]);
    assert_eq!(tokenizer.decode(&[0, 10, 6, 10]).unwrap(), "Which Which");
    let missing = Tokenizer::from_file(&scratch.path().join("none.json")).unwrap_err();
    assert_eq!(missing.code(), "BPEFT_MODEL_NOT_FOUND");
}

#[test]
fn a_template_that_ends_texts_ends_no_prompt() {
    let scratch = Scratch::new();
    let mut file = tokenizer_json();
    let end = json!({ "SpecialToken": { "id": "</s>", "type_id": 0 } });
    let processor = &mut file["post_processor"];
    processor["special_tokens"]["</s>"] = json!({ "id": "</s>", "ids": [1], "tokens": ["</s>"] });
    let single = processor["single"].as_array_mut().unwrap();
    single.push(end);
    let path = scratch.write("tokenizer.json", file.to_string());
    let tokenizer = Tokenizer::from_file(&path).unwrap();
    assert!(tokenizer.adds_bos());
    assert_eq!(tokenizer.encode("Which", true).unwrap(), [0, 10]);

    file["post_processor"]["single"]
        .as_array_mut()
        .unwrap()
        .remove(0);
    let path = scratch.write("tokenizer.json", file.to_string());
    let tokenizer = Tokenizer::from_file(&path).unwrap();
    assert!(!tokenizer.adds_bos());
    assert_eq!(tokenizer.encode("Which", true).unwrap(), [10]);
    assert_eq!(tokenizer.encode("Which</s>", true).unwrap(), [10, 1]);
}

#[test]
fn only_texts_with_a_token_that_the_model_lacks_are_refused() {
    let scratch = Scratch::new();
    let path = scratch.write("tokenizer.json", tokenizer_json().to_string());
    let tokenizer = Tokenizer::from_file(&path).unwrap().for_rows(10);
    assert_eq!(tokenizer.encode("Whi", true).unwrap(), [0, 9]);
    let error = tokenizer.encode("Whi Which", true).unwrap_err();
    assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
    let text = error.to_string();
    assert!(
        text.contains("which has 10, got \"Which\" (id 10)"),
        "{text}"
    );
    assert!(text.contains("\"Whi Which\""), "{text}");
}

#[test]
fn vocabularies_that_contradict_themselves_are_refused() {
    let refused = |change: &dyn Fn(&mut GgufWriter), code: &str, what: &str| {
        let mut gguf = TinyModel::new(gqa_config(), 1).gguf();
        change(&mut gguf);
        let error = tokenizer_of(&gguf).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(what), "{error}");
    };
    let bpe = |gguf: &mut GgufWriter, tokens: &[&str], merge: &str| {
        gguf.text("tokenizer.ggml.model", "gpt2")
            .texts("tokenizer.ggml.tokens", tokens)
            .texts("tokenizer.ggml.merges", &[merge]);
    };
    let (corrupt, unsupported) = ("BPEFT_MODEL_CORRUPT", "BPEFT_UNSUPPORTED");
    refused(&|_| (), corrupt, "tokenizer.ggml.model is missing");
    refused(
        &|it| {
            it.text("tokenizer.ggml.model", "bert");
        },
        unsupported,
        "\"bert\"",
    );
    refused(&|it| bpe(it, &["a", "a"], "a a"), corrupt, "occurs twice");
    refused(
        &|it| bpe(it, &["a", "b"], "a b"),
        corrupt,
        "must join two tokens",
    );
    refused(
        &|it| bpe(it, &["a", "b"], "ab"),
        corrupt,
        "must join two tokens",
    );
    let pre = |it: &mut GgufWriter| {
        bpe(it, &["a", "b", "ab"], "a b");
        it.text("tokenizer.ggml.pre", "nobody-knows");
    };
    refused(&pre, unsupported, "tokenizer pre-type \"nobody-knows\"");
    let bos = |it: &mut GgufWriter| {
        bpe(it, &["a", "b", "ab"], "a b");
        it.count("tokenizer.ggml.bos_token_id", 3);
    };
    refused(&bos, corrupt, "bos_token_id must be below 3, got 3");
    let scores = |it: &mut GgufWriter| {
        it.text("tokenizer.ggml.model", "llama")
            .texts("tokenizer.ggml.tokens", &["<unk>", "<s>"])
            .floats("tokenizer.ggml.scores", &[0.0]);
    };
    refused(&scores, corrupt, "2 tokens have 1 scores");
}
