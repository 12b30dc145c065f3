//! Encoders of transformers with PEFT's adapters on them (`tools/goldens/encoders.py`).

use blob_core::abort::Abort;
use blob_core::adapter::{Adapter, Parameters, Sigma, peft};
use blob_core::backbone::Backbone;
use blob_core::batch::{Batch, BatchParts};
use blob_core::kernels::cpu::gemm::Precision;
use blob_core::noise::{Phase, Stream};
use blob_core::objective::{Average, CrossEntropy, Objective};
use blob_core::ops::{Device, Tensor};
use blob_core::pass::{BatchCopy, Mode, NoiseSharing, Pass};
use blob_core::weights::Checkpoint;
use serde_json::Value;

use super::Scratch;
use super::golden::{Tensors, bytes, document, field};

/// Every case.
pub const ENCODER_CASES: [&str; 14] = [
    "encoder-bert",
    "encoder-bert-everywhere",
    "encoder-bert-terms-on-the-head",
    "encoder-roberta",
    "encoder-roberta-terms-on-the-head",
    "encoder-distilbert",
    "encoder-distilbert-everywhere",
    "encoder-modernbert",
    "encoder-modernbert-everywhere",
    "encoder-deberta",
    "encoder-deberta-everywhere",
    "encoder-deberta-terms-on-the-head",
    "encoder-bert-blob",
    "encoder-deberta-blob",
];

pub struct EncoderCase {
    pub expected: Tensors,
    pub backbone: Backbone,
    pub adapter: Adapter,
    pub batch: Batch,
    pub notices: Vec<String>,
    pub noise: Option<NoiseSharing>,
}

/// Writes the base as a Hugging Face folder.
pub fn write_base(name: &str, scratch: &Scratch) {
    let config = document(&format!("{name}.json"))["hf_config"].to_string();
    scratch.write("config.json", config);
    let weights = bytes(&format!("{name}-base.safetensors"));
    scratch.write("model.safetensors", weights);
}

/// The batch of a document.
pub fn batch(batch: &Value) -> Batch {
    let parts = BatchParts {
        ids: field(batch, "ids"),
        offsets: field(batch, "offsets"),
        answers: field(batch, "answers"),
        answer_offsets: field(batch, "answer_offsets"),
        labels: field(batch, "labels"),
        rows: field(batch, "rows"),
    };
    let batch = Batch::new(parts).and_then(|it| it.with_types(field(batch, "types")));
    batch.unwrap()
}

impl EncoderCase {
    pub fn open(name: &str) -> Self {
        Self::open_on(name, Device::Cpu)
    }

    pub fn open_on(name: &str, device: Device) -> Self {
        let document = document(&format!("{name}.json"));
        let (base, of_adapter) = (Scratch::new(), Scratch::new());
        write_base(name, &base);
        let checkpoint = Checkpoint::open(base.path()).unwrap();
        let config = checkpoint.config().clone();
        let backbone = Backbone::load_on(device, config, &checkpoint, Precision::F32).unwrap();
        let config = document["adapter_config"].to_string();
        of_adapter.write("adapter_config.json", config);
        let weights = bytes(&format!("{name}-adapter.safetensors"));
        of_adapter.write("adapter_model.safetensors", weights);
        let loaded = peft::load(of_adapter.path(), backbone.config(), Sigma::Square).unwrap();
        assert_eq!(loaded.notices, [""; 0], "{name}");
        Self {
            expected: Tensors::open(&format!("{name}.safetensors")),
            noise: field(&document, "noise"),
            notices: checkpoint.notices().to_vec(),
            adapter: loaded.adapter,
            batch: batch(&document["batch"]),
            backbone,
        }
    }

    /// Logits, mean loss, and all gradients.
    pub fn run(&self) -> (Vec<f32>, f32, Parameters) {
        let (batch, adapter) = (&self.batch, &self.adapter);
        let stream = Stream::new(0, 1, Phase::Training { micro_batch: 0 });
        let copies = vec![BatchCopy::whole(batch, stream, 0)];
        let mode = Mode {
            sampling: self.noise,
            ..Mode::MEAN
        };
        let pass = Pass::new(batch, copies, mode, Abort::default());
        let forward = self.backbone.forward(batch, &pass, Some(adapter), true);
        let (logits, kept) = forward.unwrap();
        let objective = CrossEntropy {
            average: Average::Logits,
        };
        let weight = 1.0 / batch.len() as f32;
        let loss = objective.evaluate(&logits, batch, weight).unwrap();
        let mut gradients = adapter.parameters().zeros_like();
        let dlogits = Tensor::vector(loss.dlogits).unwrap();
        let (kept, backbone) = (kept.unwrap(), &self.backbone);
        let backward = backbone.backward(kept, &dlogits, &pass, adapter, &mut gradients);
        backward.unwrap();
        gradients.fetch().unwrap();
        let nll = loss.nll_sum / batch.len() as f64;
        (logits, nll as f32, gradients)
    }

    /// Values of the adapter's shape by the names of PEFT's file.
    pub fn published(&self, values: &Parameters) -> Tensors {
        let mut adapter = self.adapter.clone();
        let to = adapter.parameters_mut();
        to.member_mut(0).copy_from_slice(values.member(0));
        let scratch = Scratch::new();
        peft::save(&adapter, self.backbone.config(), scratch.path(), "base").unwrap();
        Tensors::read(&scratch.path().join("adapter_model.safetensors"))
    }
}
