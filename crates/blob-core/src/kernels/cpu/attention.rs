//! Causal attention over ragged segments, in blocks of query rows; equations in `ops::attention`.
//!
//! One task is one (segment, kv head): its keys and values are packed once, and the rows of all
//! query heads of the group go through in order of position, so that a block sees few keys beyond
//! its own. A block holds its scores against all keys it sees: 32 × L floats of scratch.

mod pairs;

use std::ops::Range;

use rayon::prelude::*;

use super::exp::exp;
use super::lanes;
use super::simd::{self, Kernel, Level, Path};
use super::tile::{self, Panels, ROWS, Rows, RowsMut, WIDTH};
use pairs::Pair;
pub(crate) use pairs::{Problem, Queries};

/// Query rows per block; a multiple of [`ROWS`].
const BLOCK: usize = 32;

/// What the forward pass left and what came back.
#[derive(Clone, Copy)]
pub(crate) struct Saved<'a> {
    pub(crate) o: &'a [f32],
    pub(crate) log_sum_exp: &'a [f32],
    pub(crate) d_o: &'a [f32],
}

/// Writes every element of `o` and `log_sum_exp`.
pub(crate) fn forward(problem: Problem<'_>, o: &mut [f32], log_sum_exp: &mut [f32]) {
    forward_on(Path::best(), problem, o, log_sum_exp);
}

/// Writes every element of the gradients of q, k and v.
pub(crate) fn backward(problem: Problem<'_>, saved: Saved<'_>, gradients: [&mut [f32]; 3]) {
    backward_on(Path::best(), problem, saved, gradients);
}

fn forward_on(path: Path, problem: Problem<'_>, o: &mut [f32], log_sum_exp: &mut [f32]) {
    let outputs = problem
        .deal_queries(o)
        .into_iter()
        .zip(problem.deal_queries(log_sum_exp));
    let tasks: Vec<_> = problem.pairs().zip(outputs).collect();
    tasks
        .into_par_iter()
        .with_max_len(1)
        .for_each(|(pair, (o, log_sum_exp))| {
            simd::run_on(
                path,
                Forward {
                    pair,
                    o,
                    log_sum_exp,
                },
            );
        });
}

fn backward_on(path: Path, problem: Problem<'_>, saved: Saved<'_>, [dq, dk, dv]: [&mut [f32]; 3]) {
    let dq = problem.deal_queries(dq);
    let keys = problem.deal_keys(dk).into_iter().zip(problem.deal_keys(dv));
    let tasks: Vec<_> = problem.pairs().zip(dq.into_iter().zip(keys)).collect();
    tasks
        .into_par_iter()
        .with_max_len(1)
        .for_each(|(pair, (dq, (dk, dv)))| {
            simd::run_on(
                path,
                Backward {
                    pair,
                    saved,
                    dq,
                    dk,
                    dv,
                },
            );
        });
}

/// Sizes of one block of query rows.
struct Block {
    queries: Range<usize>,
    /// Rows that are computed: the queries, padded.
    rows: usize,
    /// Columns of scores that are computed: the keys that the last query sees, padded.
    columns: usize,
}

impl Block {
    fn of<'b>(pair: &'b Pair<'_>) -> impl Iterator<Item = Self> + use<'b> {
        (0..pair.num_queries()).step_by(BLOCK).map(|first| {
            let end = (first + BLOCK).min(pair.num_queries());
            Self {
                queries: first..end,
                rows: (end - first).next_multiple_of(ROWS),
                columns: pair.visible(end - 1).next_multiple_of(WIDTH),
            }
        })
    }
}

/// Scratch rows of a block, padded with zeros.
struct Scratch {
    values: Vec<f32>,
    stride: usize,
}

impl Scratch {
    fn new(rows: usize, columns: usize) -> Self {
        let stride = columns.next_multiple_of(WIDTH);
        Self {
            values: vec![0.0; rows * stride],
            stride,
        }
    }

    fn rows(&self) -> Rows<'_> {
        Rows {
            values: &self.values,
            stride: self.stride,
        }
    }

    fn rows_mut(&mut self) -> RowsMut<'_> {
        RowsMut {
            values: &mut self.values,
            stride: self.stride,
        }
    }

    fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.stride..][..self.stride]
    }

    fn row_mut(&mut self, index: usize) -> &mut [f32] {
        &mut self.values[index * self.stride..][..self.stride]
    }

    /// The same matrix as the right operand of a product.
    #[inline(always)]
    fn set_panels(&self, panels: &mut Panels) {
        for (index, row) in self.values.chunks_exact(self.stride).enumerate() {
            panels.set_row(index, row);
        }
    }
}

