//! A training run on a loaded model.

use std::sync::{Arc, Mutex, PoisonError};

use blob_core::adapter::Adapter;
use blob_core::kl::{Dynamics, GaussianKl, PriorStd};
use blob_core::train::{StepReport, Trainer};
use napi::bindgen_prelude::{Env, PromiseRaw};
use napi_derive::napi;

use crate::adapter::{NativeAdapter, locked};
use crate::batch::NativeBatch;
use crate::error::{settle, thrown};
use crate::model::{ModelState, NativeAbort, NativeModel};
use crate::options::{ForecastOptions, TrainerOptions, parse};
use crate::worker::Worker;

/// Optimizers and counters of one run.
#[napi]
pub struct NativeTrainer {
    worker: Arc<Worker<ModelState>>,
    adapter: Arc<Mutex<Adapter>>,
    trainer: Arc<Mutex<Trainer>>,
}

/// What one update did.
#[napi(object)]
pub struct NativeStepReport {
    /// Updates done, from 1.
    pub step: f64,
    /// Mean over the update's rows, in nats.
    pub nll: f64,
    /// KL to the prior in nats, after the AdamW step.
    pub kl: Option<f64>,
    /// π.
    pub kl_weight: Option<f64>,
    /// Rows whose most probable class is their label.
    pub correct: u32,
    /// Rows.
    pub rows: u32,
    /// Tokens of the prompts.
    pub tokens: u32,
    /// AdamW's rate.
    pub lr: f64,
    /// The KL-SGD's rate.
    pub kl_lr: Option<f64>,
    /// Mean of σ after the update.
    pub sigma_mean: Option<f64>,
    /// L2 norm of the NLL gradient of M and B, before clipping.
    pub grad_norm: f64,
}

impl From<StepReport> for NativeStepReport {
    fn from(report: StepReport) -> Self {
        Self {
            step: report.step as f64,
            nll: report.nll,
            kl: report.update.kl,
            kl_weight: report.update.kl_weight,
            correct: report.correct as u32,
            rows: report.rows as u32,
            tokens: report.tokens as u32,
            lr: report.update.lr,
            kl_lr: report.update.kl_lr,
            sigma_mean: report.sigma_mean,
            grad_norm: report.update.grad_norm,
        }
    }
}

#[napi]
impl NativeTrainer {
    /// A run of `adapter` on `model`; `options` as JSON.
    #[napi(ts_return_type = "Promise<NativeTrainer>")]
    pub fn create<'env>(
        env: &'env Env,
        model: &NativeModel,
        adapter: &NativeAdapter,
        options: String,
    ) -> napi::Result<PromiseRaw<'env, Self>> {
        let options: TrainerOptions = parse(&options).map_err(|error| thrown(env, &error))?;
        adapter
            .check_model(&model.worker)
            .map_err(|error| thrown(env, &error))?;
        let (worker, adapter) = (Arc::clone(&model.worker), adapter.share());
        settle(env, async move {
            let shared = Arc::clone(&adapter);
            let trainer = worker
                .submit(move |_| {
                    let trainer = Trainer::new(options.train, &locked(&shared))?;
                    Ok(trainer.with_kept_bytes(options.kept_bytes))
                })
                .await?;
            Ok(Self {
                worker,
                adapter,
                trainer: Arc::new(Mutex::new(trainer)),
            })
        })
    }

    /// One update over micro-batches, each weighted by its rows.
    #[napi(ts_return_type = "Promise<NativeStepReport>")]
    pub fn step<'env>(
        &self,
        env: &'env Env,
        batches: Vec<NativeBatch>,
        abort: Option<&NativeAbort>,
    ) -> napi::Result<PromiseRaw<'env, NativeStepReport>> {
        let batches = batches
            .iter()
            .map(NativeBatch::to_batch)
            .collect::<blob_core::Result<Vec<_>>>()
            .map_err(|error| thrown(env, &error))?;
        let abort = abort.map(|abort| abort.flag.clone()).unwrap_or_default();
        let report = self.run(move |state, trainer, adapter| {
            abort.check()?;
            trainer.step(&state.decoder, adapter, &batches, &abort)
        });
        settle(env, async move { Ok(report.await?.into()) })
    }

    /// Writes the state into an existing folder.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn save_state<'env>(
        &self,
        env: &'env Env,
        dir: String,
    ) -> napi::Result<PromiseRaw<'env, ()>> {
        settle(
            env,
            self.run(move |_, trainer, adapter| trainer.save(adapter, dir.as_ref())),
        )
    }

    /// Restores a state that was saved with the same settings.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn load_state<'env>(
        &self,
        env: &'env Env,
        dir: String,
    ) -> napi::Result<PromiseRaw<'env, ()>> {
        settle(
            env,
            self.run(move |_, trainer, adapter| trainer.load(adapter, dir.as_ref())),
        )
    }
}

impl NativeTrainer {
    fn run<T, Work>(
        &self,
        work: Work,
    ) -> impl Future<Output = blob_core::Result<T>> + Send + use<T, Work>
    where
        T: Send + 'static,
        Work: FnOnce(&ModelState, &mut Trainer, &mut Adapter) -> blob_core::Result<T>
            + Send
            + 'static,
    {
        let (trainer, adapter) = (Arc::clone(&self.trainer), Arc::clone(&self.adapter));
        self.worker.submit(move |state| {
            let mut trainer = trainer.lock().unwrap_or_else(PoisonError::into_inner);
            work(state, &mut trainer, &mut locked(&adapter))
        })
    }
}

/// What the KL alone would do over a run, as JSON; `options` as JSON.
#[napi]
pub fn forecast_kl(env: &napi::Env, options: String) -> napi::Result<String> {
    let forecast = || {
        let options: ForecastOptions = parse(&options)?;
        options.schedule.check()?;
        options.kl_cycle.check()?;
        let (low, high) = options.sigma.initial(options.init_eps);
        let dynamics = Dynamics {
            kl: GaussianKl::new(PriorStd::new(options.prior_std)?, options.kl_form),
            kl_lr: options.kl_lr,
            cycle: options.kl_cycle,
            schedule: options.schedule,
            sigma: options.sigma,
        };
        Ok(dynamics.run(f32::midpoint(low, high), options.steps))
    };
    let forecast = forecast().map_err(|error: blob_core::Error| thrown(env, &error))?;
    serde_json::to_string(&forecast).map_err(|error| napi::Error::from_reason(error.to_string()))
}
