//! A loaded model: weights, tokenizer, and the thread that owns them.

use std::sync::Arc;

use blob_core::abort::Abort;
use blob_core::adapter::{Adapter, LoraConfig, Sigma, peft};
use blob_core::backbone::{Backbone, BackboneConfig, Quantized, RandomWeights, WeightSource};
use blob_core::kernels::cpu::quantize::Quantization;
use blob_core::tokenizer::Tokenizer;
use blob_core::train::Trainer;
use blob_core::weights::Checkpoint;
use napi::bindgen_prelude::{Env, PromiseRaw, Uint32Array};
use napi_derive::napi;
use serde_json::json;

use crate::adapter::NativeAdapter;
use crate::error::{Result, thrown};
use crate::held::Shelf;
use crate::options::{LoadAdapterOptions, ModelOptions, Source, parse};
use crate::promise::promise;
use crate::reading::{Counted, NativeReading};
use crate::worker::Worker;

/// What the worker thread owns.
pub(crate) struct ModelState {
    pub(crate) backbone: Backbone,
    pub(crate) source: Box<dyn WeightSource + Send>,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) adapters: Shelf<Adapter>,
    pub(crate) trainers: Shelf<Trainer>,
}

/// A frozen model in memory.
#[napi]
pub struct NativeModel {
    pub(crate) worker: Arc<Worker<ModelState>>,
    info: String,
}

/// Token ids of several texts.
#[napi(object)]
pub struct NativeTokens {
    /// All ids, one text after another.
    pub ids: Uint32Array,
    /// Text i is `ids[offsets[i]..offsets[i+1]]`.
    pub offsets: Uint32Array,
}

/// A flag that stops work between two layers.
#[napi]
#[derive(Default)]
pub struct NativeAbort {
    pub(crate) flag: Abort,
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
        let abort = abort.map(|abort| abort.flag.clone()).unwrap_or_default();
        let (answer, promised) = promise(env)?;
        Worker::start(
            options.threads,
            move || build(&options, reading, abort),
            |worker, state| Self {
                worker,
                info: info_of(state),
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
            let adapter = Adapter::new(config, state.backbone.config())?;
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
            let loaded = peft::load(dir.as_ref(), state.backbone.config(), sigma)?;
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
    let precision = options.precision.into();
    let quantize = options.quantize.map(Into::into);
    let (source, config, tokenizer): (Box<dyn WeightSource + Send>, BackboneConfig, Tokenizer) =
        match &options.source {
            Source::File { path } => {
                let checkpoint = Checkpoint::open(path)?;
                let (config, tokenizer) = (checkpoint.config().clone(), checkpoint.tokenizer()?);
                let counted = Counted::new(checkpoint, reading, abort);
                (quantized(counted, quantize), config, tokenizer)
            }
            Source::Random { seed } => (
                quantized(RandomWeights { seed: *seed }, quantize),
                RandomWeights::config(),
                Tokenizer::bytes(),
            ),
        };
    let tokenizer = tokenizer.for_rows(config.vocab_size);
    let backbone = Backbone::load(config, source.as_ref(), precision)?;
    Ok(ModelState {
        backbone,
        source,
        tokenizer,
        adapters: Shelf::default(),
        trainers: Shelf::default(),
    })
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
    json!({
        "architecture": "llama",
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
