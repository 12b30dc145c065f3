//! A JavaScript promise that another thread settles.

use blob_core::Error;
use napi::bindgen_prelude::{Env, PromiseRaw, ToNapiValue};
use napi::{JsDeferred, JsValue};

use crate::error::{Failure, Result, thrown};

/// Runs on the JavaScript thread: an error object can be made only there.
type Resolver<T> = Box<dyn FnOnce(Env) -> napi::Result<T>>;

/// The side that settles. It may be dropped, as a request is that a stopped worker never takes up:
/// then the promise is rejected with `BPEFT_WORKER_STOPPED`.
pub(crate) struct Answer<T: ToNapiValue + 'static> {
    deferred: Option<JsDeferred<T, Resolver<T>>>,
}

/// Both sides of a promise, which keeps the event loop alive until it is settled.
pub(crate) fn promise<T>(env: &Env) -> napi::Result<(Answer<T>, PromiseRaw<'_, T>)>
where
    T: ToNapiValue + 'static,
{
    let (deferred, object) = env.create_deferred()?;
    let answer = Answer {
        deferred: Some(deferred),
    };
    Ok((answer, PromiseRaw::new(env.raw(), object.raw())))
}

impl<T: ToNapiValue + 'static> Answer<T> {
    /// Resolves or rejects; does nothing where the environment has ended meanwhile.
    pub(crate) fn settle(mut self, outcome: Result<T>) {
        self.deliver(outcome);
    }

    fn deliver(&mut self, outcome: Result<T>) {
        if let Some(deferred) = self.deferred.take() {
            deferred.resolve(Box::new(move |env| {
                outcome.map_err(|failure| thrown(&env, &failure))
            }));
        }
    }
}

impl<T: ToNapiValue + 'static> Drop for Answer<T> {
    fn drop(&mut self) {
        self.deliver(Err(stopped("it was disposed or had panicked")));
    }
}

pub(crate) fn stopped(why: &str) -> Failure {
    Error::WorkerStopped(why.into()).into()
}
