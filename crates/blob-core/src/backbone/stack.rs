//! The blocks of a backbone: forward and backward pass.
//!
//! The backward pass begins with the last blocks. What those keep is bounded
//! (`Mode::kept_bytes`); the others keep their input and are computed again, with the same bits:
//! the noise is a function of who asks.

use std::ops::Range;

use crate::Result;
use crate::adapter::Parameters;
use crate::layers::{Adapted, Block, BlockKept, DistanceTable, Distances, Linear, Positioned};
use crate::ops::Tensor;
use crate::ops::attention::Mask;
use crate::ops::rope::RopeTables;

/// Blocks in order, under a stem and a read-out.
pub struct Stack {
    pub(super) blocks: Vec<Block>,
    /// Of all positions, where the attention turns to them.
    pub(super) tables: Option<RopeTables>,
    /// Of the blocks with a window, where they have their own.
    pub(super) window_tables: Option<RopeTables>,
    /// Where scores read distances.
    pub(super) distances: Option<DistanceTable>,
}

/// What a block left for its backward pass: everything, or what it takes to compute it again.
enum Record {
    Kept(Box<BlockKept>),
    Input(Tensor),
}

/// What the backward pass needs, block by block.
pub struct StackKept {
    records: Vec<Record>,
    distances: Option<Distances>,
}

impl Stack {
    /// What tells positions apart in a block.
    fn positioned<'a>(
        &'a self,
        block: &Block,
        of: Adapted<'a>,
        distances: Option<&'a Distances>,
    ) -> Positioned<'a> {
        let own = self.window_tables.as_ref();
        let is_windowed = matches!(block.attention.mask, Mask::Window(_) | Mask::Around(_));
        Positioned {
            of,
            tables: own.filter(|_| is_windowed).or(self.tables.as_ref()),
            distances,
        }
    }

    /// All linear layers.
    pub fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.blocks.iter().flat_map(Block::linears)
    }

    /// x after some blocks, and what the backward pass needs when `keep`.
    pub fn forward(
        &self,
        mut x: Tensor,
        blocks: Range<usize>,
        of: Adapted<'_>,
        keep: bool,
    ) -> Result<(Tensor, StackKept)> {
        let mut budget = of.pass.mode.kept_bytes.unwrap_or(usize::MAX);
        let fits = |block: &&Block| {
            let left = budget.checked_sub(block.kept_bytes(of));
            budget = left.unwrap_or(0);
            left.is_some()
        };
        let most = if keep {
            self.blocks.iter().rev().take_while(fits).count()
        } else {
            0
        };
        let distances = self.distances.as_ref().map(|table| table.of(of.pass));
        let distances = distances.transpose()?;
        let mut records = Vec::new();
        for block in &self.blocks[blocks] {
            let is_kept = self.blocks.len() - block.index <= most;
            let at = self.positioned(block, of, distances.as_ref());
            let (y, of_block) = block.forward(&x, at, is_kept)?;
            if keep {
                records.push(match of_block {
                    Some(of_block) => Record::Kept(Box::new(of_block)),
                    None => Record::Input(x),
                });
            }
            x = y;
        }
        Ok((x, StackKept { records, distances }))
    }

    /// Adds the adapter's gradients of every dL/dx after the last block, down to block `first`.
    pub fn backward(
        &self,
        mut kept: StackKept,
        mut dxs: Vec<Tensor>,
        of: Adapted<'_>,
        first: usize,
        gradients: &mut Parameters,
    ) -> Result<()> {
        for block in self.blocks.iter().skip(first).rev() {
            let at = self.positioned(block, of, kept.distances.as_ref());
            let of_block = match kept.records.pop() {
                Some(Record::Kept(of_block)) => Some(*of_block),
                Some(Record::Input(x)) => block.forward(&x, at, true)?.1,
                None => None,
            };
            let Some(of_block) = of_block else { break };
            let want_dx = block.index > first;
            let mut below = Vec::new();
            for dx in &dxs {
                below.extend(block.backward(&of_block, dx, at, want_dx, gradients)?);
            }
            dxs = below;
            if dxs.is_empty() {
                break;
            }
        }
        Ok(())
    }
}
