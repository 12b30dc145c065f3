//! Masked attention with grouped keys (Ainslie et al. 2023, arXiv:2305.13245) over ragged segments.
//!
//! ```text
//! s_ij = κ·q_i·k_j, or a·tanh(κ·q_i·k_j/a)      κ = 1/√c unless the model has its own
//! p_ij = exp(s_ij − ℓ_i),  j ∈ V_i               ℓ_i = ln Σ_j exp(s_ij)
//! o_i = Σ_j p_ij·v_j
//!
//! ds_ij = p_ij·(do_i·v_j − do_i·o_i), times 1 − (s_ij/a)² under a cap
//! dq_i = κ·Σ_j ds_ij·k_j         dk_j = κ·Σ_i ds_ij·q_i         dv_j = Σ_i p_ij·do_i
//! ```
//!
//! The soft cap a is that of Gemma 2 (arXiv:2408.00118 §2).
//! V_i are the positions of i's segment that i sees ([`Mask`]): all up to i, the last w of these
//! (Mistral, arXiv:2310.06825 §2, and transformers' `sliding_window`), all, or those at most w away
//! (ModernBERT, arXiv:2412.13663 §2.1.1).
//! Query head h reads kv head h/(H/G), whose gradients sum over its group. The backward pass forms
//! the probabilities again from ℓ (Dao et al. 2022, arXiv:2205.14135), so that none are kept.
//! Shapes: `n` tokens in `B` segments, `H` query heads, `G` kv heads, `c` width of one head.

#[cfg(feature = "cuda")]
mod cuda;
mod plain;

use candle_core as candle;

use super::{Device, Implementation, Operation, Precision, Tensor, read, shapes, wrap};
use crate::kernels::cpu::attention as cpu;
pub use crate::kernels::cpu::attention::{Mask, Queries};
#[cfg(feature = "cuda")]
use crate::kernels::cuda::Gpu;
use crate::{Error, Result};

/// The heads of an attention layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
    /// Query heads, `H`.
    pub num_heads: usize,
    /// Key and value heads, `G`; divides `H`.
    pub num_kv_heads: usize,
    /// Width of one head, `c`.
    pub head_dim: usize,
    /// Factor of the scores, κ.
    pub scale: f32,
    /// What no score exceeds, a; positive.
    pub soft_cap: Option<f32>,
    /// What products round their operands to: `f32` not at all, the others to bf16. Sums, the
    /// softmax and its gradient are `f32`.
    pub precision: Precision,
    /// Where it runs.
    pub device: Device,
}

impl AttentionShape {
    /// Values that the backward pass keeps of a row's k and v, of four bytes each.
    pub fn kept_keys(&self) -> usize {
        let both = 2 * self.num_kv_heads * self.head_dim;
        #[cfg(feature = "cuda")]
        if self.rounding_gpu().is_some() {
            return both / 2;
        }
        both
    }

    /// The GPU whose kernels read k and v in bf16.
    #[cfg(feature = "cuda")]
    fn rounding_gpu(&self) -> Option<Gpu> {
        match self.implementation() {
            Implementation::CudaKernel(gpu) if self.precision == Precision::Bf16 => Some(gpu),
            _ => None,
        }
    }

    /// What runs it.
    pub fn implementation(&self) -> Implementation {
        match self.device.implementation(Operation::Attention) {
            #[cfg(feature = "cuda")]
            Implementation::CudaKernel(_) if !cuda::has_kernel(self) => Implementation::Reference,
            by => by,
        }
    }
}

/// One attention: its heads, who sees whom, and where its segments begin and end.
#[derive(Debug, Clone, Copy)]
pub struct Attention<'a> {
    /// The heads.
    pub shape: &'a AttentionShape,
    /// Which keys a query sees.
    pub mask: Mask,
    /// Which positions of a segment have queries; q, o and log_sum_exp have a row for each.
    pub queries: Queries,
    /// First rows of the segments, and the end of the last; (B + 1).
    pub offsets: &'a [u32],
}

/// q (m, H·c), k (n, G·c), v (n, G·c), after the rotation; m is n, or B where only the last
/// positions have queries.
#[derive(Debug, Clone, Copy)]
pub struct Operands<'a> {
    /// Queries.
    pub q: &'a Tensor,
    /// Keys.
    pub k: &'a Tensor,
    /// Values.
    pub v: &'a Tensor,
}

/// What an attention gave, and what its backward pass reads of it.
#[derive(Debug, Clone)]
pub struct Attended {
    /// (m, H·c)
    pub o: Tensor,
    /// ln Σ exp of the scores, (m, H)
    pub log_sum_exp: Tensor,
}

/// Of the operands, in their shapes.
#[derive(Debug, Clone)]
pub struct OperandGradients {
    /// dL/dq
    pub dq: Tensor,
    /// dL/dk
    pub dk: Tensor,
    /// dL/dv
    pub dv: Tensor,
}

