//! The same by full matrices of scores, segment by segment and head by head.

use candle_core::{D, Device, Tensor};

use super::Disentangled;
use crate::Result;
use crate::ops::reference;

/// As [`Disentangled::forward`], of q, k, v, Q̂ and K̂, in the type of the operands.
pub(super) fn forward(
    attention: &Disentangled<'_>,
    operands: [&Tensor; 5],
) -> Result<(Tensor, Tensor)> {
    let (mut o, mut log_sum_exp) = (Vec::new(), Vec::new());
    for (ends, share) in attention.offsets.windows(2).zip(attention.shares) {
        let (start, len) = (ends[0] as usize, (ends[1] - ends[0]) as usize);
        let (share, width) = (*share as usize, attention.places.width);
        let rows = [start, start, start, share, share];
        let lengths = [len, len, len, width, width];
        let mut of_segment = operands.map(Tensor::clone);
        for (x, (from, count)) in of_segment.iter_mut().zip(rows.into_iter().zip(lengths)) {
            *x = x.narrow(0, from, count)?;
        }
        let places: Vec<u32> = (0..len)
            .flat_map(|i| attention.places.of_query(i, len).iter().rev().copied())
            .collect();
        let places = Tensor::from_vec(places, (len, len), &Device::Cpu)?;
        let (mut heads, mut sums) = (Vec::new(), Vec::new());
        for head in 0..attention.shape.num_heads {
            let (o, sum) = one_head(attention, &of_segment, head, &places)?;
            heads.push(o);
            sums.push(sum);
        }
        o.push(Tensor::cat(&heads, 1)?);
        log_sum_exp.push(Tensor::cat(&sums, 1)?);
    }
    Ok((Tensor::cat(&o, 0)?, Tensor::cat(&log_sum_exp, 0)?))
}

/// As [`Disentangled::backward`], of the operands alone.
pub(super) fn backward(
    attention: &Disentangled<'_>,
    operands: [&Tensor; 5],
    d_o: &Tensor,
) -> Result<[Tensor; 5]> {
    reference::adjoint(operands, d_o, |x| {
        Ok(forward(attention, [&x[0], &x[1], &x[2], &x[3], &x[4]])?.0)
    })
}

/// o (L, c) and ℓ (L, 1) of one head; `places` (L, L) are the rows of the distances.
fn one_head(
    attention: &Disentangled<'_>,
    operands: &[Tensor; 5],
    head: usize,
    places: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let c = attention.shape.head_dim;
    let of_head = |x: &Tensor| x.narrow(1, head * c, c)?.contiguous();
    let [q, k, v, queries, keys] = operands.each_ref().map(of_head);
    let (q, k, v) = (q?, k?, v?);
    let times = |x: &Tensor, y: &Tensor| x.matmul(&y.t()?.contiguous()?);
    let to_position = times(&q, &keys?)?.gather(places, 1)?;
    // Row j holds k_j·Q̂ of every row; of query i it is that of δ(i − j).
    let of_keys = places.t()?.contiguous()?;
    let to_content = times(&k, &queries?)?.gather(&of_keys, 1)?.t()?;
    let scores = ((times(&q, &k)? + to_position)? + to_content)?;
    let scores = (scores * f64::from(attention.shape.scale))?;
    let largest = scores.max_keepdim(D::Minus1)?.detach();
    let weights = scores.broadcast_sub(&largest)?.exp()?;
    let total = weights.sum_keepdim(D::Minus1)?;
    let o = weights.matmul(&v)?.broadcast_div(&total)?;
    Ok((o, (total.log()? + largest)?))
}
