//! Attention whose scores have terms of distances; equations in `ops::disentangled`.
//!
//! One task is one head of the segments that read one share of the table, so that no two tasks add
//! to a row of its gradient, and sums have one order. Distances of a segment are a run of rows, and
//! their products with queries and keys are matrices, of which each score picks two entries.

use std::ops::Range;

use rayon::prelude::*;

use super::exp::exp_of_differences;
use super::lanes;
use super::simd::{self, Kernel, Level, WIDTH};

/// The operands of both directions.
#[derive(Clone, Copy)]
pub struct Problem<'a> {
    /// (n, H·c)
    pub q: &'a [f32],
    /// (n, H·c)
    pub k: &'a [f32],
    /// (n, H·c)
    pub v: &'a [f32],
    /// Q̂, (C·w, H·c)
    pub queries: &'a [f32],
    /// K̂, (C·w, H·c)
    pub keys: &'a [f32],
    /// H
    pub heads: usize,
    /// c
    pub head_dim: usize,
    /// κ
    pub scale: f32,
    /// First rows of the segments, and the end of the last.
    pub offsets: &'a [u32],
    /// Row of each distance in a share, from the lowest; not falling.
    pub places: &'a [u32],
    /// w
    pub width: usize,
    /// First row of each segment's share.
    pub shares: &'a [u32],
}

/// A head of the segments that read one share.
struct Task {
    segments: Range<usize>,
    rows: Range<usize>,
    share: Range<usize>,
    head: usize,
}

impl Problem<'_> {
    fn tasks(&self) -> Vec<Task> {
        let mut tasks = Vec::new();
        let mut first = 0;
        for run in self.shares.chunk_by(|one, other| one == other) {
            let segments = first..first + run.len();
            first = segments.end;
            let share = run[0] as usize;
            tasks.extend((0..self.heads).map(|head| Task {
                rows: self.offsets[segments.start] as usize..self.offsets[segments.end] as usize,
                segments: segments.clone(),
                share: share..share + self.width,
                head,
            }));
        }
        tasks
    }

    /// A head's columns of some rows of a matrix with `width` columns for each.
    fn taken(&self, matrix: &[f32], rows: &Range<usize>, head: usize, width: usize) -> Vec<f32> {
        let mut taken = Vec::with_capacity(rows.len() * width);
        for row in rows.clone() {
            taken.extend_from_slice(&matrix[(row * self.heads + head) * width..][..width]);
        }
        taken
    }

    /// The adjoint of [`Self::taken`], of a matrix of zeros.
    fn put(&self, part: &[f32], matrix: &mut [f32], rows: &Range<usize>, head: usize) {
        let width = part.len() / rows.len().max(1);
        for (row, part) in rows.clone().zip(part.chunks_exact(width.max(1))) {
            matrix[(row * self.heads + head) * width..][..width].copy_from_slice(part);
        }
    }

    /// What a task reads, head by head.
    fn heads_of(&self, task: &Task) -> Heads {
        let of = |matrix, rows| self.taken(matrix, rows, task.head, self.head_dim);
        Heads {
            q: of(self.q, &task.rows),
            k: of(self.k, &task.rows),
            v: of(self.v, &task.rows),
            queries: of(self.queries, &task.share),
            keys: of(self.keys, &task.share),
        }
    }

    /// Lengths and first rows of a task's segments, from its own first row on.
    fn segments_of(&self, task: &Task) -> impl Iterator<Item = Range<usize>> + use<'_> {
        let from = task.rows.start;
        let ends = &self.offsets[task.segments.start..=task.segments.end];
        ends.windows(2)
            .map(move |ends| ends[0] as usize - from..ends[1] as usize - from)
    }

    /// The place of the distance from query i to key j.
    #[inline(always)]
    fn place(&self, i: usize, j: usize) -> usize {
        self.places[self.places.len() / 2 + i - j] as usize
    }

    /// The rows of a share that a segment reads.
    fn reach(&self, len: usize) -> Range<usize> {
        let zero = self.places.len() / 2;
        self.places[zero + 1 - len] as usize..self.places[zero + len - 1] as usize + 1
    }
}

/// One head of every operand, row by row.
struct Heads {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    queries: Vec<f32>,
    keys: Vec<f32>,
}

