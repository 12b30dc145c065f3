//! An adapter of a loaded model.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blob_core::adapter::{Adapter, peft};
use blob_core::kl::{GaussianKl, PriorStd};
use blob_core::predict::{PredictConfig, predict};
use blob_core::{Error, Result};
use napi::bindgen_prelude::{Env, Float32Array, PromiseRaw};
use napi_derive::napi;
use serde_json::json;

use crate::batch::NativeBatch;
use crate::error::{settle, thrown};
use crate::model::{ModelState, NativeAbort};
use crate::options::{KlOptions, SaveAdapterOptions, parse};
use crate::worker::Worker;

/// The low-rank terms of one fine-tuning; locked on the model's thread only.
#[napi]
pub struct NativeAdapter {
    worker: Arc<Worker<ModelState>>,
    adapter: Arc<Mutex<Adapter>>,
    info: String,
}

impl NativeAdapter {
    pub(crate) fn new(
        worker: Arc<Worker<ModelState>>,
        adapter: Adapter,
        notices: Vec<String>,
    ) -> Self {
        let config = adapter.config();
        let info = json!({
            "rank": config.rank,
            "alpha": config.alpha,
            "dropout": config.dropout,
            "target_modules": config.target_modules,
            "bayesian": config.posterior.is_some(),
            "sigma": config.posterior.map(|posterior| posterior.sigma),
            "trainable_parameters": adapter.trainable_parameters(),
            "tensors": adapter.terms().count() * if config.posterior.is_some() { 3 } else { 2 },
            "sigma_mean": adapter.sigma_mean(),
            "notices": notices,
        })
        .to_string();
        Self {
            worker,
            adapter: Arc::new(Mutex::new(adapter)),
            info,
        }
    }

    /// Refuses another model than the one it was made for: its shapes need not fit.
    pub(crate) fn check_model(&self, worker: &Arc<Worker<ModelState>>) -> Result<()> {
        if Arc::ptr_eq(&self.worker, worker) {
            return Ok(());
        }
        Err(Error::InvalidInput(
            "an adapter must be trained on the model that it was made for, got another one".into(),
        ))
    }

    pub(crate) fn share(&self) -> Arc<Mutex<Adapter>> {
        Arc::clone(&self.adapter)
    }
}

/// The adapter behind its lock; a panic elsewhere leaves whole numbers, so poison is ignored.
pub(crate) fn locked(adapter: &Mutex<Adapter>) -> MutexGuard<'_, Adapter> {
    adapter.lock().unwrap_or_else(PoisonError::into_inner)
}

#[napi]
impl NativeAdapter {
    /// What it was when it was created or loaded, as JSON.
    #[napi]
    pub fn info(&self) -> &str {
        &self.info
    }

    /// Writes PEFT's two files into a folder, each whole or not at all; `options` as JSON.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn save<'env>(
        &self,
        env: &'env Env,
        dir: String,
        options: String,
    ) -> napi::Result<PromiseRaw<'env, ()>> {
        let options: SaveAdapterOptions = parse(&options).map_err(|error| thrown(env, &error))?;
        let adapter = self.share();
        settle(
            env,
            self.worker.submit(move |_| {
                peft::save(
                    &locked(&adapter),
                    dir.as_ref(),
                    &options.base_model_name_or_path,
                )
            }),
        )
    }

    /// KL to the prior, in nats, summed over all weights (0 for a point estimate); `options` as JSON.
    #[napi(ts_return_type = "Promise<number>")]
    pub fn kl<'env>(&self, env: &'env Env, options: String) -> napi::Result<PromiseRaw<'env, f64>> {
        let options: KlOptions = parse(&options).map_err(|error| thrown(env, &error))?;
        let adapter = self.share();
        settle(
            env,
            self.worker.submit(move |_| {
                let kl = GaussianKl::new(PriorStd::new(options.prior_std)?, options.form);
                Ok(kl.of(&locked(&adapter)).unwrap_or(0.0))
            }),
        )
    }

    /// Class logits, (max(samples, 1)·S), sample-major; `options` as JSON.
    #[napi(ts_return_type = "Promise<Float32Array>")]
    pub fn predict<'env>(
        &self,
        env: &'env Env,
        batch: NativeBatch,
        options: String,
        abort: Option<&NativeAbort>,
    ) -> napi::Result<PromiseRaw<'env, Float32Array>> {
        let options: PredictConfig = parse(&options).map_err(|error| thrown(env, &error))?;
        let batch = batch.to_batch().map_err(|error| thrown(env, &error))?;
        let (adapter, abort) = (
            self.share(),
            abort.map(|abort| abort.flag.clone()).unwrap_or_default(),
        );
        let logits = self.worker.submit(move |state| {
            abort.check()?;
            predict(
                &state.decoder,
                Some(&locked(&adapter)),
                &batch,
                &options,
                &abort,
            )
        });
        settle(env, async move { Ok(Float32Array::from(logits.await?)) })
    }
}
