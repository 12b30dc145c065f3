//! Folders of encoders: what is missing, left out, or of another shape.

#![expect(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use blob_core::adapter::{Adapter, HeadConfig, LoraConfig, Module};
use blob_core::backbone::Backbone;
use blob_core::batch::{Batch, BatchParts};
use blob_core::kernels::cpu::gemm::Precision;
use blob_core::predict::predict;
use blob_core::weights::Checkpoint;
use blob_core::{Result, abort::Abort};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::support::Scratch;
use crate::support::answers::sampling;
use crate::support::encoder_case::{EncoderCase, write_base};
use crate::support::golden::bytes;

type Weights = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// The base of a golden with its tensors changed.
fn changed(name: &str, change: impl Fn(&mut Weights)) -> Scratch {
    let scratch = Scratch::new();
    write_base(name, &scratch);
    let file = bytes(&format!("{name}-base.safetensors"));
    let tensors = SafeTensors::deserialize(&file)
        .unwrap()
        .tensors()
        .into_iter();
    let mut weights: Weights = tensors
        .map(|(name, view)| {
            (
                name,
                (view.dtype(), view.shape().to_vec(), view.data().to_vec()),
            )
        })
        .collect();
    change(&mut weights);
    let views = weights.iter().map(|(name, (dtype, shape, bytes))| {
        let view = TensorView::new(*dtype, shape.clone(), bytes).unwrap();
        (name.as_str(), view)
    });
    scratch.write(
        "model.safetensors",
        safetensors::serialize(views, None).unwrap(),
    );
    scratch
}

fn open(scratch: &Scratch) -> Result<(Checkpoint, Backbone)> {
    let checkpoint = Checkpoint::open(&PathBuf::from(scratch.path()))?;
    let config = checkpoint.config().clone();
    let backbone = Backbone::load(config, &checkpoint, Precision::F32)?;
    Ok((checkpoint, backbone))
}

fn lora(classes: usize, trained: bool) -> LoraConfig {
    LoraConfig {
        rank: 2,
        alpha: 4.0,
        dropout: 0.0,
        target_modules: vec![Module::Q, Module::V],
        posterior: None,
        seed: 3,
        members: 1,
        head: Some(HeadConfig {
            classes,
            trained,
            fresh: false,
        }),
    }
}

#[test]
fn a_base_without_a_pooler_is_refused_with_its_name() {
    let scratch = changed("encoder-bert", |weights| {
        weights.retain(|name, _| !name.starts_with("pooler."));
    });
    let error = open(&scratch).err().unwrap();
    assert_eq!(error.code(), "BPEFT_MODEL_CORRUPT");
    assert!(error.to_string().contains("bert.pooler.dense"), "{error}");
}

#[test]
fn another_head_is_left_out_and_said_and_ours_is_said_to_start_anew() {
    for (name, left_out, anew) in [
        ("encoder-bert-everywhere", "cls.predictions", "classifier"),
        ("encoder-roberta", "lm_head.dense", "classifier.out_proj"),
        ("encoder-distilbert", "vocab_transform", "pre_classifier"),
    ] {
        let notices = EncoderCase::open(name).notices;
        assert_eq!(notices.len(), 2, "{notices:?}");
        assert!(notices[0].contains(left_out), "{notices:?}");
        assert!(notices[1].contains(anew), "{notices:?}");
    }
    let with_head = EncoderCase::open("encoder-bert-terms-on-the-head");
    assert_eq!(with_head.notices, [""; 0]);
    let foreign = changed("encoder-bert", |weights| {
        let (_, tensor) = weights.iter().next().unwrap();
        weights.insert("crf.transitions".into(), tensor.clone());
    });
    let error = open(&foreign).err().unwrap();
    assert_eq!(error.code(), "BPEFT_UNSUPPORTED");
    assert!(error.to_string().contains("crf.transitions"), "{error}");
}

#[test]
fn old_names_and_tables_of_indices_are_understood() {
    let old = changed("encoder-bert", |weights| {
        for (old, new) in [("gamma", "weight"), ("beta", "bias")] {
            let names: Vec<_> = weights.keys().cloned().collect();
            for name in names
                .iter()
                .filter(|name| name.ends_with(&format!("LayerNorm.{new}")))
            {
                let tensor = weights.remove(name).unwrap();
                weights.insert(name.replace(new, old), tensor);
            }
        }
        let indices = (Dtype::I64, vec![1, 1], vec![0; 8]);
        weights.insert("embeddings.position_ids".into(), indices);
    });
    let (checkpoint, _) = open(&old).unwrap();
    let (plain, _) = open(&changed("encoder-bert", |_| {})).unwrap();
    assert!(checkpoint.names().eq(plain.names()));
}

