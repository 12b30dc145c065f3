//! One forward (and backward) pass: which rows there are, and whose noise each of them sees.

use std::ops::Range;
#[cfg(feature = "cuda")]
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

#[cfg(feature = "cuda")]
use crate::Result;
use crate::abort::Abort;
use crate::batch::Batch;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::{Gpu, low_rank::Identities};
use crate::kl::GaussianKl;
use crate::noise::Stream;
use crate::observer::Watch;

/// Which rows share their Flipout signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoiseSharing {
    /// Every token has its own signs (the reference).
    Token,
    /// The tokens of a prompt share their signs (textbook Flipout, arXiv:1803.04386).
    Example,
    /// No signs: all rows see the same weights, a coherent draw of one model.
    Shared,
}

/// Identity of a row of activations for the noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenId {
    /// Identity of its data row or request.
    pub row: u32,
    /// Place in its prompt.
    pub position: u32,
}

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
    /// Some rows of a table for each copy. The noise sees them as a text of their own, which no
    /// batch names.
    pub(crate) fn of_table(copies: &[BatchCopy], rows: Range<usize>) -> Self {
        let id = |position| TokenId {
            row: u32::MAX,
            position,
        };
        let share: Vec<_> = rows.clone().map(|row| id(row as u32)).collect();
        let ids = share.repeat(copies.len());
        Self {
            positions: ids.iter().map(|id| id.position).collect(),
            ids,
            groups: groups(copies, &|_| rows.len()),
            #[cfg(feature = "cuda")]
            placed: OnceLock::new(),
        }
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
        let placed = Identities::new(gpu, &self.positions, &names)?;
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

/// How the low-rank terms behave in this pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mode {
    /// `None`: the posterior mean.
    pub sampling: Option<NoiseSharing>,
    /// Adapted layers of earlier blocks stay at their mean; 0 = all are sampled.
    pub sample_from_block: usize,
    /// Samples 2j and 2j + 1 are a mirrored pair: one draw of `E` and of the signs, with `E` and
    /// with `−E`. Dropout masks are never mirrored: each sample has its own.
    pub antithetic: bool,
    /// Dropout of the low-rank terms' inputs, where they are sampled; 0 = none.
    pub dropout: f32,
    /// The base's own dropout, of an encoder; 0 = none.
    pub base_dropout: f32,
    /// The divergence of the matrices of a context, and its weight beside the loss: part of the
    /// gradients.
    pub context_kl: Option<(GaussianKl, f64)>,
    /// Look for values that are not finite after every layer, and name the layer.
    pub check_finite: bool,
    /// Most bytes of activations to keep for the backward pass, beside each block's input; what
    /// does not fit is computed again, with the same bits. `None`: all are kept.
    pub kept_bytes: Option<usize>,
}

impl Mode {
    /// The posterior mean, deterministic.
    pub const MEAN: Self = Self {
        sampling: None,
        sample_from_block: 0,
        antithetic: false,
        dropout: 0.0,
        base_dropout: 0.0,
        context_kl: None,
        check_finite: false,
        kept_bytes: None,
    };

    /// Whose `E` and signs a sample sees, and the sign of its `E`.
    pub fn draw_of(&self, sample: u32) -> (u32, f32) {
        if self.antithetic {
            (
                sample / 2,
                if sample.is_multiple_of(2) { 1.0 } else { -1.0 },
            )
        } else {
            (sample, 1.0)
        }
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
        let rows = |ids: Vec<TokenId>, rows_of: &dyn Fn(&BatchCopy) -> usize| Rows {
            positions: ids.iter().map(|id| id.position).collect(),
            ids,
            groups: groups(&copies, rows_of),
            #[cfg(feature = "cuda")]
            placed: OnceLock::new(),
        };
        Self {
            all_rows: rows(all, &tokens),
            last_rows: rows(last, &|copy| copy.prompts.len()),
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
