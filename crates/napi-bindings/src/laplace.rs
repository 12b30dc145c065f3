//! The curvature around an adapter, gathered batch by batch.

use std::sync::Arc;

use blob_core::Error;
use blob_core::adapter::Adapter;
use blob_core::laplace::{Fit, FitConfig, Fitted, KEPT_BYTES, Linearisation};
use napi::bindgen_prelude::{Env, Float64Array, PromiseRaw, ToNapiValue};
use napi_derive::napi;
use serde_json::json;

use crate::adapter::NativeAdapter;
use crate::batch::NativeBatch;
use crate::error::{Result, thrown};
use crate::held::{Handle, Held, Shelf};
use crate::model::{ModelState, NativeAbort, NativeModel, flag_of};
use crate::options::CurvatureOptions;

/// Sums, and what they come to once all rows are in.
pub(crate) struct Gathered {
    fit: Fit,
    fitted: Option<Fitted>,
}

impl Gathered {
    fn fitted(&mut self) -> Result<&Fitted> {
        let fitted = match self.fitted.take() {
            Some(fitted) => fitted,
            None => self.fit.finish()?,
        };
        Ok(self.fitted.insert(fitted))
    }
}

impl Held for Gathered {
    fn shelf(state: &mut ModelState) -> &mut Shelf<Self> {
        &mut state.curvatures
    }
}

/// The curvature of a loss around an adapter.
#[napi]
pub struct NativeCurvature {
    handles: Arc<Handles>,
}

struct Handles {
    curvature: Handle<Gathered>,
    adapter: Arc<Handle<Adapter>>,
}

