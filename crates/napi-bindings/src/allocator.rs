//! The allocator of everything in the addon.

use kept_blocks::KeptBlocks;

#[global_allocator]
static ALLOCATOR: KeptBlocks = KeptBlocks;
