//! A pre-norm decoder block: rotary attention with grouped keys, then SwiGLU (Llama, arXiv:2302.13971).
//!
//! ```text
//! u = x + O·attention(rope(Q·norm(x)), rope(K·norm(x)), V·norm(x))
//! y = u + Down·(silu(Gate·norm(u)) ∘ Up·norm(u))
//! ```
//!
//! After the last block only the last position of each prompt is read, so there queries, MLP and
//! residual stream are computed for those rows alone; keys and values need all.
//! Shapes: x (n, d); in the last block y is (segments, d).

mod late;
mod way;

use candle_core::Tensor;

use super::{FrozenLinear, InputGradient};
use crate::adapter::{Adapter, Module, Parameters, Site};
use crate::kernels::cpu::gemm::Operand;
use crate::ops::attention::{Attention, AttentionShape, Mask, Operands, Queries};
use crate::ops::low_rank::{Kept, Term};
use crate::ops::rms_norm::{self, Norm};
use crate::ops::rope::{self, RopeTables};
use crate::ops::{read, rows};
use crate::pass::{Pass, Rows};
use crate::{Error, Result};
use late::LateKept;
use way::Way;

/// The frozen weights of one block.
pub struct Block {
    /// Its index.
    pub index: usize,
    /// Before the attention.
    pub attention_norm: Norm,
    /// Before the MLP.
    pub mlp_norm: Norm,
    /// Heads and their width.
    pub shape: AttentionShape,
    /// Of each head of the queries and keys, (c).
    pub head_norms: Option<[Norm; 2]>,
    /// Which keys a query sees.
    pub mask: Mask,
    /// q, k, v, o, gate, up, down, in the order of [`Module`].
    pub linears: [FrozenLinear; 7],
    /// Whether only the last position of each prompt is read afterwards.
    pub last: bool,
}

/// What the backward pass of a block needs.
pub struct BlockKept {
    x: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    o: Tensor,
    log_sum_exp: Tensor,
    /// q and k before their norms.
    unnormed: [Option<Tensor>; 2],
    /// Of q, k, v.
    terms: [Option<Kept>; 3],
    late: LateKept,
}

impl BlockKept {
    fn term(&self, module: Module) -> Option<&Kept> {
        let mut terms = self.terms.iter().chain(&self.late.terms);
        terms.nth(module as usize)?.as_ref()
    }
}

/// An input, where a term may need it, and its staged copy.
type Input<'a> = (Option<&'a Tensor>, &'a Operand);

/// The block's adapter terms of one pass.
#[derive(Clone, Copy)]
struct Terms<'a> {
    block: &'a Block,
    adapter: Option<&'a Adapter>,
    pass: &'a Pass,
}

impl<'a> Terms<'a> {
    fn at(&self, module: Module, rows: &'a Rows) -> Option<Term<'a>> {
        Term::at(self.adapter?, self.block.site(module), rows, self.pass)
    }

    fn is_adapted(&self, module: Module) -> bool {
        let site = self.block.site(module);
        self.adapter.is_some_and(|adapter| adapter.has(site))
    }

    /// What `norm` makes of x, where a term of the layers reads it, and the same staged for them.
    fn normed(
        &self,
        layers: (Module, &[Module]),
        norm: &Norm,
        x: &Tensor,
    ) -> Result<(Option<Tensor>, Operand)> {
        let (first, others) = layers;
        let linear = self.block.linear(first);
        if self.is_adapted(first) || others.iter().any(|module| self.is_adapted(*module)) {
            let normed = rms_norm::forward(norm, x)?;
            let staged = linear.stage(&normed)?;
            return Ok((Some(normed), staged));
        }
        Ok((None, linear.stage_normed(norm, x)?))
    }

    /// The output of a layer with its term, and what the term needs for its adjoint.
    fn forward(
        &self,
        module: Module,
        input: Input<'_>,
        rows: &'a Rows,
        addend: Option<&Tensor>,
    ) -> Result<(Tensor, Option<Kept>)> {
        let term = self.at(module, rows);
        let linear = self.block.linear(module);
        let (y, kept) = linear.forward(input, term.as_ref(), addend)?;
        check_finite(self.pass, &y, || self.block.site(module).path())?;
        self.pass.abort.check()?;
        Ok((y, kept))
    }
}

impl Block {
    fn site(&self, module: Module) -> Site {
        Site {
            block: self.index,
            module,
        }
    }

    fn linear(&self, module: Module) -> &FrozenLinear {
        &self.linears[module as usize]
    }

