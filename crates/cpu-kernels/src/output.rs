//! Results that are written once: no zeros before.

#![expect(
    unsafe_code,
    reason = "memory becomes a vector after a kernel has written it; see `Unwritten`"
)]

use std::mem::MaybeUninit;

use super::simd::{Level, WIDTH};

/// Memory for a kernel's result, of which nothing is there yet.
pub(crate) struct Unwritten<T> {
    /// Empty; its capacity is the memory.
    values: Vec<T>,
    length: usize,
}

impl<T: Copy> Unwritten<T> {
    /// For `length` elements.
    pub(crate) fn new(length: usize) -> Self {
        Self {
            values: Vec::with_capacity(length),
            length,
        }
    }

    /// Where they are to be written.
    pub(crate) fn slots(&mut self) -> &mut [MaybeUninit<T>] {
        &mut self.values.spare_capacity_mut()[..self.length]
    }

    /// The result.
    ///
    /// # Safety
    /// Every one of [`Self::slots`] must have been written.
    pub(crate) unsafe fn assume_written(mut self) -> Vec<T> {
        // SAFETY: the capacity is there, and the elements are, as the caller vouches.
        unsafe { self.values.set_len(self.length) };
        self.values
    }
}

/// Where a kernel writes a number: over another one, or into memory that holds none yet.
pub(crate) trait Slot: Sized + Send {
    /// Writes one.
    fn put(&mut self, value: f32);

    /// Writes sixteen.
    fn put_vector<L: Level>(slots: &mut [Self; WIDTH], vector: L::Vector);
}

impl Slot for f32 {
    #[inline(always)]
    fn put(&mut self, value: f32) {
        *self = value;
    }

    #[inline(always)]
    fn put_vector<L: Level>(slots: &mut [Self; WIDTH], vector: L::Vector) {
        L::store(vector, slots);
    }
}

impl Slot for MaybeUninit<f32> {
    #[inline(always)]
    fn put(&mut self, value: f32) {
        self.write(value);
    }

    #[inline(always)]
    fn put_vector<L: Level>(slots: &mut [Self; WIDTH], vector: L::Vector) {
        let mut lanes = [0.0; WIDTH];
        L::store(vector, &mut lanes);
        slots.write_copy_of_slice(&lanes);
    }
}
