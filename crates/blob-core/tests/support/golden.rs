//! Numbers of PyTorch and transformers (`tools/goldens/README.md`), and how close ours must be.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use blob_core::adapter::{
    Adapter, Factor, Gaussian, LoraConfig, LowRank, Module, Parameters, Posterior, Sigma, Site,
};
use blob_core::backbone::{Backbone, BackboneConfig};
use blob_core::batch::{Batch, BatchParts};
use blob_core::ops::{Device, Precision};
use blob_core::pass::NoiseSharing;
use blob_core::weights::{Checkpoint, HostTensor};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Scratch;
use super::tiny_model::TinyModel;

/// In the crate's folder, which is known when a test runs, not when it is built:
/// `cmd/gpu-check.sh` runs tests where there is no checkout.
fn path(name: &str) -> PathBuf {
    let folder = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap());
    folder.join("tests/goldens").join(name)
}

/// A JSON golden.
pub fn document(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path(name)).unwrap()).unwrap()
}

/// A field of a document as a typed value.
pub fn field<T: DeserializeOwned>(document: &Value, name: &str) -> T {
    serde_json::from_value(document[name].clone()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The tensors of a safetensors golden.
pub struct Tensors(BTreeMap<String, HostTensor>);

/// A golden file as it is.
pub fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

impl Tensors {
    pub fn open(name: &str) -> Self {
        Self::read(&path(name))
    }

    /// The tensors of a file.
    pub fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let read = |(name, view): (String, safetensors::tensor::TensorView)| {
            let values = view.data().chunks_exact(4);
            let data = values.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            let (shape, data) = (view.shape().to_vec(), data.collect());
            (name, HostTensor { shape, data })
        };
        Self(file.tensors().into_iter().map(read).collect())
    }

    pub fn values(&self, name: &str) -> &[f32] {
        &self.0.get(name).unwrap_or_else(|| panic!("no {name}")).data
    }

    /// Names that begin with `prefix`, without it.
    pub fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .keys()
            .filter_map(move |name| name.strip_prefix(prefix))
    }
}

impl Tensors {
    /// The model in it, without the adapters.
    fn model(&self, architecture: &str, config: BackboneConfig) -> TinyModel {
        let names = config.tensors().into_iter().map(|(name, shape)| {
            let mut values = self.values(&name).to_vec();
            if config.gemma.is_some() && name.ends_with("norm.weight") {
                for value in &mut values {
                    *value += 1.0;
                }
            }
            (name, (shape, values))
        });
        TinyModel {
            architecture: architecture.to_owned(),
            weights: names.collect(),
            config,
        }
    }

    /// Writes the model as a Hugging Face folder; a tied head is not among its tensors.
    fn write_folder(&self, hf_config: &Value, folder: &Path) -> PathBuf {
        let tied = hf_config["tie_word_embeddings"] == true;
        let kept = self
            .0
            .iter()
            .filter(|(name, _)| !name.starts_with("lora.") && (!tied || *name != "lm_head.weight"));
        let bytes: Vec<_> = kept
            .map(|(name, tensor)| {
                let bytes: Vec<u8> = tensor.data.iter().flat_map(|it| it.to_le_bytes()).collect();
                (name, &tensor.shape, bytes)
            })
            .collect();
        let views = bytes.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, (*shape).clone(), bytes).unwrap();
            (name.as_str(), view)
        });
        let weights = safetensors::serialize(views, None).unwrap();
        std::fs::write(folder.join("model.safetensors"), weights).unwrap();
        std::fs::write(folder.join("config.json"), hf_config.to_string()).unwrap();
        folder.to_owned()
    }
}

/// What a case's model is read from.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    Folder,
    Gguf,
}

/// A case: its document, its model and its adapter at the start.
pub struct Case {
    pub document: Value,
    pub expected: Tensors,
    pub backbone: Backbone,
    pub adapter: Adapter,
    pub batch: Batch,
}

impl Case {
    /// `name` without its extension.
    pub fn open(name: &str) -> Self {
        Self::open_as(name, Form::Folder, Device::Cpu)
    }

