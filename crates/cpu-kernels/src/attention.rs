//! Masked attention over ragged segments, in blocks of query rows; equations in `ops::attention`.
//!
//! One task is one (segment, kv head): its keys and values are packed once, and the rows of all
//! query heads of the group go through in order of position, so that a block sees few keys beyond
//! its own. A block computes its scores against the keys that any of its rows sees, from a whole
//! panel on: 32 × L floats of scratch, or 32 × about the window.

#![expect(unsafe_code, reason = "a result's memory holds nothing before")]

mod tasks;

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::exp::{exp_of_differences, tanh};
use super::gemm::Precision;
use super::isa::{self, Available};
use super::lanes;
use super::output::{Slot, Unwritten};
use super::prefetch;
use super::simd::{self, Kernel, Level};
use super::tile::{self, Bf16Pairs, Entry, Exact, Left, Matrix, Panels, ROWS, Rounded, WIDTH};
use tasks::Task;
pub use tasks::{Mask, Problem, Queries};

/// Query rows per block; a multiple of [`ROWS`].
const QUERY_ROWS: usize = 32;

/// What the forward pass left and what came back.
#[derive(Clone, Copy)]
pub struct Saved<'a> {
    /// As q.
    pub o: &'a [f32],
    /// A number per row of q and head.
    pub log_sum_exp: &'a [f32],
    /// As q.
    pub d_o: &'a [f32],
}

/// o and log_sum_exp.
pub fn forward(problem: Problem<'_>) -> [Vec<f32>; 2] {
    forward_on(isa::chosen(), problem)
}

/// The gradients of q, k and v.
pub fn backward(problem: Problem<'_>, saved: Saved<'_>) -> [Vec<f32>; 3] {
    backward_on(isa::chosen(), problem, saved)
}

fn forward_on(path: Available, problem: Problem<'_>) -> [Vec<f32>; 2] {
    problem.assert_covered();
    let mut o = Unwritten::new(problem.q.len());
    let mut log_sum_exp = Unwritten::new(problem.q.len() / problem.head_dim);
    let outputs = problem
        .deal_queries(o.slots())
        .into_iter()
        .zip(problem.deal_queries(log_sum_exp.slots()));
    let tasks: Vec<_> = problem.tasks().zip(outputs).collect();
    tasks
        .into_par_iter()
        .with_max_len(1)
        .for_each(|(task, (o, log_sum_exp))| {
            simd::run_on(
                path,
                Forward {
                    task,
                    o,
                    log_sum_exp,
                },
            );
        });
    // SAFETY: the tasks' shares cover both, and each task writes all of its queries.
    [o, log_sum_exp].map(|result| unsafe { result.assume_written() })
}

fn backward_on(path: Available, problem: Problem<'_>, saved: Saved<'_>) -> [Vec<f32>; 3] {
    problem.assert_covered();
    let mut dq = Unwritten::new(problem.q.len());
    let [mut dk, mut dv] = [problem.k, problem.v].map(|values| Unwritten::new(values.len()));
    let queries = problem.deal_queries(dq.slots()).into_iter();
    let keys = problem.deal_keys(dk.slots()).into_iter();
    let keys = keys.zip(problem.deal_keys(dv.slots()));
    let tasks: Vec<_> = problem.tasks().zip(queries.zip(keys)).collect();
    tasks
        .into_par_iter()
        .with_max_len(1)
        .for_each(|(task, (dq, (dk, dv)))| {
            simd::run_on(
                path,
                Backward {
                    task,
                    saved,
                    dq,
                    dk,
                    dv,
                },
            );
        });
    // SAFETY: the tasks' shares cover all three, and each task writes all of its queries and keys.
    [dq, dk, dv].map(|gradient| unsafe { gradient.assume_written() })
}

/// Sizes of one block of query rows.
struct QueryBlock {
    queries: Range<usize>,
    /// Rows that are computed: the queries, padded.
    rows: usize,
    /// The first key that is computed, a multiple of [`WIDTH`].
    first: usize,
    /// Keys that are computed: from `first` to the last that the last query sees, padded.
    columns: usize,
}

