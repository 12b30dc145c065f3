//! Causal attention with grouped keys (Ainslie et al. 2023, arXiv:2305.13245) over ragged segments.
//!
//! ```text
//! p_ij = exp(q_i·k_j/√c − ℓ_i),  j ≤ i in the same segment        ℓ_i = ln Σ_j exp(q_i·k_j/√c)
//! o_i = Σ_j p_ij·v_j
//!
//! ds_ij = p_ij·(do_i·v_j − do_i·o_i)
//! dq_i = Σ_j ds_ij·k_j/√c        dk_j = Σ_i ds_ij·q_i/√c        dv_j = Σ_i p_ij·do_i
//! ```
//!
//! Query head h reads kv head h/(H/G), whose gradients sum over its group. The backward pass forms
//! the probabilities again from ℓ (Dao et al. 2022, arXiv:2205.14135), so that none are kept.
//! Shapes: `n` tokens in `B` segments, `H` query heads, `G` kv heads, `c` width of one head.

use candle_core::Tensor;

use super::{contract, fresh, read, wrap};
use crate::kernels::cpu::attention::{self as cpu, Queries};
use crate::kernels::cpu::gemm::Precision;
use crate::{Error, Result};

/// The heads of an attention layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionShape {
    /// Query heads, `H`.
    pub num_heads: usize,
    /// Key and value heads, `G`; divides `H`.
    pub num_kv_heads: usize,
    /// Width of one head, `c`.
    pub head_dim: usize,
    /// What products round their operands to: `f32` not at all, the others to bf16. Sums, the softmax and its
    /// gradient are `f32`.
    pub precision: Precision,
}

/// `(o, log_sum_exp)`: q (n, H·c), k (n, G·c), v (n, G·c) → (n, H·c) and (n, H).
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when the shapes or offsets do not fit.
pub fn forward(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    shape: &AttentionShape,
    offsets: &[u32],
) -> Result<(Tensor, Tensor)> {
    Call {
        q,
        k,
        v,
        shape,
        offsets,
        queries: Queries::Every,
    }
    .forward()
}

/// `(dq, dk, dv)`: o and log_sum_exp of [`forward`], do_ (n, H·c) → (n, H·c), (n, G·c), (n, G·c).
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when the shapes or offsets do not fit.
#[expect(clippy::too_many_arguments, reason = "the operands of the equation")]
pub fn backward(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    o: &Tensor,
    log_sum_exp: &Tensor,
    do_: &Tensor,
    shape: &AttentionShape,
    offsets: &[u32],
) -> Result<(Tensor, Tensor, Tensor)> {
    Call {
        q,
        k,
        v,
        shape,
        offsets,
        queries: Queries::Every,
    }
    .backward(o, log_sum_exp, do_)
}

/// [`forward`] for the last position of each segment alone, with the same bits:
/// q (B, H·c), k (n, G·c), v (n, G·c) → (B, H·c) and (B, H).
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when the shapes or offsets do not fit.
pub fn forward_last(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    shape: &AttentionShape,
    offsets: &[u32],
) -> Result<(Tensor, Tensor)> {
    Call {
        q,
        k,
        v,
        shape,
        offsets,
        queries: Queries::Last,
    }
    .forward()
}

/// The adjoint of [`forward_last`]: do_ (B, H·c) → dq (B, H·c), dk (n, G·c), dv (n, G·c).
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when the shapes or offsets do not fit.
#[expect(clippy::too_many_arguments, reason = "the operands of the equation")]
pub fn backward_last(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    o: &Tensor,
    log_sum_exp: &Tensor,
    do_: &Tensor,
    shape: &AttentionShape,
    offsets: &[u32],
) -> Result<(Tensor, Tensor, Tensor)> {
    Call {
        q,
        k,
        v,
        shape,
        offsets,
        queries: Queries::Last,
    }
    .backward(o, log_sum_exp, do_)
}

