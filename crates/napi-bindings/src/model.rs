//! A loaded model: weights, tokenizer, and the thread that owns them.

use std::collections::BTreeMap;
use std::sync::Arc;

use blob_core::Error;
use blob_core::abort::Abort;
use blob_core::adapter::{Adapter, LoraConfig, Sigma, peft};
use blob_core::backbone::{Backbone, BackboneConfig, Quantized, RandomWeights, WeightSource};
use blob_core::ops::Device;
use blob_core::quantization::Quantization;
use blob_core::tokenizer::Tokenizer;
use blob_core::train::Trainer;
use blob_core::weights::Checkpoint;
use napi::bindgen_prelude::{Env, PromiseRaw, Uint8Array, Uint32Array};
use napi_derive::napi;
use serde_json::json;

use crate::adapter::NativeAdapter;
use crate::device::open;
use crate::error::{Result, thrown};
use crate::held::Shelf;
use crate::laplace::Gathered;
use crate::options::{LoadAdapterOptions, ModelOptions, Source, parse};
use crate::promise::promise;
use crate::reading::{Counted, NativeReading};
use crate::worker::Worker;

/// What the worker thread owns.
pub(crate) struct ModelState {
    pub(crate) backbone: Backbone,
    pub(crate) source: Box<dyn WeightSource + Send>,
    pub(crate) tokenizer: Tokenizer,
    /// What opening left out, and what an adapter starts anew.
    notices: Vec<String>,
    pub(crate) adapters: Shelf<Adapter>,
    pub(crate) trainers: Shelf<Trainer>,
    pub(crate) curvatures: Shelf<Gathered>,
}

/// A frozen model in memory.
#[napi]
pub struct NativeModel {
    pub(crate) worker: Arc<Worker<ModelState>>,
    info: String,
    device: Device,
}

/// Token ids of several texts.
#[napi(object)]
pub struct NativeTokens {
    /// All ids, one text after another.
    pub ids: Uint32Array,
    /// Text i is `ids[offsets[i]..offsets[i+1]]`.
    pub offsets: Uint32Array,
}

/// Token ids of several texts or pairs, as an encoder reads them.
#[napi(object)]
pub struct NativeTexts {
    /// All ids, one text after another, special tokens included.
    pub ids: Uint32Array,
    /// Text i is `ids[offsets[i]..offsets[i+1]]`.
    pub offsets: Uint32Array,
    /// Which text of its pair each token belongs to, as the model was trained to see it.
    pub types: Uint32Array,
    /// 1 where something was cut, one per text.
    pub truncated: Uint8Array,
}

/// A flag that stops work between two layers.
#[napi]
#[derive(Default)]
pub struct NativeAbort {
    pub(crate) flag: Abort,
}

/// What a call looks at; none is given: nothing raises it.
pub(crate) fn flag_of(abort: Option<&NativeAbort>) -> Abort {
    abort.map(|abort| abort.flag.clone()).unwrap_or_default()
}

#[napi]
impl NativeAbort {
    /// A flag that is not raised.
    #[napi(constructor, catch_unwind)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises it, for good.
    #[napi(catch_unwind)]
    pub fn abort(&self) {
        self.flag.abort();
    }
}

