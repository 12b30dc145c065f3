//! A pre-norm decoder block: rotary attention with grouped keys, then SwiGLU (Llama, arXiv:2302.13971).
//!
//! ```text
//! u = x + O·attention(rope(Q·norm(x)), rope(K·norm(x)), V·norm(x))
//! y = u + Down·(silu(Gate·norm(u)) ∘ Up·norm(u))
//! ```
//!
//! After the last block only the last position of each prompt is read, so there queries, MLP and
//! residual stream are computed for those rows alone (`Reach::Last`); keys and values need all.
//! Shapes: x (n, d); in the last block y is (segments, d).

mod way;

use candle_core::Tensor;

use super::{FrozenLinear, Gradients, InputGradient};
use crate::adapter::{Adapter, Module, Site};
use crate::kernels::cpu::gemm::Operand;
use crate::kernels::cpu::swiglu::{Gated, Gradients as GatedGradients};
use crate::ops::attention::{self, AttentionShape};
use crate::ops::low_rank::{Kept, Term};
use crate::ops::rope::{self, RopeTables};
use crate::ops::{read, rms_norm, rows, swiglu};
use crate::pass::{Pass, Rows};
use crate::{Error, Result};
use way::Way;

/// The frozen weights of one block.
pub struct Block {
    /// Its index.
    pub index: usize,
    /// Weight of the norm before the attention, (d).
    pub attention_norm: Tensor,
    /// Weight of the norm before the MLP, (d).
    pub mlp_norm: Tensor,
    /// ε of both norms.
    pub norm_eps: f32,
    /// Heads and their width.
    pub shape: AttentionShape,
    /// q, k, v, o, gate, up, down, in the order of [`Module`].
    pub linears: [FrozenLinear; 7],
    /// Whether only the last position of each prompt is read afterwards.
    pub last: bool,
}

/// What the backward pass of a block needs.
pub struct BlockKept {
    x: Tensor,
    inv_rms: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    o: Tensor,
    log_sum_exp: Tensor,
    u: Tensor,
    mlp_inv_rms: Tensor,
    gate: Tensor,
    up: Tensor,
    terms: [Option<Kept>; 7],
}

/// Inputs of adapted layers, which are cheaper to compute again than to keep.
#[derive(Default)]
struct TermInputs {
    normed: Option<Tensor>,
    late_normed: Option<Tensor>,
    mlp_normed: Option<Tensor>,
    hidden: Option<Tensor>,
}

/// An input, where a term may need it, and its staged copy.
type Input<'a> = (Option<&'a Tensor>, &'a Operand);

/// The block's adapter terms of one pass.
struct Terms<'a> {
    block: &'a Block,
    adapter: Option<&'a Adapter>,
    pass: &'a Pass,
}