#[test]
fn a_fresh_adapter_starts_from_the_bases_head_of_as_many_classes() {
    let scratch = Scratch::new();
    write_base("encoder-bert-terms-on-the-head", &scratch);
    let (_, backbone) = open(&scratch).unwrap();
    let head = |adapter: &Adapter| {
        let values = adapter.parameters().member(0);
        let layout = adapter.parameters().layout();
        values[layout.low_rank_len()..].to_vec()
    };
    let of_base = EncoderCase::open("encoder-bert-terms-on-the-head").adapter;
    for trained in [true, false] {
        let started = backbone.adapter(lora(3, trained)).unwrap();
        assert_eq!(head(&started), head(&of_base));
    }
    let error = backbone.adapter(lora(2, true)).unwrap_err();
    assert_eq!(error.code(), "BPEFT_INVALID_CONFIG");
    let text = error.to_string();
    assert!(text.contains("head") && text.contains("2 for 3"), "{text}");
    let fresh = |classes| {
        let mut lora = lora(classes, true);
        lora.head = lora.head.map(|head| HeadConfig {
            fresh: true,
            ..head
        });
        backbone.adapter(lora).unwrap()
    };
    assert_eq!(head(&fresh(2)).len(), 2 * 16 + 2);
    let (one, other) = (head(&fresh(3)), head(&of_base));
    assert!(one.iter().zip(&other).all(|(one, other)| one != other));
    let spread = one[..3 * 16].iter().map(|w| w * w).sum::<f32>() / 48.0;
    assert!((0.01..0.03).contains(&spread.sqrt()), "{spread}"); // initializer_range
    assert!(one[3 * 16..].iter().all(|bias| *bias == 0.0));
}

#[test]
fn layers_that_an_encoder_lacks_and_heads_that_do_not_fit_are_refused() {
    let scratch = Scratch::new();
    write_base("encoder-roberta", &scratch);
    let (_, backbone) = open(&scratch).unwrap();
    let with = |change: &dyn Fn(&mut LoraConfig)| {
        let mut lora = lora(3, true);
        change(&mut lora);
        backbone.adapter(lora).map(|_| ())
    };
    with(&|_| {}).unwrap();
    with(&|lora| lora.target_modules.push(Module::Down)).unwrap();
    let head = |lora: &mut LoraConfig, classes, trained| {
        let fresh = false;
        lora.head = Some(HeadConfig {
            classes,
            trained,
            fresh,
        });
    };
    with(&|lora| {
        lora.target_modules.push(Module::Classifier);
        head(lora, 3, false);
    })
    .unwrap();
    with(&|lora| head(lora, 70_000, true)).unwrap();
    for (field, broken) in [
        (
            "target_modules",
            with(&|lora| lora.target_modules.push(Module::Gate)),
        ),
        (
            "target_modules",
            with(&|lora| lora.target_modules.push(Module::LmHead)),
        ),
        (
            "target_modules",
            with(&|lora| lora.target_modules.push(Module::Classifier)),
        ),
        ("head", with(&|lora| lora.head = None)),
        ("head", with(&|lora| head(lora, 1, true))),
        ("head", with(&|lora| head(lora, (1 << 24) + 1, true))),
    ] {
        let error = broken.unwrap_err();
        assert_eq!(error.code(), "BPEFT_INVALID_CONFIG");
        assert!(error.to_string().contains(field), "{field}: {error}");
    }
}

#[test]
fn a_batch_that_does_not_fit_an_encoder_is_refused() {
    let EncoderCase {
        backbone, adapter, ..
    } = EncoderCase::open("encoder-bert");
    let parts = || BatchParts {
        ids: vec![2, 5, 6],
        offsets: vec![0, 3],
        answers: vec![0, 2],
        answer_offsets: vec![0, 2],
        labels: vec![1],
        rows: vec![0],
    };
    let config = sampling(0);
    let ask = |adapter: Option<&Adapter>, batch: &Batch| {
        predict(&backbone, adapter, batch, &config, &Abort::default())
    };
    let good = Batch::new(parts()).unwrap();
    assert_eq!(ask(Some(&adapter), &good).unwrap().len(), 2);
    let long = BatchParts {
        ids: vec![5; 13],
        offsets: vec![0, 13],
        ..parts()
    };
    let beyond = BatchParts {
        answers: vec![0, 3],
        ..parts()
    };
    for (text, adapter, batch) in [
        ("adapter", None, good.clone()),
        (
            "token types",
            Some(&adapter),
            good.with_types(vec![0, 0, 2]).unwrap(),
        ),
        ("context of 12", Some(&adapter), Batch::new(long).unwrap()),
        (
            "below the head's 3",
            Some(&adapter),
            Batch::new(beyond).unwrap(),
        ),
    ] {
        let error = ask(adapter, &batch).unwrap_err();
        assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
        assert!(error.to_string().contains(text), "{error}");
    }
}
