//! The width of panels and tiles.

/// Columns of a panel, and of a tile.
pub(super) const PANEL_WIDTH: usize = 32;

/// One step of depth of a panel: a word for each of its columns.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct PanelStep(pub(super) [u32; PANEL_WIDTH]);

impl PanelStep {
    pub(super) const ZERO: Self = Self([0; PANEL_WIDTH]);
}
