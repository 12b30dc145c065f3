//! The half of a block behind its attention; equations in the parent module.
//!
//! y needs silu(gate) ∘ up alone: gate and up are one product where no term reads them or it. In bf16 and int8 what the way
//! back needs of them is then kept in bf16, as products round what they read; in f32 a pass that goes back keeps both as they
//! are. `int8-mixed` and passes that look for a culprit go layer by layer.

use candle_core::Tensor;

use super::way::Way;
use super::{Block, Terms};
use crate::adapter::Module;
use crate::kernels::cpu::gemm::Precision;
use crate::kernels::cpu::swiglu::{self as cpu, GateUpGradientRows, GatedRows};
use crate::layers::InputGradient;
use crate::layers::linear::gated;
use crate::ops::low_rank::Kept;
use crate::ops::{read, rms_norm, swiglu};
use crate::pass::Rows;
use crate::{Error, Result};

/// What the way back needs of it.
pub(super) struct LateKept {
    u: Tensor,
    factors: Factors,
    /// Of o, gate, up, down.
    pub(super) terms: [Option<Kept>; 4],
}

/// gate and up, (n, f).
enum Factors {
    Apart([Tensor; 2]),
    /// As in the kernel's `GateUp::Rounded`.
    Rounded(Vec<u32>),
}

impl Factors {
    /// gate and up, where a term may read them.
    fn apart(&self) -> Result<&[Tensor; 2]> {
        match self {
            Self::Apart(tensors) => Ok(tensors),
            Self::Rounded(_) => Err(Error::InvalidInput(
                "the adapter must be the same on both ways through a block".into(),
            )),
        }
    }
}

impl Block {
    /// y of o (n, H·c) and the stream x (n, d), and what the way back needs when `keep`.
    pub(super) fn forward_late(
        &self,
        (o, x): (&Tensor, &Tensor),
        terms: &Terms<'_>,
        rows: &Rows,
        keep: bool,
    ) -> Result<(Tensor, Option<LateKept>)> {
        let staged = self.linear(Module::O).stage(o)?;
        let (u, o_kept) = terms.forward(Module::O, (Some(o), &staged), rows, Some(x))?;
        let (normed, staged) = terms.normed((Module::Gate, &[Module::Up]), &self.mlp_norm, &u)?;
        let down = self.linear(Module::Down);
        if self.gates_at_once(terms, keep) {
            let linears = [Module::Gate, Module::Up, Module::Down];
            let linears = linears.map(|module| self.linear(module));
            let (staged, factors) = gated(linears, &staged, keep)?;
            let (y, _) = terms.forward(Module::Down, (None, &staged), rows, Some(&u))?;
            let kept = factors.map(|words| LateKept {
                u,
                factors: Factors::Rounded(words),
                terms: [o_kept, None, None, None],
            });
            return Ok((y, kept));
        }
        let input = (normed.as_ref(), &staged);
        let (gate, gate_kept) = terms.forward(Module::Gate, input, rows, None)?;
        let (up, up_kept) = terms.forward(Module::Up, input, rows, None)?;
        let hidden = if terms.is_adapted(Module::Down) {
            Some(swiglu::forward(&gate, &up)?)
        } else {
            None
        };
        let staged = if let Some(hidden) = &hidden {
            down.stage(hidden)?
        } else {
            let (n, gate, up) = (gate.dim(0)?, &*read(&gate)?, &*read(&up)?);
            down.stage_rows(&GatedRows { gate, up }, n)?
        };
        let input = (hidden.as_ref(), &staged);
        let (y, down_kept) = terms.forward(Module::Down, input, rows, Some(&u))?;
        let kept = keep.then_some(LateKept {
            u,
            factors: Factors::Apart([gate, up]),
            terms: [o_kept, gate_kept, up_kept, down_kept],
        });
        Ok((y, kept))
    }

    /// Whether gate and up are one product.
    pub(super) fn gates_at_once(&self, terms: &Terms<'_>, keep: bool) -> bool {
        let may_round = match self.linear(Module::Gate).weight().precision() {
            Precision::F32 => !keep,
            Precision::Bf16 | Precision::Int8 => true,
            Precision::Int8Mixed => false, // large inputs are products of their own
        };
        let readers = [Module::Gate, Module::Up, Module::Down];
        let is_read = readers.into_iter().any(|module| terms.is_adapted(module));
        may_round && !is_read && !terms.pass.mode.check_finite
    }

    /// dL/du (n, d) of dL/dy (n, d) where something below it is trained, else dy; and dL/do (n, H·c) when `below_o`.
    pub(super) fn backward_late<'a>(
        &self,
        (way, rows): (&mut Way<'a>, &'a Rows),
        dy: &Tensor,
        below_o: bool,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let (kept, o) = (&way.kept.late, &way.kept.o);
        let pass = way.terms.pass;
        let needs = |module| way.terms.is_adapted(module);
        let needs_factors = needs(Module::Gate) || needs(Module::Up);
        let below_mlp = below_o || needs(Module::O);
        let below_down = below_mlp || needs_factors;
        let hidden = if needs(Module::Down) {
            let [gate, up] = kept.factors.apart()?;
            Some(swiglu::forward(gate, up)?)
        } else {
            None
        };
        let mut du = dy.clone();
        let mut ds = InputGradient::default();
        let down = (Module::Down, dy, hidden.as_ref());
        way.back(&[down], rows, below_down.then_some(&mut ds))?;
        if let Some(ds) = ds.into_tensor(self.linear(Module::Gate).weight().rows())? {
            let mut dnormed = InputGradient::default();
            if needs_factors || pass.mode.check_finite {
                let [gate, up] = kept.factors.apart()?;
                let (dgate, dup) = swiglu::backward(gate, up, &ds)?;
                let normed = if needs_factors {
                    Some(rms_norm::forward(&self.mlp_norm, &kept.u)?)
                } else {
                    None
                };
                let layers = [(Module::Gate, &dgate), (Module::Up, &dup)];
                let layers = layers.map(|(module, dy)| (module, dy, normed.as_ref()));
                way.back(&layers, rows, below_mlp.then_some(&mut dnormed))?;
            } else {
                pass.abort.check()?;
                let linears = [self.linear(Module::Gate), self.linear(Module::Up)];
                let (n, dy) = (ds.dim(0)?, &*read(&ds)?);
                let apart;
                let inputs = match &kept.factors {
                    Factors::Apart([gate, up]) => {
                        apart = (read(gate)?, read(up)?);
                        cpu::GateUp::Apart([&apart.0, &apart.1])
                    }
                    Factors::Rounded(words) => cpu::GateUp::Rounded(words),
                };
                dnormed.add_rows(&linears, &GateUpGradientRows { inputs, dy }, n)?;
            }
            if let Some(dnormed) = dnormed.into_tensor(kept.u.dim(1)?)? {
                du = rms_norm::backward(&self.mlp_norm, &kept.u, &dnormed, dy)?;
            }
        }
        let mut d_o = InputGradient::default();
        if below_mlp {
            let layer = (Module::O, &du, Some(o));
            way.back(&[layer], rows, below_o.then_some(&mut d_o))?;
        }
        Ok((du, d_o.into_tensor(o.dim(1)?)?))
    }
}