    /// Rows that the residual stream has after the attention.
    fn late_rows<'a>(&self, pass: &'a Pass) -> &'a Rows {
        if self.last {
            &pass.last_rows
        } else {
            &pass.all_rows
        }
    }

    /// Bytes that a forward pass keeps for the way back.
    pub fn kept_bytes(&self, (pass, adapter): (&Pass, Option<&Adapter>)) -> usize {
        let terms = Terms {
            block: self,
            adapter,
            pass,
        };
        let width = |module| self.linear(module).weight().rows();
        let [q, k, d, f] = [Module::Q, Module::K, Module::O, Module::Gate].map(width);
        let factors = if self.gates_at_once(&terms, true) {
            f
        } else {
            2 * f
        };
        let unnormed = if self.head_norms.is_some() { q + k } else { 0 };
        // x, u; q, o; k, v; gate, up; the logarithms of the heads' sums; q, k before their norms.
        let row = 2 * d + 2 * q + 2 * k + factors + self.shape.num_heads + unnormed;
        4 * row * pass.all_rows.ids.len()
    }

    /// (n, d) → (n, d), or (segments, d) in the last block; and what the way back needs when `keep`.
    pub fn forward(
        &self,
        x: &Tensor,
        tables: &RopeTables,
        (pass, adapter): (&Pass, Option<&Adapter>),
        keep: bool,
    ) -> Result<(Tensor, Option<BlockKept>)> {
        let terms = Terms {
            block: self,
            adapter,
            pass,
        };
        let (all, late) = (&pass.all_rows, self.late_rows(pass));
        let norm = &self.attention_norm;
        let others: &[Module] = if self.last {
            &[Module::V]
        } else {
            &[Module::V, Module::Q]
        };
        let (normed, staged) = terms.normed((Module::K, others), norm, x)?;
        let input = (normed.as_ref(), &staged);
        let stream = if self.last {
            rows::gather(x, &pass.last)?
        } else {
            x.clone()
        };
        // Together, so that no thread waits for the end of each.
        let norms = self.head_norms.as_ref();
        let turned = |(x, kept): (Tensor, Option<Kept>), norm: Option<&Norm>, heads, rows| {
            let (x, unnormed) = match norm {
                Some(norm) => (by_head(&x, heads, |x| rms_norm::forward(norm, x))?, Some(x)),
                None => (x, None),
            };
            let x = rope::rotate(&x, heads, tables, &positions(rows))?;
            Ok::<_, Error>((x, unnormed, kept))
        };
        let q = || {
            let q = if self.last {
                let (normed, staged) = terms.normed((Module::Q, &[]), norm, &stream)?;
                terms.forward(Module::Q, (normed.as_ref(), &staged), late, None)?
            } else {
                terms.forward(Module::Q, input, all, None)?
            };
            turned(q, norms.map(|norms| &norms[0]), self.shape.num_heads, late)
        };
        let k = || {
            let k = terms.forward(Module::K, input, all, None)?;
            turned(
                k,
                norms.map(|norms| &norms[1]),
                self.shape.num_kv_heads,
                all,
            )
        };
        let v = || terms.forward(Module::V, input, all, None);
        let (q, (k, v)) = rayon::join(q, || rayon::join(k, v));
        let ((q, q_unnormed, q_kept), (k, k_unnormed, k_kept), (v, v_kept)) = (q?, k?, v?);
        drop(staged);
        let operands = Operands {
            q: &q,
            k: &k,
            v: &v,
        };
        let (o, log_sum_exp) = self.attention(pass).forward(operands)?;
        let (y, late) = self.forward_late((&o, &stream), &terms, late, keep)?;
        let kept = late.map(|late| BlockKept {
            x: x.clone(),
            q,
            k,
            v,
            o,
            log_sum_exp,
            unnormed: [q_unnormed, k_unnormed],
            terms: [q_kept, k_kept, v_kept],
            late,
        });
        Ok((y, kept))
    }

    fn attention<'a>(&'a self, pass: &'a Pass) -> Attention<'a> {
        Attention {
            shape: &self.shape,
            mask: self.mask,
            queries: if self.last {
                Queries::Last
            } else {
                Queries::Every
            },
            offsets: &pass.offsets,
        }
    }

    /// (dq, dk, dv) of the attention's output.
    fn attention_backward(
        &self,
        kept: &BlockKept,
        d_o: &Tensor,
        pass: &Pass,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let operands = Operands {
            q: &kept.q,
            k: &kept.k,
            v: &kept.v,
        };
        let saved = (&kept.o, &kept.log_sum_exp);
        self.attention(pass).backward(operands, saved, d_o)
    }

    /// dL/dx (n, d) of dL/dy, or `None` where nothing below is trained; adds the terms' gradients.
    pub fn backward(
        &self,
        kept: &BlockKept,
        dy: &Tensor,
        tables: &RopeTables,
        (pass, adapter): (&Pass, &Adapter),
        gradients: &mut Parameters,
        want_dx: bool,
    ) -> Result<Option<Tensor>> {
        let terms = Terms {
            block: self,
            adapter: Some(adapter),
            pass,
        };
        let (all, late) = (&pass.all_rows, self.late_rows(pass));
        let needs = |module| terms.is_adapted(module);
        let in_attention = [Module::Q, Module::K, Module::V].into_iter().any(needs);
        let mut way = Way {
            kept,
            terms,
            gradients,
        };
        let below_o = want_dx || in_attention;
        let (mut du, d_o) = self.backward_late((&mut way, late), dy, below_o)?;
        let Some(d_o) = d_o else {
            return Ok(None);
        };

        let (dq, dk, dv) = self.attention_backward(kept, &d_o, pass)?;
        let dq = rope::rotate_back(&dq, self.shape.num_heads, tables, &positions(late))?;
        let dk = rope::rotate_back(&dk, self.shape.num_kv_heads, tables, &positions(all))?;
        let unnorm = |side: usize, dy: Tensor, heads| match (&self.head_norms, &kept.unnormed[side])
        {
            (Some(norms), Some(x)) => {
                let x = x.reshape((x.dim(0)? * heads, self.shape.head_dim))?;
                by_head(&dy, heads, |dy| {
                    rms_norm::backward(&norms[side], &x, dy, &dy.zeros_like()?)
                })
            }
            _ => Ok(dy),
        };
        let dq = unnorm(0, dq, self.shape.num_heads)?;
        let dk = unnorm(1, dk, self.shape.num_kv_heads)?;
        let (n, d) = kept.x.dims2()?;
        let mut dnormed = InputGradient::default();
        // What adapted layers read is cheaper to compute again than to keep.
        let (mut normed, mut late_normed) = (None, None);
        if in_attention {
            let all = rms_norm::forward(&self.attention_norm, &kept.x)?;
            late_normed = Some(if self.last {
                rows::gather(&all, &pass.last)?
            } else {
                all.clone()
            });
            normed = Some(all);
        }
        let q = (Module::Q, &dq, late_normed.as_ref());
        let k = (Module::K, &dk, normed.as_ref());
        let v = (Module::V, &dv, normed.as_ref());
        let mut layers = Vec::new();
        if self.last {
            way.back(&[q], late, want_dx.then_some(&mut dnormed))?;
            dnormed = match dnormed.into_tensor(d)? {
                Some(late) => InputGradient::of(&rows::scatter(&late, &pass.last, n)?)?,
                None => InputGradient::default(),
            };
            du = rows::scatter(&du, &pass.last, n)?;
        } else {
            layers.push(q);
        }
        if want_dx || needs(Module::K) {
            layers.push(k);
        }
        layers.push(v);
        way.back(&layers, all, want_dx.then_some(&mut dnormed))?;
        let Some(dnormed) = dnormed.into_tensor(d)? else {
            return Ok(None);
        };
        let norm = &self.attention_norm;
        Ok(Some(rms_norm::backward(norm, &kept.x, &dnormed, &du)?))
    }
}

/// `work` on the heads of x (n, heads·c) as rows of their own, (n·heads, c).
fn by_head(x: &Tensor, heads: usize, work: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let (n, width) = x.dims2()?;
    let y = work(&x.reshape((n * heads, width / heads))?)?;
    Ok(y.reshape((n, width))?)
}

fn positions(rows: &Rows) -> Vec<u32> {
    rows.ids.iter().map(|id| id.position).collect()
}

/// `BPEFT_NOT_FINITE` naming `layer`, in passes that look for the culprit.
pub(crate) fn check_finite(pass: &Pass, y: &Tensor, layer: impl FnOnce() -> String) -> Result<()> {
    if pass.mode.check_finite {
        return check_finite_values(pass, &read(y)?, layer);
    }
    Ok(())
}

/// [`check_finite`] of values that are no tensor yet.
fn check_finite_values(pass: &Pass, y: &[f32], layer: impl FnOnce() -> String) -> Result<()> {
    if pass.mode.check_finite && y.iter().any(|value| !value.is_finite()) {
        return Err(Error::NotFinite {
            step: 0,
            what: "a value",
            layer: layer(),
        });
    }
    Ok(())
}
