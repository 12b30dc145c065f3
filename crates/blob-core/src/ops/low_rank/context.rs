//! The matrix between A and B that a network makes of each row (C-LoRA, arXiv:2505.17773 §3).
//!
//! ```text
//! u (n, H) = max(0, z·W₁ᵀ + b₁)      (μ, ρ) (n, r² + r²) = u·W₂ᵀ + b₂      σ = (1 + e^−ρ)⁻²
//! h_t = E_t z_t          E_t (r, r) = μ_t + σ_t ∘ ε_t          ε_t ~ N(0, I), or 0 at the mean
//!
//! dE_t = dh_t z_tᵀ       dμ = dE + w·∂KL/∂μ       dρ = (dE ∘ ε + w·∂KL/∂σ) ∘ dσ/dρ
//! dz_t = E_tᵀ dh_t + what the network gives back of dμ and dρ
//! ```
//!
//! z = D·Aᵀ (n, r) is what a plain term has as h. KL is that of N(μ, σ²) to the prior, summed over
//! the r² entries and all rows, w its weight beside the loss. ε is drawn for each token, or shared
//! as `NoiseSharing` says, and drawn again in the backward pass. The signs of the published code
//! change nothing of a Gaussian that every token draws by itself.

mod network;
pub(super) mod reference;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::{Kept, Term};
use crate::adapter::{Gaussian, Parameters};
use crate::noise::{Purpose, TokenId};
use crate::pass::{Group, NoiseSharing};
use network::{Network, add_rows};

impl<'a> Term<'a> {
    /// A member's network, under a context.
    fn network(&self, member: usize) -> Option<Network<'a>> {
        let mut weights = [&[][..]; 4];
        for (weights, &factor) in weights.iter_mut().zip(Gaussian::Context.factors()) {
            *weights = self.parameters.factor(member, self.site, factor)?;
        }
        let rank = self.shape.rank;
        Some(Network { rank, weights })
    }

    /// ε of a group's rows, (n, r²); `None` at the mean.
    pub(super) fn context_noise(&self, group: &Group) -> Option<Vec<f32>> {
        let entries = self.shape.rank * self.shape.rank;
        let mut noise = vec![0.0; group.rows.len() * entries];
        let mut of_rows = group.rows.clone().zip(noise.chunks_exact_mut(entries));
        let is_sampled = of_rows.all(|(row, noise)| self.noise_of(row, noise));
        is_sampled.then_some(noise)
    }

    /// ε of a row of the input; false at the mean.
    fn noise_of(&self, row: usize, out: &mut [f32]) -> bool {
        let Some(sharing) = self.sharing() else {
            return false;
        };
        let (id, group) = (self.rows.ids[row], self.rows.group_of(row));
        let (sample, sign) = self.pass.mode.draw_of(group.sample);
        let token = match sharing {
            NoiseSharing::Token => id,
            NoiseSharing::Example => TokenId { position: 0, ..id },
            NoiseSharing::Shared => TokenId {
                row: 0,
                position: 0,
            },
        };
        let key = self.key(Purpose::Context, sample);
        group.stream.fill_normal_of_token(out, token, key);
        for e in out {
            *e *= sign;
        }
        true
    }

    /// A term's h under a context; as it is without one.
    pub(super) fn under_context(&self, kept: Kept) -> Kept {
        let r = self.shape.rank;
        let mut h = Vec::with_capacity(kept.h.len());
        for (member, rows) in self.rows.by_member() {
            let Some(network) = self.network(member) else {
                return kept;
            };
            let noise = |row, out: &mut [f32]| self.noise_of(rows.start + row, out);
            h.extend(network.forward(part(&kept.h, &rows, r), &noise));
        }
        let Kept { h: z, draws, .. } = kept;
        let z = Some(z);
        Kept { h, z, draws }
    }

    /// dL/dz of dL/dh under a context, with the gradients of its network added; dL/dh without one.
    pub(super) fn context_backward(
        &self,
        kept: &Kept,
        p: Vec<f32>,
        gradients: &mut Parameters,
    ) -> Vec<f32> {
        let Some(z) = &kept.z else {
            return p;
        };
        let (r, layout) = (self.shape.rank, gradients.layout().clone());
        let mut dz = Vec::with_capacity(p.len());
        for (member, rows) in self.rows.by_member() {
            let Some(network) = self.network(member) else {
                return p;
            };
            let noise = |row, out: &mut [f32]| self.noise_of(rows.start + row, out);
            let ends = (part(z, &rows, r), part(&p, &rows, r));
            let (of_rows, sums) = network.backward(ends, &noise, self.pass.mode.context_kl);
            for (&factor, values) in Gaussian::Context.factors().iter().zip(sums) {
                if let Some(range) = layout.range(self.site, factor) {
                    add_rows(&values, &mut gradients.member_mut(member)[range]);
                }
            }
            dz.extend(of_rows);
        }
        dz
    }
}

fn part<'v>(values: &'v [f32], rows: &Range<usize>, width: usize) -> &'v [f32] {
    &values[rows.start * width..rows.end * width]
}