/// o and log_sum_exp.
pub fn forward(problem: &Problem<'_>) -> [Vec<f32>; 2] {
    let tasks = problem.tasks();
    let parts: Vec<_> = tasks
        .par_iter()
        .with_max_len(1)
        .map(|task| simd::run(Forward { problem, task }))
        .collect();
    let mut o = vec![0.0; problem.q.len()];
    let mut log_sum_exp = vec![0.0; problem.q.len() / problem.head_dim];
    for (task, [of_o, sums]) in tasks.iter().zip(&parts) {
        problem.put(of_o, &mut o, &task.rows, task.head);
        problem.put(sums, &mut log_sum_exp, &task.rows, task.head);
    }
    [o, log_sum_exp]
}

/// The gradients of q, k, v, Q̂ and K̂; of o, log_sum_exp and do.
pub fn backward(problem: &Problem<'_>, saved: [&[f32]; 3]) -> [Vec<f32>; 5] {
    let tasks = problem.tasks();
    let of = |task| Backward {
        problem,
        task,
        saved,
    };
    let parts: Vec<_> = tasks
        .par_iter()
        .with_max_len(1)
        .map(|task| simd::run(of(task)))
        .collect();
    let Problem {
        q,
        k,
        v,
        queries,
        keys,
        ..
    } = *problem;
    let mut gradients = [q, k, v, queries, keys].map(|x| vec![0.0; x.len()]);
    for (task, parts) in tasks.iter().zip(&parts) {
        let rows = [&task.rows, &task.rows, &task.rows, &task.share, &task.share];
        for ((gradient, part), rows) in gradients.iter_mut().zip(parts).zip(rows) {
            problem.put(part, gradient, rows, task.head);
        }
    }
    gradients
}

struct Forward<'a> {
    problem: &'a Problem<'a>,
    task: &'a Task,
}

impl Kernel for Forward<'_> {
    type Output = [Vec<f32>; 2];

    #[inline(always)]
    fn run<L: Level>(self) -> Self::Output {
        let Self { problem, task } = self;
        let c = problem.head_dim;
        let heads = problem.heads_of(task);
        let mut o = vec![0.0; heads.q.len()];
        let mut sums = Vec::with_capacity(task.rows.len());
        for rows in problem.segments_of(task) {
            let len = rows.len();
            let mut scores = scores::<L>(problem, &heads, &rows);
            for row in scores.values.chunks_exact_mut(scores.stride) {
                let largest = lanes::max::<L>(row);
                let total = exp_of_differences::<L>(row, largest);
                for weight in row {
                    *weight /= total;
                }
                sums.push(largest + total.ln());
            }
            let values = &heads.v[rows.start * c..rows.end * c];
            let o = &mut o[rows.start * c..rows.end * c];
            add_product::<L>(o, (&scores.values, scores.stride), values, [len, c]);
        }
        [o, sums]
    }
}

struct Backward<'a> {
    problem: &'a Problem<'a>,
    task: &'a Task,
    /// o, log_sum_exp and do.
    saved: [&'a [f32]; 3],
}

impl Kernel for Backward<'_> {
    type Output = [Vec<f32>; 5];

    #[inline(always)]
    fn run<L: Level>(self) -> Self::Output {
        let Self {
            problem,
            task,
            saved,
        } = self;
        let c = problem.head_dim;
        let heads = problem.heads_of(task);
        let of = |matrix, width| problem.taken(matrix, &task.rows, task.head, width);
        let (o, sums, d_o) = (of(saved[0], c), of(saved[1], 1), of(saved[2], c));
        let Heads {
            q,
            k,
            v,
            queries,
            keys,
        } = &heads;
        let [mut dq, mut dk, mut dv, mut d_queries, mut d_keys] =
            [q, k, v, queries, keys].map(|x| vec![0.0; x.len()]);
        for rows in problem.segments_of(task) {
            let (len, reach) = (rows.len(), problem.reach(rows.len()));
            let mine = rows.start * c..rows.end * c;
            let theirs = reach.start * c..reach.end * c;
            let mut probs = scores::<L>(problem, &heads, &rows);
            let stride = probs.stride;
            let mut d_scores = vec![0.0; len * stride];
            let values = transposed(&v[mine.clone()], [len, c], stride);
            add_product::<L>(&mut d_scores, (&d_o[mine.clone()], c), &values, [c, stride]);
            for (i, (probs, d_scores)) in (probs.values.chunks_exact_mut(stride))
                .zip(d_scores.chunks_exact_mut(stride))
                .enumerate()
            {
                exp_of_differences::<L>(probs, sums[rows.start + i]);
                let at = (rows.start + i) * c;
                let mean = lanes::dot::<L>(&d_o[at..at + c], &o[at..at + c]);
                for (d_score, prob) in d_scores.iter_mut().zip(&*probs) {
                    *d_score = prob * (*d_score - mean);
                }
            }
            let weights = transposed(&probs.values, [len, stride], len);
            let to_keys = transposed(&d_scores, [len, stride], len);
            add_product::<L>(
                &mut dv[mine.clone()],
                (&weights, len),
                &d_o[mine.clone()],
                [len, c],
            );
            add_product::<L>(
                &mut dq[mine.clone()],
                (&d_scores, stride),
                &k[mine.clone()],
                [len, c],
            );
            add_product::<L>(
                &mut dk[mine.clone()],
                (&to_keys, len),
                &q[mine.clone()],
                [len, c],
            );
            let width = reach.len();
            let [mut of_queries, mut of_keys] = [(); 2].map(|()| vec![0.0; len * width]);
            for i in 0..len {
                for j in 0..len {
                    let (place, d_score) = (problem.place(i, j), d_scores[i * stride + j]);
                    of_queries[i * width + place - reach.start] += d_score;
                    of_keys[j * width + place - reach.start] += d_score;
                }
            }
            let by = [width, c];
            add_product::<L>(
                &mut dq[mine.clone()],
                (&of_queries, width),
                &keys[theirs.clone()],
                by,
            );
            add_product::<L>(
                &mut dk[mine.clone()],
                (&of_keys, width),
                &queries[theirs.clone()],
                by,
            );
            let [of_queries, of_keys] =
                [of_queries, of_keys].map(|of| transposed(&of, [len, width], len));
            let by = [len, c];
            add_product::<L>(
                &mut d_keys[theirs.clone()],
                (&of_queries, len),
                &q[mine.clone()],
                by,
            );
            add_product::<L>(&mut d_queries[theirs], (&of_keys, len), &k[mine], by);
        }
        for gradient in [&mut dq, &mut dk, &mut d_queries, &mut d_keys] {
            for value in gradient {
                *value *= problem.scale;
            }
        }
        [dq, dk, dv, d_queries, d_keys]
    }
}

