//! One forward (and backward) pass: which rows there are, and whose noise each of them sees.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::noise::Stream;
use crate::{Error, Result};

/// A flag that another thread may raise; work looks at it between layers.
#[derive(Debug, Clone, Default)]
pub struct Abort(Arc<AtomicBool>);

impl Abort {
    /// Asks the work to stop.
    pub fn abort(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// `BPEFT_ABORTED` once the flag is raised.
    pub fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            Err(Error::Aborted)
        } else {
            Ok(())
        }
    }
}

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

/// Rows that see the same draw of `E`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Rows of the activations.
    pub rows: Range<usize>,
    /// Where the noise comes from.
    pub stream: Stream,
    /// Index of the posterior sample.
    pub sample: u32,
}

/// Rows of activations with their identities: all tokens, or the last one of each prompt.
#[derive(Debug, Clone)]
pub struct Rows {
    /// One per row.
    pub ids: Vec<TokenId>,
    /// Contiguous, in order, covering all rows.
    pub groups: Vec<Group>,
}

/// How the low-rank terms behave in this pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mode {
    /// `None`: the posterior mean.
    pub sampling: Option<NoiseSharing>,
    /// Adapted layers of earlier blocks stay at their mean; 0 = all are sampled.
    pub sample_from_block: usize,
    /// Samples 2j and 2j + 1 are a mirrored pair: one draw of the noise, with `E` and with `−E`.
    pub antithetic: bool,
    /// Dropout of the low-rank terms' inputs; 0 outside training.
    pub dropout: f32,
    /// Look for values that are not finite after every layer, and name the layer.
    pub check_finite: bool,
    /// Most bytes of activations to keep for the backward pass, beside each block's input; what does not fit is
    /// computed again, with the same bits. `None`: all are kept.
    pub kept_bytes: Option<usize>,
}

impl Mode {
    /// The posterior mean, deterministic.
    pub const MEAN: Self = Self {
        sampling: None,
        sample_from_block: 0,
        antithetic: false,
        dropout: 0.0,
        check_finite: false,
        kept_bytes: None,
    };
}

impl Mode {
    /// Whose noise a sample sees, and the sign of its `E`.
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

/// One pass over a ragged batch, repeated once per posterior sample.
#[derive(Debug, Clone)]
pub struct Pass {
    /// Segment s holds the tokens `offsets[s]..offsets[s+1]`; (S·B + 1).
    pub offsets: Vec<u32>,
    /// The last token of each segment, (S·B).
    pub last: Vec<u32>,
    /// All tokens.
    pub all_rows: Rows,
    /// The last tokens.
    pub last_rows: Rows,
    /// How the low-rank terms behave.
    pub mode: Mode,
    /// Raised by the caller to stop.
    pub abort: Abort,
}

impl Pass {
    /// `batch` repeated for every (stream, sample) of `draws`, sample-major.
    pub fn new(batch: &Batch, draws: &[(Stream, u32)], mode: Mode, abort: Abort) -> Self {
        let (tokens, prompts) = (batch.ids().len(), batch.len());
        let copies = draws.len();
        let mut offsets = Vec::with_capacity(copies * prompts + 1);
        let mut all = Vec::with_capacity(copies * tokens);
        let mut last_ids = Vec::with_capacity(copies * prompts);
        offsets.push(0);
        for copy in 0..copies {
            for prompt in 0..prompts {
                let (row, length) = (batch.rows()[prompt], batch.prompt(prompt).len() as u32);
                all.extend((0..length).map(|position| TokenId { row, position }));
                last_ids.push(TokenId {
                    row,
                    position: length - 1,
                });
                offsets.push((copy * tokens) as u32 + batch.offsets()[prompt + 1]);
            }
        }
        let groups = |rows: usize| {
            draws
                .iter()
                .enumerate()
                .map(|(copy, &(stream, sample))| Group {
                    rows: copy * rows..(copy + 1) * rows,
                    stream,
                    sample,
                })
                .collect()
        };
        Self {
            last: offsets[1..].iter().map(|end| end - 1).collect(),
            offsets,
            all_rows: Rows {
                ids: all,
                groups: groups(tokens),
            },
            last_rows: Rows {
                ids: last_ids,
                groups: groups(prompts),
            },
            mode,
            abort,
        }
    }

    /// How many times the batch is repeated.
    pub fn copies(&self) -> usize {
        self.all_rows.groups.len()
    }

    /// The signs' sharing at a block, or `None` for the mean.
    pub fn sampling_at(&self, block: usize) -> Option<NoiseSharing> {
        self.mode
            .sampling
            .filter(|_| block >= self.mode.sample_from_block)
    }
}
