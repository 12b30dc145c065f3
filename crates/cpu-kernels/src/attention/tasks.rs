//! What one task of an attention is: its operands, and its share of the results.

use std::ops::Range;

use super::super::gemm::Precision;
use super::super::simd::Level;
use super::super::tile::{Entry, Panels, WIDTH};

/// Which keys of its segment the query at position `i` sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// Those at `j ≤ i`.
    Causal,
    /// Those at `i − w < j ≤ i`: itself and the `w − 1` before it.
    Window(usize),
    /// All of them.
    Full,
    /// Those at `|i − j| ≤ w`: itself and `w` on either side.
    Around(usize),
}

/// Which positions of a segment have queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queries {
    /// Each one; q has a row per token.
    Every,
    /// The last one; q has a row per segment.
    Last,
}

/// The operands that both directions read.
#[derive(Clone, Copy)]
pub struct Problem<'a> {
    /// (n, H·c), or a row per segment.
    pub q: &'a [f32],
    /// (n, G·c)
    pub k: &'a [f32],
    /// (n, G·c)
    pub v: &'a [f32],
    /// G
    pub num_kv_heads: usize,
    /// Query heads per kv head, `H/G`.
    pub group: usize,
    /// c
    pub head_dim: usize,
    /// First rows of the segments, and the end of the last.
    pub offsets: &'a [u32],
    /// Which positions have queries.
    pub queries: Queries,
    /// Which keys they see.
    pub mask: Mask,
    /// Of the scores.
    pub scale: f32,
    /// What the scores stay below, by a tanh.
    pub soft_cap: Option<f32>,
    /// What products round their operands to; probabilities and sums are `f32`.
    pub precision: Precision,
}

impl<'a> Problem<'a> {
    fn segments(&self) -> impl Iterator<Item = Range<usize>> + Clone + use<'a> {
        self.offsets
            .windows(2)
            .map(|ends| ends[0] as usize..ends[1] as usize)
    }

    /// Every (segment, kv head), kv heads innermost.
    pub(super) fn tasks(self) -> impl Iterator<Item = Task<'a>> {
        self.segments()
            .enumerate()
            .flat_map(move |(index, tokens)| {
                let rows = match self.queries {
                    Queries::Every => tokens.clone(),
                    Queries::Last => index..index + 1,
                };
                (0..self.num_kv_heads).map(move |kv_head| Task {
                    problem: self,
                    tokens: tokens.clone(),
                    rows: rows.clone(),
                    kv_head,
                })
            })
    }

    /// Segments cover all rows of q, k and v, and heads their columns.
    pub(super) fn assert_covered(&self) {
        let tokens: usize = self.segments().map(|segment| segment.len()).sum();
        let queries = match self.queries {
            Queries::Every => tokens,
            Queries::Last => self.segments().count(),
        };
        let width = self.num_kv_heads * self.head_dim;
        assert_eq!(self.q.len(), queries * self.group * width);
        assert_eq!([self.k.len(), self.v.len()], [tokens * width; 2]);
    }

    pub(super) fn deal_queries<'b, T>(&self, values: &'b mut [T]) -> Vec<Vec<&'b mut [T]>> {
        match self.queries {
            Queries::Every => deal(values, self.segments().map(|s| s.len()), self.num_kv_heads),
            Queries::Last => deal(values, self.segments().map(|_| 1), self.num_kv_heads),
        }
    }

    pub(super) fn deal_keys<'b, T>(&self, values: &'b mut [T]) -> Vec<Vec<&'b mut [T]>> {
        deal(values, self.segments().map(|s| s.len()), self.num_kv_heads)
    }
}

/// Cuts a matrix into each (segment, kv head)'s share of its rows, in the order of the tasks.
fn deal<T>(
    values: &mut [T],
    rows_of_segments: impl Iterator<Item = usize> + Clone,
    num_kv_heads: usize,
) -> Vec<Vec<&mut [T]>> {
    let pieces = rows_of_segments.clone().sum::<usize>() * num_kv_heads;
    let width = values.len() / pieces.max(1);
    let mut pieces = values.chunks_exact_mut(width.max(1));
    let mut dealt = Vec::new();
    for rows in rows_of_segments {
        let first = dealt.len();
        dealt.extend((0..num_kv_heads).map(|_| Vec::with_capacity(rows)));
        for _ in 0..rows {
            for share in &mut dealt[first..] {
                share.extend(pieces.next());
            }
        }
    }
    dealt
}

/// One kv head of one segment, with the query heads that share it.
pub(super) struct Task<'a> {
    pub(super) problem: Problem<'a>,
    pub(super) tokens: Range<usize>,
    /// Rows of q, o and log_sum_exp that belong to the segment.
    rows: Range<usize>,
    kv_head: usize,
}

impl<'a> Task<'a> {
    /// Query rows: positions times heads of the group, heads innermost.
    pub(super) fn num_queries(&self) -> usize {
        self.rows.len() * self.problem.group
    }

    /// Keys that query row `index` sees; at least one, and neither end falls as `index` grows.
    pub(super) fn visible(&self, index: usize) -> Range<usize> {
        let len = self.tokens.len();
        let end = match self.problem.queries {
            Queries::Every => index / self.problem.group + 1,
            Queries::Last => len,
        };
        match self.problem.mask {
            Mask::Causal => 0..end,
            Mask::Window(width) => end.saturating_sub(width)..end,
            Mask::Full => 0..len,
            Mask::Around(reach) => {
                let own = end - 1;
                own.saturating_sub(reach)..len.min(end.saturating_add(reach))
            }
        }
    }

    /// Query row `index` of a matrix with `width` columns per head.
    pub(super) fn query<'b>(&self, values: &'b [f32], index: usize, width: usize) -> &'b [f32] {
        let group = self.problem.group;
        let row = self.rows.start + index / group;
        let head = self.kv_head * group + index % group;
        &values[(row * self.problem.num_kv_heads * group + head) * width..][..width]
    }

    /// The rows of k or v.
    fn keys(&self, values: &'a [f32]) -> impl Iterator<Item = &'a [f32]> + use<'a> {
        let Problem {
            num_kv_heads,
            head_dim,
            ..
        } = self.problem;
        let first = self.kv_head * head_dim;
        values
            [self.tokens.start * num_kv_heads * head_dim..self.tokens.end * num_kv_heads * head_dim]
            .chunks_exact(num_kv_heads * head_dim)
            .map(move |row| &row[first..first + head_dim])
    }

    /// A key matrix as the operand of `·K`, (L, c).
    #[inline(always)]
    pub(super) fn by_rows<L: Level, E: Entry>(&self, values: &'a [f32]) -> Panels<E> {
        let depths = self.tokens.len().next_multiple_of(WIDTH);
        let mut panels = Panels::zeros(depths, self.problem.head_dim);
        panels.set_rows::<L>(self.keys(values));
        panels
    }

    /// A key matrix as the operand of `·Kᵀ`, (c, L).
    #[inline(always)]
    pub(super) fn by_columns<L: Level, E: Entry>(&self, values: &'a [f32]) -> Panels<E> {
        let depths = self.problem.head_dim.next_multiple_of(WIDTH);
        let mut panels = Panels::zeros(depths, self.tokens.len());
        panels.set_columns::<L>(self.keys(values));
        panels
    }
}
