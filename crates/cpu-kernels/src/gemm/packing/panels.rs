//! Panels of a weight: 32 columns of the product by its whole depth, decoded from the stored rows.
//!
//! ```text
//! forward    column c is row c of W:     32 rows are decoded side by side and transposed
//! backward   column c is column c of W:  a step is a part of one row, or of two rows in bf16
//! ```

use std::ops::Range;

use super::backward::BackwardPanels;
use super::depth::Depth;
use super::forward::ForwardPanel;
use super::scratch::DecodeScratch;
use crate::gemm::format::Format;
use crate::gemm::matrix::FrozenMatrix;
use crate::gemm::step::{PANEL_WIDTH, PanelStep};
use crate::isa::Available;
use crate::simd;

/// What a product multiplies with.
#[derive(Clone, Copy)]
pub(in super::super) enum PanelSource<'a> {
    /// Wᵀ
    Forward(&'a FrozenMatrix),
    /// Matrices of equally many columns, one below the other.
    Backward(&'a [&'a FrozenMatrix]),
}

/// The panels of weights in one format.
#[derive(Clone, Copy)]
pub(in super::super) struct WeightPanels<'a> {
    pub(in super::super) source: PanelSource<'a>,
    pub(in super::super) format: Format,
}

/// For int8: what turns sums of levels into values, by column of a panel.
#[derive(Clone, Copy, Default)]
pub(in super::super) struct Int8Columns {
    pub(in super::super) scales: [f32; PANEL_WIDTH],
    /// 128·(sum of levels)
    pub(in super::super) offsets: [f32; PANEL_WIDTH],
}

impl WeightPanels<'_> {
    /// What the operand of such a product holds.
    pub(in super::super) fn depth(&self) -> Depth {
        let parts = match self.source {
            PanelSource::Forward(matrix) => vec![matrix.columns()],
            PanelSource::Backward(stack) => stack.iter().map(|matrix| matrix.rows()).collect(),
        };
        let format = self.format;
        Depth { format, parts }
    }

    /// Panels that are decoded together, because they share the blocks of the stored type.
    pub(in super::super) fn group(&self) -> usize {
        match self.source {
            PanelSource::Forward(_) => 1,
            PanelSource::Backward(stack) => {
                let group = |matrix: &&FrozenMatrix| {
                    let (values, _) = matrix.stored().kind().block();
                    values.div_ceil(PANEL_WIDTH)
                };
                stack.iter().map(group).max().unwrap_or(1) // all are powers of two
            }
        }
    }

    /// For int8: scales and offsets of the columns of a panel.
    pub(in super::super) fn int8_columns(&self, panel: usize) -> Int8Columns {
        let mut columns = Int8Columns::default();
        if let PanelSource::Forward(matrix) = self.source
            && self.format.is_int8()
        {
            let rows = matrix.int8_rows().iter().skip(panel * PANEL_WIDTH);
            for (column, row) in rows.take(PANEL_WIDTH).enumerate() {
                columns.scales[column] = row.scale;
                columns.offsets[column] = 128.0 * row.level_sum as f32;
            }
        }
        columns
    }

    /// Writes some panels, one after another, each of `panel_steps`.
    pub(in super::super) fn decode(
        &self,
        isa: Available,
        panels: &Range<usize>,
        steps: &mut [PanelStep],
        panel_steps: usize,
        scratch: &mut DecodeScratch,
    ) {
        let format = self.format;
        match self.source {
            PanelSource::Forward(matrix) => {
                let steps = steps.chunks_exact_mut(panel_steps);
                for (panel, steps) in panels.clone().zip(steps) {
                    let scratch = &mut *scratch;
                    simd::run_on(
                        isa,
                        ForwardPanel {
                            matrix,
                            format,
                            panel,
                            steps,
                            scratch,
                        },
                    );
                }
            }
            PanelSource::Backward(stack) => {
                let mut first_step = 0;
                for matrix in stack {
                    simd::run_on(
                        isa,
                        BackwardPanels {
                            matrix,
                            format,
                            panels: panels.clone(),
                            steps: &mut *steps,
                            first_step,
                            panel_steps,
                            scratch: &mut *scratch,
                        },
                    );
                    first_step += format.words(matrix.rows());
                }
            }
        }
    }
}
