//! The curvature of a loss around an adapter, in one pass over the data.
//!
//! A batch is one forward pass and a backward pass for each column of the loss's root, C − 1 of
//! them; an observer adds the rows of every matrix to its two sums. How much they take is known
//! before, and bounded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::matrix_rows::{self, MatrixRows, Outputs};
use super::sum::{self, Omegas, Sum};
use super::{
    Curvature, Fitted, Likelihood, MatrixCurvature, MatrixId, Softmax, matrices_of, squared_norm,
};
use crate::abort::Abort;
use crate::adapter::{Adapter, Factor};
use crate::backbone::Backbone;
use crate::batch::Batch;
use crate::noise::{Phase, Stream};
use crate::objective::Evaluated;
use crate::observer::{Observer, Seen, Watch};
use crate::ops::Tensor;
use crate::pass::{BatchCopy, Mode, Pass};
use crate::{Error, Result};

/// Most directions that may be asked for of a wide factor.
pub const MOST_RANK: usize = 128;

/// Class tokens of a vocabulary that may compete in all.
const MOST_TOKENS: usize = 1024;

/// Of a sum over pairs of tokens in its map.
const BYTES_OF_PAIR: usize = 32;

/// What is kept of the curvature.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitConfig {
    /// The first block of the backbone whose layers are covered; its number of blocks means the
    /// head alone (LLLA), 0 all layers (LA).
    pub from_block: usize,
    /// K, directions that are kept of a wide factor.
    pub rank: usize,
    /// Most bytes of all sums and directions.
    pub memory_bytes: usize,
    /// Tokens that are a class of any row, at most 1024. A head over a vocabulary has as many
    /// directions of its outputs; elsewhere they do not matter.
    pub class_tokens: usize,
    /// As `Mode::kept_bytes`.
    pub kept_bytes: Option<usize>,
}

/// A curvature that is being summed up. After an error it is of no use.
pub struct Fit {
    config: FitConfig,
    likelihood: Box<dyn Likelihood>,
    sums: Arc<Mutex<Sums>>,
    first_block: usize,
    squared_norm: f64,
    rows: usize,
    nll: f64,
}

/// Both sums of every matrix.
struct Sums {
    matrices: BTreeMap<MatrixId, MatrixSum>,
    /// Matrices whose inputs this batch has added.
    is_added: BTreeMap<MatrixId, bool>,
}

struct MatrixSum {
    input: Sum,
    output: Sum,
    /// T
    rows: usize,
}

impl Fit {
    /// None yet, for a single adapter; of a posterior at its mean.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG` for a rank out of range, `BPEFT_INVALID_INPUT` for an ensemble, an
    /// adapter that has nothing there or has a context, more class tokens than a head may have, or
    /// more memory than allowed, saying what fits.
    pub fn new(config: FitConfig, adapter: &Adapter) -> Result<Self> {
        if !(1..=MOST_RANK).contains(&config.rank) {
            return Err(Error::InvalidConfig {
                field: "rank",
                rule: "must be between 1 and 128",
                value: config.rank.to_string(),
            });
        }
        adapter.require_no_context("a fit of the curvature")?;
        let members = adapter.parameters().members();
        if members != 1 {
            return Err(Error::InvalidInput(format!(
                "a fit of the curvature must be given a single adapter, got an ensemble of \
                 {members} members"
            )));
        }
        let shapes = matrices_of(adapter.parameters().layout(), config.from_block);
        if shapes.is_empty() {
            return Err(Error::InvalidInput(format!(
                "the adapter must have something from block {} on for Laplace's approximation over \
                 it alone, got layers before it: take all of them",
                config.from_block
            )));
        }
        let has_vocabulary = shapes
            .keys()
            .any(|&(site, factor)| is_of_tokens(site.module, factor));
        if has_vocabulary && config.class_tokens > MOST_TOKENS {
            return Err(Error::InvalidInput(format!(
                "the class tokens of all rows must be at most {MOST_TOKENS} for a curvature of the \
                 head, got {}",
                config.class_tokens
            )));
        }
        check_memory(&shapes, config)?;
        let mut omegas = Omegas::default();
        let mut matrices = BTreeMap::new();
        for (&(site, factor), &[outputs, inputs]) in &shapes {
            let output = if is_of_tokens(site.module, factor) {
                Sum::of_tokens(outputs)
            } else {
                Sum::new(outputs, config.rank, &mut omegas)
            };
            let input = Sum::new(inputs, config.rank, &mut omegas);
            let matrix = MatrixSum {
                input,
                output,
                rows: 0,
            };
            matrices.insert((site, factor), matrix);
        }
        let first_block = shapes.keys().map(|(site, _)| site.block).min();
        Ok(Self {
            config,
            likelihood: Box::new(Softmax),
            squared_norm: squared_norm(adapter, shapes.keys().copied()),
            sums: Arc::new(Mutex::new(Sums {
                matrices,
                is_added: BTreeMap::new(),
            })),
            first_block: first_block.unwrap_or(0),
            rows: 0,
            nll: 0.0,
        })
    }

