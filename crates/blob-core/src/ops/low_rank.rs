//! The low-rank term of an adapted layer, at its mean or sampled by Flipout, with its adjoint.
//!
//! ```text
//! h = D·Aᵀ + T ∘ ((D' ∘ S)(σ ∘ E)ᵀ)            y = s·h·Bᵀ
//!
//! p  = s·dy·B                                   dB += s·dyᵀ·h
//! dA += pᵀ·D        Q = (p ∘ T)ᵀ(D' ∘ S)        dρ += (Q ∘ E) ∘ dσ/dρ
//! dx += drop(p·A) + drop'(((p ∘ T)(σ ∘ E)) ∘ S)
//! ```
//!
//! BLoB, arXiv:2406.11675 §3 and appendix; Flipout, arXiv:1803.04386. `D`, `D'` are the input under
//! two independent dropout masks (the input itself without dropout). `E` (r, k) is standard normal,
//! one per posterior sample (with `−E` for the second of an antithetic pair, under the same signs);
//! `S` (n, k) and `T` (n, r) are signs, per token or per prompt, regenerated in the backward pass.
//! The mean pass is the first term alone. Under a context (`context`) h is what that makes of it.
//! Rows of another member see its factors. Shapes: `n` rows, `k` inputs, `m` outputs, `r` rank.

mod context;
mod cpu;
#[cfg(feature = "cuda")]
pub(super) mod cuda;
mod noise;
pub(super) mod reference;

use std::ops::Range;

use crate::adapter::{Adapter, LowRankRef, Parameters, Sigma, Site, TermShape};
use crate::observer::Watch;
use crate::pass::{Pass, Rows};
pub(super) use cpu::Adjoint;
use noise::GroupNoise;

/// One site's term in one pass: who it is and what it needs to redraw its noise.
pub struct Term<'a> {
    /// Where it sits.
    pub site: Site,
    /// Of the adapter.
    parameters: &'a Parameters,
    shape: TermShape,
    scaling: f32,
    /// How σ follows from ρ; `None` for a point estimate.
    sigma: Option<Sigma>,
    /// Identities of the rows of its input.
    rows: &'a Rows,
    /// The pass that it is part of.
    pass: &'a Pass,
}

/// What the backward pass needs beside the input; signs are drawn again.
pub struct Kept {
    h: Vec<f32>, // (n, r)
    /// Under a context: h before it, (n, r).
    z: Option<Vec<f32>>,
    draws: Vec<GroupNoise>,
}

impl Kept {
    /// h, (n, r).
    pub fn h(&self) -> &[f32] {
        &self.h
    }
}

impl<'a> Term<'a> {
    /// The adapter's term at a site, if the site is adapted.
    pub fn at(adapter: &'a Adapter, site: Site, rows: &'a Rows, pass: &'a Pass) -> Option<Self> {
        let parameters = adapter.parameters();
        let shape = *parameters.layout().terms().get(&site)?;
        Some(Self {
            site,
            parameters,
            shape,
            scaling: adapter.scaling(),
            sigma: adapter.sigma(),
            rows,
            pass,
        })
    }

    /// A member's factors, in the host's memory.
    pub(super) fn member(&self, member: usize) -> LowRankRef<'a> {
        let factors = self.parameters.term(member, self.site);
        factors.unwrap_or(LowRankRef {
            shape: self.shape, // the site is adapted, or there were no term
            a: &[],
            b: &[],
            rho: None,
            rho_b: None,
        })
    }

    /// The factors of every member.
    pub(super) fn members(&self) -> impl Iterator<Item = LowRankRef<'a>> {
        (0..self.parameters.members()).map(|member| self.member(member))
    }

    /// s = α / r.
    pub fn scaling(&self) -> f32 {
        self.scaling
    }

    /// r.
    pub fn rank(&self) -> usize {
        self.shape.rank
    }

    /// The factors that a row of the input sees.
    pub fn factors_of(&self, row: usize) -> LowRankRef<'a> {
        self.member(self.rows.group_of(row).member)
    }

    /// Who looks on.
    pub(super) fn watch(&self) -> Option<&Watch> {
        self.pass.watch.as_ref()
    }

    /// The rows of each prompt.
    pub(super) fn segments(&self) -> Vec<Range<usize>> {
        self.pass.segments_of(self.rows.ids.len())
    }

    /// Which member's factors these are.
    pub(super) fn member_of(&self, row: usize) -> usize {
        self.rows.group_of(row).member
    }
}
