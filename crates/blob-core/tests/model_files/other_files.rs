//! Files that bear the name of a model's and are none: what they are, and what to do.

use blob_core::Error;
use blob_core::adapter::{Sigma, peft};
use blob_core::tokenizer::Tokenizer;
use blob_core::weights::Checkpoint;

use crate::support::Scratch;
use crate::support::tiny_model::{TinyModel, gqa_config};

const LFS: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 271\n";
const HTML: &str = "<!DOCTYPE html><html><title>Sign in</title></html>";

fn said(error: &Error) -> String {
    format!("{error}; {}", error.hint())
}

fn assert_says(error: &Error, code: &str, parts: &[&str]) {
    assert_eq!(error.code(), code, "{error}");
    let said = said(error);
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
    assert!(!said.contains("Some("), "{said}");
}

#[test]
fn pointers_web_pages_and_pickles_in_the_place_of_weights() {
    let scratch = Scratch::new();
    let model = TinyModel::new(gqa_config(), 1);
    for (bytes, parts) in [
        (LFS.as_bytes(), ["Git LFS pointer", "git lfs pull"]),
        (HTML.as_bytes(), ["web page", "browser"]),
        (b"PK\x03\x04archive/data.pkl", ["pickle", "save_pretrained"]),
    ] {
        let gguf = scratch.write("model.gguf", bytes);
        let error = Checkpoint::open(&gguf).unwrap_err();
        assert_says(&error, "BPEFT_MODEL_CORRUPT", &parts);
        scratch.write("hf/config.json", model.config_json().to_string());
        scratch.write("hf/model.safetensors", bytes);
        let error = Checkpoint::open(&scratch.path().join("hf")).unwrap_err();
        assert_says(&error, "BPEFT_MODEL_CORRUPT", &parts);
        let tokenizer = scratch.write("hf/tokenizer.json", bytes);
        let error = Tokenizer::from_file(&tokenizer).unwrap_err();
        assert_says(&error, "BPEFT_MODEL_CORRUPT", &parts);
    }
}

#[test]
fn a_short_file_is_told_its_size_without_wording_of_the_engine() {
    let scratch = Scratch::new();
    let model = TinyModel::new(gqa_config(), 1);
    scratch.write("config.json", model.config_json().to_string());
    for (bytes, part) in [
        (&b"oops"[..], "must begin with a length of 8 bytes, has 4"),
        (b"not a model", "bytes of a file of 11"),
    ] {
        scratch.write("model.safetensors", bytes);
        let error = Checkpoint::open(scratch.path()).unwrap_err();
        assert_says(&error, "BPEFT_MODEL_CORRUPT", &[part]);
    }
}

#[test]
fn models_and_adapters_that_pytorch_wrote() {
    let scratch = Scratch::new();
    let model = TinyModel::new(gqa_config(), 1);
    scratch.write("hf/config.json", model.config_json().to_string());
    let pickle = scratch.write("hf/pytorch_model.bin", "PK\x03\x04");
    for path in [&scratch.path().join("hf"), &pickle] {
        let error = Checkpoint::open(path).unwrap_err();
        let parts = ["pytorch_model.bin", "pickle", "save_pretrained"];
        assert_says(&error, "BPEFT_MODEL_CORRUPT", &parts);
    }

    let adapter = scratch.path().join("adapter");
    let json = r#"{ "peft_type": "LORA", "r": 8, "lora_alpha": 16 }"#;
    scratch.write("adapter/adapter_config.json", json);
    let open = || peft::load(&adapter, &gqa_config(), Sigma::Square).unwrap_err();
    scratch.write("adapter/adapter_model.bin", "PK\x03\x04");
    let parts = ["adapter_model.bin", "pickle", "save_pretrained"];
    assert_says(&open(), "BPEFT_ADAPTER", &parts);
    scratch.write("adapter/adapter_model.safetensors", LFS);
    assert_says(
        &open(),
        "BPEFT_ADAPTER",
        &["Git LFS pointer", "git lfs pull"],
    );
    let error = Checkpoint::open(&adapter).unwrap_err();
    assert_says(
        &error,
        "BPEFT_MODEL_NOT_FOUND",
        &["holds an adapter", "name the model"],
    );
}

