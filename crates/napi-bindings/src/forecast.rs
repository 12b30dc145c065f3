//! What the KL alone would do over a run, computed on Node's own pool: it needs no model.

use std::panic::{AssertUnwindSafe, catch_unwind};

use blob_core::Error;
use blob_core::kl::{Dynamics, GaussianKl, PriorStd};
use napi::Task;
use napi::bindgen_prelude::{AsyncTask, Env};
use napi_derive::napi;

use crate::error::{Result, thrown};
use crate::options::{ForecastOptions, parse};
use crate::promise::stopped;

/// Most updates to forecast: some seconds, and far more than any run has.
const MOST_STEPS: u64 = 100_000_000;

/// A forecast that has not been made; `options` as JSON.
pub struct ForecastTask {
    options: String,
}

impl Task for ForecastTask {
    type Output = Result<String>;
    type JsValue = String;

    fn compute(&mut self) -> napi::Result<Self::Output> {
        let forecast = catch_unwind(AssertUnwindSafe(|| forecast(&self.options)));
        Ok(forecast.unwrap_or_else(|_| Err(stopped("it panicked; this is a bug in bpeft"))))
    }

    fn resolve(&mut self, env: Env, output: Self::Output) -> napi::Result<String> {
        output.map_err(|failure| thrown(&env, &failure))
    }
}

fn forecast(options: &str) -> Result<String> {
    let options: ForecastOptions = parse(options)?;
    options.schedule.check()?;
    options.kl_cycle.check()?;
    if options.steps > MOST_STEPS {
        return Err(Error::InvalidConfig {
            field: "steps",
            rule: "must be at most 100000000",
            value: options.steps.to_string(),
        }
        .into());
    }
    if !(options.sigma_start.is_finite() && options.sigma_start > 0.0) {
        return Err(Error::InvalidConfig {
            field: "sigma_start",
            rule: "must be positive",
            value: options.sigma_start.to_string(),
        }
        .into());
    }
    let dynamics = Dynamics {
        kl: GaussianKl::new(PriorStd::new(options.prior_std)?, options.kl_form),
        kl_lr: options.kl_lr,
        cycle: options.kl_cycle,
        schedule: options.schedule,
        sigma: options.sigma,
    };
    let forecast = dynamics.run(options.sigma.rho(options.sigma_start), options.steps);
    serde_json::to_string(&forecast).map_err(|error| Error::InvalidInput(error.to_string()).into())
}

/// What the KL alone would do over a run, as JSON; `options` as JSON.
#[napi(catch_unwind, ts_return_type = "Promise<string>")]
pub fn forecast_kl(options: String) -> AsyncTask<ForecastTask> {
    AsyncTask::new(ForecastTask { options })
}
