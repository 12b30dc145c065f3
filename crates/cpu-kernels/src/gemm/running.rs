//! How tasks are run: on the current rayon pool, each thread with memory of its own for panels.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use super::epilogue::LowRankUpdate;
use super::finish::PanelEpilogue;
use super::packing::{DecodeScratch, WeightPanels};
use super::step::PanelStep;
use super::tasks::{Extent, Task};
use crate::isa::Available;

/// Multiply-adds below which waking other threads takes longer than the product.
const SERIAL_WORK: usize = 1 << 17;

/// Runs the tasks of a product with `work` multiply-adds.
pub(super) fn run_all(extent: &Extent, work: usize, run: impl Fn(Task) + Sync + Send) {
    let threads = rayon::current_num_threads();
    if threads == 1 || work < SERIAL_WORK {
        extent.tasks(1).into_iter().for_each(run);
    } else {
        let tasks = extent.tasks(threads).into_par_iter();
        tasks.with_max_len(1).for_each(run);
    }
}

/// Decoded panels, one after another, and their parts of the epilogue.
#[derive(Default)]
pub(super) struct PreparedPanels {
    steps: Vec<PanelStep>,
    epilogues: Vec<PanelEpilogue>,
    scratch: DecodeScratch,
}

/// The weight and the low-rank terms of a whole product.
pub(super) struct Preparation<'a> {
    pub(super) panels: WeightPanels<'a>,
    /// Of a panel.
    pub(super) steps: usize,
    pub(super) updates: &'a [LowRankUpdate<'a>],
    /// Of the result.
    pub(super) columns: usize,
}

impl PreparedPanels {
    /// Decodes some panels.
    pub(super) fn prepare(&mut self, isa: Available, of: &Preparation<'_>, range: &Range<usize>) {
        let needed = range.len() * of.steps;
        if self.steps.len() < needed {
            self.steps.resize(needed, PanelStep::ZERO);
        }
        let steps = &mut self.steps[..needed];
        of.panels
            .decode(isa, range, steps, of.steps, &mut self.scratch);
        let most = range.len().max(self.epilogues.len());
        self.epilogues.resize_with(most, PanelEpilogue::default);
        for (panel, epilogue) in range.clone().zip(&mut self.epilogues) {
            let int8 = of.panels.int8_columns(panel);
            epilogue.set(of.updates, panel, of.columns, int8);
        }
    }

    /// The panels that were prepared, of `steps` each.
    pub(super) fn panels(
        &self,
        steps: usize,
    ) -> impl Iterator<Item = (&[PanelStep], &PanelEpilogue)> {
        self.steps.chunks_exact(steps).zip(&self.epilogues)
    }
}

thread_local! {
    /// Kept from one product to the next: new pages are slow.
    static PREPARED: RefCell<[PreparedPanels; 2]> = RefCell::default();
}

/// Runs with this thread's memory for the panels of two products.
pub(super) fn with_prepared(run: impl FnOnce(&mut [PreparedPanels; 2])) {
    PREPARED.with_borrow_mut(run);
}
