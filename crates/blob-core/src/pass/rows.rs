//! Rows of activations: whose they are, and who shares a draw.

use std::ops::Range;
#[cfg(feature = "cuda")]
use std::sync::OnceLock;

use super::BatchCopy;
#[cfg(feature = "cuda")]
use crate::Result;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::{Gpu, low_rank::Identities};
use crate::noise::{Stream, TokenId};

/// Rows of one copy: they see the same factors and the same draw of `E`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Rows of the activations.
    pub rows: Range<usize>,
    /// Where the noise comes from.
    pub stream: Stream,
    /// Index of the posterior sample.
    pub sample: u32,
    /// Whose factors they see.
    pub member: usize,
}

/// Rows of activations with their identities: all tokens, or the last one of each prompt.
#[derive(Debug, Clone)]
pub struct Rows {
    /// One per row.
    pub ids: Vec<TokenId>,
    /// Contiguous, in order, covering all rows.
    pub groups: Vec<Group>,
    positions: Vec<u32>,
    /// Who they are, in the memory of the GPU that the pass runs on.
    #[cfg(feature = "cuda")]
    placed: OnceLock<Identities>,
}

impl Rows {
    /// Of identities, as many of each copy as `rows_of` says.
    pub(super) fn new(
        ids: Vec<TokenId>,
        copies: &[BatchCopy],
        rows_of: &dyn Fn(&BatchCopy) -> usize,
    ) -> Self {
        Self {
            positions: ids.iter().map(|id| id.position).collect(),
            ids,
            groups: groups(copies, rows_of),
            #[cfg(feature = "cuda")]
            placed: OnceLock::new(),
        }
    }

    /// Some rows of a table for each copy. The noise sees them as a text of their own, which no
    /// batch names.
    pub(crate) fn of_table(copies: &[BatchCopy], rows: Range<usize>) -> Self {
        let id = |position| TokenId {
            row: u32::MAX,
            position,
        };
        let share: Vec<_> = rows.clone().map(|row| id(row as u32)).collect();
        let ids = share.repeat(copies.len());
        Self::new(ids, copies, &|_| rows.len())
    }

    /// The place of each row in its prompt.
    pub fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// Who they are, in a GPU's memory: copied once for a pass.
    ///
    /// # Errors
    /// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`.
    #[cfg(feature = "cuda")]
    pub(crate) fn on(&self, gpu: Gpu) -> Result<Identities> {
        if let Some(placed) = self.placed.get() {
            return Ok(placed.clone());
        }
        let names: Vec<u32> = self.ids.iter().map(|id| id.row).collect();
        let keys: Vec<_> = self.groups.iter().map(|it| it.stream.key()).collect();
        let placed = Identities::new(gpu, &self.positions, &names, &keys)?;
        Ok(self.placed.get_or_init(|| placed).clone())
    }

    /// The group that a row belongs to.
    pub fn group_of(&self, row: usize) -> &Group {
        let after = |group: &Group| group.rows.end <= row;
        let index = self.groups.partition_point(after);
        &self.groups[index.min(self.groups.len() - 1)]
    }

    /// The longest runs of rows that see one member's factors, as (member, rows); all rows, in
    /// order.
    pub fn by_member(&self) -> impl Iterator<Item = (usize, Range<usize>)> + '_ {
        let runs = self.groups.chunk_by(|a, b| a.member == b.member);
        runs.filter_map(|run| {
            let (first, last) = (run.first()?, run.last()?);
            Some((first.member, first.rows.start..last.rows.end))
        })
    }
}

fn groups(copies: &[BatchCopy], rows_of: &dyn Fn(&BatchCopy) -> usize) -> Vec<Group> {
    let mut end = 0;
    let group = |copy: &BatchCopy| {
        let start = end;
        end += rows_of(copy);
        Group {
            rows: start..end,
            stream: copy.stream,
            sample: copy.sample,
            member: copy.member,
        }
    };
    copies.iter().map(group).collect()
}