impl QueryBlock {
    fn of<'b>(task: &'b Task<'_>) -> impl Iterator<Item = Self> + use<'b> {
        (0..task.num_queries()).step_by(QUERY_ROWS).map(|first| {
            let queries = first..(first + QUERY_ROWS).min(task.num_queries());
            let first = task.visible(queries.start).start / WIDTH * WIDTH;
            let end = task.visible(queries.end - 1).end;
            Self {
                rows: queries.len().next_multiple_of(ROWS),
                columns: (end - first).next_multiple_of(WIDTH),
                queries,
                first,
            }
        })
    }

    /// The most columns of a block.
    fn widest(task: &Task<'_>) -> usize {
        let columns = Self::of(task).map(|block| block.columns);
        columns.max().unwrap_or(0)
    }

    /// Takes the keys that query row `index` does not see out of its scores.
    #[inline(always)]
    fn hide(&self, scores: &mut [f32], task: &Task<'_>, index: usize) {
        let Range { start, end } = task.visible(index);
        scores[..start - self.first].fill(f32::NEG_INFINITY);
        scores[end - self.first..].fill(f32::NEG_INFINITY);
    }
}

/// Work on matrices of any entries.
trait WithEntries {
    fn run_with<L: Level, E: Entry>(self);
}

/// Does `work` with the entries of a precision.
#[inline(always)]
fn run_in<L: Level>(precision: Precision, work: impl WithEntries) {
    match precision {
        Precision::F32 => work.run_with::<L, Exact>(),
        Precision::Bf16 | Precision::Int8 | Precision::Int8Mixed if L::PAIRS => {
            work.run_with::<L, Bf16Pairs>();
        }
        Precision::Bf16 | Precision::Int8 | Precision::Int8Mixed => {
            work.run_with::<L, Rounded>();
        }
    }
}

struct Forward<'a, 'b> {
    task: Task<'a>,
    o: Vec<&'b mut [MaybeUninit<f32>]>,
    log_sum_exp: Vec<&'b mut [MaybeUninit<f32>]>,
}

impl Kernel for Forward<'_, '_> {
    type Output = ();
    const ROUNDS: bool = true;

    #[inline(always)]
    fn run<L: Level>(self) {
        run_in::<L>(self.task.problem.precision, self);
    }
}

impl WithEntries for Forward<'_, '_> {
    #[inline(always)]
    fn run_with<L: Level, E: Entry>(mut self) {
        let task = &self.task;
        let Problem {
            head_dim, group, ..
        } = task.problem;
        let keys = task.by_columns::<L, E>(task.problem.k);
        let values = task.by_rows::<L, E>(task.problem.v);
        let padded_dim = head_dim.next_multiple_of(WIDTH);
        let mut q = Matrix::zeros(QUERY_ROWS, head_dim);
        let widest = QueryBlock::widest(task);
        let mut scores = Matrix::zeros(QUERY_ROWS, widest);
        let mut weighted = Matrix::zeros(QUERY_ROWS, head_dim);
        let mut left = Left::<E>::with_room(QUERY_ROWS, head_dim.max(widest));
        for block in QueryBlock::of(task) {
            let QueryBlock {
                rows,
                first,
                columns,
                ..
            } = block;
            pack(
                &mut q,
                task,
                task.problem.q,
                &block.queries,
                task.problem.scale,
            );
            left.set::<L>(&q, [rows, padded_dim]);
            let shape = [rows, columns, padded_dim / E::DEPTHS];
            tile::multiply::<L, E>(&mut scores, &left, keys.columns_from(first), shape);
            let mut totals = [1.0; QUERY_ROWS];
            for (row, index) in block.queries.clone().enumerate() {
                let scores = &mut scores.row_mut(row)[..columns];
                if let Some(cap) = task.problem.soft_cap {
                    cap_softly::<L>(scores, cap, &mut []);
                }
                block.hide(scores, task, index);
                let largest = lanes::max::<L>(scores);
                totals[row] = exp_of_differences::<L>(scores, largest);
                let log_sum_exp = &mut self.log_sum_exp[index / group][index % group];
                log_sum_exp.write(largest + totals[row].ln());
            }
            left.set::<L>(&scores, [rows, columns]);
            let shape = [rows, padded_dim, columns / E::DEPTHS];
            tile::multiply::<L, E>(&mut weighted, &left, values.depths_from(first), shape);
            for (row, index) in block.queries.enumerate() {
                let o = &mut self.o[index / group][index % group * head_dim..][..head_dim];
                scale_into(o, weighted.row(row), 1.0 / totals[row]);
            }
        }
    }
}

