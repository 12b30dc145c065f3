//! The term on the CPU: what its product with the frozen weight adds, and its gradients.

use std::borrow::Cow;
use std::ops::Range;

use super::noise::Signs;
use super::{Kept, Term};
use crate::adapter::Parameters;
use crate::kernels::cpu::gemm::LowRankUpdate;
use crate::kernels::cpu::low_rank::{dots, outer, spread, transposed};
use crate::noise::Purpose;
use crate::ops::dropout::DropoutMask;

/// dL/dx of a term as what a product adds: `drop(p·A)`, and per group `((p ∘ T)(σ ∘ E)) ∘ S`.
pub(in crate::ops) struct Adjoint {
    p: Vec<f32>,
    mask: Option<DropoutMask>,
    signed: Vec<f32>,
    signs: Signs,
}

impl<'a> Term<'a> {
    /// h: (n, k) → (n, r).
    pub fn down(&self, x: &[f32]) -> Kept {
        let (k, r) = (self.shape.inputs, self.shape.rank);
        let mut h = vec![0.0; x.len() / k * r];
        let mask = self.mask(Purpose::MeanDropout);
        for (member, rows) in self.rows.by_member() {
            let marks = mask.as_ref().map(|mask| mask.marks().from(rows.start));
            let a = self.member(member).a;
            dots(of(x, &rows, k), a, k, marks, of_mut(&mut h, &rows, r));
        }
        scale(&mut h, factor_of(mask.as_ref()));
        let draws = self.draws();
        if let Some(sharing) = self.sharing().filter(|_| !draws.is_empty()) {
            let input = self.noisy(x);
            let signs = self.signs(k, Purpose::InputSigns, sharing);
            let mut noise = vec![0.0; h.len()];
            for (group, draw) in self.rows.groups.iter().zip(&draws) {
                dots(
                    of(&input, &group.rows, k),
                    &draw.perturbation,
                    k,
                    signs.of(group),
                    of_mut(&mut noise, &group.rows, r),
                );
            }
            self.signs(r, Purpose::RankSigns, sharing)
                .apply(&mut noise, r);
            add(&mut h, &noise);
        }
        self.under_context(Kept { h, z: None, draws })
    }

    /// Bᵀ of every member, (r, m).
    pub(in crate::ops) fn b_transposed(&self) -> Vec<Vec<f32>> {
        let members = self.members();
        members
            .map(|factors| transposed(factors.b, self.shape.rank))
            .collect()
    }

