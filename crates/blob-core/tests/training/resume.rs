#![expect(clippy::unwrap_used, reason = "test code")]

use std::fs;
use std::path::Path;

use blob_core::Error;
use blob_core::abort::Abort;
use blob_core::adapter::{Adapter, LoraConfig, Module};
use blob_core::backbone::Backbone;
use blob_core::batch::Batch;
use blob_core::files::atomic_write;
use blob_core::kernels::cpu::gemm::Precision;
use blob_core::method::PointConfig;
use blob_core::optim::Schedule;
use blob_core::pass::NoiseSharing;
use blob_core::train::{TrainConfig, Trainer};

use crate::support::Scratch;
use crate::support::golden::parameters;
use crate::support::small_model::{
    backbone, batch_of, blob, config, lora, point, prompts, trained, training, training_at,
};

const FILES: [&str; 2] = ["state.safetensors", "trainer.json"];

fn settings(bayesian: bool) -> TrainConfig {
    let schedule = Schedule {
        total: 9,
        warmup: 2.0,
        warmup_start: 0,
        stride: 1,
    };
    let point = PointConfig {
        schedule,
        max_grad_norm: 1.0,
        ..point(0.01)
    };
    training_at(point, bayesian.then(|| blob(NoiseSharing::Token)))
}

fn start(bayesian: bool) -> (Adapter, Trainer) {
    let lora = LoraConfig {
        dropout: 0.2,
        ..lora(&Module::ALL)
    };
    let posterior = lora.posterior.filter(|_| bayesian);
    let adapter = trained(LoraConfig { posterior, ..lora }, &config());
    let trainer = Trainer::new(settings(bayesian), &adapter).unwrap();
    (adapter, trainer)
}

fn run(trainer: &mut Trainer, backbone: &Backbone, adapter: &mut Adapter, batches: &[Batch]) {
    for _ in 0..3 {
        trainer
            .step(backbone, adapter, batches, &Abort::default())
            .unwrap();
    }
}

fn contents(folder: &Path) -> [Vec<u8>; 2] {
    FILES.map(|name| fs::read(folder.join(name)).unwrap())
}

/// A saved state after three steps.
fn saved() -> Scratch {
    let scratch = Scratch::new();
    let (mut adapter, mut trainer) = start(true);
    let backbone = backbone(&config(), Precision::F32);
    run(
        &mut trainer,
        &backbone,
        &mut adapter,
        &[batch_of(&prompts())],
    );
    trainer.save(&adapter, scratch.path()).unwrap();
    scratch
}

#[test]
fn a_resumed_run_is_the_uninterrupted_one() {
    let backbone = backbone(&config(), Precision::F32);
    let batches = [batch_of(&prompts()[..2]), batch_of(&prompts()[2..])];
    for bayesian in [false, true] {
        let scratch = Scratch::new();
        let (mut adapter, mut trainer) = start(bayesian);
        run(&mut trainer, &backbone, &mut adapter, &batches);
        trainer.save(&adapter, scratch.path()).unwrap();
        run(&mut trainer, &backbone, &mut adapter, &batches);

        let (mut resumed, mut again) = start(bayesian);
        again.load(&mut resumed, scratch.path()).unwrap();
        assert_eq!(again.step_count(), 3);
        run(&mut again, &backbone, &mut resumed, &batches);
        assert_eq!(parameters(&resumed), parameters(&adapter));

        let (one, other) = (Scratch::new(), Scratch::new());
        trainer.save(&adapter, one.path()).unwrap();
        again.save(&resumed, other.path()).unwrap();
        assert_eq!(contents(one.path()), contents(other.path()));
        let files = fs::read_dir(one.path()).unwrap().count();
        assert_eq!(files, 2, "nothing temporary is left behind");
    }
}

/// Loading fails with BPEFT_CHECKPOINT and leaves both as they were.
fn assert_refused(what: &str, folder: &Path) {
    let (mut adapter, mut trainer) = start(true);
    let before = adapter.clone();
    let error = trainer.load(&mut adapter, folder).unwrap_err();
    assert_eq!(error.code(), "BPEFT_CHECKPOINT", "{what}: {error}");
    assert_eq!(parameters(&adapter), parameters(&before), "{what}");
    let (one, other) = (Scratch::new(), Scratch::new());
    trainer.save(&adapter, one.path()).unwrap();
    start(true).1.save(&before, other.path()).unwrap();
    assert_eq!(contents(one.path()), contents(other.path()), "{what}");
}

#[test]
fn a_state_of_other_settings_is_refused() {
    let scratch = saved();
    let backbone = config();
    let mut others: Vec<(Adapter, TrainConfig)> = Vec::new();
    let (adapter, _) = start(true);
    let base = settings(true);
    others.push((
        adapter.clone(),
        TrainConfig {
            seed: 4,
            ..base.clone()
        },
    ));
    others.push((
        adapter.clone(),
        training_at(point(0.01), Some(blob(NoiseSharing::Token))),
    ));
    others.push((adapter.clone(), training(None)));
    let mut bayes = blob(NoiseSharing::Token);
    bayes.prior_std = 0.3;
    others.push((adapter.clone(), training_at(point(0.01), Some(bayes))));
    for config in [
        LoraConfig {
            rank: 2,
            ..adapter.config().clone()
        },
        LoraConfig {
            alpha: 7.0,
            ..adapter.config().clone()
        },
        LoraConfig {
            dropout: 0.1,
            ..adapter.config().clone()
        },
        LoraConfig {
            target_modules: vec![Module::V],
            ..adapter.config().clone()
        },
    ] {
        others.push((Adapter::new(config, &backbone).unwrap(), base.clone()));
    }
    for (mut adapter, config) in others {
        let mut trainer = Trainer::new(config.clone(), &adapter).unwrap();
        let before = adapter.clone();
        let error = trainer.load(&mut adapter, scratch.path()).unwrap_err();
        assert_eq!(error.code(), "BPEFT_CHECKPOINT", "{config:?}");
        assert_eq!(
            (parameters(&adapter), trainer.step_count()),
            (parameters(&before), 0)
        );
    }
}