struct Backward<'a, 'b> {
    task: Task<'a>,
    saved: Saved<'a>,
    dq: Vec<&'b mut [MaybeUninit<f32>]>,
    dk: Vec<&'b mut [MaybeUninit<f32>]>,
    dv: Vec<&'b mut [MaybeUninit<f32>]>,
}

impl Kernel for Backward<'_, '_> {
    type Output = ();
    const ROUNDS: bool = true;

    #[inline(always)]
    fn run<L: Level>(self) {
        run_in::<L>(self.task.problem.precision, self);
    }
}

impl WithEntries for Backward<'_, '_> {
    #[inline(always)]
    fn run_with<L: Level, E: Entry>(self) {
        let Self {
            task,
            saved,
            mut dq,
            dk,
            dv,
        } = self;
        let Problem {
            head_dim, group, ..
        } = task.problem;
        let keys = task.by_rows::<L, E>(task.problem.k);
        let keys_by_columns = task.by_columns::<L, E>(task.problem.k);
        let values_by_columns = task.by_columns::<L, E>(task.problem.v);
        let (padded_dim, len) = (head_dim.next_multiple_of(WIDTH), task.tokens.len());
        let widest = QueryBlock::widest(&task);
        let mut q = Matrix::zeros(QUERY_ROWS, head_dim);
        let mut d_o = Matrix::zeros(QUERY_ROWS, head_dim);
        let mut probs = Matrix::zeros(QUERY_ROWS, widest);
        let mut d_scores = Matrix::zeros(QUERY_ROWS, widest);
        let mut d_q = Matrix::zeros(QUERY_ROWS, head_dim);
        let mut d_keys = Matrix::zeros(len.next_multiple_of(WIDTH), head_dim);
        let mut d_values = Matrix::zeros(len.next_multiple_of(WIDTH), head_dim);
        // Of the capped scores in a row; none where nothing is capped.
        let mut slopes = vec![0.0; task.problem.soft_cap.map_or(0, |_| widest)];
        let mut left = Left::<E>::with_room(QUERY_ROWS, head_dim.max(widest));
        let mut panels = Panels::<E>::zeros(QUERY_ROWS, head_dim);
        for block in QueryBlock::of(&task) {
            let QueryBlock {
                rows,
                first,
                columns,
                ..
            } = block;
            let keys_by_columns = keys_by_columns.columns_from(first);
            let values_by_columns = values_by_columns.columns_from(first);
            pack(
                &mut q,
                &task,
                task.problem.q,
                &block.queries,
                task.problem.scale,
            );
            pack(&mut d_o, &task, saved.d_o, &block.queries, 1.0);
            let shape = [rows, columns, padded_dim / E::DEPTHS];
            left.set::<L>(&q, [rows, padded_dim]);
            tile::multiply::<L, E>(&mut probs, &left, keys_by_columns, shape);
            left.set::<L>(&d_o, [rows, padded_dim]);
            tile::multiply::<L, E>(&mut d_scores, &left, values_by_columns, shape);
            for (row, index) in block.queries.clone().enumerate() {
                let probs = &mut probs.row_mut(row)[..columns];
                if let Some(cap) = task.problem.soft_cap {
                    cap_softly::<L>(probs, cap, &mut slopes);
                }
                block.hide(probs, &task, index);
                exp_of_differences::<L>(probs, task.query(saved.log_sum_exp, index, 1)[0]);
                let o = task.query(saved.o, index, head_dim);
                if index + QUERY_ROWS < task.num_queries() {
                    prefetch::read(task.query(saved.o, index + QUERY_ROWS, head_dim));
                }
                let mean = lanes::dot::<L>(&d_o.row(row)[..head_dim], o);
                for (d_score, prob) in d_scores.row_mut(row).iter_mut().zip(probs) {
                    *d_score = *prob * (*d_score - mean);
                }
                for (d_score, slope) in d_scores.row_mut(row).iter_mut().zip(&slopes) {
                    *d_score *= slope;
                }
            }
            let depths = block.queries.len();
            let shape = [columns, padded_dim, depths.div_ceil(E::DEPTHS)];
            left.set_transposed::<L>(&probs, [columns, depths]);
            panels.set_rows::<L>(d_o.values.chunks_exact(d_o.stride));
            let mut share = d_values.rows_from(first);
            tile::multiply_transposed::<L, E>(&mut share, &left, &panels, shape);
            left.set_transposed::<L>(&d_scores, [columns, depths]);
            panels.set_rows::<L>(q.values.chunks_exact(q.stride));
            let mut share = d_keys.rows_from(first);
            tile::multiply_transposed::<L, E>(&mut share, &left, &panels, shape);
            left.set::<L>(&d_scores, [rows, columns]);
            let shape = [rows, padded_dim, columns / E::DEPTHS];
            tile::multiply::<L, E>(&mut d_q, &left, keys.depths_from(first), shape);
            for (row, index) in block.queries.enumerate() {
                let dq = &mut dq[index / group][index % group * head_dim..][..head_dim];
                scale_into(dq, d_q.row(row), task.problem.scale);
            }
        }
        for (shares, gradient) in [(dk, d_keys), (dv, d_values)] {
            for (row, share) in shares.into_iter().enumerate() {
                share.write_copy_of_slice(&gradient.row(row)[..head_dim]);
            }
        }
    }
}