#[napi]
impl NativeModel {
    /// Loads a model on its own thread; `options` as JSON. `reading` counts its tensors meanwhile.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeModel>")]
    pub fn load<'env>(
        env: &'env Env,
        options: String,
        reading: &NativeReading,
        abort: Option<&NativeAbort>,
    ) -> napi::Result<PromiseRaw<'env, Self>> {
        let options: ModelOptions = parse(&options).map_err(|error| thrown(env, &error))?;
        let reading = reading.clone();
        let abort = flag_of(abort);
        let (answer, promised) = promise(env)?;
        Worker::start(
            options.threads,
            move || build(&options, reading, abort),
            |worker, state| Self {
                worker,
                info: info_of(state),
                device: state.backbone.device(),
            },
            answer,
        );
        Ok(promised)
    }

    /// What was loaded, as JSON.
    #[napi(catch_unwind)]
    pub fn info(&self) -> &str {
        &self.info
    }

    /// Most bytes of the GPU's memory that arrays of this process had at once; null on the CPU.
    #[napi(catch_unwind)]
    pub fn peak_gpu_bytes(&self) -> Option<f64> {
        self.device.peak_bytes().map(|bytes| bytes as f64)
    }

    /// Token ids of each text, with the tokenizer's own special tokens if asked for.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeTokens>")]
    pub fn encode<'env>(
        &self,
        env: &'env Env,
        texts: Vec<String>,
        add_special_tokens: bool,
    ) -> napi::Result<PromiseRaw<'env, NativeTokens>> {
        self.worker.submit(env, move |state| {
            let encoded = state.tokenizer.encode_batch(&texts, add_special_tokens)?;
            let mut offsets = vec![0u32];
            for ids in &encoded {
                offsets.push(offsets[offsets.len() - 1] + ids.len() as u32);
            }
            Ok(NativeTokens {
                ids: encoded.concat().into(),
                offsets: offsets.into(),
            })
        })
    }

    /// Token ids of each text, or of each pair where a second is given, at most `max_length` with
    /// the special ones; cut longest first.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeTexts>")]
    pub fn encode_texts<'env>(
        &self,
        env: &'env Env,
        firsts: Vec<String>,
        seconds: Vec<Option<String>>,
        max_length: u32,
    ) -> napi::Result<PromiseRaw<'env, NativeTexts>> {
        if firsts.len() != seconds.len() {
            let error = Error::InvalidInput(format!(
                "texts must have a second text or null each, got {} for {}",
                seconds.len(),
                firsts.len()
            ));
            return Err(thrown(env, &error.into()));
        }
        let texts: Vec<_> = firsts.into_iter().zip(seconds).collect();
        self.worker.submit(env, move |state| {
            let encoded = state
                .tokenizer
                .encode_texts_batch(&texts, max_length as usize)?;
            let mut offsets = vec![0u32];
            let (mut ids, mut types, mut truncated) = (Vec::new(), Vec::new(), Vec::new());
            for text in encoded {
                ids.extend(text.ids);
                types.extend(text.type_ids);
                truncated.push(u8::from(text.truncated));
                offsets.push(ids.len() as u32);
            }
            Ok(NativeTexts {
                ids: ids.into(),
                offsets: offsets.into(),
                types: types.into(),
                truncated: truncated.into(),
            })
        })
    }

    /// The text of token ids.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn decode<'env>(
        &self,
        env: &'env Env,
        ids: Uint32Array,
    ) -> napi::Result<PromiseRaw<'env, String>> {
        let ids = ids.to_vec();
        self.worker
            .submit(env, move |state| Ok(state.tokenizer.decode(&ids)?))
    }

    /// A fresh adapter; `options` as JSON.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeAdapter>")]
    pub fn create_adapter<'env>(
        &self,
        env: &'env Env,
        options: String,
    ) -> napi::Result<PromiseRaw<'env, NativeAdapter>> {
        let config: LoraConfig = parse(&options).map_err(|error| thrown(env, &error))?;
        let worker = Arc::clone(&self.worker);
        self.worker.submit(env, move |state| {
            let adapter = state.backbone.adapter(config)?;
            Ok(NativeAdapter::new(worker, state, adapter, &[]))
        })
    }

    /// An adapter of a PEFT folder; `options` as JSON.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeAdapter>")]
    pub fn load_adapter<'env>(
        &self,
        env: &'env Env,
        dir: String,
        options: String,
    ) -> napi::Result<PromiseRaw<'env, NativeAdapter>> {
        let options: LoadAdapterOptions = parse(&options).map_err(|error| thrown(env, &error))?;
        let worker = Arc::clone(&self.worker);
        self.worker.submit(env, move |state| {
            let sigma = options.sigma.unwrap_or(Sigma::Square);
            let mut loaded = peft::load(dir.as_ref(), state.backbone.config(), sigma)?;
            if loaded.head_is_of_base {
                state.backbone.give_head(&mut loaded.adapter);
            }
            Ok(NativeAdapter::new(
                worker,
                state,
                loaded.adapter,
                &loaded.notices,
            ))
        })
    }

    /// Lets queued work finish and frees the model with its adapters and trainers; later calls
    /// reject with `BPEFT_WORKER_STOPPED`.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn dispose<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, ()>> {
        self.worker.dispose(env)
    }
}

