//! Memory of a GPU and parts of it, as kernels and products are given them.

use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use cudarc::driver::{DeviceRepr, ValidAsZeroBits};
use half::bf16;

use super::Gpu;

/// A number: whatever bytes lie in memory, they are one.
///
/// # Safety
/// It is plain, and every pattern of its bits is a value.
pub(crate) unsafe trait Number: DeviceRepr + ValidAsZeroBits {}

macro_rules! numbers {
    ($($number:ty),+) => {
        $(
            // SAFETY: an integer, or a float, whose every pattern is a number or NaN.
            unsafe impl Number for $number {}
        )+
    };
}
numbers!(u8, u32, u64, f32, f64, bf16);

/// Values in a GPU's memory; it is free again behind all that was asked before the drop.
pub(crate) struct Memory<T> {
    gpu: Gpu,
    address: u64,
    len: usize,
    source: Source,
    of: PhantomData<T>,
}

/// Who gave it.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// The arena: most of a step's memory.
    Arena,
    /// The driver: weights, which stay as long as their model.
    Driver,
    /// A part of what a list of nodes is given.
    Stage(#[expect(dead_code, reason = "kept, so that nobody else gets it")] Arc<Memory<u64>>),
}

impl<T> Memory<T> {
    /// What `source` gave for `len` values, from `address` on.
    ///
    /// # Safety
    /// It gave them to nobody else, and does not until they come back.
    pub(super) unsafe fn given(gpu: Gpu, address: u64, len: usize, source: Source) -> Self {
        Self {
            gpu,
            address,
            len,
            source,
            of: PhantomData,
        }
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Of the first value.
    pub(super) fn address(&self) -> u64 {
        self.address
    }

    /// Some of the values, to be read.
    pub(super) fn slice(&self, range: impl RangeBounds<usize>) -> View<'_, T> {
        let (address, len) = self.part(range);
        View {
            address,
            len,
            of: PhantomData,
        }
    }

    /// Some of the values, to be changed.
    pub(super) fn slice_mut(&mut self, range: impl RangeBounds<usize>) -> ViewMut<'_, T> {
        ViewMut {
            address: self.part(range).0,
            of: PhantomData,
        }
    }

    /// Address and number of some of the values.
    fn part(&self, range: impl RangeBounds<usize>) -> (u64, usize) {
        let from = match range.start_bound() {
            Bound::Included(&at) => at,
            Bound::Excluded(&at) => at + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(&at) => at + 1,
            Bound::Excluded(&at) => at,
            Bound::Unbounded => self.len,
        };
        assert!(
            from <= to && to <= self.len,
            "a part of {} values must lie among them, got {from}..{to}",
            self.len
        );
        (self.address + bytes_of::<T>(from), to - from)
    }
}

impl<T> Drop for Memory<T> {
    fn drop(&mut self) {
        let bytes = size_of::<T>() * self.len.max(1);
        // SAFETY: `given` was promised so, and this was the owner.
        unsafe { self.gpu.give_back(self.address, bytes, &self.source) };
    }
}

impl<T> std::fmt::Debug for Memory<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} values on {:?}", self.len, self.gpu)
    }
}

/// Bytes of so many values.
fn bytes_of<T>(count: usize) -> u64 {
    (size_of::<T>() * count) as u64
}

/// Some values of a [`Memory`].
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a, T> {
    pub(super) address: u64,
    len: usize,
    of: PhantomData<&'a [T]>,
}

impl<T> View<'_, T> {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

/// Some values of a [`Memory`] that a kernel changes.
#[derive(Debug)]
pub(super) struct ViewMut<'a, T> {
    pub(super) address: u64,
    of: PhantomData<&'a mut [T]>,
}