    /// The case with its model written to files and read from them.
    pub fn open_as(name: &str, form: Form, device: Device) -> Self {
        let document = document(&format!("{name}.json"));
        let base = Tensors::open(document["base"].as_str().unwrap());
        let scratch = Scratch::new();
        let folder = base.write_folder(&document["hf_config"], scratch.path());
        let mut checkpoint = Checkpoint::open(&folder).unwrap();
        if let Form::Gguf = form {
            let config = checkpoint.config().clone();
            let model = base.model(
                document["hf_config"]["model_type"].as_str().unwrap(),
                config,
            );
            let path = scratch.write("model.gguf", model.gguf().bytes());
            checkpoint = Checkpoint::open(&path).unwrap();
        }
        let config = checkpoint.config().clone();
        let adapter = adapter(&document, &base, &config);
        let backbone = Backbone::load_on(device, config, &checkpoint, Precision::F32).unwrap();
        Self {
            expected: Tensors::open(&format!("{name}.safetensors")),
            batch: batch(&document["batch"]),
            document,
            backbone,
            adapter,
        }
    }

    pub fn is_bayesian(&self) -> bool {
        self.document["method"] == "blob"
    }

    pub fn noise(&self) -> NoiseSharing {
        field(&self.document, "noise")
    }

    pub fn sigma(&self) -> Sigma {
        field(&self.document, "sigma")
    }
}

fn batch(batch: &Value) -> Batch {
    Batch::new(BatchParts {
        ids: field(batch, "ids"),
        offsets: field(batch, "offsets"),
        answers: field(batch, "answers"),
        answer_offsets: field(batch, "answer_offsets"),
        labels: field(batch, "labels"),
        rows: field(batch, "rows"),
    })
    .unwrap()
}

/// The adapter of a document's target modules; `rho_scale`, where it stands, multiplies ρ.
fn adapter(document: &Value, base: &Tensors, backbone: &BackboneConfig) -> Adapter {
    let lora = &document["lora"];
    let target_modules: Vec<Module> = field(lora, "target_modules");
    let rank = field(lora, "rank");
    let bayesian = document["method"] == "blob";
    let rho_scale = document["rho_scale"].as_f64().unwrap_or(1.0) as f32;
    let term = |site: Site| {
        let values = |part| base.values(&format!("lora.{}.{part}", site.path()));
        let (outputs, inputs) = site.shape(backbone);
        let rho = || values("rho").iter().map(|rho| rho * rho_scale).collect();
        let (a, b, rho) = (
            values("A").to_vec(),
            values("B").to_vec(),
            bayesian.then(rho),
        );
        (
            site,
            LowRank {
                rank,
                inputs,
                outputs,
                a,
                b,
                rho,
                rho_b: None,
                beside: BTreeMap::new(),
            },
        )
    };
    let terms = Site::all(&target_modules, backbone).into_iter().map(term);
    let sigma = || field(document, "sigma");
    let config = LoraConfig {
        rank,
        alpha: field(lora, "alpha"),
        dropout: 0.0,
        posterior: bayesian.then(|| Posterior {
            sigma: sigma(),
            init_eps: 0.05,
            over: Gaussian::A,
        }),
        target_modules: target_modules.clone(),
        seed: 0,
        members: 1,
        head: None,
    };
    Adapter::from_terms(config, &[terms.collect()]).unwrap()
}

/// The first member's values as `<path>.{A,B,rho}`.
pub fn named(parameters: &Parameters) -> BTreeMap<String, &[f32]> {
    let values = parameters.member(0);
    let named = parameters.layout().parameters().iter().map(|parameter| {
        let part = match parameter.factor {
            Factor::A => "A",
            Factor::B => "B",
            Factor::Rho => "rho",
            Factor::RhoB => "rhoB",
            other => other.name(),
        };
        let name = format!("{}.{part}", parameter.site.path());
        (name, &values[parameter.range.clone()])
    });
    named.collect()
}

/// Parameters as `<path>.{A,B,rho}`.
pub fn parameters(adapter: &Adapter) -> BTreeMap<String, &[f32]> {
    named(adapter.parameters())
}

/// Every difference is at most `tolerance`, and nothing is NaN.
pub fn assert_near(what: &str, got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len(), "{what}: length");
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        let difference = (got - expected).abs();
        assert!(
            difference <= tolerance, // false for NaN
            "{what}[{i}]: got {got}, expected {expected} within {tolerance}"
        );
    }
}

/// [`assert_near`] with a tolerance relative to the largest expected entry.
pub fn assert_close(what: &str, got: &[f32], expected: &[f32], relative: f32) {
    let largest = expected
        .iter()
        .fold(0.0f32, |most, value| most.max(value.abs()));
    assert_near(what, got, expected, relative * largest);
}
