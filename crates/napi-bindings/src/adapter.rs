//! An adapter of a loaded model.

use std::sync::Arc;

use blob_core::Error;
use blob_core::adapter::{Adapter, peft};
use blob_core::kl::{GaussianKl, PriorStd};
use blob_core::predict::{PredictConfig, predict};
use napi::bindgen_prelude::{Env, Float32Array, PromiseRaw};
use napi_derive::napi;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::batch::NativeBatch;
use crate::error::{Result, thrown};
use crate::held::{Handle, Held, Shelf};
use crate::model::{ModelState, NativeAbort, NativeModel, flag_of};
use crate::options::{
    IsotropicOptions, KlOptions, SaveAdapterOptions, SigmaQuantilesOptions, parse,
};
use crate::worker::Worker;

/// The low-rank terms of one fine-tuning; owned by the model's thread.
#[napi]
pub struct NativeAdapter {
    handle: Arc<Handle<Adapter>>,
    info: String,
}

impl Held for Adapter {
    fn shelf(state: &mut ModelState) -> &mut Shelf<Self> {
        &mut state.adapters
    }
}

impl NativeAdapter {
    /// Hands `adapter` to the model; called on the model's thread.
    pub(crate) fn new(
        worker: Arc<Worker<ModelState>>,
        state: &mut ModelState,
        adapter: Adapter,
        notices: &[String],
    ) -> Self {
        let config = adapter.config();
        let info = json!({
            "rank": config.rank,
            "alpha": config.alpha,
            "dropout": config.dropout,
            "targetModules": config.target_modules,
            "bayesian": config.posterior.is_some() || adapter.curvature().is_some(),
            "sigma": config.posterior.map(|posterior| posterior.sigma),
            "over": config.gaussian(),
            "trainableParameters": adapter.trainable_parameters(),
            "tensors": adapter.parameters().layout().parameters().len() * config.members,
            "members": config.members,
            "head": config.head.map(|head| json!({
                "classes": head.classes,
                "trained": head.trained,
            })),
            "sigmaMean": adapter.sigma_mean(),
            "priorPrecision": adapter.curvature().map(|curvature| curvature.precision),
            "notices": notices,
        })
        .to_string();
        Self {
            handle: Arc::new(Handle::new(worker, state, adapter)),
            info,
        }
    }

    /// What is made around the adapter on its model begins with its options, as JSON, and the
    /// adapter's handle.
    pub(crate) fn begin<Options: DeserializeOwned>(
        &self,
        env: Env,
        model: &NativeModel,
        options: &str,
    ) -> napi::Result<(Options, Arc<Handle<Adapter>>)> {
        let begin = || Ok((parse(options)?, self.handle_for(&model.worker)?));
        begin().map_err(|error| thrown(&env, &error))
    }

    /// The handle, for a model that the adapter was made for: another's shapes need not fit.
    fn handle_for(&self, worker: &Arc<Worker<ModelState>>) -> Result<Arc<Handle<Adapter>>> {
        if Arc::ptr_eq(self.handle.worker(), worker) {
            return Ok(Arc::clone(&self.handle));
        }
        Err(Error::InvalidInput(
            "an adapter must be trained on the model that it was made for, got another one".into(),
        )
        .into())
    }

    /// [`Self::submit`] of what reads the adapter's values, once they are in the host's memory.
    fn read<'env, T>(
        &self,
        env: &'env Env,
        work: impl FnOnce(&mut ModelState, u64) -> Result<T> + Send + 'static,
    ) -> napi::Result<PromiseRaw<'env, T>>
    where
        T: napi::bindgen_prelude::ToNapiValue + Send + 'static,
    {
        self.submit(env, |state, number| {
            state.adapters.get_mut(number)?.fetch()?;
            work(state, number)
        })
    }

    fn submit<'env, T>(
        &self,
        env: &'env Env,
        work: impl FnOnce(&mut ModelState, u64) -> Result<T> + Send + 'static,
    ) -> napi::Result<PromiseRaw<'env, T>>
    where
        T: napi::bindgen_prelude::ToNapiValue + Send + 'static,
    {
        let handle = Arc::clone(&self.handle);
        let worker = Arc::clone(self.handle.worker());
        worker.submit(env, move |state| work(state, handle.number()))
    }
}

#[napi]
impl NativeAdapter {
    /// What it was when it was created or loaded, as JSON.
    #[napi(catch_unwind)]
    pub fn info(&self) -> &str {
        &self.info
    }

