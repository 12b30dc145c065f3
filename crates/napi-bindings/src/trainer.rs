//! A training run on a loaded model.

use std::sync::Arc;

use blob_core::abort::Abort;
use blob_core::adapter::Adapter;
use blob_core::backbone::Backbone;
use blob_core::collective::fitting;
use blob_core::train::{Share, StepReport, Trainer};
use napi::bindgen_prelude::{Env, PromiseRaw, ToNapiValue};
use napi_derive::napi;

use crate::adapter::NativeAdapter;
use crate::batch::NativeBatch;
use crate::error::{Result, thrown};
use crate::group::NativeGroup;
use crate::held::{Handle, Held, Shelf};
use crate::model::{ModelState, NativeAbort, NativeModel, flag_of};
use crate::options::TrainerOptions;

/// Optimizers and counters of one run.
#[napi]
pub struct NativeTrainer {
    handles: Arc<Handles>,
}

struct Handles {
    trainer: Handle<Trainer>,
    /// What processes that train together add up by.
    means: Option<&'static str>,
    adapter: Arc<Handle<Adapter>>,
}

impl Held for Trainer {
    fn shelf(state: &mut ModelState) -> &mut Shelf<Self> {
        &mut state.trainers
    }
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
    /// A run of `adapter` on `model`; `options` as JSON. `group`: that several processes make.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeTrainer>")]
    pub fn create<'env>(
        env: &'env Env,
        model: &NativeModel,
        adapter: &NativeAdapter,
        options: String,
        group: Option<&NativeGroup>,
    ) -> napi::Result<PromiseRaw<'env, Self>> {
        let group = group.map(NativeGroup::group).transpose();
        let group = group.map_err(|error| thrown(env, &error))?;
        let (options, adapter) = adapter.begin::<TrainerOptions>(*env, model, &options)?;
        let worker = Arc::clone(&model.worker);
        model.worker.submit(env, move |state| {
            let trainer = Trainer::new(options.train, state.adapters.get_mut(adapter.number())?)?;
            let trainer = trainer
                .with_kept_bytes(options.kept_bytes)
                .with_base_dropout(options.base_dropout)?;
            let (trainer, means) = match group {
                Some(group) => {
                    let device = state.backbone.device();
                    let collective = fitting(group, device, &Abort::default())?;
                    let means = Some(collective.means());
                    (trainer.with_collective(collective), means)
                }
                None => (trainer, None),
            };
            let trainer = Handle::new(worker, state, trainer);
            Ok(Self {
                handles: Arc::new(Handles {
                    trainer,
                    means,
                    adapter,
                }),
            })
        })
    }

    /// What its group adds up by, `tcp` or `nccl`; null without one.
    #[napi(catch_unwind)]
    pub fn summed_by(&self) -> Option<&str> {
        self.handles.means
    }

    /// One update over micro-batches, each weighted by its rows. `rows`: those of each member in
    /// the whole update, of which the batches are this process's share.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeStepReport>")]
    pub fn step<'env>(
        &self,
        env: &'env Env,
        batches: Vec<NativeBatch>,
        rows: Option<u32>,
        abort: Option<&NativeAbort>,
    ) -> napi::Result<PromiseRaw<'env, NativeStepReport>> {
        let batches = batches
            .iter()
            .map(NativeBatch::to_batch)
            .collect::<Result<Vec<_>>>()
            .map_err(|error| thrown(env, &error))?;
        let abort = flag_of(abort);
        self.submit(env, move |backbone, trainer, adapter| {
            let Some(rows) = rows else {
                abort.check()?;
                let report = trainer.step(backbone, adapter, &batches, &abort)?;
                return Ok(report.into());
            };
            let share = Share {
                batches: &batches,
                rows: Some(rows as usize),
            };
            let report = trainer.step_of_share(backbone, adapter, &share, &abort)?;
            Ok(report.into())
        })
    }

    /// Takes the state of rank 0.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn take_state_of_first<'env>(
        &self,
        env: &'env Env,
        abort: Option<&NativeAbort>,
    ) -> napi::Result<PromiseRaw<'env, ()>> {
        let abort = flag_of(abort);
        self.submit(env, move |_, trainer, adapter| {
            trainer.take_state_of_first(adapter, &abort)
        })
    }

    /// Looks whether all processes have the same parameters.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn compare_parameters<'env>(
        &self,
        env: &'env Env,
        abort: Option<&NativeAbort>,
    ) -> napi::Result<PromiseRaw<'env, ()>> {
        let abort = flag_of(abort);
        self.submit(env, move |_, trainer, adapter| {
            trainer.compare_parameters(adapter, &abort)
        })
    }

    /// What answers now, where that is not the adapter that is trained; null: it is.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeAdapter | null>")]
    pub fn posterior<'env>(
        &self,
        env: &'env Env,
    ) -> napi::Result<PromiseRaw<'env, Option<NativeAdapter>>> {
        let handles = Arc::clone(&self.handles);
        let worker = Arc::clone(handles.trainer.worker());
        let of_adapter = Arc::clone(&worker);
        worker.submit(env, move |state| {
            let trainer = state.trainers.get_mut(handles.trainer.number())?;
            let adapter = state.adapters.get_mut(handles.adapter.number())?;
            adapter.fetch()?;
            let posterior = trainer.posterior(adapter)?;
            Ok(posterior.map(|posterior| NativeAdapter::new(of_adapter, state, posterior, &[])))
        })
    }

    /// Writes the state into an existing folder.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn save_state<'env>(
        &self,
        env: &'env Env,
        dir: String,
    ) -> napi::Result<PromiseRaw<'env, ()>> {
        self.submit(env, move |_, trainer, adapter| {
            trainer.save(adapter, dir.as_ref())
        })
    }

    /// Restores a state that was saved with the same settings.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn load_state<'env>(
        &self,
        env: &'env Env,
        dir: String,
    ) -> napi::Result<PromiseRaw<'env, ()>> {
        self.submit(env, move |_, trainer, adapter| {
            trainer.load(adapter, dir.as_ref())
        })
    }

    /// Lets queued work finish and frees the optimizers, not the adapter; later calls reject with
    /// `BPEFT_WORKER_STOPPED`.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn dispose<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, ()>> {
        self.handles.trainer.dispose(env)
    }
}

impl NativeTrainer {
    fn submit<'env, T, Work>(&self, env: &'env Env, work: Work) -> napi::Result<PromiseRaw<'env, T>>
    where
        T: ToNapiValue + Send + 'static,
        Work:
            FnOnce(&Backbone, &mut Trainer, &mut Adapter) -> blob_core::Result<T> + Send + 'static,
    {
        let handles = Arc::clone(&self.handles);
        let worker = Arc::clone(handles.trainer.worker());
        worker.submit(env, move |state| {
            let trainer = state.trainers.get_mut(handles.trainer.number())?;
            let adapter = state.adapters.get_mut(handles.adapter.number())?;
            Ok(work(&state.backbone, trainer, adapter)?)
        })
    }
}
