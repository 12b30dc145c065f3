//! The processes of a training that several make together, as JavaScript meets them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread;

use blob_core::Error;
use blob_core::collective::{Collective, Meeting, Ranks, Star};
use napi::bindgen_prelude::{Env, PromiseRaw, ToNapiValue};
use napi_derive::napi;

use crate::error::{Result, thrown};
use crate::model::{NativeAbort, flag_of};
use crate::options::parse;
use crate::promise::{promise, stopped};

/// This process among those that train together.
#[napi]
pub struct NativeGroup {
    /// `None`: it has left.
    group: Mutex<Option<Ranks>>,
}

#[napi]
impl NativeGroup {
    /// Meets the others; `options` as JSON.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeGroup>")]
    pub fn meet<'env>(
        env: &'env Env,
        options: String,
        abort: Option<&NativeAbort>,
    ) -> napi::Result<PromiseRaw<'env, Self>> {
        let meeting: Meeting = parse(&options).map_err(|error| thrown(env, &error))?;
        let abort = flag_of(abort);
        apart(env, move || {
            let group = Ranks::new(Star::meet(&meeting, &abort)?);
            Ok(Self {
                group: Mutex::new(Some(group)),
            })
        })
    }

    /// The text of rank 0, for all.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn told_by_first<'env>(
        &self,
        env: &'env Env,
        text: String,
        abort: Option<&NativeAbort>,
    ) -> napi::Result<PromiseRaw<'env, String>> {
        let (group, abort) = (self.group(), flag_of(abort));
        apart(env, move || {
            Ok(group?.star().told_by_first(&text, &abort)?)
        })
    }

    /// Tells the others what stopped this one; they fail by it.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn stop<'env>(
        &self,
        env: &'env Env,
        code: String,
        message: String,
    ) -> napi::Result<PromiseRaw<'env, ()>> {
        let group = self.group();
        apart(env, move || {
            let mut group = group?;
            let rank = group.rank();
            group.stop(&Error::of_rank(rank, &code, &message));
            Ok(())
        })
    }

    /// Leaves the others, once no trainer of theirs is left.
    #[napi(catch_unwind)]
    pub fn leave(&self) {
        self.group
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    pub(crate) fn group(&self) -> Result<Ranks> {
        let group = self.group.lock().unwrap_or_else(PoisonError::into_inner);
        let group = group.clone();
        group.ok_or_else(|| stopped("this process has left the others"))
    }
}

/// The promise of work that waits for others, on a thread of its own.
fn apart<T>(
    env: &Env,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> napi::Result<PromiseRaw<'_, T>>
where
    T: ToNapiValue + Send + 'static,
{
    let (answer, promised) = promise(env)?;
    // Where the thread is refused, the answer is dropped, which rejects.
    let _ = thread::Builder::new()
        .name("bpeft-group".into())
        .spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(work));
            let bug = |_| Err(stopped("it panicked; this is a bug in bpeft"));
            answer.settle(outcome.unwrap_or_else(bug));
        });
    Ok(promised)
}