/// A matrix with whole vectors in its rows.
struct Scores {
    values: Vec<f32>,
    stride: usize,
}

/// s of a segment, (L, L); −∞ in the columns that fill the last vector.
#[inline(always)]
fn scores<L: Level>(problem: &Problem<'_>, heads: &Heads, rows: &Range<usize>) -> Scores {
    let (c, len, reach) = (problem.head_dim, rows.len(), problem.reach(rows.len()));
    let stride = len.next_multiple_of(WIDTH);
    let [q, k] = [&heads.q, &heads.k].map(|x| &x[rows.start * c..rows.end * c]);
    let [queries, keys] = [&heads.queries, &heads.keys].map(|x| &x[reach.start * c..reach.end * c]);
    let width = reach.len();
    let mut values = vec![0.0; len * stride];
    add_product::<L>(
        &mut values,
        (q, c),
        &transposed(k, [len, c], stride),
        [c, stride],
    );
    let [mut to_position, mut to_content] = [(); 2].map(|()| vec![0.0; len * width]);
    add_product::<L>(
        &mut to_position,
        (q, c),
        &transposed(keys, [width, c], width),
        [c, width],
    );
    add_product::<L>(
        &mut to_content,
        (k, c),
        &transposed(queries, [width, c], width),
        [c, width],
    );
    for (i, row) in values.chunks_exact_mut(stride).enumerate() {
        for (j, score) in row[..len].iter_mut().enumerate() {
            let place = problem.place(i, j) - reach.start;
            let sum = *score + to_position[i * width + place] + to_content[j * width + place];
            *score = problem.scale * sum;
        }
        row[len..].fill(f32::NEG_INFINITY);
    }
    Scores { values, stride }
}

/// `out ← out + a·b`: a (m, ·) of a stride, its first k columns; b (k, n), out (m, n).
#[inline(always)]
fn add_product<L: Level>(
    out: &mut [f32],
    (a, stride): (&[f32], usize),
    b: &[f32],
    [k, n]: [usize; 2],
) {
    for (out, a) in out.chunks_exact_mut(n).zip(a.chunks_exact(stride)) {
        for (factor, b) in a[..k].iter().zip(b.chunks_exact(n)) {
            for (out, b) in out.iter_mut().zip(b) {
                *out = L::fused(*factor, *b, *out);
            }
        }
    }
}

/// x (m, n) → (n, ·) with rows of `stride`, filled up with zeros.
fn transposed(x: &[f32], [m, n]: [usize; 2], stride: usize) -> Vec<f32> {
    let mut transposed = vec![0.0; n * stride];
    for (i, row) in x.chunks_exact(n).take(m).enumerate() {
        for (j, value) in row.iter().enumerate() {
            transposed[j * stride + i] = *value;
        }
    }
    transposed
}
