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
//! BLoB, arXiv:2406.11675 §3 and appendix; Flipout, arXiv:1803.04386. `D`, `D'` are the input under two
//! independent dropout masks (the input itself without dropout). `E` (r, k) is standard normal, one
//! per posterior sample (with `−E` for the second of an antithetic pair, under the same signs); `S` (n, k) and `T` (n, r) are signs, per token or per prompt, regenerated in
//! the backward pass. The mean pass is the first term alone.
//! Shapes: `n` rows, `k` inputs, `m` outputs, `r` rank.

mod noise;

use crate::adapter::{Adapter, LowRank, Sigma, Site};
use crate::kernels::cpu::gemm::LowRankUpdate;
use crate::kernels::cpu::low_rank::{dots, outer, spread, transposed};
use crate::noise::Purpose;
use crate::pass::{Group, Pass, Rows};
use noise::{Draw, Signs};

/// Gradients of one site's parameters, summed over rows; shapes as in [`LowRank`].
#[derive(Debug, Clone)]
pub struct LowRankGradient {
    /// dL/dA, (r, k).
    pub a: Vec<f32>,
    /// dL/dB, (m, r).
    pub b: Vec<f32>,
    /// dL/dρ, (r, k).
    pub rho: Option<Vec<f32>>,
}

impl LowRankGradient {
    /// Zeros for a term.
    pub fn zeros(term: &LowRank) -> Self {
        Self {
            a: vec![0.0; term.a.len()],
            b: vec![0.0; term.b.len()],
            rho: term.rho.as_ref().map(|rho| vec![0.0; rho.len()]),
        }
    }
}

/// One site's term in one pass: who it is and what it needs to redraw its noise.
pub struct Term<'a> {
    /// Where it sits.
    pub site: Site,
    /// Its factors.
    pub weights: &'a LowRank,
    /// s = α / r.
    pub scaling: f32,
    /// How σ follows from ρ; `None` for a point estimate.
    pub sigma: Option<Sigma>,
    /// Identities of the rows of its input.
    pub rows: &'a Rows,
    /// The pass that it is part of.
    pub pass: &'a Pass,
}

/// What the backward pass needs beside the input; signs are drawn again.
pub struct Kept {
    h: Vec<f32>, // (n, r)
    draws: Vec<Draw>,
}

/// dL/dx of a term as what a product adds: `p·A`, and per group `((p ∘ T)(σ ∘ E)) ∘ S`.
pub struct Adjoint {
    p: Vec<f32>,
    signed: Vec<f32>,
    signs: Signs,
}

impl<'a> Term<'a> {
    /// The adapter's term at a site, if the site is adapted.
    pub fn at(adapter: &'a Adapter, site: Site, rows: &'a Rows, pass: &'a Pass) -> Option<Self> {
        let weights = adapter.term(site)?;
        let (scaling, sigma) = (adapter.scaling(), adapter.sigma());
        Some(Self {
            site,
            weights,
            scaling,
            sigma,
            rows,
            pass,
        })
    }

    /// h: (n, k) → (n, r).
    pub fn down(&self, x: &[f32]) -> Kept {
        let (k, r) = (self.weights.inputs, self.weights.rank);
        let mut h = vec![0.0; x.len() / k * r];
        dots(
            &self.dropped(x, Purpose::MeanDropout),
            &self.weights.a,
            k,
            None,
            &mut h,
        );
        let draws = self.draws();
        if let Some(sharing) = self.sharing().filter(|_| !draws.is_empty()) {
            let input = self.dropped(x, Purpose::NoiseDropout);
            let signs = self.signs(k, Purpose::InputSigns, sharing);
            let mut noise = vec![0.0; h.len()];
            for (group, draw) in self.rows.groups.iter().zip(&draws) {
                dots(
                    of(&input, group, k),
                    &draw.perturbation,
                    k,
                    signs.of(group),
                    of_mut(&mut noise, group, r),
                );
            }
            self.signs(r, Purpose::RankSigns, sharing)
                .apply(&mut noise, r);
            add(&mut h, &noise);
        }
        Kept { h, draws }
    }

    /// Bᵀ, (r, m).
    pub fn b_transposed(&self) -> Vec<f32> {
        transposed(&self.weights.b, self.weights.rank)
    }

    /// s·h·Bᵀ, (n, m), as what a product adds; takes [`Term::b_transposed`].
    pub fn update<'k>(&self, kept: &'k Kept, b: &'k [f32]) -> LowRankUpdate<'k> {
        LowRankUpdate {
            rows: 0..self.rows.ids.len(),
            left: &kept.h,
            right: b,
            factor: self.scaling,
            signs: None,
        }
    }

    /// Adds the parameters' gradients of dL/dy (n, m); what it returns goes into dL/dx.
    pub fn backward(
        &self,
        kept: &Kept,
        (x, dy): (&[f32], &[f32]),
        gradient: &mut LowRankGradient,
    ) -> Adjoint {
        let (m, r) = (self.weights.outputs, self.weights.rank);
        let b = self.b_transposed();
        let mut p = vec![0.0; kept.h.len()];
        dots(dy, &b, m, None, &mut p);
        for p in &mut p {
            *p *= self.scaling;
        }
        let mut db = vec![0.0; b.len()]; // (r, m)
        outer(&kept.h, dy, m, None, &mut db);
        for (sum, db) in gradient.b.iter_mut().zip(transposed(&db, m)) {
            *sum += self.scaling * db;
        }
        debug_assert_eq!(p.len(), self.rows.ids.len() * r);
        self.down_backward(kept, (x, p), gradient)
    }

