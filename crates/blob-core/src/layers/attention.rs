//! The attention of a block: y = O·attention(turn(Q·x), turn(K·x), V·x), with grouped keys.
//!
//! `turn` is an RMS norm of each head where the model has one (Qwen3, arXiv:2505.09388), then the
//! rotation to the row's position where positions are rotary. Equations in
//! [`crate::ops::attention`] and [`crate::ops::rope`].
//!
//! Keys and values come from all rows; queries may come from the last position of each segment
//! alone. Where distances have queries and keys of their own, it is that of
//! [`crate::ops::disentangled`]. Shapes: x (n, d); y (n, d), or (segments, d).

use super::query_key_value::{QkvKept, QueryRows};
use super::relative::DistancesKept;
use super::{Adapted, Distances, Linear, QueryKeyValue};
use crate::Result;
use crate::adapter::Parameters;
use crate::ops::Tensor;
use crate::ops::attention::{
    self as ops, Attended, AttentionShape, Mask, OperandGradients, Operands, Queries,
};
use crate::ops::linear::{self, Source, Wants};
use crate::ops::low_rank::Kept;
use crate::ops::norm::Norm;
use crate::ops::rope::{self, RopeTables};
use crate::pass::{Pass, Rows};

/// Its layers and switches.
pub struct Attention {
    /// What gives queries, keys and values.
    pub qkv: QueryKeyValue,
    /// Output, (d, H·c).
    pub o: Linear,
    /// Of each head of the queries and keys, (c).
    pub head_norms: Option<[Norm; 2]>,
    /// Heads and their width.
    pub shape: AttentionShape,
    /// Which keys a query sees.
    pub mask: Mask,
    /// Which positions have queries.
    pub queries: Queries,
}

/// What the backward pass needs.
pub(super) struct AttentionKept {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attended: Attended,
    /// q and k before their norms.
    unnormed: [Option<Tensor>; 2],
    distances: Option<DistancesKept>,
    /// Of the terms of q, k, v; of o.
    terms: (QkvKept, Option<Kept>),
}

/// What the layers read: all rows, and those that queries come from.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    pub(super) all: Source<'a>,
    pub(super) of_queries: Source<'a>,
}

/// A pass, and what tells its positions apart.
#[derive(Clone, Copy)]
pub struct Positioned<'a> {
    /// The pass.
    pub of: Adapted<'a>,
    /// Their angles, where queries and keys are turned.
    pub tables: Option<&'a RopeTables>,
    /// Their distances, where the scores read them.
    pub distances: Option<&'a Distances>,
}