    /// s·h·Bᵀ, (n, m), as what a product adds; takes [`Term::b_transposed`].
    pub(in crate::ops) fn updates<'k>(
        &self,
        kept: &'k Kept,
        b: &'k [Vec<f32>],
    ) -> Vec<LowRankUpdate<'k>> {
        let members = self.rows.by_member();
        members
            .map(|(member, rows)| LowRankUpdate {
                rows,
                left: &kept.h,
                right: &b[member],
                factor: self.scaling,
                marks: None,
            })
            .collect()
    }

    /// Adds the parameters' gradients of dL/dy (n, m); what it returns goes into dL/dx.
    pub(in crate::ops) fn backward(
        &self,
        kept: &Kept,
        (x, dy): (&[f32], &[f32]),
        gradients: &mut Parameters,
    ) -> Adjoint {
        let (m, r) = (self.shape.outputs, self.shape.rank);
        let mut p = vec![0.0; kept.h.len()];
        for (member, rows) in self.rows.by_member() {
            let b = transposed(self.member(member).b, r);
            let (h, dy) = (of(&kept.h, &rows, r), of(dy, &rows, m));
            dots(dy, &b, m, None, of_mut(&mut p, &rows, r));
            let mut db = vec![0.0; b.len()]; // (r, m)
            outer(h, dy, m, None, &mut db);
            if let Some(gradient) = gradients.term_mut(member, self.site) {
                for (sum, db) in gradient.b.iter_mut().zip(transposed(&db, m)) {
                    *sum += self.scaling * db;
                }
            }
        }
        scale(&mut p, self.scaling);
        debug_assert_eq!(p.len(), self.rows.ids.len() * r);
        self.down_backward(kept, (x, p), gradients)
    }

    /// The adjoint of [`Term::down`], from `p` = dL/dh (n, r).
    pub(in crate::ops) fn down_backward(
        &self,
        kept: &Kept,
        (x, p): (&[f32], Vec<f32>),
        gradients: &mut Parameters,
    ) -> Adjoint {
        let (k, r) = (self.shape.inputs, self.shape.rank);
        let mut p = self.context_backward(kept, p, gradients);
        let is_sampled = !kept.draws.is_empty();
        let signed = if is_sampled { p.clone() } else { Vec::new() };
        let mask = self.mask(Purpose::MeanDropout);
        scale(&mut p, factor_of(mask.as_ref()));
        for (member, rows) in self.rows.by_member() {
            if let Some(gradient) = gradients.term_mut(member, self.site) {
                let marks = mask.as_ref().map(|mask| mask.marks().from(rows.start));
                let (p, x) = (of(&p, &rows, r), of(x, &rows, k));
                outer(p, x, k, marks, gradient.a);
            }
        }
        let mut adjoint = Adjoint {
            p,
            mask,
            signed,
            signs: Signs::default(),
        };
        let (Some(sharing), Some(sigma), true) = (self.sharing(), self.sigma, is_sampled) else {
            return adjoint;
        };
        self.signs(r, Purpose::RankSigns, sharing)
            .apply(&mut adjoint.signed, r);
        adjoint.signs = self.signs(k, Purpose::InputSigns, sharing);
        let input = self.noisy(x);
        for (group, draw) in self.rows.groups.iter().zip(&kept.draws) {
            let gradient = gradients.term_mut(group.member, self.site);
            let (Some(rho), Some(sum)) = (
                self.member(group.member).rho,
                gradient.and_then(|gradient| gradient.rho),
            ) else {
                continue;
            };
            let mut q = vec![0.0; r * k];
            outer(
                of(&adjoint.signed, &group.rows, r),
                of(&input, &group.rows, k),
                k,
                adjoint.signs.of(group),
                &mut q,
            );
            for (((sum, q), e), &rho) in sum.iter_mut().zip(&q).zip(&draw.gaussian).zip(rho) {
                *sum += q * e * sigma.slope(rho);
            }
        }
        adjoint
    }

    /// What a product adds to dL/dx: all but noise under signs and dropout at once.
    pub(in crate::ops) fn adjoint_updates<'k>(
        &self,
        kept: &'k Kept,
        adjoint: &'k Adjoint,
    ) -> Vec<LowRankUpdate<'k>>
    where
        'a: 'k,
    {
        let members = self.rows.by_member();
        let mut updates: Vec<_> = members
            .map(|(member, rows)| LowRankUpdate {
                rows,
                left: &adjoint.p,
                right: self.member(member).a,
                factor: 1.0,
                marks: adjoint.mask.as_ref().map(DropoutMask::marks),
            })
            .collect();
        if !adjoint.signed.is_empty() && adjoint.mask.is_none() {
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
                        marks: adjoint.signs.marks(),
                    }),
            );
        }
        updates
    }

    /// Adds to dL/dx (n, k) what [`Term::adjoint_updates`] left out.
    pub(in crate::ops) fn add_dropped(&self, kept: &Kept, adjoint: &Adjoint, dx: &mut [f32]) {
        if adjoint.mask.is_some() {
            self.add_noise(kept, adjoint, dx);
        }
    }

    /// Adds the whole adjoint to dL/dx (n, k), where there is no product to fuse it with.
    pub(in crate::ops) fn add_adjoint(&self, kept: &Kept, adjoint: &Adjoint, dx: &mut [f32]) {
        let (k, r) = (self.shape.inputs, self.shape.rank);
        let mut mean = vec![0.0; dx.len()];
        for (member, rows) in self.rows.by_member() {
            spread(
                of(&adjoint.p, &rows, r),
                self.member(member).a,
                k,
                1.0,
                of_mut(&mut mean, &rows, k),
            );
        }
        // `p` has the factor of what is kept already.
        if let Some(mask) = &adjoint.mask {
            mask.clear(&mut mean);
        }
        add(dx, &mean);
        self.add_noise(kept, adjoint, dx);
    }

    /// Its noise alone.
    fn add_noise(&self, kept: &Kept, adjoint: &Adjoint, dx: &mut [f32]) {
        let (k, r) = (self.shape.inputs, self.shape.rank);
        if adjoint.signed.is_empty() {
            return;
        }
        let mut noise = vec![0.0; dx.len()];
        for (group, draw) in self.rows.groups.iter().zip(&kept.draws) {
            spread(
                of(&adjoint.signed, &group.rows, r),
                &draw.perturbation,
                k,
                1.0,
                of_mut(&mut noise, &group.rows, k),
            );
        }
        adjoint.signs.apply(&mut noise, k);
        if let Some(mask) = self.mask(Purpose::NoiseDropout) {
            mask.apply(&mut noise);
        }
        add(dx, &noise);
    }

    /// D' of x.
    fn noisy<'x>(&self, x: &'x [f32]) -> Cow<'x, [f32]> {
        match self.mask(Purpose::NoiseDropout) {
            Some(mask) => {
                let mut x = x.to_vec();
                mask.apply(&mut x);
                x.into()
            }
            None => x.into(),
        }
    }
}

fn of<'a>(values: &'a [f32], rows: &Range<usize>, width: usize) -> &'a [f32] {
    &values[rows.start * width..rows.end * width]
}

fn of_mut<'a>(values: &'a mut [f32], rows: &Range<usize>, width: usize) -> &'a mut [f32] {
    &mut values[rows.start * width..rows.end * width]
}

/// What is not 0 in a mask.
fn factor_of(mask: Option<&DropoutMask>) -> f32 {
    mask.map_or(1.0, DropoutMask::kept)
}

fn scale(values: &mut [f32], factor: f32) {
    for value in values {
        *value *= factor;
    }
}

fn add(sum: &mut [f32], values: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += value;
    }
}
