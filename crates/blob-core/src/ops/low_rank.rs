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
//! per posterior sample; `S` (n, k) and `T` (n, r) are signs, per token or per prompt, regenerated in
//! the backward pass. The mean pass is the first term alone.
//! Shapes: `n` rows, `k` inputs, `m` outputs, `r` rank.

use crate::adapter::{Adapter, LowRank, Sigma, Site};
use crate::kernels::cpu::low_rank::{dots, flip_rows, outer, scale_rows, spread, transposed};
use crate::noise::{Asker, Purpose};
use crate::pass::{Group, NoiseSharing, Pass, Rows};

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

/// What the backward pass needs beside the input.
pub struct Kept {
    h: Vec<f32>, // (n, r)
    draws: Vec<Draw>,
}

/// One group's `E` and `σ ∘ E`, both (r, k).
struct Draw {
    gaussian: Vec<f32>,
    perturbation: Vec<f32>,
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
            &mut h,
        );
        let draws = self.draws();
        if let Some(sharing) = self.sharing().filter(|_| !draws.is_empty()) {
            let input = self.flipped(
                &self.dropped(x, Purpose::NoiseDropout),
                k,
                Purpose::InputSigns,
                sharing,
            );
            let mut noise = vec![0.0; h.len()];
            for (group, draw) in self.rows.groups.iter().zip(&draws) {
                dots(
                    of(&input, group, k),
                    &draw.perturbation,
                    k,
                    of_mut(&mut noise, group, r),
                );
            }
            for (h, noise) in h
                .iter_mut()
                .zip(self.flipped(&noise, r, Purpose::RankSigns, sharing).iter())
            {
                *h += noise;
            }
        }
        Kept { h, draws }
    }

    /// y += s·h·Bᵀ: (n, m).
    pub fn up_into(&self, kept: &Kept, y: &mut [f32]) {
        let b = transposed(&self.weights.b, self.weights.rank);
        spread(&kept.h, &b, self.weights.outputs, self.scaling, y);
    }

    /// The whole adjoint: adds to `gradient` and, when wanted, to `dx` (n, k).
    pub fn backward(
        &self,
        kept: &Kept,
        (x, dy): (&[f32], &[f32]),
        gradient: &mut LowRankGradient,
        dx: Option<&mut [f32]>,
    ) {
        let (m, r) = (self.weights.outputs, self.weights.rank);
        let b = transposed(&self.weights.b, r);
        let mut p = vec![0.0; kept.h.len()];
        dots(dy, &b, m, &mut p);
        for p in &mut p {
            *p *= self.scaling;
        }
        let mut db = vec![0.0; b.len()]; // (r, m)
        outer(&kept.h, dy, m, &mut db);
        for (sum, db) in gradient.b.iter_mut().zip(transposed(&db, m)) {
            *sum += self.scaling * db;
        }
        self.down_backward(kept, (x, &p), gradient, dx);
    }

    /// The adjoint of [`Term::down`], from `p` = dL/dh (n, r).
    pub fn down_backward(
        &self,
        kept: &Kept,
        (x, p): (&[f32], &[f32]),
        gradient: &mut LowRankGradient,
        mut dx: Option<&mut [f32]>,
    ) {
        let (k, r) = (self.weights.inputs, self.weights.rank);
        outer(
            p,
            &self.dropped(x, Purpose::MeanDropout),
            k,
            &mut gradient.a,
        );
        if let Some(dx) = dx.as_deref_mut() {
            let mut mean = vec![0.0; x.len()];
            spread(p, &self.weights.a, k, 1.0, &mut mean);
            add(dx, &self.dropped(&mean, Purpose::MeanDropout));
        }
        let (Some(sharing), Some(sigma), Some(rho)) =
            (self.sharing(), self.sigma, &self.weights.rho)
        else {
            return;
        };
        if kept.draws.is_empty() {
            return;
        }
        let signed = self.flipped(p, r, Purpose::RankSigns, sharing); // (n, r)
        let input = self.flipped(
            &self.dropped(x, Purpose::NoiseDropout),
            k,
            Purpose::InputSigns,
            sharing,
        );
        for (group, draw) in self.rows.groups.iter().zip(&kept.draws) {
            let mut q = vec![0.0; r * k];
            outer(of(&signed, group, r), of(&input, group, k), k, &mut q);
            let Some(sum) = gradient.rho.as_mut() else {
                continue;
            };
            for (((sum, q), e), &rho) in sum.iter_mut().zip(&q).zip(&draw.gaussian).zip(rho) {
                *sum += q * e * sigma.slope(rho);
            }
        }
        if let Some(dx) = dx {
            let mut noise = vec![0.0; x.len()];
            for (group, draw) in self.rows.groups.iter().zip(&kept.draws) {
                spread(
                    of(&signed, group, r),
                    &draw.perturbation,
                    k,
                    1.0,
                    of_mut(&mut noise, group, k),
                );
            }
            let noise = self.flipped(&noise, k, Purpose::InputSigns, sharing);
            add(dx, &self.dropped(&noise, Purpose::NoiseDropout));
        }
    }

    /// h (n, r) of a kept pass.
    pub fn h<'k>(&self, kept: &'k Kept) -> &'k [f32] {
        &kept.h
    }

    fn sharing(&self) -> Option<NoiseSharing> {
        self.pass.sampling_at(self.site.block)
    }

    fn asker(&self, purpose: Purpose, sample: u32) -> Asker {
        Asker {
            slot: self.site.slot(),
            purpose,
            sample,
        }
    }

    /// Each group's draw; none for the mean or for a point estimate.
    fn draws(&self) -> Vec<Draw> {
        let (Some(_), Some(sigma), Some(rho)) = (self.sharing(), self.sigma, &self.weights.rho)
        else {
            return Vec::new();
        };
        self.rows
            .groups
            .iter()
            .map(|group| {
                let mut gaussian = vec![0.0; rho.len()];
                group
                    .stream
                    .fill_normal(&mut gaussian, self.asker(Purpose::Gaussian, group.sample));
                let perturbation = gaussian
                    .iter()
                    .zip(rho)
                    .map(|(e, &rho)| e * sigma.of(rho))
                    .collect();
                Draw {
                    gaussian,
                    perturbation,
                }
            })
            .collect()
    }

    /// Which group a row belongs to.
    fn group(&self, row: usize) -> &Group {
        let groups = &self.rows.groups;
        let index = groups.partition_point(|group| group.rows.end <= row);
        &groups[index.min(groups.len() - 1)]
    }

    fn flipped(
        &self,
        x: &[f32],
        width: usize,
        purpose: Purpose,
        sharing: NoiseSharing,
    ) -> Vec<f32> {
        if sharing == NoiseSharing::Shared {
            return x.to_vec();
        }
        flip_rows(x, width, |row, bits| {
            let id = self.rows.ids[row];
            let position = if sharing == NoiseSharing::Token {
                id.position
            } else {
                0
            };
            let group = self.group(row);
            group
                .stream
                .fill_sign_bits(bits, position, id.row, self.asker(purpose, group.sample));
        })
    }

    fn dropped<'x>(&self, x: &'x [f32], purpose: Purpose) -> std::borrow::Cow<'x, [f32]> {
        let p = self.pass.mode.dropout;
        if p == 0.0 {
            return x.into();
        }
        let scaled = scale_rows(x, self.weights.inputs, |row, factors| {
            let id = self.rows.ids[row];
            let group = self.group(row);
            let asker = self.asker(purpose, group.sample);
            group
                .stream
                .fill_dropout(factors, p, (id.position, id.row), asker);
        });
        scaled.into()
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
