//! Memory of which nothing is written yet: whoever writes is given it, and nobody reads it before.

use std::ops::RangeBounds;

use super::call::Argument;
use super::memory::{Memory, ViewMut};

/// Memory for a result.
pub(crate) struct Unwritten<T> {
    memory: Memory<T>,
    /// Whether something was asked to write there.
    is_given: bool,
}

impl<T> Unwritten<T> {
    pub(super) fn new(memory: Memory<T>) -> Self {
        Self {
            memory,
            is_given: false,
        }
    }

    /// Values that are written over.
    pub(super) fn over(memory: Memory<T>) -> Self {
        Self {
            memory,
            is_given: true,
        }
    }

    /// How many values there is memory for.
    pub(super) fn len(&self) -> usize {
        self.memory.len()
    }

    /// Of the first value, to write from there on.
    pub(super) fn address(&mut self) -> u64 {
        self.is_given = true;
        self.memory.address()
    }

    /// Some of it, to be written.
    pub(super) fn slice_mut(&mut self, range: impl RangeBounds<usize>) -> ViewMut<'_, T> {
        self.is_given = true;
        self.memory.slice_mut(range)
    }

    /// What was written, for those who are asked later.
    pub(crate) fn written(self) -> Memory<T> {
        assert!(
            self.is_given || self.memory.len() == 0,
            "memory for {} values must be written before it is read",
            self.memory.len()
        );
        self.memory
    }
}

impl<T> Argument for &mut Unwritten<T> {
    const BYTES: usize = size_of::<u64>();

    fn write(self, words: &mut Vec<u64>) {
        words.push(self.address());
    }
}

impl<T> From<Unwritten<T>> for Memory<T> {
    fn from(unwritten: Unwritten<T>) -> Self {
        unwritten.written()
    }
}
