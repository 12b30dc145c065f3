//! A model's pool of threads, and what the engine is.

use std::thread::{self, JoinHandle};

use blob_core::kernels::cpu::isa::{self, Isa};
use napi_derive::napi;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Failure, Result};

/// A model's own threads. It ends together with them: what they hold is free then.
///
/// A thread that waits for its part of a job takes up whatever else its pool has to do. So a pool
/// that two models shared would run a whole job of one inside a step of the other.
pub(crate) struct Pool {
    /// `None` only while it ends.
    threads: Option<ThreadPool>,
    ends: Vec<JoinHandle<()>>,
}

impl Pool {
    /// `None`: one thread per processor that the process may use.
    pub(crate) fn start(threads: Option<usize>) -> Result<Self> {
        let asked =
            threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, Into::into));
        let mut ends = Vec::new();
        let threads = ThreadPoolBuilder::new()
            .num_threads(asked)
            .spawn_handler(|worker| {
                let thread = thread::Builder::new().name(format!("bpeft-{}", worker.index()));
                ends.push(thread.spawn(|| worker.run())?);
                Ok(())
            })
            .build();
        match threads {
            Ok(threads) => Ok(Self {
                threads: Some(threads),
                ends,
            }),
            Err(error) => Err(Failure::ThreadsRefused {
                asked,
                granted: ends.len(),
                reason: error.to_string(),
            }),
        }
    }

    /// Runs `work` in the pool.
    pub(crate) fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.threads {
            Some(threads) => threads.install(work),
            None => work(),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        drop(self.threads.take());
        for end in self.ends.drain(..) {
            // A thread that panicked has ended too.
            let _ = end.join();
        }
    }
}

/// Makes all kernels take the path of that name; false when this machine does not have it.
#[napi(catch_unwind)]
pub fn set_dispatch(name: String) -> bool {
    Isa::named(&name).is_some_and(|isa| isa::force(isa).is_ok())
}

/// Names of the paths that this machine has, the widest first.
#[napi(catch_unwind)]
pub fn dispatches() -> Vec<&'static str> {
    let paths = Isa::ALL.into_iter();
    let available = paths.filter(|path| path.is_available());
    available.map(Isa::name).collect()
}

/// JSON: version, target, dispatch, whether it can use GPUs, processors and their features.
#[napi(catch_unwind)]
pub fn engine_info() -> String {
    serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "target": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        "dispatch": isa::current().name(),
        "cuda": cfg!(feature = "cuda"),
        "processors": thread::available_parallelism().map_or(1, usize::from),
        "cpuFeatures": isa::features(),
    })
    .to_string()
}

/// Every stable error code of the engine and the addon.
#[napi(catch_unwind)]
pub fn error_codes() -> Vec<&'static str> {
    let codes = blob_core::Error::CODES.iter().copied();
    codes.chain(Failure::CODES).collect()
}