impl<'a> Operands<'a> {
    /// q, k and v in the host's memory.
    fn host(&self) -> Result<[&'a candle::Tensor; 3]> {
        Ok([self.q.host()?, self.k.host()?, self.v.host()?])
    }
}

impl Attention<'_> {
    /// o and the sums of its scores. Rows of the last positions have the bits that they have among
    /// all.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when the shapes, the offsets or the window do not fit.
    pub fn forward(&self, operands: Operands<'_>) -> Result<Attended> {
        let (rows, width) = self.check(operands)?;
        let heads = self.shape.num_heads;
        match self.implementation() {
            Implementation::CpuKernel => {
                let Operands { q, k, v } = operands;
                let (q, k, v) = (read(q)?, read(k)?, read(v)?);
                let [o, log_sum_exp] = cpu::forward(self.problem(&q, &k, &v));
                Ok(Attended {
                    o: wrap(o, (rows, width))?,
                    log_sum_exp: wrap(log_sum_exp, (rows, heads))?,
                })
            }
            #[cfg(feature = "cuda")]
            Implementation::CudaKernel(gpu) => cuda::forward(self, gpu, operands),
            Implementation::Reference => {
                let (o, log_sum_exp) = plain::forward(self, operands.host()?)?;
                Ok(Attended {
                    o: o.into(),
                    log_sum_exp: log_sum_exp.into(),
                })
            }
        }
    }

    /// The gradients, of what [`Self::forward`] gave and dL/do, (m, H·c).
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn backward(
        &self,
        operands: Operands<'_>,
        attended: &Attended,
        d_o: &Tensor,
    ) -> Result<OperandGradients> {
        let (rows, width) = self.check(operands)?;
        let Attended { o, log_sum_exp } = attended;
        shapes::check("o of the attention", o, &[rows, width])?;
        shapes::check("log_sum_exp", log_sum_exp, &[rows, self.shape.num_heads])?;
        shapes::check("do of the attention", d_o, &[rows, width])?;
        match self.implementation() {
            Implementation::CpuKernel => {
                let Operands { q, k, v } = operands;
                let kv_shape = k.dims2()?;
                let (q, k, v) = (read(q)?, read(k)?, read(v)?);
                let (o, log_sum_exp, d_o) = (read(o)?, read(log_sum_exp)?, read(d_o)?);
                let saved = cpu::Saved {
                    o: &o,
                    log_sum_exp: &log_sum_exp,
                    d_o: &d_o,
                };
                let [dq, dk, dv] = cpu::backward(self.problem(&q, &k, &v), saved);
                Ok(OperandGradients {
                    dq: wrap(dq, (rows, width))?,
                    dk: wrap(dk, kv_shape)?,
                    dv: wrap(dv, kv_shape)?,
                })
            }
            #[cfg(feature = "cuda")]
            Implementation::CudaKernel(gpu) => cuda::backward(self, gpu, operands, attended, d_o),
            Implementation::Reference => {
                let [dq, dk, dv] = plain::backward(self, operands.host()?, d_o.host()?)?;
                Ok(OperandGradients {
                    dq: dq.into(),
                    dk: dk.into(),
                    dv: dv.into(),
                })
            }
        }
    }

    /// k and v as products read them and the backward pass keeps them: rounded where a GPU
    /// multiplies in bf16.
    ///
    /// # Errors
    /// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`.
    pub fn keys_and_values(&self, of: [Tensor; 2]) -> Result<[Tensor; 2]> {
        #[cfg(feature = "cuda")]
        if let Some(gpu) = self.shape.rounding_gpu() {
            let [k, v] = of;
            return Ok([k.rounded_on(gpu)?.into(), v.rounded_on(gpu)?.into()]);
        }
        Ok(of)
    }

    fn implementation(&self) -> Implementation {
        self.shape.implementation()
    }

    /// Rows and columns of q.
    fn check(&self, operands: Operands<'_>) -> Result<(usize, usize)> {
        let Operands { q, k, v } = operands;
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
        if self.mask == Mask::Window(0) {
            let rule = "the window of the attention must hold at least one position, got 0";
            return Err(Error::InvalidInput(rule.into()));
        }
        let (n, _) = shapes::matrix("k of the attention", k)?;
        shapes::segments("offsets", self.offsets, n)?;
        shapes::check("k of the attention", k, &[n, num_kv_heads * head_dim])?;
        shapes::check("v of the attention", v, &[n, num_kv_heads * head_dim])?;
        let rows = match self.queries {
            Queries::Every => n,
            Queries::Last => self.offsets.len() - 1,
        };
        shapes::check("q of the attention", q, &[rows, num_heads * head_dim])?;
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
            scale: self.shape.scale,
            soft_cap: self.shape.soft_cap,
            offsets: self.offsets,
            queries: self.queries,
            mask: self.mask,
            precision: self.shape.precision,
        }
    }
}

#[cfg(test)]
mod tests;
