//! How far a model's files are read: counted here, told by whoever looks on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use blob_core::Result;
use blob_core::abort::Abort;
use blob_core::backbone::WeightSource;
use blob_core::weights::{HostTensor, StoredMatrix, Summary};
use napi_derive::napi;

/// Counts the tensors that have been read.
#[napi]
#[derive(Clone, Default)]
pub struct NativeReading {
    done: Arc<AtomicU64>,
    total: Arc<AtomicU64>,
}

#[napi]
impl NativeReading {
    /// None yet.
    #[napi(constructor, catch_unwind)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tensors that have been read.
    #[napi(catch_unwind)]
    pub fn done(&self) -> f64 {
        self.done.load(Ordering::Relaxed) as f64
    }

    /// Tensors that the files hold; 0 before they are opened.
    #[napi(catch_unwind)]
    pub fn total(&self) -> f64 {
        self.total.load(Ordering::Relaxed) as f64
    }
}

/// A source that counts what it hands out, and hands out no more once it is to stop.
pub(crate) struct Counted<S> {
    source: S,
    reading: NativeReading,
    abort: Abort,
}

impl<S: WeightSource> Counted<S> {
    pub(crate) fn new(source: S, reading: NativeReading, abort: Abort) -> Self {
        let total: usize = source.summary().tensor_types.values().sum();
        reading.total.store(total as u64, Ordering::Relaxed);
        Self {
            source,
            reading,
            abort,
        }
    }

    fn count<T>(&self, read: impl FnOnce() -> Result<T>) -> Result<T> {
        self.abort.check()?;
        let read = read()?;
        self.reading.done.fetch_add(1, Ordering::Relaxed);
        Ok(read)
    }
}

impl<S: WeightSource> WeightSource for Counted<S> {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<HostTensor> {
        self.count(|| self.source.tensor(name, shape))
    }

    fn matrix(&self, name: &str, shape: [usize; 2]) -> Result<StoredMatrix> {
        self.count(|| self.source.matrix(name, shape))
    }

    fn summary(&self) -> Summary {
        self.source.summary()
    }
}