struct Forward<'a, 'b> {
    pair: Pair<'a>,
    o: Vec<&'b mut [f32]>,
    log_sum_exp: Vec<&'b mut [f32]>,
}

impl Kernel for Forward<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let Self {
            pair,
            mut o,
            mut log_sum_exp,
        } = self;
        let Problem {
            head_dim, group, ..
        } = pair.problem;
        let keys = pair.by_columns(pair.problem.k);
        let values = pair.by_rows(pair.problem.v);
        let padded_dim = head_dim.next_multiple_of(WIDTH);
        let mut q = Scratch::new(BLOCK, head_dim);
        let mut scores = Scratch::new(BLOCK, pair.tokens.len());
        let mut weighted = Scratch::new(BLOCK, head_dim);
        for block in Block::of(&pair) {
            pack(&mut q, &pair, pair.problem.q, &block.queries, pair.scale());
            scores.values.fill(0.0);
            let shape = [block.rows, block.columns, padded_dim];
            tile::multiply::<L>(&mut scores.rows_mut(), q.rows(), &keys, shape);
            let mut totals = [1.0; BLOCK];
            for (row, index) in block.queries.clone().enumerate() {
                let scores = &mut scores.row_mut(row)[..block.columns];
                scores[pair.visible(index)..].fill(f32::NEG_INFINITY);
                let largest = lanes::max(scores);
                exp_of_differences::<L>(scores, largest);
                totals[row] = lanes::sum(scores);
                log_sum_exp[index / group][index % group] = largest + totals[row].ln();
            }
            weighted.values.fill(0.0);
            let shape = [block.rows, padded_dim, block.columns];
            tile::multiply::<L>(&mut weighted.rows_mut(), scores.rows(), &values, shape);
            for (row, index) in block.queries.enumerate() {
                let o = &mut o[index / group][index % group * head_dim..][..head_dim];
                scale_into(o, weighted.row(row), 1.0 / totals[row]);
            }
        }
    }
}

struct Backward<'a, 'b> {
    pair: Pair<'a>,
    saved: Saved<'a>,
    dq: Vec<&'b mut [f32]>,
    dk: Vec<&'b mut [f32]>,
    dv: Vec<&'b mut [f32]>,
}

impl Kernel for Backward<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let Self {
            pair,
            saved,
            mut dq,
            dk,
            dv,
        } = self;
        let Problem {
            head_dim, group, ..
        } = pair.problem;
        let keys = pair.by_rows(pair.problem.k);
        let keys_by_columns = pair.by_columns(pair.problem.k);
        let values_by_columns = pair.by_columns(pair.problem.v);
        let (padded_dim, len) = (head_dim.next_multiple_of(WIDTH), pair.tokens.len());
        let mut q = Scratch::new(BLOCK, head_dim);
        let mut d_o = Scratch::new(BLOCK, head_dim);
        let mut probs = Scratch::new(BLOCK, len);
        let mut d_scores = Scratch::new(BLOCK, len);
        let mut d_q = Scratch::new(BLOCK, head_dim);
        let mut d_keys = Scratch::new(len.next_multiple_of(WIDTH), head_dim);
        let mut d_values = Scratch::new(len.next_multiple_of(WIDTH), head_dim);
        let mut panels = Panels::zeros(BLOCK, head_dim);
        for block in Block::of(&pair) {
            pack(&mut q, &pair, pair.problem.q, &block.queries, pair.scale());
            pack(&mut d_o, &pair, saved.d_o, &block.queries, 1.0);
            let shape = [block.rows, block.columns, padded_dim];
            probs.values.fill(0.0);
            tile::multiply::<L>(&mut probs.rows_mut(), q.rows(), &keys_by_columns, shape);
            d_scores.values.fill(0.0);
            tile::multiply::<L>(
                &mut d_scores.rows_mut(),
                d_o.rows(),
                &values_by_columns,
                shape,
            );
            for (row, index) in block.queries.clone().enumerate() {
                let probs = &mut probs.row_mut(row)[..block.columns];
                probs[pair.visible(index)..].fill(f32::NEG_INFINITY);
                exp_of_differences::<L>(probs, pair.query(saved.log_sum_exp, index, 1)[0]);
                let o = pair.query(saved.o, index, head_dim);
                let mean = lanes::dot::<L>(&d_o.row(row)[..head_dim], o);
                for (d_score, prob) in d_scores.row_mut(row).iter_mut().zip(probs) {
                    *d_score = *prob * (*d_score - mean);
                }
            }
            let shape = [block.columns, padded_dim, block.queries.len()];
            d_o.set_panels(&mut panels);
            tile::multiply_transposed::<L>(&mut d_values.rows_mut(), probs.rows(), &panels, shape);
            q.set_panels(&mut panels);
            tile::multiply_transposed::<L>(&mut d_keys.rows_mut(), d_scores.rows(), &panels, shape);
            let shape = [block.rows, padded_dim, block.columns];
            d_q.values.fill(0.0);
            tile::multiply::<L>(&mut d_q.rows_mut(), d_scores.rows(), &keys, shape);
            for (row, index) in block.queries.enumerate() {
                let dq = &mut dq[index / group][index % group * head_dim..][..head_dim];
                scale_into(dq, d_q.row(row), pair.scale());
            }
        }
        for (shares, gradient) in [(dk, d_keys), (dv, d_values)] {
            for (row, share) in shares.into_iter().enumerate() {
                share.copy_from_slice(&gradient.row(row)[..head_dim]);
            }
        }
    }
}

