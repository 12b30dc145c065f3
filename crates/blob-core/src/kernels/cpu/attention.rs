//! Causal attention over ragged segments, in blocks of query rows; equations in `ops::attention`.
//!
//! One task is one (segment, kv head): its keys and values are packed once, and the rows of all
//! query heads of the group go through in order of position, so that a block sees few keys beyond
//! its own. A block holds its scores against all keys it sees: 32 × L floats of scratch.

mod pairs;

use std::ops::Range;

use rayon::prelude::*;

use super::exp::exp;
use super::gemm::Precision;
use super::lanes;
use super::prefetch;
use super::simd::{self, Kernel, Level, Path};
use super::tile::{self, Entry, Exact, Left, Matrix, Pairs, Panels, ROWS, Rounded, WIDTH};
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
            work.run_with::<L, Pairs>();
        }
        Precision::Bf16 | Precision::Int8 | Precision::Int8Mixed => {
            work.run_with::<L, Rounded>();
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
    const ROUNDS: bool = true;

    #[inline(always)]
    fn run<L: Level>(self) {
        run_in::<L>(self.pair.problem.precision, self);
    }
}

impl WithEntries for Forward<'_, '_> {
    #[inline(always)]
    fn run_with<L: Level, E: Entry>(mut self) {
        let pair = &self.pair;
        let Problem {
            head_dim, group, ..
        } = pair.problem;
        let keys = pair.by_columns::<L, E>(pair.problem.k);
        let values = pair.by_rows::<L, E>(pair.problem.v);
        let padded_dim = head_dim.next_multiple_of(WIDTH);
        let mut q = Matrix::zeros(BLOCK, head_dim);
        let mut scores = Matrix::zeros(BLOCK, pair.tokens.len());
        let mut weighted = Matrix::zeros(BLOCK, head_dim);
        let mut left = Left::<E>::with_room(BLOCK, head_dim.max(pair.tokens.len()));
        for block in Block::of(pair) {
            let Block { rows, columns, .. } = block;
            pack(&mut q, pair, pair.problem.q, &block.queries, pair.scale());
            left.set::<L>(&q, [rows, padded_dim]);
            let shape = [rows, columns, padded_dim / E::DEPTHS];
            tile::multiply::<L, E>(&mut scores, &left, &keys, shape);
            let mut totals = [1.0; BLOCK];
            for (row, index) in block.queries.clone().enumerate() {
                let scores = &mut scores.row_mut(row)[..columns];
                scores[pair.visible(index)..].fill(f32::NEG_INFINITY);
                let largest = lanes::max::<L>(scores);
                totals[row] = exp_of_differences::<L>(scores, largest);
                self.log_sum_exp[index / group][index % group] = largest + totals[row].ln();
            }
            left.set::<L>(&scores, [rows, columns]);
            let shape = [rows, padded_dim, columns / E::DEPTHS];
            tile::multiply::<L, E>(&mut weighted, &left, &values, shape);
            for (row, index) in block.queries.enumerate() {
                let o = &mut self.o[index / group][index % group * head_dim..][..head_dim];
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
    const ROUNDS: bool = true;

    #[inline(always)]
    fn run<L: Level>(self) {
        run_in::<L>(self.pair.problem.precision, self);
    }
}

impl WithEntries for Backward<'_, '_> {
    #[inline(always)]
    fn run_with<L: Level, E: Entry>(self) {
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
        let keys = pair.by_rows::<L, E>(pair.problem.k);
        let keys_by_columns = pair.by_columns::<L, E>(pair.problem.k);
        let values_by_columns = pair.by_columns::<L, E>(pair.problem.v);
        let (padded_dim, len) = (head_dim.next_multiple_of(WIDTH), pair.tokens.len());
        let mut q = Matrix::zeros(BLOCK, head_dim);
        let mut d_o = Matrix::zeros(BLOCK, head_dim);
        let mut probs = Matrix::zeros(BLOCK, len);
        let mut d_scores = Matrix::zeros(BLOCK, len);
        let mut d_q = Matrix::zeros(BLOCK, head_dim);
        let mut d_keys = Matrix::zeros(len.next_multiple_of(WIDTH), head_dim);
        let mut d_values = Matrix::zeros(len.next_multiple_of(WIDTH), head_dim);
        let mut left = Left::<E>::with_room(BLOCK, head_dim.max(len));
        let mut panels = Panels::<E>::zeros(BLOCK, head_dim);
        for block in Block::of(&pair) {
            let Block { rows, columns, .. } = block;
            pack(&mut q, &pair, pair.problem.q, &block.queries, pair.scale());
            pack(&mut d_o, &pair, saved.d_o, &block.queries, 1.0);
            let shape = [rows, columns, padded_dim / E::DEPTHS];
            left.set::<L>(&q, [rows, padded_dim]);
            tile::multiply::<L, E>(&mut probs, &left, &keys_by_columns, shape);
            left.set::<L>(&d_o, [rows, padded_dim]);
            tile::multiply::<L, E>(&mut d_scores, &left, &values_by_columns, shape);
            for (row, index) in block.queries.clone().enumerate() {
                let probs = &mut probs.row_mut(row)[..columns];
                probs[pair.visible(index)..].fill(f32::NEG_INFINITY);
                exp_of_differences::<L>(probs, pair.query(saved.log_sum_exp, index, 1)[0]);
                let o = pair.query(saved.o, index, head_dim);
                if index + BLOCK < pair.num_queries() {
                    prefetch::read(pair.query(saved.o, index + BLOCK, head_dim));
                }
                let mean = lanes::dot::<L>(&d_o.row(row)[..head_dim], o);
                for (d_score, prob) in d_scores.row_mut(row).iter_mut().zip(probs) {
                    *d_score = *prob * (*d_score - mean);
                }
            }
            let depths = block.queries.len();
            let shape = [columns, padded_dim, depths.div_ceil(E::DEPTHS)];
            left.set_transposed::<L>(&probs, [columns, depths]);
            panels.set_rows::<L>(d_o.values.chunks_exact(d_o.stride));
            tile::multiply_transposed::<L, E>(&mut d_values, &left, &panels, shape);
            left.set_transposed::<L>(&d_scores, [columns, depths]);
            panels.set_rows::<L>(q.values.chunks_exact(q.stride));
            tile::multiply_transposed::<L, E>(&mut d_keys, &left, &panels, shape);
            left.set::<L>(&d_scores, [rows, columns]);
            let shape = [rows, padded_dim, columns / E::DEPTHS];
            tile::multiply::<L, E>(&mut d_q, &left, &keys, shape);
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

/// The query rows `queries` of a matrix like q become the first rows of `block`, times `factor`; those of the next
/// block are asked for, since rows lie far apart.
#[inline(always)]
fn pack(block: &mut Matrix, pair: &Pair<'_>, source: &[f32], queries: &Range<usize>, factor: f32) {
    let ahead = queries.start + BLOCK..pair.num_queries().min(queries.end + BLOCK);
    for index in ahead {
        prefetch::read(pair.query(source, index, pair.problem.head_dim));
    }
    for (row, index) in queries.clone().enumerate() {
        let source = pair.query(source, index, pair.problem.head_dim);
        scale_into(block.row_mut(row), source, factor);
    }
    let stride = block.stride;
    block.values[queries.len() * stride..].fill(0.0);
}

/// `target_j ← factor·source_j` over the shorter of the two.
#[inline(always)]
fn scale_into(target: &mut [f32], source: &[f32], factor: f32) {
    for (target, source) in target.iter_mut().zip(source) {
        *target = source * factor;
    }
}

/// `values_j ← exp(values_j − shift)` in whole vectors; their sum.
#[inline(always)]
fn exp_of_differences<L: Level>(values: &mut [f32], shift: f32) -> f32 {
    let mut sum = L::splat(0.0);
    for values in values.as_chunks_mut().0 {
        let power = exp::<L>(L::add(L::load(values), L::splat(-shift)));
        L::store(power, values);
        sum = L::add(sum, power);
    }
    L::sum(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// o, log_sum_exp, dq, dk, dv of one problem on one path; what products read is exact in bf16.
    fn everything(path: Path, precision: Precision) -> [Vec<f32>; 5] {
        let wave = |len: u16, pace: f32| -> Vec<f32> {
            (0..len)
                .map(|at| 1.5 * (pace * f32::from(at)).sin())
                .map(|value| f32::from_bits(simd::bf16_bits(value)))
                .collect()
        };
        let (q, k, v) = (wave(50 * 64, 0.7), wave(50 * 32, 1.3), wave(50 * 32, 2.9));
        let problem = Problem {
            q: &q,
            k: &k,
            v: &v,
            num_kv_heads: 2,
            group: 2,
            head_dim: 16, // q/√16 is exact too
            offsets: &[0, 41, 50],
            queries: Queries::Every,
            precision,
        };
        let (mut o, mut log_sum_exp) = (vec![0.0; q.len()], vec![0.0; 50 * 4]);
        forward_on(path, problem, &mut o, &mut log_sum_exp);
        let d_o = wave(50 * 64, 0.3);
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

    /// Every difference is at most `tolerance` times the largest value.
    fn assert_close(result: &[Vec<f32>; 5], expected: &[Vec<f32>; 5], tolerance: f32) {
        for (values, expected) in result.iter().zip(expected) {
            let largest = expected.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            for (a, b) in values.iter().zip(expected) {
                assert!((a - b).abs() < tolerance * largest, "{a}, {b} of {largest}");
            }
        }
    }

    #[test]
    fn vector_paths_agree_bit_by_bit_and_with_the_portable_path_closely() {
        let all = |path| everything(path, Precision::F32);
        let results: Vec<_> = Path::available().into_iter().map(all).collect();
        for result in &results {
            assert_close(result, &results[0], 1e-5);
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

    #[test]
    fn rounding_changes_the_probabilities_and_their_gradients_alone() {
        let exact = everything(Path::PORTABLE, Precision::F32);
        for path in Path::available() {
            let rounded = everything(path, Precision::Bf16);
            // Scores of exact operands: no more than the order of a sum.
            for (a, b) in rounded[1].iter().zip(&exact[1]) {
                assert!((a - b).abs() < 1e-5, "{path:?}: {a}, {b}");
            }
            // p and ds are off by at most 2⁻⁹ of themselves each, in sums of fewer than 50 of either sign.
            assert_close(&rounded, &exact, 4.0 / 512.0);
            for index in [0, 2, 3, 4] {
                assert!(
                    rounded[index] != exact[index],
                    "{path:?}: nothing was rounded"
                );
            }
        }
    }
}