    /// Writes PEFT's two files into a folder, each whole or not at all; `options` as JSON.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn save<'env>(
        &self,
        env: &'env Env,
        dir: String,
        options: String,
    ) -> napi::Result<PromiseRaw<'env, ()>> {
        let options: SaveAdapterOptions = parse(&options).map_err(|error| thrown(env, &error))?;
        self.read(env, move |state, number| {
            let adapter = state.adapters.get_mut(number)?;
            Ok(peft::save(
                adapter,
                state.backbone.config(),
                dir.as_ref(),
                &options.base_model_name_or_path,
            )?)
        })
    }

    /// KL to the prior, in nats, summed over all weights (0 for a point estimate); `options` as
    /// JSON.
    #[napi(catch_unwind, ts_return_type = "Promise<number>")]
    pub fn kl<'env>(&self, env: &'env Env, options: String) -> napi::Result<PromiseRaw<'env, f64>> {
        let options: KlOptions = parse(&options).map_err(|error| thrown(env, &error))?;
        self.read(env, move |state, number| {
            let kl = GaussianKl::new(PriorStd::new(options.prior_std)?, options.form);
            Ok(kl.of(state.adapters.get_mut(number)?).unwrap_or(0.0))
        })
    }

    /// Quantiles of σ in each layer, as JSON: a list of [name, values]; `options` as JSON.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn sigma_quantiles<'env>(
        &self,
        env: &'env Env,
        options: String,
    ) -> napi::Result<PromiseRaw<'env, String>> {
        let options: SigmaQuantilesOptions =
            parse(&options).map_err(|error| thrown(env, &error))?;
        self.read(env, move |state, number| {
            let adapter = state.adapters.get_mut(number)?;
            let layers: Vec<_> = adapter
                .sigma_quantiles(&options.fractions)?
                .into_iter()
                .map(|(site, values)| (site.path(), values))
                .collect();
            Ok(json!(layers).to_string())
        })
    }

    /// The same weights as a Gaussian over A, isotropic in each layer's column space, of scale 1;
    /// `options` as JSON.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeAdapter>")]
    pub fn isotropic<'env>(
        &self,
        env: &'env Env,
        options: String,
    ) -> napi::Result<PromiseRaw<'env, Self>> {
        let options: IsotropicOptions = parse(&options).map_err(|error| thrown(env, &error))?;
        let worker = Arc::clone(self.handle.worker());
        self.read(env, move |state, number| {
            let places = state.backbone.config().num_layers + 1;
            let random = options.stochastic_layers.unwrap_or(places).min(places);
            let adapter = state.adapters.get_mut(number)?;
            let adapter = adapter.isotropic(options.rule, places - random)?;
            Ok(Self::new(worker, state, adapter, &[]))
        })
    }

    /// The same mean with every σ times `factor`.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeAdapter>")]
    pub fn with_sigma_times<'env>(
        &self,
        env: &'env Env,
        factor: f64,
    ) -> napi::Result<PromiseRaw<'env, Self>> {
        let worker = Arc::clone(self.handle.worker());
        self.read(env, move |state, number| {
            let adapter = state.adapters.get_mut(number)?.with_sigma_times(factor)?;
            Ok(Self::new(worker, state, adapter, &[]))
        })
    }

    /// Class logits, (max(samples, 1)·S), sample-major; `options` as JSON.
    #[napi(catch_unwind, ts_return_type = "Promise<Float32Array>")]
    pub fn predict<'env>(
        &self,
        env: &'env Env,
        batch: NativeBatch,
        options: String,
        abort: Option<&NativeAbort>,
    ) -> napi::Result<PromiseRaw<'env, Float32Array>> {
        let options: PredictConfig = parse(&options).map_err(|error| thrown(env, &error))?;
        let batch = batch.to_batch().map_err(|error| thrown(env, &error))?;
        let abort = flag_of(abort);
        self.submit(env, move |state, number| {
            abort.check()?;
            let adapter = state.adapters.get_mut(number)?;
            let logits = predict(&state.backbone, Some(adapter), &batch, &options, &abort)?;
            Ok(Float32Array::from(logits))
        })
    }

    /// Lets queued work finish and frees the weights; later calls reject with
    /// `BPEFT_WORKER_STOPPED`.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn dispose<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, ()>> {
        self.handle.dispose(env)
    }
}
