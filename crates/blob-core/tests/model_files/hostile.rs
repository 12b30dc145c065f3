//! Damaged files: an answer or an error, never a panic, never an allocation out of proportion.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;

use blob_core::backbone::WeightSource;
use blob_core::tokenizer::Tokenizer;
use blob_core::weights::Checkpoint;

use crate::support::Scratch;
use crate::support::tiny_model::{TinyModel, gqa_config};
use crate::tokenizers::{add_byte_level, add_sentence_piece, tokenizer_json};

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, with the largest request of each thread written down.
struct Watched;

// SAFETY: every call is handed on to the system's allocator unchanged.
#[expect(unsafe_code, reason = "the trait of allocators is unsafe")]
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// Far below what a forged length asks for, above what `tokenizers` takes for its tables.
const BOUND: usize = 4 << 20;

/// Reads everything there is; the number of steps that gave an answer.
fn use_all(path: &Path) -> u32 {
    let mut answers = 0;
    if let Ok(checkpoint) = Checkpoint::open(path) {
        answers += 1;
        let config = checkpoint.config().clone();
        let names: Vec<String> = checkpoint.names().map(str::to_owned).collect();
        for name in &names {
            let shape = [config.vocab_size, config.hidden_size];
            answers += u32::from(checkpoint.tensor(name, &shape).is_ok());
        }
        if let Ok(tokenizer) = Tokenizer::of(&checkpoint) {
            answers += use_tokenizer(&tokenizer);
        }
    }
    answers
}

fn use_tokenizer(tokenizer: &Tokenizer) -> u32 {
    let ids = tokenizer.encode("<s>Which planet has rings? ☃ 12", true);
    let text = ids.as_ref().map(|ids| tokenizer.decode(ids));
    let last = tokenizer.decode(&[tokenizer.vocab_size() as u32 - 1, 0]);
    u32::from(ids.is_ok()) + u32::from(matches!(text, Ok(Ok(_)))) + u32::from(last.is_ok())
}

/// Cuts the file at many places and damages many bytes, one at a time.
fn damage(bytes: &[u8], every: usize, read: impl Fn(&[u8]) -> u32) {
    let intact = read(bytes);
    assert!(intact > 1, "the intact file must be readable");
    LARGEST.set(0);
    let mut fewer = 0;
    for at in (0..bytes.len()).step_by(every) {
        fewer += u32::from(read(&bytes[..at]) < intact);
        for byte in [0x00, 0xff, bytes[at] ^ 1, bytes[at] ^ 0x80] {
            let mut changed = bytes.to_vec();
            changed[at] = byte;
            fewer += u32::from(read(&changed) < intact);
        }
    }
    assert!(fewer > 0, "damage must be noticed somewhere");
    let largest = LARGEST.get();
    assert!(largest < BOUND, "{largest} bytes were asked for at once");
}

/// Small, so that most bytes are structure.
fn model() -> TinyModel {
    let mut config = gqa_config();
    config.vocab_size = 6;
    config.hidden_size = 8;
    config.head_dim = 2;
    config.intermediate_size = 4;
    config.num_layers = 1;
    TinyModel::new(config, 1)
}

#[test]
fn a_damaged_gguf_is_read_or_refused() {
    let scratch = Scratch::new();
    for add in [add_byte_level, add_sentence_piece] {
        let mut gguf = model().gguf();
        add(&mut gguf);
        damage(&gguf.bytes(), 11, |bytes| {
            use_all(&scratch.write("tiny.gguf", bytes))
        });
    }
}

#[test]
fn a_damaged_weight_file_is_read_or_refused() {
    let scratch = Scratch::new();
    let folder = model().write_folder(scratch.path());
    let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
    damage(&bytes, 5, |bytes| {
        scratch.write("model.safetensors", bytes);
        use_all(scratch.path())
    });
}

#[test]
fn a_damaged_config_is_read_or_refused() {
    let scratch = Scratch::new();
    let folder = model().write_folder(scratch.path());
    let bytes = std::fs::read(folder.join("config.json")).unwrap();
    damage(&bytes, 2, |bytes| {
        scratch.write("config.json", bytes);
        use_all(scratch.path())
    });
}

#[test]
fn a_damaged_tokenizer_file_is_read_or_refused() {
    let scratch = Scratch::new();
    damage(tokenizer_json().to_string().as_bytes(), 2, |bytes| {
        let path = scratch.write("tokenizer.json", bytes);
        Tokenizer::from_file(&path).map_or(0, |tokenizer| use_tokenizer(&tokenizer))
    });
}

#[test]
fn forged_lengths_cost_nothing() {
    let scratch = Scratch::new();
    let bytes = model().gguf().bytes();
    LARGEST.set(0);
    for at in (4..bytes.len().min(2500) - 8).step_by(9) {
        for value in [u64::MAX, 1 << 40, 1 << 31] {
            let mut changed = bytes.clone();
            changed[at..at + 8].copy_from_slice(&value.to_le_bytes());
            use_all(&scratch.write("tiny.gguf", changed));
        }
    }
    // a header of 2^62 bytes, and sizes that add up to the end of the address space
    let mut end = 0_u64;
    let sizes = [[(1 << 61) - 1; 8].as_slice(), &[7]].concat();
    let tensors = sizes.iter().zip(0..).map(|(size, index)| {
        end += size;
        let place = format!("[{},{end}]", end - size);
        format!(r#""t{index}":{{"dtype":"U8","shape":[{size}],"data_offsets":{place}}}"#)
    });
    let json = format!("{{{}}}", tensors.collect::<Vec<_>>().join(","));
    let endless = [&(json.len() as u64).to_le_bytes(), json.as_bytes()].concat();
    let folder = model().write_folder(scratch.path());
    for bytes in [(1_u64 << 62).to_le_bytes().to_vec(), endless] {
        scratch.write("model.safetensors", bytes);
        let error = Checkpoint::open(&folder).unwrap_err();
        assert_eq!(error.code(), "BPEFT_MODEL_CORRUPT", "{error}");
    }
    assert!(
        LARGEST.get() < BOUND,
        "{} bytes were asked for at once",
        LARGEST.get()
    );
}