/// The query rows `queries` of a matrix like q become the first rows of `block`, times `factor`.
#[inline(always)]
fn pack(block: &mut Scratch, pair: &Pair<'_>, source: &[f32], queries: &Range<usize>, factor: f32) {
    block.values.fill(0.0);
    for (row, index) in queries.clone().enumerate() {
        let source = pair.query(source, index, pair.problem.head_dim);
        scale_into(block.row_mut(row), source, factor);
    }
}

/// `target_j ← factor·source_j` over the shorter of the two.
#[inline(always)]
fn scale_into(target: &mut [f32], source: &[f32], factor: f32) {
    for (target, source) in target.iter_mut().zip(source) {
        *target = source * factor;
    }
}

/// `values_j ← exp(values_j − shift)`.
#[inline(always)]
fn exp_of_differences<L: Level>(values: &mut [f32], shift: f32) {
    for value in values {
        *value = exp::<L>(*value - shift);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// o, log_sum_exp, dq, dk, dv of one problem on one path.
    fn everything(path: Path) -> [Vec<f32>; 5] {
        let wave = |len: u16, pace: f32| -> Vec<f32> {
            (0..len)
                .map(|at| 1.5 * (pace * f32::from(at)).sin())
                .collect()
        };
        let (q, k, v) = (wave(50 * 80, 0.7), wave(50 * 40, 1.3), wave(50 * 40, 2.9));
        let problem = Problem {
            q: &q,
            k: &k,
            v: &v,
            num_kv_heads: 2,
            group: 2,
            head_dim: 20,
            offsets: &[0, 41, 50],
            queries: Queries::Every,
        };
        let (mut o, mut log_sum_exp) = (vec![0.0; q.len()], vec![0.0; 50 * 4]);
        forward_on(path, problem, &mut o, &mut log_sum_exp);
        let d_o = wave(50 * 80, 0.3);
        let saved = Saved {
            o: &o,
            log_sum_exp: &log_sum_exp,
            d_o: &d_o,
        };
        let mut gradients = [vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]];
        backward_on(
            path,
            problem,
            saved,
            gradients.each_mut().map(Vec::as_mut_slice),
        );
        let [dq, dk, dv] = gradients;
        [o, log_sum_exp, dq, dk, dv]
    }

    #[test]
    fn vector_paths_agree_bit_by_bit_and_with_the_portable_path_closely() {
        let paths = Path::available();
        let results: Vec<_> = paths.into_iter().map(everything).collect();
        for result in &results {
            for (values, portable) in result.iter().zip(&results[0]) {
                let largest = lanes::max(portable);
                for (a, b) in values.iter().zip(portable) {
                    assert!((a - b).abs() < 1e-5 * largest, "{a} and {b} of {largest}");
                }
            }
        }
        let bits = |result: &[Vec<f32>; 5]| {
            result.each_ref().map(|values| {
                values
                    .iter()
                    .map(|value| value.to_bits())
                    .collect::<Vec<_>>()
            })
        };
        for pair in results[1..].windows(2) {
            assert!(bits(&pair[0]) == bits(&pair[1]));
        }
    }
}