#[napi]
impl NativeCurvature {
    /// None yet, around `adapter` of `model`; `options` as JSON.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeCurvature>")]
    pub fn create<'env>(
        env: &'env Env,
        model: &NativeModel,
        adapter: &NativeAdapter,
        options: String,
    ) -> napi::Result<PromiseRaw<'env, Self>> {
        let (options, adapter) = adapter.begin::<CurvatureOptions>(*env, model, &options)?;
        let worker = Arc::clone(&model.worker);
        model.worker.submit(env, move |state| {
            let places = state.backbone.config().num_layers + 1;
            let covered = options.stochastic_layers.unwrap_or(places).min(places);
            let config = FitConfig {
                from_block: places - covered,
                rank: options.rank,
                memory_bytes: options.memory_bytes,
                class_tokens: options.class_tokens,
                kept_bytes: Some(KEPT_BYTES),
            };
            let fit = Fit::new(config, state.adapters.get_mut(adapter.number())?)?;
            let gathered = Gathered { fit, fitted: None };
            let curvature = Handle::new(worker, state, gathered);
            Ok(Self {
                handles: Arc::new(Handles { curvature, adapter }),
            })
        })
    }

    /// Adds a batch of labelled rows; resolves to the sum of their NLL, in nats.
    #[napi(catch_unwind, ts_return_type = "Promise<number>")]
    pub fn add<'env>(
        &self,
        env: &'env Env,
        batch: NativeBatch,
        abort: Option<&NativeAbort>,
    ) -> napi::Result<PromiseRaw<'env, f64>> {
        let batch = batch.to_batch().map_err(|error| thrown(env, &error))?;
        let abort = flag_of(abort);
        self.submit(env, move |state, curvature, adapter| {
            abort.check()?;
            let gathered = state.curvatures.get_mut(curvature)?;
            if gathered.fitted.is_some() {
                let message = "a curvature must be given all its rows before it is asked";
                return Err(Error::InvalidInput(message.into()).into());
            }
            let adapter = state.adapters.get_mut(adapter)?;
            let added = gathered.fit.add(&state.backbone, adapter, &batch, &abort)?;
            Ok(added.nll_sum)
        })
    }

    /// What the evidence says, as JSON: `precision` (of largest evidence where none is given),
    /// `logEvidence` and `nll` in nats, `determined` parameters, `rows`.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn evidence<'env>(
        &self,
        env: &'env Env,
        precision: Option<f64>,
    ) -> napi::Result<PromiseRaw<'env, String>> {
        self.submit(env, move |state, curvature, _| {
            let fitted = state.curvatures.get_mut(curvature)?.fitted()?;
            let precision = match precision {
                Some(precision) => precision,
                None => fitted.best_precision()?,
            };
            let found = json!({
                "precision": precision,
                "logEvidence": fitted.evidence(precision),
                "determined": fitted.determined(precision),
                "nll": fitted.nll,
                "rows": fitted.rows,
            });
            Ok(found.to_string())
        })
    }

    /// Sum over a batch's rows of the NLL of answers under each precision, in nats.
    #[napi(catch_unwind, ts_return_type = "Promise<Float64Array>")]
    pub fn nll<'env>(
        &self,
        env: &'env Env,
        batch: NativeBatch,
        precisions: Float64Array,
        abort: Option<&NativeAbort>,
    ) -> napi::Result<PromiseRaw<'env, Float64Array>> {
        let batch = batch.to_batch().map_err(|error| thrown(env, &error))?;
        let abort = flag_of(abort);
        let precisions = precisions.to_vec();
        self.submit(env, move |state, curvature, adapter| {
            abort.check()?;
            let fitted = state.curvatures.get_mut(curvature)?.fitted()?;
            let adapter = state.adapters.get_mut(adapter)?;
            let nll = fitted.nll(&state.backbone, adapter, &batch, &precisions, &abort)?;
            Ok(Float64Array::from(nll))
        })
    }

    /// The Gaussian over a batch's logits under a precision: means (S), then of each prompt the
    /// covariance of its C classes, (C, C).
    #[napi(catch_unwind, ts_return_type = "Promise<Float64Array>")]
    pub fn gaussian<'env>(
        &self,
        env: &'env Env,
        batch: NativeBatch,
        precision: f64,
        abort: Option<&NativeAbort>,
    ) -> napi::Result<PromiseRaw<'env, Float64Array>> {
        let batch = batch.to_batch().map_err(|error| thrown(env, &error))?;
        let abort = flag_of(abort);
        self.submit(env, move |state, curvature, adapter| {
            abort.check()?;
            let fitted = state.curvatures.get_mut(curvature)?.fitted()?;
            let adapter = state.adapters.get_mut(adapter)?;
            let precisions = [precision];
            let of = Linearisation {
                batch: &batch,
                precisions: &precisions,
                from_block: 0,
            };
            let curvature = &fitted.curvature;
            let found = curvature.linearise(&state.backbone, adapter, of, &abort)?;
            let mut all: Vec<f64> = found.mean.iter().map(|&mean| mean.into()).collect();
            all.extend(found.covariances.into_iter().flatten().flatten());
            Ok(Float64Array::from(all))
        })
    }

    /// The adapter with the posterior that a precision gives.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeAdapter>")]
    pub fn adapter<'env>(
        &self,
        env: &'env Env,
        precision: f64,
    ) -> napi::Result<PromiseRaw<'env, NativeAdapter>> {
        let worker = Arc::clone(self.handles.curvature.worker());
        self.submit(env, move |state, curvature, adapter| {
            let fitted = state.curvatures.get_mut(curvature)?.fitted()?;
            let posterior = fitted.posterior(precision)?;
            let adapter = state.adapters.get_mut(adapter)?.with_laplace(posterior)?;
            Ok(NativeAdapter::new(worker, state, adapter, &[]))
        })
    }

    /// Lets queued work finish and frees the sums, not the adapter; later calls reject with
    /// `BPEFT_WORKER_STOPPED`.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn dispose<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, ()>> {
        self.handles.curvature.dispose(env)
    }
}

impl NativeCurvature {
    fn submit<'env, T, Work>(&self, env: &'env Env, work: Work) -> napi::Result<PromiseRaw<'env, T>>
    where
        T: ToNapiValue + Send + 'static,
        Work: FnOnce(&mut ModelState, u64, u64) -> Result<T> + Send + 'static,
    {
        let handles = Arc::clone(&self.handles);
        let worker = Arc::clone(handles.curvature.worker());
        worker.submit(env, move |state| {
            work(state, handles.curvature.number(), handles.adapter.number())
        })
    }
}