impl<'a> Terms<'a> {
    fn at(&self, module: Module, rows: &'a Rows) -> Option<Term<'a>> {
        Term::at(self.adapter?, self.block.site(module), rows, self.pass)
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

    /// (n, d) → (n, d), or (segments, d) in the last block.
    pub fn forward(
        &self,
        x: &Tensor,
        tables: &RopeTables,
        pass: &Pass,
        adapter: Option<&Adapter>,
    ) -> Result<(Tensor, BlockKept)> {
        let terms = Terms {
            block: self,
            adapter,
            pass,
        };
        let (all, late) = (&pass.all_rows, self.late_rows(pass));
        let run = |module: Module, input: Input<'_>, rows: &Rows, addend: Option<&Tensor>| {
            let term = terms.at(module, rows);
            let (y, kept) = self.linear(module).forward(input, term.as_ref(), addend)?;
            check_finite(pass, &y, || self.site(module).path())?;
            pass.abort.check()?;
            Ok::<_, Error>((y, kept))
        };
        let (normed, inv_rms) = rms_norm::forward(x, &self.attention_norm, self.norm_eps)?;
        let late_normed = if self.last {
            rows::gather(&normed, &pass.last)?
        } else {
            normed.clone()
        };
        let staged = self.linear(Module::K).stage(&normed)?;
        let (q, q_kept) = if self.last {
            let staged = self.linear(Module::Q).stage(&late_normed)?;
            run(Module::Q, (Some(&late_normed), &staged), late, None)?
        } else {
            run(Module::Q, (Some(&normed), &staged), all, None)?
        };
        let (k, k_kept) = run(Module::K, (Some(&normed), &staged), all, None)?;
        let (v, v_kept) = run(Module::V, (Some(&normed), &staged), all, None)?;
        drop(staged);
        let q = rope::rotate(&q, self.shape.num_heads, tables, &positions(late))?;
        let k = rope::rotate(&k, self.shape.num_kv_heads, tables, &positions(all))?;
        let (o, log_sum_exp) = if self.last {
            attention::forward_last(&q, &k, &v, &self.shape, &pass.offsets)?
        } else {
            attention::forward(&q, &k, &v, &self.shape, &pass.offsets)?
        };
        let stream = if self.last {
            rows::gather(x, &pass.last)?
        } else {
            x.clone()
        };
        let staged = self.linear(Module::O).stage(&o)?;
        let (u, o_kept) = run(Module::O, (Some(&o), &staged), late, Some(&stream))?;
        let (normed, mlp_inv_rms) = rms_norm::forward(&u, &self.mlp_norm, self.norm_eps)?;
        let staged = self.linear(Module::Gate).stage(&normed)?;
        let (gate, gate_kept) = run(Module::Gate, (Some(&normed), &staged), late, None)?;
        let (up, up_kept) = run(Module::Up, (Some(&normed), &staged), late, None)?;
        let hidden = match terms.at(Module::Down, late) {
            Some(_) => Some(swiglu::forward(&gate, &up)?),
            None => None,
        };
        let down = self.linear(Module::Down);
        let staged = if let Some(hidden) = &hidden {
            down.stage(hidden)?
        } else {
            let (n, gate, up) = (gate.dim(0)?, &*read(&gate)?, &*read(&up)?);
            down.stage_rows(&Gated { gate, up }, n)?
        };
        let (y, down_kept) = run(Module::Down, (hidden.as_ref(), &staged), late, Some(&u))?;
        let terms = [
            q_kept, k_kept, v_kept, o_kept, gate_kept, up_kept, down_kept,
        ];
        let kept = BlockKept {
            x: x.clone(),
            inv_rms,
            q,
            k,
            v,
            o,
            log_sum_exp,
            u,
            mlp_inv_rms,
            gate,
            up,
            terms,
        };
        Ok((y, kept))
    }

    /// (dq, dk, dv) of the attention's output.
    fn attention_backward(
        &self,
        kept: &BlockKept,
        d_o: &Tensor,
        pass: &Pass,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let BlockKept {
            q,
            k,
            v,
            o,
            log_sum_exp,
            ..
        } = kept;
        if self.last {
            attention::backward_last(q, k, v, o, log_sum_exp, d_o, &self.shape, &pass.offsets)
        } else {
            attention::backward(q, k, v, o, log_sum_exp, d_o, &self.shape, &pass.offsets)
        }
    }

    /// The inputs that adapted layers of the block need again.
    fn term_inputs(
        &self,
        kept: &BlockKept,
        pass: &Pass,
        needs: impl Fn(Module) -> bool,
    ) -> Result<TermInputs> {
        let norm = |x: &Tensor, weight: &Tensor| -> Result<Tensor> {
            Ok(rms_norm::forward(x, weight, self.norm_eps)?.0)
        };
        let mut inputs = TermInputs::default();
        if needs(Module::Down) {
            inputs.hidden = Some(swiglu::forward(&kept.gate, &kept.up)?);
        }
        if needs(Module::Gate) || needs(Module::Up) {
            inputs.mlp_normed = Some(norm(&kept.u, &self.mlp_norm)?);
        }
        if [Module::Q, Module::K, Module::V].into_iter().any(needs) {
            let normed = norm(&kept.x, &self.attention_norm)?;
            inputs.late_normed = Some(if self.last {
                rows::gather(&normed, &pass.last)?
            } else {
                normed.clone()
            });
            inputs.normed = Some(normed);
        }
        Ok(inputs)
    }

    /// dL/dx (n, d) of dL/dy, or `None` where nothing below is trained; adds the terms' gradients.
    pub fn backward(
        &self,
        kept: &BlockKept,
        dy: &Tensor,
        tables: &RopeTables,
        (pass, adapter): (&Pass, &Adapter),
        gradients: &mut Gradients,
        want_dx: bool,
    ) -> Result<Option<Tensor>> {
        let terms = Terms {
            block: self,
            adapter: Some(adapter),
            pass,
        };
        let (all, late) = (&pass.all_rows, self.late_rows(pass));
        let mut way = Way {
            kept,
            terms,
            gradients,
        };
        let needs = |module| adapter.term(self.site(module)).is_some();
        let in_attention = [Module::Q, Module::K, Module::V].into_iter().any(needs);
        let below_o = want_dx || in_attention;
        let below_mlp = below_o || needs(Module::O);
        let below_down = below_mlp || needs(Module::Gate) || needs(Module::Up);

        let inputs = self.term_inputs(kept, pass, needs)?;
        let d = kept.x.dim(1)?;
        let mut du = dy.clone();
        let mut ds = InputGradient::default();
        let down = (Module::Down, dy, inputs.hidden.as_ref());
        way.back(&[down], late, below_down.then_some(&mut ds))?;
        if let Some(ds) = ds.into_tensor(kept.gate.dim(1)?)? {
            let mut dnormed = InputGradient::default();
            let [gate, up] = [&kept.gate, &kept.up];
            if needs(Module::Gate) || needs(Module::Up) || pass.mode.check_finite {
                let (dgate, dup) = swiglu::backward(gate, up, &ds)?;
                let x = inputs.mlp_normed.as_ref();
                let layers = [(Module::Gate, &dgate, x), (Module::Up, &dup, x)];
                way.back(&layers, late, below_mlp.then_some(&mut dnormed))?;
            } else {
                pass.abort.check()?;
                let (gate, up, dy) = (&*read(gate)?, &*read(up)?, &*read(&ds)?);
                let linears = [self.linear(Module::Gate), self.linear(Module::Up)];
                dnormed.add_rows(&linears, &GatedGradients { gate, up, dy }, ds.dim(0)?)?;
            }
            if let Some(dnormed) = dnormed.into_tensor(d)? {
                let norm = (&kept.u, &self.mlp_norm, &kept.mlp_inv_rms);
                du = rms_norm::backward(norm, &dnormed, dy)?;
            }
        }
        let mut d_o = InputGradient::default();
        if below_mlp {
            let o = (Module::O, &du, Some(&kept.o));
            way.back(&[o], late, below_o.then_some(&mut d_o))?;
        }
        let Some(d_o) = d_o.into_tensor(kept.o.dim(1)?)? else {
            return Ok(None);
        };

        let (dq, dk, dv) = self.attention_backward(kept, &d_o, pass)?;
        let dq = rope::rotate_back(&dq, self.shape.num_heads, tables, &positions(late))?;
        let dk = rope::rotate_back(&dk, self.shape.num_kv_heads, tables, &positions(all))?;
        let n = kept.x.dim(0)?;
        let mut dnormed = InputGradient::default();
        let q = (Module::Q, &dq, inputs.late_normed.as_ref());
        let k = (Module::K, &dk, inputs.normed.as_ref());
        let v = (Module::V, &dv, inputs.normed.as_ref());
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
        let norm = (&kept.x, &self.attention_norm, &kept.inv_rms);
        Ok(Some(rms_norm::backward(norm, &dnormed, &du)?))
    }
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