#[test]
fn a_state_of_another_model_is_refused() {
    // The settings are equal, the shapes are not; two of the wider model's tensors would even fit
    // by their size.
    let scratch = saved();
    let wider = blob_core::backbone::BackboneConfig {
        num_kv_heads: 4,
        ..config()
    };
    let (adapter, _) = start(true);
    let mut other = trained(adapter.config().clone(), &wider);
    let mut trainer = Trainer::new(settings(true), &other).unwrap();
    let error = trainer.load(&mut other, scratch.path()).unwrap_err();
    assert_eq!(error.code(), "BPEFT_CHECKPOINT");
    assert!(error.to_string().contains("k_proj.lora_B"), "{error}");
}

#[test]
fn a_tensor_on_its_side_is_refused() {
    let scratch = saved();
    let path = scratch.path().join(FILES[0]);
    let bytes = fs::read(&path).unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let at = text.find(r#""shape":[3,24]"#).unwrap();
    let mut turned = bytes.clone();
    turned[at..at + 14].copy_from_slice(br#""shape":[24,3]"#);
    fs::write(&path, turned).unwrap();
    assert_refused("a transposed A", scratch.path());
}

#[test]
fn truncated_files_are_refused() {
    let scratch = saved();
    for name in FILES {
        let path = scratch.path().join(name);
        let whole = fs::read(&path).unwrap();
        for length in [0, 1, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            assert_refused(&format!("{length} bytes of {name}"), scratch.path());
        }
        fs::write(&path, whole).unwrap();
    }
}

#[test]
fn a_missing_file_is_an_io_error_with_its_path() {
    for name in FILES {
        let scratch = saved();
        fs::remove_file(scratch.path().join(name)).unwrap();
        let (mut adapter, mut trainer) = start(true);
        let error = trainer.load(&mut adapter, scratch.path()).unwrap_err();
        assert!(
            error.code() == "BPEFT_IO" && error.to_string().contains(name),
            "{error}"
        );
    }
}

#[test]
fn no_flipped_bit_of_a_state_makes_loading_panic() {
    let scratch = saved();
    let (mut adapter, mut trainer) = start(true);
    for name in FILES {
        let path = scratch.path().join(name);
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len().min(1500)).step_by(3) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&path, flipped).unwrap();
            // Either it is noticed, or a number is another number.
            if let Err(error) = trainer.load(&mut adapter, scratch.path()) {
                assert_eq!(error.code(), "BPEFT_CHECKPOINT", "{error}");
            }
        }
        fs::write(&path, whole).unwrap();
    }
}

#[test]
fn a_counter_beyond_every_run_is_refused() {
    let scratch = saved();
    let path = scratch.path().join(FILES[1]);
    let text = fs::read_to_string(&path).unwrap();
    let later = text.replace(r#""step": 3"#, &format!(r#""step": {}"#, u64::MAX));
    assert_ne!(text, later);
    fs::write(&path, later).unwrap();
    assert_refused("the largest counter", scratch.path());
}

#[test]
fn an_unknown_field_or_format_is_refused() {
    let scratch = saved();
    let path = scratch.path().join(FILES[1]);
    let text = fs::read_to_string(&path).unwrap();
    for (from, to) in [
        (r#""format": 3"#, r#""format": 2"#),
        (r#""format": 3"#, r#""format": 3, "phase": 2"#),
    ] {
        assert!(text.contains(from));
        fs::write(&path, text.replace(from, to)).unwrap();
        assert_refused(to, scratch.path());
    }
}

#[test]
fn a_write_that_cannot_begin_leaves_the_old_file_whole() {
    let scratch = Scratch::new();
    let path = scratch.write("adapter.bin", "old");
    // A folder sits where the temporary file would go.
    fs::create_dir(scratch.path().join("adapter.bin.partial")).unwrap();
    assert_eq!(atomic_write(&path, b"new").unwrap_err().code(), "BPEFT_IO");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    let nowhere = scratch.path().join("no-folder").join("adapter.bin");
    let error = atomic_write(&nowhere, b"new").unwrap_err();
    assert!(
        error.code() == "BPEFT_IO" && error.to_string().contains("adapter.bin"),
        "{error}"
    );
}

#[test]
fn a_rename_that_fails_leaves_nothing_behind() {
    let scratch = Scratch::new();
    let path = scratch.path().join("adapter.bin");
    fs::create_dir(&path).unwrap(); // a file cannot replace a folder
    assert_eq!(atomic_write(&path, b"new").unwrap_err().code(), "BPEFT_IO");
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_leaves_the_old_state_whole_and_says_so() {
    let scratch = saved();
    let before = contents(scratch.path());
    let (adapter, mut trainer) = start(true);
    // Whatever is written to this device fails as on a full disk.
    let partial = scratch.path().join(format!("{}.partial", FILES[0]));
    std::os::unix::fs::symlink("/dev/full", &partial).unwrap();
    let error = trainer.save(&adapter, scratch.path()).unwrap_err();
    let Error::Io { source, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(source.kind(), std::io::ErrorKind::StorageFull, "{error}");
    assert!(error.hint().contains("disk is full"), "{}", error.hint());
    assert_eq!(contents(scratch.path()), before);
    assert!(!partial.exists() && Path::new("/dev/full").exists());
}
