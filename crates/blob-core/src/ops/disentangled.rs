//! Attention whose scores have terms of the distance from query to key (DeBERTa, He et al. 2020,
//! arXiv:2006.03654 §3.1, with the buckets of DeBERTa-v2).
//!
//! ```text
//! s_ij = κ·( q_i·k_j + q_i·K̂_δ + k_j·Q̂_δ )      δ = δ(i − j)
//! p_ij = exp(s_ij − ℓ_i)     ℓ_i = ln Σ_j exp(s_ij)     o_i = Σ_j p_ij·v_j
//!
//! ds_ij = p_ij·(do_i·v_j − do_i·o_i)                    dv_j = Σ_i p_ij·do_i
//! dq_i  = κ·Σ_j ds_ij·(k_j + K̂_δ)                       dk_j = κ·Σ_i ds_ij·(q_i + Q̂_δ)
//! dK̂_r  = κ·Σ_{ij: δ=r} ds_ij·q_i                       dQ̂_r = κ·Σ_{ij: δ=r} ds_ij·k_j
//! ```
//!
//! Content to content, content to position, position to content. Each position sees all of its
//! segment. δ(n) is the row of a distance in a table of 2·S rows, row S that of distance 0:
//!
//! ```text
//! δ(n) = clamp(S + β(n), 0, 2S − 1)
//! β(n) = n                 without a farthest distance F, or where |n| ≤ m, m = ⌊S/2⌋
//!        sign(n)·(m + ⌈ (m − 1)·ln(|n|/m) / ln((F − 1)/m) ⌉)    elsewhere
//! ```
//!
//! Kernels compute in `f32` whatever the precision of the products around them. Shapes: q, k, v, o
//! (n, H·c); K̂ and Q̂ (C·w, H·c), w rows for each of C copies of a batch.

#[cfg(feature = "cuda")]
mod cuda;
mod plain;

use std::ops::Range;

use candle_core as candle;
use serde::{Deserialize, Serialize};

use super::attention::{Attended, AttentionShape, Operands};
use super::{Implementation, Operation, Tensor, read, shapes, wrap};
use crate::kernels::cpu::disentangled as cpu;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::disentangled::WIDEST;
use crate::{Error, Result};

/// Which row of a table a distance has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Buckets {
    /// S, half of the table's rows.
    pub span: usize,
    /// F, where far distances share rows.
    pub farthest: Option<usize>,
}

/// The row of each distance within a share of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Of the distances 1 − L to L − 1.
    rows: Vec<u32>,
    /// w
    width: usize,
}

impl Buckets {
    /// δ of a distance: to a key so many positions before its query, or behind it.
    #[expect(clippy::cast_sign_loss, reason = "a logarithm of more than 1")]
    fn row(self, far: usize, is_before: bool) -> usize {
        let (middle, span) = (self.span / 2, self.span);
        let bucket = match self.farthest {
            // In `f32`, as the published model's tables were made.
            Some(farthest) if far > middle => {
                let middle = middle as f32;
                let log = (far as f32 / middle).ln() / ((farthest - 1) as f32 / middle).ln();
                (middle + (log * (middle - 1.0)).ceil()) as usize
            }
            _ => far,
        };
        if is_before {
            (span + bucket).min(2 * span - 1)
        } else {
            span.saturating_sub(bucket)
        }
    }

    /// The places of all distances in texts of at most `longest` tokens, and the rows of the table
    /// that these are.
    pub fn places(self, longest: usize) -> (Places, Range<usize>) {
        let behind = (1..longest.max(1)).rev().map(|far| self.row(far, false));
        let before = (0..longest.max(1)).map(|far| self.row(far, true));
        let all: Vec<usize> = behind.chain(before).collect();
        let used = all[0]..all[all.len() - 1] + 1;
        let places = Places {
            rows: all.iter().map(|row| (row - used.start) as u32).collect(),
            width: used.len(),
        };
        (places, used)
    }
}

impl Places {
    /// L
    pub fn longest(&self) -> usize {
        self.rows.len().div_ceil(2)
    }

    /// The places of a query at position i of a segment of `len`, by the positions of the keys from
    /// the last to the first.
    fn of_query(&self, i: usize, len: usize) -> &[u32] {
        let zero = self.longest() - 1;
        &self.rows[zero + i + 1 - len..=zero + i]
    }
}

/// One attention over distances.
#[derive(Debug, Clone, Copy)]
pub struct Disentangled<'a> {
    /// The heads; as many of keys as of queries.
    pub shape: &'a AttentionShape,
    /// First rows of the segments, and the end of the last; (B + 1).
    pub offsets: &'a [u32],
    /// Rows of distances within a share.
    pub places: &'a Places,
    /// First row of each segment's share, (B); segments of one share follow each other.
    pub shares: &'a [u32],
}

/// Q̂ and K̂, (C·w, H·c).
#[derive(Debug, Clone, Copy)]
pub struct OfDistances<'a> {
    /// Q̂
    pub queries: &'a Tensor,
    /// K̂
    pub keys: &'a Tensor,
}