/// The query rows `queries` of a matrix like q become the first rows of `block`, times `factor`;
/// those of the next block are asked for, since rows lie far apart.
#[inline(always)]
fn pack(block: &mut Matrix, task: &Task<'_>, source: &[f32], queries: &Range<usize>, factor: f32) {
    let ahead = queries.start + QUERY_ROWS..task.num_queries().min(queries.end + QUERY_ROWS);
    for index in ahead {
        prefetch::read(task.query(source, index, task.problem.head_dim));
    }
    for (row, index) in queries.clone().enumerate() {
        let source = task.query(source, index, task.problem.head_dim);
        scale_into(block.row_mut(row), source, factor);
    }
    let stride = block.stride;
    block.values[queries.len() * stride..].fill(0.0);
}

/// `target_j ← factor·source_j` over the shorter of the two.
#[inline(always)]
fn scale_into(target: &mut [impl Slot], source: &[f32], factor: f32) {
    for (target, source) in target.iter_mut().zip(source) {
        target.put(source * factor);
    }
}

/// `s_j ← a·tanh(s_j/a)` in whole vectors; `slopes_j = 1 − tanh²(s_j/a)`, as far as there is room.
#[inline(always)]
fn cap_softly<L: Level>(scores: &mut [f32], cap: f32, slopes: &mut [f32]) {
    let mut slopes = slopes.as_chunks_mut().0.iter_mut();
    for scores in scores.as_chunks_mut().0 {
        let tanh = tanh::<L>(L::scale(1.0 / cap, L::load(scores)));
        L::store(L::scale(cap, tanh), scores);
        if let Some(slopes) = slopes.next() {
            L::store(L::fma(L::scale(-1.0, tanh), tanh, L::splat(1.0)), slopes);
        }
    }
}

#[cfg(test)]
mod tests;
