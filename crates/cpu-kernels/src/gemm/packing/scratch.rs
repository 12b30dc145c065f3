//! Memory for decoding.

/// Memory of one thread for what it decodes.
#[derive(Default)]
pub(in super::super) struct DecodeScratch {
    /// Rows, or parts of them.
    pub(super) values: Vec<f32>,
    /// Words of parts of 32 rows.
    pub(super) words: Vec<[u32; 16]>,
}