#[test]
fn adapters_that_are_cut_off_or_of_another_kind() {
    let scratch = Scratch::new();
    let lora = r#"{ "peft_type": "LORA", "r": 8, "lora_alpha": 16 }"#;
    let open = |config: &str, model: &[u8]| {
        scratch.write("adapter_config.json", config);
        scratch.write("adapter_model.safetensors", model);
        peft::load(scratch.path(), &gqa_config(), Sigma::Square).unwrap_err()
    };
    for (model, part) in [
        (&b""[..], "the file is empty"),
        (b"oops", "the file is cut off, or was never in the format"),
        (
            &[0xff; 100],
            "the file is cut off, or was never in the format",
        ),
        (b"\x02\0\0\0\0\0\0\0[]", "the file is damaged"),
    ] {
        assert_says(&open(lora, model), "BPEFT_ADAPTER", &[part]);
    }
    let loha = r#"{ "peft_type": "LOHA", "r": 4, "alpha": 8 }"#;
    assert_says(&open(loha, b""), "BPEFT_UNSUPPORTED", &["peft_type=LOHA"]);
    let other = r#"{ "name": "an adapter" }"#;
    assert_says(
        &open(other, b""),
        "BPEFT_ADAPTER",
        &["peft_type is missing"],
    );
    let wrong = r#"{ "peft_type": "LORA", "r": "8", "lora_alpha": 16 }"#;
    let part = "expected a whole number from 0 on";
    assert_says(&open(wrong, b""), "BPEFT_ADAPTER", &[part]);
}

#[test]
fn configurations_that_are_of_a_run_or_hold_other_values() {
    let scratch = Scratch::new();
    let open = |config: &str| {
        scratch.write("config.json", config);
        Checkpoint::open(scratch.path()).unwrap_err()
    };
    let run = r#"{ "format": 1, "command": "train", "config": {} }"#;
    let parts = ["holds a training run and no model", "name the model"];
    assert_says(&open(run), "BPEFT_MODEL_NOT_FOUND", &parts);
    let wrong = r#"{ "model_type": "llama", "hidden_size": "x" }"#;
    let part = "expected a whole number from 0 on";
    assert_says(&open(wrong), "BPEFT_MODEL_CORRUPT", &[part]);
}

#[test]
fn a_model_that_was_split_into_gguf_files() {
    let scratch = Scratch::new();
    let mut gguf = TinyModel::new(gqa_config(), 1).gguf();
    gguf.count("split.no", 0).count("split.count", 3);
    let parts = ["split into 3", "llama-gguf-split --merge"];
    let first = scratch.write("tiny-00001-of-00003.gguf", gguf.bytes());
    let error = Checkpoint::open(&first).unwrap_err();
    assert_says(&error, "BPEFT_MODEL_CORRUPT", &parts);
    for part in [2, 3] {
        scratch.write(&format!("tiny-0000{part}-of-00003.gguf"), "GGUF");
    }
    let error = Checkpoint::open(scratch.path()).unwrap_err();
    assert_says(&error, "BPEFT_MODEL_CORRUPT", &parts);
    // Several models are not parts of one.
    scratch.write("another.gguf", "GGUF");
    let error = Checkpoint::open(scratch.path()).unwrap_err();
    assert_says(&error, "BPEFT_MODEL_NOT_FOUND", &["4 .gguf files"]);
}

#[test]
fn a_folder_without_tokenizer_json() {
    let scratch = Scratch::new();
    let path = scratch.path().join("tokenizer.json");
    let missing = || Tokenizer::from_file(&path).unwrap_err();
    assert_says(
        &missing(),
        "BPEFT_MODEL_NOT_FOUND",
        &["tokenizer is missing"],
    );
    scratch.write("vocab.json", "{}");
    assert_says(
        &missing(),
        "BPEFT_MODEL_NOT_FOUND",
        &["vocab.json", "AutoTokenizer"],
    );
    scratch.write("tokenizer.model", "\n");
    assert_says(
        &missing(),
        "BPEFT_MODEL_NOT_FOUND",
        &["tokenizer.model", "AutoTokenizer"],
    );
}
