//! One forward (and backward) pass: which rows there are, and whose noise each of them sees.

mod mode;
mod rows;

use std::ops::Range;

pub use crate::noise::TokenId;
pub use mode::{Mode, NoiseSharing};
pub use rows::{Group, Rows};

use crate::abort::Abort;
use crate::batch::Batch;
use crate::noise::Stream;
use crate::observer::Watch;

/// Some prompts of a batch, run once: under one draw of the noise, by one member of the adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchCopy {
    /// Which prompts of the batch.
    pub prompts: Range<usize>,
    /// Where the noise comes from.
    pub stream: Stream,
    /// Index of the posterior sample.
    pub sample: u32,
    /// Whose factors its rows see.
    pub member: usize,
}

impl BatchCopy {
    /// All prompts of a batch, by the first member.
    pub fn whole(batch: &Batch, stream: Stream, sample: u32) -> Self {
        Self {
            prompts: 0..batch.len(),
            stream,
            sample,
            member: 0,
        }
    }

    /// Its tokens in the batch.
    pub fn tokens(&self, batch: &Batch) -> Range<usize> {
        let bound = |prompt: usize| batch.offsets()[prompt] as usize;
        bound(self.prompts.start)..bound(self.prompts.end)
    }
}

/// One pass over copies of a ragged batch's prompts.
#[derive(Debug, Clone)]
pub struct Pass {
    /// What is run, in the order of the rows.
    pub copies: Vec<BatchCopy>,
    /// The prompt of each segment, an index into the batch; (S).
    pub prompts: Vec<usize>,
    /// Segment s holds the tokens `offsets[s]..offsets[s+1]`; (S + 1).
    pub offsets: Vec<u32>,
    /// The last token of each segment, (S).
    pub last: Vec<u32>,
    /// All tokens.
    pub all_rows: Rows,
    /// The last tokens.
    pub last_rows: Rows,
    /// How the low-rank terms behave.
    pub mode: Mode,
    /// Raised by the caller to stop.
    pub abort: Abort,
    /// Who looks on in the backward pass.
    pub watch: Option<Watch>,
}

impl Pass {
    /// `copies` of `batch`, one after another.
    pub fn new(batch: &Batch, copies: Vec<BatchCopy>, mode: Mode, abort: Abort) -> Self {
        let prompts: Vec<usize> = copies
            .iter()
            .flat_map(|copy| copy.prompts.clone())
            .collect();
        let (mut offsets, mut all, mut last) = (vec![0], Vec::new(), Vec::new());
        for &prompt in &prompts {
            let (row, length) = (batch.rows()[prompt], batch.prompt(prompt).len() as u32);
            let id = |position| TokenId { row, position };
            all.extend((0..length).map(id));
            last.push(id(length - 1));
            offsets.push(all.len() as u32);
        }
        let tokens = |copy: &BatchCopy| copy.tokens(batch).len();
        Self {
            all_rows: Rows::new(all, &copies, &tokens),
            last_rows: Rows::new(last, &copies, &|copy| copy.prompts.len()),
            last: offsets[1..].iter().map(|end| end - 1).collect(),
            prompts,
            offsets,
            copies,
            mode,
            abort,
            watch: None,
        }
    }

    /// The same pass under an observer.
    #[must_use]
    pub fn watched(self, watch: Watch) -> Self {
        let watch = Some(watch);
        Self { watch, ..self }
    }

    /// The rows of each segment, among all tokens or the last ones.
    pub(crate) fn segments_of(&self, rows: usize) -> Vec<Range<usize>> {
        if rows == self.prompts.len() {
            return (0..rows).map(|row| row..row + 1).collect();
        }
        let bounds = self.offsets.windows(2);
        bounds
            .map(|ends| ends[0] as usize..ends[1] as usize)
            .collect()
    }

    /// The signs' sharing at a block, or `None` for the mean.
    pub fn sampling_at(&self, block: usize) -> Option<NoiseSharing> {
        self.mode
            .sampling
            .filter(|_| block >= self.mode.sample_from_block)
    }

    /// The probability of dropping an input of a low-rank term at a block.
    pub fn dropout_at(&self, block: usize) -> f32 {
        if block >= self.mode.sample_from_block {
            self.mode.dropout
        } else {
            0.0
        }
    }
}
