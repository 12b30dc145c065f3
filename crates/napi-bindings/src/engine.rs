//! The process's one thread pool, and what the engine is.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use blob_core::kernels::cpu::gemm::{self, Dispatch};
use napi_derive::napi;
use rayon::{ThreadPool, ThreadPoolBuilder};

static POOL: OnceLock<Option<ThreadPool>> = OnceLock::new();
static THREADS: AtomicUsize = AtomicUsize::new(0);

fn pool() -> Option<&'static ThreadPool> {
    POOL.get_or_init(|| {
        let threads = THREADS.load(Ordering::Relaxed); // 0: one per core
        ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("bpeft-{index}"))
            .build()
            .ok()
    })
    .as_ref()
}

/// Runs `work` in the pool; on the calling thread where the system refused the pool its threads.
pub(crate) fn install<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    match pool() {
        Some(pool) => pool.install(work),
        None => work(),
    }
}

/// Sets the number of threads before the first model is loaded; false when that is too late.
#[napi]
pub fn set_threads(threads: u32) -> bool {
    if POOL.get().is_some() {
        return false;
    }
    THREADS.store(threads as usize, Ordering::Relaxed);
    true
}

/// Makes all kernels take the path of that name; false when this machine does not have it.
#[napi]
pub fn set_dispatch(name: String) -> bool {
    Dispatch::named(&name).is_some_and(|path| gemm::force(path).is_ok())
}

/// Names of the paths that this machine has, the widest first.
#[napi]
pub fn dispatches() -> Vec<&'static str> {
    let paths = Dispatch::ALL.into_iter();
    let available = paths.filter(|path| path.is_available());
    available.map(Dispatch::name).collect()
}

/// JSON: version, target, `cpu_features`, threads, dispatch.
#[napi]
pub fn engine_info() -> String {
    serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "target": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        "threads": pool().map_or(1, ThreadPool::current_num_threads),
        "dispatch": gemm::dispatch().name(),
    })
    .to_string()
}

/// Every stable error code of the engine.
#[napi]
pub fn error_codes() -> Vec<&'static str> {
    blob_core::Error::CODES.to_vec()
}