impl Disentangled<'_> {
    /// o and the sums of its scores, of all n positions.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when shapes, offsets or shares do not fit.
    pub fn forward(&self, of: Operands<'_>, distances: OfDistances<'_>) -> Result<Attended> {
        let (n, width) = self.check(of, distances)?;
        match self.implementation() {
            Implementation::CpuKernel => {
                let (q, k, v) = (read(of.q)?, read(of.k)?, read(of.v)?);
                let (queries, keys) = (read(distances.queries)?, read(distances.keys)?);
                let [o, log_sum_exp] = cpu::forward(&self.problem([&q, &k, &v], [&queries, &keys]));
                let heads = self.shape.num_heads;
                Ok(Attended {
                    o: wrap(o, (n, width))?,
                    log_sum_exp: wrap(log_sum_exp, (n, heads))?,
                })
            }
            #[cfg(feature = "cuda")]
            Implementation::CudaKernel(gpu) => cuda::forward(self, gpu, (of, distances)),
            Implementation::Reference => {
                let (o, log_sum_exp) = plain::forward(self, on_host(of, distances)?)?;
                Ok(Attended {
                    o: o.into(),
                    log_sum_exp: log_sum_exp.into(),
                })
            }
        }
    }

    /// The gradients of q, k, v, Q̂ and K̂, of what [`Self::forward`] gave and dL/do, (n, H·c).
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn backward(
        &self,
        of: Operands<'_>,
        distances: OfDistances<'_>,
        attended: &Attended,
        d_o: &Tensor,
    ) -> Result<[Tensor; 5]> {
        let (n, width) = self.check(of, distances)?;
        let Attended { o, log_sum_exp } = attended;
        shapes::check("o of the attention", o, &[n, width])?;
        shapes::check("log_sum_exp", log_sum_exp, &[n, self.shape.num_heads])?;
        shapes::check("do of the attention", d_o, &[n, width])?;
        match self.implementation() {
            Implementation::CpuKernel => {
                let (q, k, v) = (read(of.q)?, read(of.k)?, read(of.v)?);
                let (queries, keys) = (read(distances.queries)?, read(distances.keys)?);
                let (o, log_sum_exp, d_o) = (read(o)?, read(log_sum_exp)?, read(d_o)?);
                let problem = self.problem([&q, &k, &v], [&queries, &keys]);
                let [dq, dk, dv, d_queries, d_keys] =
                    cpu::backward(&problem, [&o, &log_sum_exp, &d_o]);
                let rows = distances.keys.dim(0)?;
                Ok([
                    wrap(dq, (n, width))?,
                    wrap(dk, (n, width))?,
                    wrap(dv, (n, width))?,
                    wrap(d_queries, (rows, width))?,
                    wrap(d_keys, (rows, width))?,
                ])
            }
            #[cfg(feature = "cuda")]
            Implementation::CudaKernel(gpu) => {
                cuda::backward(self, gpu, (of, distances), attended, d_o)
            }
            Implementation::Reference => {
                let gradients = plain::backward(self, on_host(of, distances)?, d_o.host()?)?;
                Ok(gradients.map(Tensor::from))
            }
        }
    }

    fn implementation(&self) -> Implementation {
        match self.shape.device.implementation(Operation::Disentangled) {
            #[cfg(feature = "cuda")]
            Implementation::CudaKernel(_) if self.shape.head_dim > WIDEST => {
                Implementation::Reference
            }
            by => by,
        }
    }

    /// n and H·c.
    fn check(&self, of: Operands<'_>, distances: OfDistances<'_>) -> Result<(usize, usize)> {
        let AttentionShape {
            num_heads,
            num_kv_heads,
            head_dim,
            soft_cap,
            ..
        } = *self.shape;
        let width = num_heads * head_dim;
        let (n, _) = shapes::matrix("q of the attention", of.q)?;
        shapes::segments("offsets", self.offsets, n)?;
        if width == 0 || num_heads != num_kv_heads || soft_cap.is_some() {
            return Err(Error::InvalidInput(format!(
                "an attention over distances must have a key head for each and no cap, got {:?}",
                self.shape
            )));
        }
        for (name, x) in [("q", of.q), ("k", of.k), ("v", of.v)] {
            shapes::check(&format!("{name} of the attention"), x, &[n, width])?;
        }
        let rows = distances.keys.dim(0)?;
        shapes::check("keys of distances", distances.keys, &[rows, width])?;
        shapes::check("queries of distances", distances.queries, &[rows, width])?;
        let lengths = self
            .offsets
            .windows(2)
            .map(|ends| (ends[1] - ends[0]) as usize);
        if lengths.max().unwrap_or(0) > self.places.longest() {
            return Err(Error::InvalidInput(format!(
                "segments must be at most as long as their distances, {}, got {:?}",
                self.places.longest(),
                self.offsets
            )));
        }
        let fits = |share: &u32| *share as usize + self.places.width <= rows;
        let rises = self.shares.windows(2).all(|pair| pair[0] <= pair[1]);
        if self.shares.len() + 1 != self.offsets.len() || !rises || !self.shares.iter().all(fits) {
            return Err(Error::InvalidInput(format!(
                "shares must be one per segment, not fall, and lie within {rows} rows, got {:?}",
                self.shares
            )));
        }
        Ok((n, width))
    }

    fn problem<'b>(
        &'b self,
        [q, k, v]: [&'b [f32]; 3],
        [queries, keys]: [&'b [f32]; 2],
    ) -> cpu::Problem<'b> {
        cpu::Problem {
            q,
            k,
            v,
            queries,
            keys,
            heads: self.shape.num_heads,
            head_dim: self.shape.head_dim,
            scale: self.shape.scale,
            offsets: self.offsets,
            places: &self.places.rows,
            width: self.places.width,
            shares: self.shares,
        }
    }
}

/// q, k, v, Q̂ and K̂ in the host's memory.
fn on_host<'a>(of: Operands<'a>, distances: OfDistances<'a>) -> Result<[&'a candle::Tensor; 5]> {
    let Operands { q, k, v } = of;
    let OfDistances { queries, keys } = distances;
    Ok([
        q.host()?,
        k.host()?,
        v.host()?,
        queries.host()?,
        keys.host()?,
    ])
}

#[cfg(test)]
mod tests;