impl Attention {
    /// All layers, in the order of their sites.
    pub(super) fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.qkv.linears().iter().chain([&self.o])
    }

    /// The rows that queries come from.
    pub(super) fn rows_of_queries<'a>(&self, pass: &'a Pass) -> &'a Rows {
        match self.queries {
            Queries::Every => &pass.all_rows,
            Queries::Last => &pass.last_rows,
        }
    }

    /// Values that a forward pass keeps of each row.
    pub(super) fn kept_values(&self) -> usize {
        let [q, k] = self.qkv.widths();
        let keys = self.shape.kept_keys();
        let unnormed = if self.head_norms.is_some() { q + k } else { 0 };
        // q, o; k, v; the logarithms of the heads' sums; q, k before their norms.
        2 * q + keys + self.shape.num_heads + unnormed
    }

    /// y + `addend`, and what the backward pass needs when `keep`.
    pub(super) fn forward<'a>(
        &'a self,
        sources: Sources<'_>,
        addend: Option<&'a Tensor>,
        at: Positioned<'a>,
        keep: bool,
    ) -> Result<(Tensor, Option<AttentionKept>)> {
        let Positioned { of, .. } = at;
        let rows = self.rows_of_queries(of.pass);
        let ([q, k, v], of_qkv) = self.qkv.forward(sources, self.query_rows(of.pass), of)?;
        let (q, unnormed_q) = self.turn(Side::Queries, q, at)?;
        let (k, unnormed_k) = self.turn(Side::Keys, k, at)?;
        let distances = at
            .distances
            .map(|distances| distances.forward(&self.qkv, of));
        let distances = distances.transpose()?;
        let [k, v] = match &distances {
            Some(_) => [k, v],
            None => self.operation(of.pass).keys_and_values([k, v])?,
        };
        let operands = Operands {
            q: &q,
            k: &k,
            v: &v,
        };
        let attended = match at.distances.zip(distances.as_ref()) {
            Some((distances, kept)) => {
                let operation = distances.operation(&self.shape, of.pass);
                operation.forward(operands, kept.operands())?
            }
            None => self.operation(of.pass).forward(operands)?,
        };
        let mut output = self.o.on(rows, of);
        output.addend = addend;
        let input = linear::input(Source::Rows(&attended.o), &[&output])?;
        let [(y, of_o)] = linear::forward([&output], &input, of.pass)?;
        let kept = keep.then_some(AttentionKept {
            q,
            k,
            v,
            attended,
            unnormed: [unnormed_q, unnormed_k],
            distances,
            terms: (of_qkv, of_o),
        });
        Ok((y, kept))
    }

    /// dL/d(all rows of the source) of dL/dy, when it is wanted; adds the terms' gradients.
    pub(super) fn backward(
        &self,
        kept: &AttentionKept,
        (sources, dy): (Sources<'_>, &Tensor),
        at: Positioned<'_>,
        want_dx: bool,
        gradients: &mut Parameters,
    ) -> Result<Option<Tensor>> {
        let Positioned { of, .. } = at;
        let pass = of.pass;
        let rows = self.rows_of_queries(pass);
        let (of_qkv, of_o) = (&kept.terms.0, kept.terms.1.as_ref());
        let wants = |dx, addend| Wants { dx, addend, pass };
        let is_read = self.qkv.linears().iter().any(|layer| of.adapts(layer));
        let below_o = want_dx || is_read;
        let o = self.o.returning(rows, of, of_o, dy);
        let source = Source::Rows(&kept.attended.o);
        let d_o = linear::backward(&[o], source, wants(below_o, None), gradients)?;
        let Some(d_o) = d_o else {
            return Ok(None);
        };
        let operands = Operands {
            q: &kept.q,
            k: &kept.k,
            v: &kept.v,
        };
        let attended = &kept.attended;
        let of_operands = match at.distances.zip(kept.distances.as_ref()) {
            Some((distances, kept)) => {
                let operation = distances.operation(&self.shape, pass);
                let [dq, dk, dv, queries, keys] =
                    operation.backward(operands, kept.operands(), attended, &d_o)?;
                let of_table = (kept, [&queries, &keys]);
                distances.backward(&self.qkv, of_table, of, gradients)?;
                OperandGradients { dq, dk, dv }
            }
            None => (self.operation(pass)).backward(operands, attended, &d_o)?,
        };
        let OperandGradients { dq, dk, dv } = of_operands;
        let dq = self.turn_back(Side::Queries, &dq, kept.unnormed[0].as_ref(), at)?;
        let dk = self.turn_back(Side::Keys, &dk, kept.unnormed[1].as_ref(), at)?;
        let of_rows = (of_qkv, [&dq, &dk, &dv]);
        let query_rows = self.query_rows(pass);
        (self.qkv).backward(of_rows, sources, query_rows, of, want_dx, gradients)
    }

    fn query_rows<'a>(&'a self, pass: &'a Pass) -> QueryRows<'a> {
        QueryRows {
            queries: self.queries,
            rows: self.rows_of_queries(pass),
        }
    }

    fn operation<'a>(&'a self, pass: &'a Pass) -> ops::Attention<'a> {
        ops::Attention {
            shape: &self.shape,
            mask: self.mask,
            queries: self.queries,
            offsets: &pass.offsets,
        }
    }

    /// Heads, norm and rows of a side.
    fn side<'a>(&'a self, side: Side, pass: &'a Pass) -> (usize, Option<&'a Norm>, &'a Rows) {
        let norms = self.head_norms.as_ref();
        match side {
            Side::Queries => {
                let norm = norms.map(|norms| &norms[0]);
                (self.shape.num_heads, norm, self.rows_of_queries(pass))
            }
            Side::Keys => {
                let norm = norms.map(|norms| &norms[1]);
                (self.shape.num_kv_heads, norm, &pass.all_rows)
            }
        }
    }

    /// The heads of x normed and turned to their positions; and x itself, where a norm read it.
    fn turn(&self, side: Side, x: Tensor, at: Positioned<'_>) -> Result<(Tensor, Option<Tensor>)> {
        let (heads, norm, rows) = self.side(side, at.of.pass);
        let turn = |x: &Tensor| match at.tables {
            Some(tables) => rope::rotate(x, heads, tables, rows.positions()),
            None => Ok(x.clone()),
        };
        match norm {
            Some(norm) => {
                let normed = by_head(&x, heads, |x| norm.forward(x))?;
                Ok((turn(&normed)?, Some(x)))
            }
            None => Ok((turn(&x)?, None)),
        }
    }

    /// The adjoint of [`Self::turn`]; `x` is what the norm read.
    fn turn_back(
        &self,
        side: Side,
        dy: &Tensor,
        x: Option<&Tensor>,
        at: Positioned<'_>,
    ) -> Result<Tensor> {
        let (heads, norm, rows) = self.side(side, at.of.pass);
        let dy = match at.tables {
            Some(tables) => rope::rotate_back(dy, heads, tables, rows.positions())?,
            None => dy.clone(),
        };
        match (norm, x) {
            (Some(norm), Some(x)) => {
                let x = x.reshape((x.dim(0)? * heads, self.shape.head_dim))?;
                by_head(&dy, heads, |dy| norm.backward(&x, dy, None))
            }
            _ => Ok(dy),
        }
    }
}

/// What is turned.
#[derive(Clone, Copy)]
enum Side {
    Queries,
    Keys,
}

/// `work` on the heads of x (n, heads·c) as rows of their own, (n·heads, c).
fn by_head(x: &Tensor, heads: usize, work: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let (n, width) = x.dims2()?;
    let y = work(&x.reshape((n * heads, width / heads))?)?;
    y.reshape((n, width))
}
