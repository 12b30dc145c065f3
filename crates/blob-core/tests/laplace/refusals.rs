//! What cannot be approximated is refused with what fits.
#![expect(clippy::unwrap_used, reason = "test code")]

use blob_core::abort::Abort;
use blob_core::adapter::{Adapter, LoraConfig, Module};
use blob_core::backbone::BackboneConfig;
use blob_core::batch::Batch;
use blob_core::laplace::{Fit, FitConfig};
use blob_core::ops::Precision;

use crate::support::small_model::{Prompt, backbone, batch_of, config, lora, prompts, trained};
use crate::{SETTINGS, fitted, of_head, point};

fn refused(config: FitConfig, adapter: &Adapter) -> (&'static str, String) {
    let error = Fit::new(config, adapter).err().unwrap();
    (error.code(), error.to_string())
}

#[test]
fn more_memory_than_allowed_is_refused_with_the_rank_that_fits() {
    let wide = BackboneConfig {
        hidden_size: 512,
        head_dim: 128,
        ..config()
    };
    let adapter = point(&[Module::Q], &wide);
    let fit = |rank, memory_bytes| FitConfig {
        rank,
        memory_bytes,
        ..SETTINGS
    };
    let (code, message) = refused(fit(60, 1 << 20), &adapter);
    assert_eq!(code, "BPEFT_INVALID_CONFIG");
    let rank = message
        .rsplit_once("rank ")
        .unwrap()
        .1
        .strip_suffix(" fits")
        .unwrap();
    let rank: usize = rank.parse().unwrap();
    assert!((1..60).contains(&rank), "{message}");
    assert!(
        message.contains("must fit 1 MiB, got 2 MiB at rank 60"),
        "{message}"
    );
    // And so it does, and no rank above.
    Fit::new(fit(rank, 1 << 20), &adapter).map(drop).unwrap();
    assert_eq!(
        refused(fit(rank + 1, 1 << 20), &adapter).0,
        "BPEFT_INVALID_CONFIG"
    );
    let (_, message) = refused(fit(60, 1000), &adapter);
    assert!(
        message.contains("no rank fits, and rank 1 takes 1 MiB"),
        "{message}"
    );
}

#[test]
fn class_tokens_of_a_vocabulary_count_as_memory() {
    let wide = BackboneConfig {
        vocab_size: 40_000,
        ..config()
    };
    let adapter = point(&[Module::LmHead], &wide);
    let head = |class_tokens| FitConfig {
        rank: 1,
        memory_bytes: 8 << 20,
        class_tokens,
        ..of_head()
    };
    // 60 directions of 40,000 tokens in f32 are 9.2 MiB, and pairs of 60 tokens 0.1.
    let (code, message) = refused(head(60), &adapter);
    assert_eq!(code, "BPEFT_INVALID_CONFIG");
    assert!(message.contains("must fit 8 MiB, got 10 MiB"), "{message}");
    Fit::new(head(50), &adapter).map(drop).unwrap();
    let (code, message) = refused(head(1025), &adapter);
    assert_eq!(code, "BPEFT_INVALID_INPUT");
    assert!(message.contains("at most 1024"), "{message}");
    // Without a vocabulary they do not matter.
    let all = FitConfig {
        from_block: 0,
        ..head(1025)
    };
    let of_queries = point(&[Module::Q], &config());
    Fit::new(all, &of_queries).map(drop).unwrap();
}

#[test]
fn rows_with_more_class_tokens_than_announced_are_refused() {
    let model = backbone(&config(), Precision::F32);
    let adapter = point(&[Module::LmHead], &config());
    let few = FitConfig {
        class_tokens: 1,
        ..of_head()
    };
    let mut fit = Fit::new(few, &adapter).unwrap();
    let error = fit
        .add(&model, &adapter, &batch_of(&prompts()), &Abort::default())
        .unwrap_err();
    assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
    assert!(
        error.to_string().contains("at most the 1 class tokens"),
        "{error}"
    );
}

#[test]
fn ensembles_other_last_layers_and_ranks_out_of_range_are_refused() {
    let ensemble = LoraConfig {
        posterior: None,
        members: 2,
        ..lora(&[Module::Q])
    };
    let (code, message) = refused(SETTINGS, &trained(ensemble, &config()));
    assert_eq!(code, "BPEFT_INVALID_INPUT");
    assert!(
        message.contains("a single adapter, got an ensemble of 2"),
        "{message}"
    );
    let (code, message) = refused(of_head(), &point(&[Module::Q], &config()));
    assert_eq!(code, "BPEFT_INVALID_INPUT");
    assert!(message.contains("take all of them"), "{message}");
    for rank in [0, 129] {
        let asked = FitConfig { rank, ..SETTINGS };
        assert_eq!(
            refused(asked, &point(&[Module::Q], &config())).0,
            "BPEFT_INVALID_CONFIG"
        );
    }
}

#[test]
fn rows_without_labels_none_at_all_and_another_adapters_curvature_are_refused() {
    let (model, adapter) = (
        backbone(&config(), Precision::F32),
        point(&[Module::Q], &config()),
    );
    let unknown: Vec<Prompt> = prompts()
        .into_iter()
        .map(|it| Prompt { label: -1, ..it })
        .collect();
    let add = |batch: &Batch, abort: &Abort| {
        let mut fit = Fit::new(SETTINGS, &adapter).unwrap();
        fit.add(&model, &adapter, batch, abort).unwrap_err().code()
    };
    assert_eq!(
        add(&batch_of(&unknown), &Abort::default()),
        "BPEFT_INVALID_INPUT"
    );
    let abort = Abort::default();
    abort.abort();
    assert_eq!(add(&batch_of(&prompts()), &abort), "BPEFT_ABORTED");
    let none = Fit::new(SETTINGS, &adapter)
        .unwrap()
        .finish()
        .err()
        .unwrap();
    assert_eq!(none.code(), "BPEFT_INVALID_INPUT");
    let found = fitted(&model, &adapter, &batch_of(&prompts()), SETTINGS);
    let posterior = || found.posterior(1.0).unwrap();
    let other = point(&[Module::V], &config());
    let error = other.with_laplace(posterior()).unwrap_err();
    assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
    let unlabelled = batch_of(&unknown);
    let error = found
        .nll(&model, &adapter, &unlabelled, &[1.0], &Abort::default())
        .unwrap_err();
    assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
}
