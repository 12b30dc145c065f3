//! The layers that give an attention its queries, keys and values: three, or one whose outputs are
//! all of them, as Phi-3 (arXiv:2404.14219) and ModernBERT (arXiv:2412.13663) have it.
//!
//! ```text
//! [ q | k | v ] = Qkv·x
//! ```
//!
//! One layer computes every row of all three, and queries that nobody reads are dropped; its
//! low-rank term is one, as PEFT's on it is. Shapes: x (n, d), q (m, H·c), k and v (n, G·c).

use super::attention::Sources;
use super::{Adapted, Linear};
use crate::Result;
use crate::adapter::Parameters;
use crate::ops::attention::Queries;
use crate::ops::linear::{self, Wants};
use crate::ops::low_rank::Kept;
use crate::ops::{Tensor, columns, rows};
use crate::pass::{Pass, Rows};

/// Which layers there are.
pub enum QueryKeyValue {
    /// Queries (H·c, d), keys and values (G·c, d).
    Apart(Box<[Linear; 3]>),
    /// One of ((H + 2·G)·c, d), and the widths of q, k and v in it.
    Fused(Box<Linear>, [usize; 3]),
}

/// Of the terms; of one layer, the first.
pub(super) type QkvKept = [Option<Kept>; 3];

/// Which positions have queries, and their rows.
#[derive(Clone, Copy)]
pub(super) struct QueryRows<'a> {
    pub(super) queries: Queries,
    pub(super) rows: &'a Rows,
}

impl QueryKeyValue {
    /// All layers, in the order of their sites.
    pub(super) fn linears(&self) -> &[Linear] {
        match self {
            Self::Apart(layers) => layers.as_slice(),
            Self::Fused(layer, _) => std::slice::from_ref(layer),
        }
    }

    /// Widths of q and of k.
    pub(super) fn widths(&self) -> [usize; 2] {
        match self {
            Self::Apart(layers) => [layers[0].width(), layers[1].width()],
            Self::Fused(_, [q, k, _]) => [*q, *k],
        }
    }

    /// q, k and v.
    pub(super) fn forward(
        &self,
        sources: Sources<'_>,
        wanted: QueryRows<'_>,
        of: Adapted<'_>,
    ) -> Result<([Tensor; 3], QkvKept)> {
        let all = &of.pass.all_rows;
        let [q, k, v] = match self {
            Self::Apart(layers) => layers.each_ref(),
            Self::Fused(layer, widths) => {
                let layer = layer.on(all, of);
                let input = linear::input(sources.all, &[&layer])?;
                let [(qkv, kept)] = linear::forward([&layer], &input, of.pass)?;
                let [q, k, v] = columns::cut(&qkv, *widths)?;
                let q = match wanted.queries {
                    Queries::Every => q,
                    Queries::Last => rows::gather(&q, &of.pass.last)?,
                };
                return Ok(([q, k, v], [kept, None, None]));
            }
        };
        let [q, k, v] = [(q, wanted.rows), (k, all), (v, all)].map(|(it, rows)| it.on(rows, of));
        let [(q, of_q), (k, of_k), (v, of_v)] = if wanted.queries == Queries::Every {
            let layers = [&q, &k, &v];
            linear::forward(layers, &linear::input(sources.all, &layers)?, of.pass)?
        } else {
            let input = linear::input(sources.of_queries, &[&q])?;
            let [q] = linear::forward([&q], &input, of.pass)?;
            let layers = [&k, &v];
            let input = linear::input(sources.all, &layers)?;
            let [k, v] = linear::forward(layers, &input, of.pass)?;
            [q, k, v]
        };
        Ok(([q, k, v], [of_q, of_k, of_v]))
    }

    /// dL/d(all rows of the source) of the gradients of q, k and v, when it is wanted; adds the
    /// terms' gradients.
    pub(super) fn backward(
        &self,
        (kept, [dq, dk, dv]): (&QkvKept, [&Tensor; 3]),
        sources: Sources<'_>,
        wanted: QueryRows<'_>,
        of: Adapted<'_>,
        want_dx: bool,
        gradients: &mut Parameters,
    ) -> Result<Option<Tensor>> {
        let pass = of.pass;
        let all = &pass.all_rows;
        let [of_q, of_k, of_v] = kept.each_ref().map(Option::as_ref);
        let wants = |addend| Wants {
            dx: want_dx,
            addend,
            pass,
        };
        let [q, k, v] = match self {
            Self::Apart(layers) => layers.each_ref(),
            Self::Fused(layer, _) => {
                let dq = in_place(dq, wanted.queries, pass)?;
                let dqkv = columns::join([&dq, dk, dv])?;
                let layer = layer.returning(all, of, of_q, &dqkv);
                return linear::backward(&[layer], sources.all, wants(None), gradients);
            }
        };
        let q = q.returning(wanted.rows, of, of_q, dq);
        let k = k.returning(all, of, of_k, dk);
        let v = v.returning(all, of, of_v, dv);
        if wanted.queries == Queries::Every {
            return linear::backward(&[q, k, v], sources.all, wants(None), gradients);
        }
        let dqueries = linear::backward(&[q], sources.of_queries, wants(None), gradients)?;
        let scattered = dqueries
            .map(|dx| rows::scatter(&dx, &pass.last, all.ids.len()))
            .transpose()?;
        linear::backward(&[k, v], sources.all, wants(scattered), gradients)
    }
}

/// Gradients of the queries that there are, among all.
fn in_place(dq: &Tensor, queries: Queries, pass: &Pass) -> Result<Tensor> {
    match queries {
        Queries::Every => Ok(dq.clone()),
        Queries::Last => rows::scatter(dq, &pass.last, pass.all_rows.ids.len()),
    }
}
