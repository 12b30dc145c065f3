//! Who may call whom, read from the sources: where there is no checkout, these are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The sources of the engine with their texts, by their paths in `src`.
fn sources() -> BTreeMap<String, String> {
    fn add(to: &mut BTreeMap<String, String>, folder: &Path, name: &str) {
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let name = format!("{name}{}", path.file_name().unwrap().to_str().unwrap());
            if path.is_dir() {
                add(to, &path, &format!("{name}/"));
            } else if path.extension().is_some_and(|it| it == "rs") {
                to.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    let folder = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
    let mut all = BTreeMap::new();
    add(&mut all, &Path::new(&folder).join("src"), "");
    all
}

#[test]
fn layers_and_backbones_know_no_kernel() {
    let mut files = 0;
    for (name, text) in sources() {
        if name.starts_with("layers/") || name.starts_with("backbone/") {
            for word in ["kernels::", "rayon", "ops::read", "[f32]"] {
                assert!(!text.contains(word), "{name}: {word}");
            }
            files += 1;
        }
    }
    assert!(files > 10, "{files}");
}

/// Beside `ops`, who calls kernels of the processor: noise by the same vectors, formats of weights
/// by the decoder's tables, errors by theirs.
const OF_CPU: [&str; 4] = ["error.rs", "noise/", "quantization.rs", "weights/mod.rs"];

/// Beside `ops`, who calls kernels of a GPU: what changes state in place, what adds up what changes
/// it, who holds what lies there, and which σ its kernels know (ADR 0033, 0041).
const OF_GPU: [&str; 9] = [
    "adapter/config.rs",
    "adapter/draws/on_gpu.rs",
    "adapter/parameters.rs",
    "buffer.rs",
    "collective/",
    "kl.rs",
    "method/",
    "pass/rows.rs",
    "train/",
];

#[test]
fn kernels_are_called_by_operations_and_updates_alone() {
    let mut beside = BTreeSet::new();
    for (name, text) in sources() {
        if name.starts_with("kernels/") {
            // Weights are what kernels decode: an arrow back would be a circle.
            assert!(!text.contains("crate::weights"), "{name}");
            continue;
        }
        if name.starts_with("ops/") {
            continue;
        }
        for (of, known) in [("cpu", &OF_CPU[..]), ("cuda", &OF_GPU)] {
            if text.contains(&format!("kernels::{of}")) {
                let room = known.iter().find(|room| name.starts_with(**room));
                assert!(room.is_some(), "{name} calls kernels of {of}");
                beside.extend(room.copied());
            }
        }
    }
    assert_eq!(beside.len(), OF_CPU.len() + OF_GPU.len(), "{beside:?}");
}
