//! What a GPU was asked, counted.

use std::sync::{MutexGuard, PoisonError};

use super::Gpu;

/// What a GPU was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Kernels of ours.
    pub launches: usize,
    /// Products.
    pub products: usize,
    /// Calls of the driver that give memory or take it back.
    pub allocations: usize,
    /// Copies to its memory, and their bytes.
    pub uploads: usize,
    /// Bytes of [`Self::uploads`].
    pub uploaded: usize,
    /// Calls that give work: launches, products, copies, fills; a graph is one.
    pub calls: usize,
    /// Graphs that were launched.
    pub graphs: usize,
    /// Graphs that were made.
    pub captures: usize,
    /// Copies from its memory, for each of which the host waits.
    pub read_backs: usize,
    /// Bytes of [`Self::read_backs`].
    pub read_back: usize,
}

impl Gpu {
    /// What it was asked since it was opened.
    pub fn traffic(self) -> Traffic {
        *self.counted()
    }

    pub(super) fn counted(self) -> MutexGuard<'static, Traffic> {
        let traffic = self.traffic_of_context();
        traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
