//! Values that JavaScript has handles of and the model's thread owns.
//!
//! So nothing is locked, and all that a model's adapters and trainers hold is gone with the model,
//! however long JavaScript keeps the handles.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use napi::bindgen_prelude::{Env, PromiseRaw};

use crate::error::Result;
use crate::model::ModelState;
use crate::promise::stopped;
use crate::worker::Worker;

static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// Values by number.
pub(crate) struct Shelf<T>(HashMap<u64, T>);

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> Shelf<T> {
    pub(crate) fn get_mut(&mut self, number: u64) -> Result<&mut T> {
        let value = self.0.get_mut(&number);
        value.ok_or_else(|| stopped("it no longer has what was asked for"))
    }
}

/// A value that a model's thread may own.
pub(crate) trait Held: Sized + 'static {
    fn shelf(state: &mut ModelState) -> &mut Shelf<Self>;
}

/// The only handle of a value: when it is gone, the thread drops the value.
pub(crate) struct Handle<T: Held> {
    worker: Arc<Worker<ModelState>>,
    number: u64,
    shelf: fn(&mut ModelState) -> &mut Shelf<T>,
}

impl<T: Held> Handle<T> {
    /// Puts a value on its shelf; called on the worker's thread.
    pub(crate) fn new(worker: Arc<Worker<ModelState>>, state: &mut ModelState, value: T) -> Self {
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        T::shelf(state).0.insert(number, value);
        Self {
            worker,
            number,
            shelf: T::shelf,
        }
    }

    pub(crate) fn worker(&self) -> &Arc<Worker<ModelState>> {
        &self.worker
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Drops the value after all that is queued, and gives its memory back; what asks for it later
    /// is rejected.
    pub(crate) fn dispose<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, ()>> {
        let (shelf, number) = (self.shelf, self.number);
        self.worker.submit(env, move |state| {
            shelf(state).0.remove(&number);
            kept_blocks::release(Duration::ZERO);
            Ok(())
        })
    }
}

impl<T: Held> Drop for Handle<T> {
    fn drop(&mut self) {
        let (shelf, number) = (self.shelf, self.number);
        self.worker.later(move |state| {
            shelf(state).0.remove(&number);
        });
    }
}