/// What both directions are given.
struct Call<'a> {
    q: &'a Tensor,
    k: &'a Tensor,
    v: &'a Tensor,
    shape: &'a AttentionShape,
    offsets: &'a [u32],
    queries: Queries,
}

impl Call<'_> {
    fn forward(&self) -> Result<(Tensor, Tensor)> {
        let (rows, width) = self.check()?;
        let heads = self.shape.num_heads;
        let (mut o, mut log_sum_exp) = (fresh(rows * width), fresh(rows * heads));
        let (q, k, v) = (read(self.q)?, read(self.k)?, read(self.v)?);
        cpu::forward(self.problem(&q, &k, &v), &mut o, &mut log_sum_exp);
        Ok((wrap(o, (rows, width))?, wrap(log_sum_exp, (rows, heads))?))
    }

    fn backward(
        &self,
        o: &Tensor,
        log_sum_exp: &Tensor,
        do_: &Tensor,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let (rows, width) = self.check()?;
        contract::shape("o of the attention", o, &[rows, width])?;
        contract::shape("log_sum_exp", log_sum_exp, &[rows, self.shape.num_heads])?;
        contract::shape("do of the attention", do_, &[rows, width])?;
        let (n, kv_width) = self.k.dims2()?;
        let mut dq = fresh(rows * width);
        let (mut dk, mut dv) = (fresh(n * kv_width), fresh(n * kv_width));
        let (q, k, v) = (read(self.q)?, read(self.k)?, read(self.v)?);
        let (o, log_sum_exp, d_o) = (read(o)?, read(log_sum_exp)?, read(do_)?);
        let saved = cpu::Saved {
            o: &o,
            log_sum_exp: &log_sum_exp,
            d_o: &d_o,
        };
        let gradients: [&mut [f32]; 3] = [&mut dq, &mut dk, &mut dv];
        cpu::backward(self.problem(&q, &k, &v), saved, gradients);
        let kv_shape = (n, kv_width);
        Ok((
            wrap(dq, (rows, width))?,
            wrap(dk, kv_shape)?,
            wrap(dv, kv_shape)?,
        ))
    }

    /// Rows and columns of q.
    fn check(&self) -> Result<(usize, usize)> {
        let AttentionShape {
            num_heads,
            num_kv_heads,
            head_dim,
            ..
        } = *self.shape;
        let divides = num_kv_heads > 0 && num_heads.is_multiple_of(num_kv_heads);
        if num_heads == 0 || head_dim == 0 || !divides {
            return Err(Error::InvalidInput(format!(
                "the kv heads must divide the query heads, got {:?}",
                self.shape
            )));
        }
        let (n, _) = contract::matrix("k of the attention", self.k)?;
        contract::segments("offsets", self.offsets, n)?;
        contract::shape("k of the attention", self.k, &[n, num_kv_heads * head_dim])?;
        contract::shape("v of the attention", self.v, &[n, num_kv_heads * head_dim])?;
        let rows = match self.queries {
            Queries::Every => n,
            Queries::Last => self.offsets.len() - 1,
        };
        contract::shape("q of the attention", self.q, &[rows, num_heads * head_dim])?;
        Ok((rows, num_heads * head_dim))
    }

    fn problem<'b>(&'b self, q: &'b [f32], k: &'b [f32], v: &'b [f32]) -> cpu::Problem<'b> {
        cpu::Problem {
            q,
            k,
            v,
            num_kv_heads: self.shape.num_kv_heads,
            group: self.shape.num_heads / self.shape.num_kv_heads,
            head_dim: self.shape.head_dim,
            offsets: self.offsets,
            queries: self.queries,
            precision: self.shape.precision,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::oracle::{
        assert_close, assert_gradient, assert_same_bits_on_any_thread_count, bits, tensor,
    };
    use super::super::rows;
    use super::*;
    use candle_core::{D, DType, Device};

    /// Grouped, one kv head for all, a kv head for each; widths that fill vectors and that do not.
    const SHAPES: [[usize; 3]; 4] = [[4, 2, 6], [3, 1, 4], [2, 2, 16], [6, 2, 20]];
    const OFFSETS: [u32; 5] = [0, 5, 6, 8, 15];

    fn shape([num_heads, num_kv_heads, head_dim]: [usize; 3]) -> AttentionShape {
        AttentionShape {
            num_heads,
            num_kv_heads,
            head_dim,
            precision: Precision::F32,
        }
    }

    fn operands(shape: &AttentionShape, n: usize) -> [Tensor; 3] {
        let kv_width = shape.num_kv_heads * shape.head_dim;
        let q = tensor(1, n, shape.num_heads * shape.head_dim);
        [q, tensor(2, n, kv_width), tensor(3, n, kv_width)]
    }

    fn last_rows(offsets: &[u32]) -> Vec<u32> {
        offsets[1..].iter().map(|end| end - 1).collect()
    }

    /// o by a full matrix of scores, segment by segment and head by head.
    fn reference(
        [q, k, v]: [&Tensor; 3],
        shape: &AttentionShape,
        offsets: &[u32],
    ) -> candle_core::Result<Tensor> {
        let c = shape.head_dim;
        let mut segments = Vec::new();
        for ends in offsets.windows(2) {
            let (start, len) = (ends[0] as usize, (ends[1] - ends[0]) as usize);
            let head = |x: &Tensor, head: usize| {
                x.to_dtype(DType::F64)?
                    .narrow(0, start, len)?
                    .narrow(1, head * c, c)
            };
            let blocked = (0..len * len).map(|at| if at % len > at / len { -1e30 } else { 0.0 });
            let mask = Tensor::from_iter(blocked, &Device::Cpu)?.reshape((len, len))?;
            let mut heads = Vec::new();
            for h in 0..shape.num_heads {
                let kv_head = h / (shape.num_heads / shape.num_kv_heads);
                let scores = head(q, h)?.matmul(&head(k, kv_head)?.t()?.contiguous()?)?;
                let scores = ((scores / (c as f64).sqrt())? + &mask)?;
                let weights = scores
                    .broadcast_sub(&scores.max_keepdim(D::Minus1)?)?
                    .exp()?;
                let probs = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
                heads.push(probs.matmul(&head(v, kv_head)?.contiguous()?)?);
            }
            segments.push(Tensor::cat(&heads, 1)?);
        }
        Tensor::cat(&segments, 0)
    }

    #[test]
    fn forward_is_the_plain_composition() {
        for (case, offsets) in
            SHAPES
                .into_iter()
                .zip([&OFFSETS[..], &[0, 1], &OFFSETS, &[0, 70, 111]])
        {
            let shape = shape(case);
            let [q, k, v] = operands(&shape, offsets[offsets.len() - 1] as usize);
            let (o, _) = forward(&q, &k, &v, &shape, offsets).unwrap();
            let expected = reference([&q, &k, &v], &shape, offsets).unwrap();
            assert_close(&o, &expected, 2e-6);
        }
    }

    #[test]
    fn backward_is_the_gradient_of_the_reference() {
        let cases: [([usize; 3], &[u32]); 4] = [
            ([4, 2, 6], &[0, 3, 4, 8]),
            ([3, 1, 2], &[0, 18]), // more than one block of query rows and panel of keys
            ([2, 2, 4], &[0, 1, 2, 7]),
            ([2, 1, 20], &[0, 4, 5]),
        ];
        for (case, offsets) in cases {
            let shape = shape(case);
            let n = offsets[offsets.len() - 1] as usize;
            let [q, k, v] = operands(&shape, n);
            let d_o = tensor(4, n, shape.num_heads * shape.head_dim);
            let (o, lse) = forward(&q, &k, &v, &shape, offsets).unwrap();
            let (dq, dk, dv) = backward(&q, &k, &v, &o, &lse, &d_o, &shape, offsets).unwrap();
            assert_gradient(&dq, &q, &d_o, |q| reference([q, &k, &v], &shape, offsets));
            assert_gradient(&dk, &k, &d_o, |k| reference([&q, k, &v], &shape, offsets));
            assert_gradient(&dv, &v, &d_o, |v| reference([&q, &k, v], &shape, offsets));
        }
    }

    #[test]
    fn the_last_position_alone_has_the_bits_of_the_whole() {
        for case in SHAPES {
            let shape = shape(case);
            let offsets = [0, 40, 41, 111];
            let [q, k, v] = operands(&shape, 111);
            let (whole, whole_lse) = forward(&q, &k, &v, &shape, &offsets).unwrap();
            let last = last_rows(&offsets);
            let q_last = rows::gather(&q, &last).unwrap();
            let (o, lse) = forward_last(&q_last, &k, &v, &shape, &offsets).unwrap();
            assert_eq!(bits(&o), bits(&rows::gather(&whole, &last).unwrap()));
            assert_eq!(bits(&lse), bits(&rows::gather(&whole_lse, &last).unwrap()));

            let d_last = tensor(4, 3, shape.num_heads * shape.head_dim);
            let d_o = rows::scatter(&d_last, &last, 111).unwrap();
            let (dq, dk, dv) =
                backward_last(&q_last, &k, &v, &o, &lse, &d_last, &shape, &offsets).unwrap();
            let (whole_dq, whole_dk, whole_dv) =
                backward(&q, &k, &v, &whole, &whole_lse, &d_o, &shape, &offsets).unwrap();
            assert_close(&dq, &rows::gather(&whole_dq, &last).unwrap(), 1e-6);
            assert_close(&dk, &whole_dk, 1e-6);
            assert_close(&dv, &whole_dv, 1e-6);
        }
    }

    #[test]
    fn neither_threads_nor_the_batch_change_a_bit() {
        let shape = shape([6, 2, 20]);
        let offsets = [0, 33, 34, 134];
        let [q, k, v] = operands(&shape, 134);
        let all = |[q, k, v]: [&Tensor; 3], offsets: &[u32]| -> Vec<Tensor> {
            let (o, lse) = forward(q, k, v, &shape, offsets).unwrap();
            let (dq, dk, dv) = backward(q, k, v, &o, &lse, q, &shape, offsets).unwrap();
            vec![o, lse, dq, dk, dv]
        };
        assert_same_bits_on_any_thread_count(|| all([&q, &k, &v], &offsets));
        let together = all([&q, &k, &v], &offsets);
        let segment = |x: &Tensor| x.narrow(0, 34, 100).unwrap();
        let alone = all([&segment(&q), &segment(&k), &segment(&v)], &[0, 100]);
        for (alone, together) in alone.iter().zip(&together) {
            assert_eq!(bits(alone), bits(&segment(together)));
        }
    }

    #[test]
    fn a_token_does_not_see_those_after_it() {
        let shape = shape([4, 2, 6]);
        let [q, k, v] = operands(&shape, 50);
        let first = |x: &Tensor| x.narrow(0, 0, 20).unwrap();
        let (o, _) = forward(&q, &k, &v, &shape, &[0, 50]).unwrap();
        let (cut, _) = forward(&first(&q), &first(&k), &first(&v), &shape, &[0, 20]).unwrap();
        assert_eq!(bits(&cut), bits(&first(&o)));
    }

    #[test]
    fn operands_that_do_not_fit_are_refused() {
        let good = shape([4, 2, 6]);
        let [q, k, v] = operands(&good, 15);
        for error in [
            forward(&q, &k, &v, &shape([4, 3, 6]), &OFFSETS).unwrap_err(),
            forward(&k, &k, &v, &good, &OFFSETS).unwrap_err(),
            forward(&q, &k, &v, &good, &[0, 14]).unwrap_err(),
            forward_last(&q, &k, &v, &good, &OFFSETS).unwrap_err(),
        ] {
            assert_eq!(error.code(), "BPEFT_INVALID_INPUT", "{error}");
        }
    }
}
