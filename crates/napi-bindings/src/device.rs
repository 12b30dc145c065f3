//! Which device a model gets, and which there are, found out on Node's own pool: opening a GPU
//! takes a while.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use blob_core::ops::Device;
use napi::Task;
use napi::bindgen_prelude::{AsyncTask, Env};
use napi_derive::napi;

use crate::error::{Result, thrown};
use crate::options::{DeviceName, parse};
use crate::promise::stopped;

/// A device that has not been opened; its name as JSON.
pub struct OpenDeviceTask {
    name: String,
}

impl Task for OpenDeviceTask {
    type Output = Result<String>;
    type JsValue = String;

    fn compute(&mut self) -> napi::Result<Self::Output> {
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let device = open(&parse(&self.name)?)?;
            Ok(device.spelled())
        }));
        Ok(opened.unwrap_or_else(|_| Err(stopped("it panicked; this is a bug in bpeft"))))
    }

    fn resolve(&mut self, env: Env, output: Self::Output) -> napi::Result<String> {
        output.map_err(|failure| thrown(&env, &failure))
    }
}

/// Opens a device, so that it is there when a model is loaded; resolves to its name in options.
#[napi(catch_unwind, ts_return_type = "Promise<string>")]
pub fn open_device(name: String) -> AsyncTask<OpenDeviceTask> {
    AsyncTask::new(OpenDeviceTask { name })
}

/// A look at the machine's GPUs that has not been taken; the folder of their kernels.
pub struct SurveyTask {
    kernels: PathBuf,
}

impl Task for SurveyTask {
    type Output = Result<String>;
    type JsValue = String;

    fn compute(&mut self) -> napi::Result<Self::Output> {
        let survey = catch_unwind(AssertUnwindSafe(|| survey(&self.kernels)));
        Ok(survey.map_err(|_| stopped("it panicked; this is a bug in bpeft")))
    }

    fn resolve(&mut self, env: Env, output: Self::Output) -> napi::Result<String> {
        output.map_err(|failure| thrown(&env, &failure))
    }
}

/// What the machine has for GPUs, as JSON; null of an engine for the processor alone.
#[napi(catch_unwind, ts_return_type = "Promise<string>")]
pub fn survey_gpus(kernels: String) -> AsyncTask<SurveyTask> {
    let kernels = kernels.into();
    AsyncTask::new(SurveyTask { kernels })
}

#[cfg(feature = "cuda")]
fn survey(kernels: &Path) -> String {
    let survey = blob_core::kernels::cuda::Survey::new(kernels);
    serde_json::json!(survey).to_string()
}

#[cfg(not(feature = "cuda"))]
fn survey(_kernels: &Path) -> String {
    "null".into()
}

pub(crate) fn open(name: &DeviceName) -> Result<Device> {
    Ok(match name {
        DeviceName::Cpu => Device::Cpu,
        DeviceName::Cuda { ordinal, kernels } => Device::cuda(*ordinal, kernels)?,
    })
}