fn build(options: &ModelOptions, reading: NativeReading, abort: Abort) -> Result<ModelState> {
    let device = open(&options.device)?;
    let device = if options.deterministic {
        device.deterministic()?
    } else {
        device
    };
    let device = if options.cuda_graphs {
        device.with_graphs()?
    } else {
        device
    };
    let precision = options.precision.into();
    let quantize = options.quantize.map(Into::into);
    let opened = match &options.source {
        Source::File { path } => {
            let checkpoint = Checkpoint::open(path)?;
            Opened {
                config: checkpoint.config().clone(),
                tokenizer: Tokenizer::of(&checkpoint)?,
                notices: checkpoint.notices().to_vec(),
                source: quantized(Counted::new(checkpoint, reading, abort), quantize),
            }
        }
        Source::Random { seed } => Opened {
            config: RandomWeights::config(),
            tokenizer: Tokenizer::bytes(),
            notices: Vec::new(),
            source: quantized(RandomWeights { seed: *seed }, quantize),
        },
    };
    let Opened { config, source, .. } = opened;
    let tokenizer = opened.tokenizer.for_rows(config.vocab_size);
    let backbone = Backbone::load_on(device, config, source.as_ref(), precision)?;
    Ok(ModelState {
        backbone,
        source,
        tokenizer,
        notices: opened.notices,
        adapters: Shelf::default(),
        trainers: Shelf::default(),
        curvatures: Shelf::default(),
    })
}

/// What a model is made of.
struct Opened {
    source: Box<dyn WeightSource + Send>,
    config: BackboneConfig,
    tokenizer: Tokenizer,
    notices: Vec<String>,
}

fn quantized<S: WeightSource + Send + 'static>(
    source: S,
    to: Option<Quantization>,
) -> Box<dyn WeightSource + Send> {
    match to {
        Some(to) => Box::new(Quantized::new(source, to)),
        None => Box::new(source),
    }
}

fn info_of(state: &ModelState) -> String {
    let (config, tokenizer) = (state.backbone.config(), &state.tokenizer);
    let summary = state.source.summary();
    let encoder = config.encoder.as_ref();
    let modules = config.modules().iter();
    let layer_names: BTreeMap<_, _> = modules
        .map(|&module| (module.name(), config.published_module(module)))
        .collect();
    json!({
        "kind": if encoder.is_some() { "encoder" } else { "decoder" },
        "architecture": encoder.map_or("llama", |encoder| encoder.family.name()),
        "head": encoder.and_then(|encoder| encoder.classes).map(|classes| json!({
            "classes": classes,
        })),
        "layerNames": layer_names,
        "notices": state.notices,
        "format": summary.format,
        "parameters": config.parameters(),
        "hiddenSize": config.hidden_size,
        "numLayers": config.num_layers,
        "numHeads": config.num_heads,
        "numKvHeads": config.num_kv_heads,
        "headDim": config.head_dim,
        "intermediateSize": config.intermediate_size,
        "vocabSize": config.vocab_size,
        "maxPositionEmbeddings": config.max_position_embeddings,
        "tieWordEmbeddings": config.tie_word_embeddings,
        "ropeTheta": config.rope_theta,
        "device": state.backbone.device().spelled(),
        "gpu": state.backbone.device().gpu_name(),
        "precision": state.backbone.precision().name(),
        "tensorTypes": summary.tensor_types,
        "blockTypes": state.backbone.block_types(),
        "weightBytes": summary.weight_bytes,
        "memoryBytes": state.backbone.weight_bytes(),
        "threads": rayon::current_num_threads(),
        "bosTokenId": tokenizer.bos_token_id(),
        "eosTokenId": tokenizer.eos_token_id(),
        "tokenizer": tokenizer.kind(),
        "llamaClassTokenizer": tokenizer.is_llama_class(),
        "addsBos": tokenizer.adds_bos(),
    })
    .to_string()
}
