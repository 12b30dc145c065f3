//! What a tile is: `height` rows of the operand by one panel.

use super::heights::{Height, MAX_HEIGHT};
use crate::gemm::step::{PANEL_WIDTH, PanelStep};

/// The sums of one tile; the first rows, as many as the tile has, are in use.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(in super::super) struct Accumulators(pub(in super::super) [[f32; PANEL_WIDTH]; MAX_HEIGHT]);

impl Accumulators {
    pub(in super::super) const ZERO: Self = Self([[0.0; PANEL_WIDTH]; MAX_HEIGHT]);
}

/// One implementation of the tile.
///
/// Operands are 32-bit words: one `f32`, two neighbouring depths in bf16, or four in int8.
pub(in super::super) trait TileKernel: Copy + Sync {
    /// `sums[i] = Σ_t x[t][i] · panel[t]` for i < height; x holds `height` words per step.
    fn tile(self, height: Height, x: &[u32], panel: &[PanelStep], sums: &mut Accumulators);
}

/// What is done with the tile, whichever this machine has.
pub(in super::super) trait TileWork {
    fn run<K: TileKernel>(self, kernel: K);
}
