//! How fast this machine multiplies, measured on Node's own pool: it needs no model.

use std::panic::{AssertUnwindSafe, catch_unwind};

use blob_core::kernels::cpu::rate::of_products;
use napi::Task;
use napi::bindgen_prelude::{AsyncTask, Env};
use napi_derive::napi;

use crate::engine::Pool;
use crate::error::{Result, thrown};
use crate::options::{RateOptions, parse};
use crate::promise::stopped;

/// A measurement that has not been made; `options` as JSON.
pub struct RateTask {
    options: String,
}

impl Task for RateTask {
    type Output = Result<f64>;
    type JsValue = f64;

    fn compute(&mut self) -> napi::Result<Self::Output> {
        let rate = catch_unwind(AssertUnwindSafe(|| rate(&self.options)));
        Ok(rate.unwrap_or_else(|_| Err(stopped("it panicked; this is a bug in bpeft"))))
    }

    fn resolve(&mut self, env: Env, output: Self::Output) -> napi::Result<f64> {
        output.map_err(|failure| thrown(&env, &failure))
    }
}

fn rate(options: &str) -> Result<f64> {
    let RateOptions { precision, threads } = parse(options)?;
    let pool = Pool::start(Some(threads))?;
    let rate = pool.install(|| of_products(precision.into()));
    Ok(rate.map_err(blob_core::Error::from)?)
}

/// FLOP/s of large products with frozen weights; `options` as JSON.
#[napi(catch_unwind, ts_return_type = "Promise<number>")]
pub fn product_rate(options: String) -> AsyncTask<RateTask> {
    AsyncTask::new(RateTask { options })
}