    /// The adjoint of [`Term::down`], from `p` = dL/dh (n, r).
    pub fn down_backward(
        &self,
        kept: &Kept,
        (x, p): (&[f32], Vec<f32>),
        gradient: &mut LowRankGradient,
    ) -> Adjoint {
        let (k, r) = (self.weights.inputs, self.weights.rank);
        outer(
            &p,
            &self.dropped(x, Purpose::MeanDropout),
            k,
            None,
            &mut gradient.a,
        );
        let mut adjoint = Adjoint {
            p,
            signed: Vec::new(),
            signs: Signs::default(),
        };
        let (Some(sharing), Some(sigma), Some(rho)) =
            (self.sharing(), self.sigma, &self.weights.rho)
        else {
            return adjoint;
        };
        if kept.draws.is_empty() {
            return adjoint;
        }
        adjoint.signed.clone_from(&adjoint.p);
        self.signs(r, Purpose::RankSigns, sharing)
            .apply(&mut adjoint.signed, r);
        adjoint.signs = self.signs(k, Purpose::InputSigns, sharing);
        let input = self.dropped(x, Purpose::NoiseDropout);
        for (group, draw) in self.rows.groups.iter().zip(&kept.draws) {
            let mut q = vec![0.0; r * k];
            outer(
                of(&adjoint.signed, group, r),
                of(&input, group, k),
                k,
                adjoint.signs.of(group),
                &mut q,
            );
            let Some(sum) = gradient.rho.as_mut() else {
                continue;
            };
            for (((sum, q), e), &rho) in sum.iter_mut().zip(&q).zip(&draw.gaussian).zip(rho) {
                *sum += q * e * sigma.slope(rho);
            }
        }
        adjoint
    }

    /// What a product adds to dL/dx without dropout, which acts on each term's sum as a whole.
    pub fn adjoint_updates<'k>(
        &self,
        kept: &'k Kept,
        adjoint: &'k Adjoint,
    ) -> Vec<LowRankUpdate<'k>>
    where
        'a: 'k,
    {
        if self.pass.mode.dropout > 0.0 {
            return Vec::new();
        }
        let mut updates = vec![LowRankUpdate {
            rows: 0..self.rows.ids.len(),
            left: &adjoint.p,
            right: &self.weights.a,
            factor: 1.0,
            signs: None,
        }];
        if !adjoint.signed.is_empty() {
            updates.extend(
                self.rows
                    .groups
                    .iter()
                    .zip(&kept.draws)
                    .map(|(group, draw)| LowRankUpdate {
                        rows: group.rows.clone(),
                        left: &adjoint.signed,
                        right: &draw.perturbation,
                        factor: 1.0,
                        signs: adjoint.signs.rows(),
                    }),
            );
        }
        updates
    }

    /// Adds to dL/dx (n, k) what [`Term::adjoint_updates`] left out: all of it under dropout.
    pub fn add_dropped(&self, kept: &Kept, adjoint: &Adjoint, dx: &mut [f32]) {
        if self.pass.mode.dropout > 0.0 {
            self.add_adjoint(kept, adjoint, dx);
        }
    }

    /// Adds the whole adjoint to dL/dx (n, k), where there is no product to fuse it with.
    pub fn add_adjoint(&self, kept: &Kept, adjoint: &Adjoint, dx: &mut [f32]) {
        let (k, r) = (self.weights.inputs, self.weights.rank);
        let mut mean = vec![0.0; dx.len()];
        spread(&adjoint.p, &self.weights.a, k, 1.0, &mut mean);
        add(dx, &self.dropped(&mean, Purpose::MeanDropout));
        if adjoint.signed.is_empty() {
            return;
        }
        let mut noise = vec![0.0; dx.len()];
        for (group, draw) in self.rows.groups.iter().zip(&kept.draws) {
            spread(
                of(&adjoint.signed, group, r),
                &draw.perturbation,
                k,
                1.0,
                of_mut(&mut noise, group, k),
            );
        }
        adjoint.signs.apply(&mut noise, k);
        add(dx, &self.dropped(&noise, Purpose::NoiseDropout));
    }

    /// h (n, r) of a kept pass.
    pub fn h<'k>(&self, kept: &'k Kept) -> &'k [f32] {
        &kept.h
    }
}

fn of<'a>(values: &'a [f32], group: &Group, width: usize) -> &'a [f32] {
    &values[group.rows.start * width..group.rows.end * width]
}

fn of_mut<'a>(values: &'a mut [f32], group: &Group, width: usize) -> &'a mut [f32] {
    &mut values[group.rows.start * width..group.rows.end * width]
}

fn add(sum: &mut [f32], values: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += value;
    }
}
