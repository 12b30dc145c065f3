//! The process's one thread pool, and what the engine is.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};

use blob_core::kernels::cpu::isa::{self, Isa};
use napi_derive::napi;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Failure, Result};

/// Shared by all models, and gone with the last of them.
static POOL: Mutex<Weak<Pool>> = Mutex::new(Weak::new());

/// A thread pool that ends together with its threads: what they hold is free then.
pub(crate) struct Pool {
    /// `None` only while it ends.
    threads: Option<ThreadPool>,
    ends: Vec<JoinHandle<()>>,
}

impl Pool {
    /// The pool of the living models, else a new one; `threads` `None`: as many as it has, or one
    /// per processor.
    pub(crate) fn get(threads: Option<usize>) -> Result<Arc<Self>> {
        let mut shared = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = shared.upgrade() {
            let has = pool.size();
            return match threads {
                Some(asked) if asked != has => Err(Failure::ThreadsDiffer { asked, has }),
                _ => Ok(pool),
            };
        }
        let pool = Arc::new(Self::start(threads.unwrap_or_else(default_threads))?);
        *shared = Arc::downgrade(&pool);
        Ok(pool)
    }

    fn start(asked: usize) -> Result<Self> {
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

    fn size(&self) -> usize {
        let threads = self.threads.as_ref();
        threads.map_or(0, ThreadPool::current_num_threads)
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

/// One per processor that the process may use.
fn default_threads() -> usize {
    thread::available_parallelism().map_or(1, Into::into)
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

/// JSON: version, target, threads, dispatch. `threads` are those of the loaded models, else those
/// that a model would get which does not ask for a number.
#[napi(catch_unwind)]
pub fn engine_info() -> String {
    let living = POOL
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .upgrade();
    let threads = living.map_or_else(default_threads, |pool| pool.size());
    serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "target": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        "threads": threads,
        "dispatch": isa::current().name(),
    })
    .to_string()
}

/// Every stable error code of the engine and the addon.
#[napi(catch_unwind)]
pub fn error_codes() -> Vec<&'static str> {
    let codes = blob_core::Error::CODES.iter().copied();
    codes.chain(Failure::CODES).collect()
}