    /// Replaces the loss, as tests with a known posterior do.
    #[must_use]
    pub fn with_likelihood(mut self, likelihood: Box<dyn Likelihood>) -> Self {
        self.likelihood = likelihood;
        self
    }

    /// Adds a batch of labelled rows.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` for a batch that does not fit the model or rows without a label,
    /// `BPEFT_NOT_FINITE`, `BPEFT_ABORTED`.
    pub fn add(
        &mut self,
        backbone: &Backbone,
        adapter: &Adapter,
        batch: &Batch,
        abort: &Abort,
    ) -> Result<Evaluated> {
        self.sums().is_added.clear();
        let mode = Mode {
            kept_bytes: if self.first_block == backbone.config().num_layers {
                Some(0)
            } else {
                self.config.kept_bytes
            },
            ..Mode::MEAN
        };
        let stream = Stream::new(0, 0, Phase::Evaluation);
        let copies = vec![BatchCopy::whole(batch, stream, 0)];
        let pass = Pass::new(batch, copies, mode, abort.clone());
        let pass = pass.watched(Watch::by(&self.sums));
        let (logits, kept) = backbone.forward(batch, &pass, Some(adapter), true)?;
        let loss = self.likelihood.evaluate(&logits, batch)?;
        if !loss.nll_sum.is_finite() {
            return Err(Error::NotFinite {
                step: 0,
                what: "loss",
                layer: "the loss".into(),
            });
        }
        let roots = self.likelihood.roots(&logits, batch)?;
        let roots: Vec<_> = roots
            .into_iter()
            .map(Tensor::vector)
            .collect::<Result<_>>()?;
        if let Some(kept) = kept {
            let mut gradients = adapter.parameters().zeros_like();
            let first = self.first_block;
            backbone.backward_each(kept, &roots, &pass, adapter, first, &mut gradients)?;
        }
        let tokens = self.sums().tokens();
        if tokens > self.config.class_tokens {
            return Err(Error::InvalidInput(format!(
                "the rows of a curvature must have at most the {} class tokens that it was made \
                 for, got {tokens}",
                self.config.class_tokens
            )));
        }
        self.rows += batch.len();
        self.nll += loss.nll_sum;
        Ok(loss)
    }

