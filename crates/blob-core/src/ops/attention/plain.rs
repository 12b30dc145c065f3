//! Attention by a full matrix of scores, segment by segment and head by head.

use candle_core::{D, Device, Tensor};

use super::{Attention, Mask, Queries};
use crate::Result;
use crate::ops::reference::{self, rounded};

/// As [`Attention::forward`], in the type of the operands.
pub(super) fn forward(
    attention: &Attention<'_>,
    [q, k, v]: [&Tensor; 3],
) -> Result<(Tensor, Tensor)> {
    let (mut o, mut log_sum_exp) = (Vec::new(), Vec::new());
    for (index, ends) in attention.offsets.windows(2).enumerate() {
        let keys = ends[0] as usize..ends[1] as usize;
        let queries = match attention.queries {
            Queries::Every => keys.clone(),
            Queries::Last => index..index + 1,
        };
        let hidden = hidden(attention.mask, queries.len(), keys.len())?;
        let q = q.narrow(0, queries.start, queries.len())?;
        let [k, v] = [k, v].map(|x| x.narrow(0, keys.start, keys.len()));
        let (k, v) = (k?, v?);
        let (mut heads, mut sums) = (Vec::new(), Vec::new());
        for head in 0..attention.shape.num_heads {
            let (o, log_sum_exp) = one_head(attention, [&q, &k, &v], head, &hidden)?;
            heads.push(o);
            sums.push(log_sum_exp);
        }
        o.push(Tensor::cat(&heads, 1)?);
        log_sum_exp.push(Tensor::cat(&sums, 1)?);
    }
    Ok((Tensor::cat(&o, 0)?, Tensor::cat(&log_sum_exp, 0)?))
}

/// As [`Attention::backward`], of the operands alone.
pub(super) fn backward(
    attention: &Attention<'_>,
    operands: [&Tensor; 3],
    d_o: &Tensor,
) -> Result<[Tensor; 3]> {
    let d_o = rounded(d_o, attention.shape.precision)?;
    reference::adjoint(operands, &d_o, |x| {
        Ok(forward(attention, [&x[0], &x[1], &x[2]])?.0)
    })
}

/// o (m, c) and ℓ (m, 1) of one head of a segment.
fn one_head(
    attention: &Attention<'_>,
    [q, k, v]: [&Tensor; 3],
    head: usize,
    hidden: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let shape = attention.shape;
    let (c, precision) = (shape.head_dim, shape.precision);
    let kv_head = head / (shape.num_heads / shape.num_kv_heads);
    let of_head = |x: &Tensor, head: usize| x.narrow(1, head * c, c)?.contiguous();
    let q = rounded(&(of_head(q, head)? * f64::from(shape.scale))?, precision)?;
    let k = rounded(&of_head(k, kv_head)?, precision)?;
    let v = rounded(&of_head(v, kv_head)?, precision)?;
    let mut scores = q.matmul(&k.t()?.contiguous()?)?;
    if let Some(cap) = shape.soft_cap.map(f64::from) {
        scores = ((scores / cap)?.tanh()? * cap)?;
    }
    let scores = (scores + hidden.to_dtype(q.dtype())?)?;
    let largest = scores.max_keepdim(D::Minus1)?.detach();
    let weights = scores.broadcast_sub(&largest)?.exp()?;
    let total = weights.sum_keepdim(D::Minus1)?;
    let o = rounded(&weights, precision)?.matmul(&v)?;
    Ok((o.broadcast_div(&total)?, (total.log()? + largest)?))
}

/// 0 where a query, one of the last of its segment, sees a key; elsewhere what no sum survives.
fn hidden(mask: Mask, queries: usize, keys: usize) -> Result<Tensor> {
    let first = keys - queries;
    let hidden = (0..queries * keys).map(|at| {
        let (i, j) = (first + at / keys, at % keys);
        let sees = match mask {
            Mask::Causal => j <= i,
            Mask::Window(width) => j <= i && i < j + width,
            Mask::Full => true,
            Mask::Around(reach) => i.abs_diff(j) <= reach,
        };
        if sees { 0.0 } else { -1e30_f64 }
    });
    Ok(Tensor::from_iter(hidden, &Device::Cpu)?.reshape((queries, keys))?)
}
