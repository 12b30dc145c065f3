//! Failures as JavaScript errors with `code`, `message` and `hint`.

use blob_core::Error;
use napi::bindgen_prelude::{Env, JsObjectValue, JsValue, ToNapiValue};
use napi::{JsError, Status};

pub type Result<T> = std::result::Result<T, Failure>;

/// What the engine refuses, and what the addon itself cannot do.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Engine(#[from] Error),
    #[error("the model has {0} requests waiting and takes no more")]
    Busy(usize),
    #[error("{asked} threads were asked for, the system granted {granted}: {reason}")]
    ThreadsRefused {
        asked: usize,
        granted: usize,
        reason: String,
    },
}

impl Failure {
    /// Codes beside the engine's.
    pub(crate) const CODES: [&'static str; 2] = ["BPEFT_BUSY", "BPEFT_THREADS"];

    fn code(&self) -> &'static str {
        match self {
            Self::Engine(error) => error.code(),
            Self::Busy(_) => "BPEFT_BUSY",
            Self::ThreadsRefused { .. } => "BPEFT_THREADS",
        }
    }

    fn hint(&self) -> String {
        match self {
            Self::Engine(error) => error.hint().to_string(),
            Self::Busy(_) => "wait for answers before asking more, or turn callers away".into(),
            Self::ThreadsRefused { granted: 0, .. } => {
                "raise the limit of processes (ulimit -u, --pids-limit, TasksMax)".into()
            }
            Self::ThreadsRefused { granted, .. } => format!(
                "give --threads {granted} or less (BPEFT_NUM_THREADS), or raise the limit of \
                 processes (ulimit -u, --pids-limit, TasksMax)"
            ),
        }
    }
}

/// The error of a call, as JavaScript throws it or a promise is rejected with it.
pub(crate) fn thrown(env: &Env, failure: &Failure) -> napi::Error {
    let env = Env::from_raw(env.raw());
    let error = napi::Error::new(Code(failure.code()), failure.to_string());
    let value = JsError::from(error).into_unknown(env);
    let object = value.coerce_to_object().and_then(|mut object| {
        object.set_named_property("hint", failure.hint())?;
        object.into_unknown(&env)
    });
    object.map_or_else(
        |_| napi::Error::new(Status::GenericFailure, failure.to_string()),
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
