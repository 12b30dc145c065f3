//! What a product sums over.

use crate::gemm::format::Format;

/// What a product sums over, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Depth {
    /// What a word holds.
    pub(in super::super) format: Format,
    /// Values of a row, part by part.
    pub(in super::super) parts: Vec<usize>,
}

impl Depth {
    /// Values of a row.
    pub(in super::super) fn values(&self) -> usize {
        self.parts.iter().sum()
    }

    /// Words of a row.
    pub(in super::super) fn steps(&self) -> usize {
        self.parts.iter().map(|part| self.format.words(*part)).sum()
    }
}
