//! Engine errors as JavaScript errors with `code`, `message` and `hint`.

use std::future::Future;

use blob_core::Error;
use napi::bindgen_prelude::{Env, JsObjectValue, JsValue, PromiseRaw, ToNapiValue};
use napi::{JsError, Status};

/// The promise of an asynchronous call.
///
/// An `async fn` can only reject with a plain `Status` (`code: "GenericFailure"`), so the error
/// object is built here, back on the JS thread.
pub(crate) fn settle<T>(
    env: &Env,
    work: impl Future<Output = blob_core::Result<T>> + Send + 'static,
) -> napi::Result<PromiseRaw<'_, T>>
where
    T: ToNapiValue + Send + 'static,
{
    env.spawn_future_with_callback(async move { Ok(work.await) }, |env, outcome| {
        outcome.map_err(|error| thrown(env, &error))
    })
}

/// An error of a synchronous call.
pub(crate) fn thrown(env: &Env, error: &Error) -> napi::Error {
    let env = Env::from_raw(env.raw());
    let value =
        JsError::from(napi::Error::new(Code(error.code()), error.to_string())).into_unknown(env);
    let object = value.coerce_to_object().and_then(|mut object| {
        object.set_named_property("hint", error.hint())?;
        object.into_unknown(&env)
    });
    object.map_or_else(
        |_| napi::Error::new(Status::GenericFailure, error.to_string()),
        Into::into,
    )
}

/// A stable code in the place of a Node-API status.
struct Code(&'static str);

impl AsRef<str> for Code {
    fn as_ref(&self) -> &str {
        self.0
    }
}
