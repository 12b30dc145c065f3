//! Words that kernels read: rows, places, keys, rates.
//!
//! Layers ask for the same ones: where segments lie, who rows are, what an update counts with. They
//! are copied once from one wait to the next, and a kernel that reads them from there, and not from
//! its arguments, is the same launch in every step.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Gpu;
use super::memory::Memory;
use crate::Result;

/// Words in a GPU's memory; copies share them.
pub(crate) type Words = Arc<Memory<u32>>;

/// Those that were copied since somebody waited.
#[derive(Default)]
pub(super) struct Uploads(Mutex<BTreeMap<Vec<u32>, Words>>);

impl Uploads {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Vec<u32>, Words>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gpu {
    /// A copy of words, which nobody changes.
    ///
    /// # Errors
    /// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`.
    pub(crate) fn words(self, words: &[u32]) -> Result<Words> {
        if let Some(there) = self.uploads().all().get(words) {
            return Ok(Arc::clone(there));
        }
        let copy = match self.put_on_stage(words)? {
            Some(staged) => staged,
            None => self.upload(words)?,
        };
        let copy = Arc::new(copy);
        self.uploads()
            .all()
            .insert(words.to_vec(), Arc::clone(&copy));
        Ok(copy)
    }

    /// The same of numbers in f64.
    pub(super) fn numbers(self, numbers: &[f64]) -> Result<Words> {
        let halves = |number: &f64| {
            let bits = number.to_bits();
            [bits as u32, (bits >> 32) as u32]
        };
        let words: Vec<u32> = numbers.iter().flat_map(halves).collect();
        self.words(&words)
    }

    /// Lets go of what was copied: the next step has words of its own.
    pub(super) fn let_go_of_words(self) {
        let words = mem::take(&mut *self.uploads().all());
        drop(words);
    }
}