    /// The curvature of all rows so far.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` without rows, `BPEFT_NOT_FINITE`.
    pub fn finish(&self) -> Result<Fitted> {
        if self.rows == 0 {
            return Err(Error::InvalidInput(
                "a curvature must be of at least one row, got 0".into(),
            ));
        }
        let rank = self.config.rank;
        let mut matrices = BTreeMap::new();
        for (&(site, factor), matrix) in &self.sums().matrices {
            let weight = 1.0 / matrix.rows.max(1) as f64;
            let found = MatrixCurvature {
                input: matrix.input.directions(weight, rank),
                output: matrix.output.directions(1.0, rank),
            };
            if !found.eigenvalues().all(f64::is_finite) {
                return Err(Error::NotFinite {
                    step: 0,
                    what: "the curvature",
                    layer: site.path(),
                });
            }
            matrices.insert((site, factor), found);
        }
        Ok(Fitted {
            curvature: Arc::new(Curvature { matrices }),
            squared_norm: self.squared_norm,
            rows: self.rows,
            nll: self.nll,
        })
    }

    fn sums(&self) -> std::sync::MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a matrix's outputs are a vocabulary, of which classes alone have gradients.
fn is_of_tokens(module: crate::adapter::Module, factor: Factor) -> bool {
    module == crate::adapter::Module::LmHead && factor == Factor::B
}

impl Sums {
    fn tokens(&self) -> usize {
        let sums = self.matrices.values();
        sums.map(|matrix| matrix.output.tokens()).max().unwrap_or(0)
    }
}

impl Observer for Sums {
    fn see(&mut self, seen: &Seen<'_>) -> Result<()> {
        for MatrixRows {
            matrix,
            inputs,
            outputs,
        } in matrix_rows::of(seen)
        {
            let Some(sum) = self.matrices.get_mut(&matrix) else {
                continue;
            };
            // The inputs are those of the one forward pass, whatever came back.
            if self.is_added.insert(matrix, true).is_none() {
                sum.input.add(&inputs);
                sum.rows += seen.segments.last().map_or(0, |last| last.end);
            }
            match outputs {
                Outputs::Rows(rows) => sum.output.add(&rows),
                Outputs::Classes(classes, values) => {
                    let mut from = 0;
                    for row in classes.rows.chunk_by(|one, other| one == other) {
                        let of_row = from..from + row.len();
                        from = of_row.end;
                        let (tokens, values) = (&classes.tokens[of_row.clone()], &values[of_row]);
                        sum.output.add_tokens(tokens, values);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Bytes of the sums, of what they share, and of the directions, at a rank.
fn bytes(shapes: &BTreeMap<MatrixId, [usize; 2]>, rank: usize, class_tokens: usize) -> usize {
    let mut shared = BTreeMap::new();
    let (mut own, mut pairs) = (0, 0);
    for (&(site, factor), &[outputs, inputs]) in shapes {
        let mut add = |width: usize| {
            let (of_sum, of_omega) = sum::values(width, rank);
            shared.insert(width, of_omega);
            own += of_sum + sum::kept(width, rank) * width;
        };
        add(inputs);
        if is_of_tokens(site.module, factor) {
            own += class_tokens * outputs;
            pairs += class_tokens * class_tokens;
        } else {
            add(outputs);
        }
    }
    size_of::<f32>() * (own + shared.values().sum::<usize>()) + BYTES_OF_PAIR * pairs
}

fn check_memory(shapes: &BTreeMap<MatrixId, [usize; 2]>, config: FitConfig) -> Result<()> {
    let of_rank = |rank| bytes(shapes, rank, config.class_tokens);
    let needed = of_rank(config.rank);
    if needed <= config.memory_bytes {
        return Ok(());
    }
    let mib = |bytes: usize| bytes.div_ceil(1 << 20);
    let fits = (1..config.rank)
        .rev()
        .find(|&rank| of_rank(rank) <= config.memory_bytes);
    let remedy = match fits {
        Some(rank) => format!("rank {rank} fits"),
        None => format!("no rank fits, and rank 1 takes {} MiB", mib(of_rank(1))),
    };
    Err(Error::CurvatureTooLarge(format!(
        "the curvature of {} matrices must fit {} MiB, got {} MiB at rank {}: {remedy}",
        shapes.len(),
        config.memory_bytes >> 20,
        mib(needed),
        config.rank
    )))
}
