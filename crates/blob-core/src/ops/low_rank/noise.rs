//! What a term draws: `E` of each group, signs and dropout masks; the same again in the backward
//! pass.

use rayon::prelude::*;

use super::Term;
use crate::adapter::{self, Factor};
use crate::kernels::cpu::marks::{BitRows, Effect, Marks};
use crate::noise::{DropRate, NoiseKey, Purpose};
use crate::ops::dropout::DropoutMask;
use crate::pass::{Group, NoiseSharing};

/// Rows whose signs one task draws.
const ROWS_PER_TASK: usize = 64;

/// One group's `E` and `σ ∘ E`, both (r, k).
pub(super) struct GroupNoise {
    pub(super) gaussian: Vec<f32>,
    pub(super) perturbation: Vec<f32>,
}

/// Signs of the rows of a matrix; without any, rows share the draw as it is.
#[derive(Default)]
pub(super) struct Signs {
    words: Option<Vec<u32>>,
    stride: usize,
}

impl Signs {
    pub(super) fn marks(&self) -> Option<Marks<'_>> {
        Some(Marks {
            bits: BitRows {
                words: self.words.as_deref()?,
                stride: self.stride,
            },
            effect: Effect::Flip,
        })
    }

    /// The signs of a group's rows.
    pub(super) fn of(&self, group: &Group) -> Option<Marks<'_>> {
        Some(self.marks()?.from(group.rows.start))
    }

    /// `values` (n, width) under the signs.
    pub(super) fn apply(&self, values: &mut [f32], width: usize) {
        if let Some(Marks { bits, .. }) = self.marks() {
            for (row, values) in values.chunks_exact_mut(width).enumerate() {
                for (column, value) in values.iter_mut().enumerate() {
                    if bits.is_set(row, column) {
                        *value = -*value;
                    }
                }
            }
        }
    }
}

impl Term<'_> {
    pub(super) fn sharing(&self) -> Option<NoiseSharing> {
        self.pass.sampling_at(self.site.block)
    }

    /// p of the dropout of the input.
    pub(super) fn dropout(&self) -> f32 {
        self.pass.dropout_at(self.site.block)
    }

    pub(super) fn key(&self, purpose: Purpose, sample: u32) -> NoiseKey {
        NoiseKey {
            slot: self.site.slot(),
            purpose,
            sample,
        }
    }

    /// Each group's draw; none for the mean, for a point estimate or under a context.
    pub(super) fn draws(&self) -> Vec<GroupNoise> {
        let (Some(_), Some(sigma)) = (self.sharing(), self.sigma) else {
            return Vec::new();
        };
        if self
            .parameters
            .layout()
            .range(self.site, Factor::Rho)
            .is_none()
        {
            return Vec::new();
        }
        let groups = self.rows.groups.iter();
        groups
            .map(|group| {
                let rho = self.member(group.member).rho.unwrap_or_default();
                let gaussian = self.gaussian(group);
                let perturbation = gaussian
                    .iter()
                    .zip(rho)
                    .map(|(e, &rho)| e * sigma.of(rho))
                    .collect();
                GroupNoise {
                    gaussian,
                    perturbation,
                }
            })
            .collect()
    }

    /// `E` of a group, (r, k).
    pub(super) fn gaussian(&self, group: &Group) -> Vec<f32> {
        let (sample, sign) = self.pass.mode.draw_of(group.sample);
        let draw = adapter::Draw {
            member: group.member,
            stream: group.stream,
            sample,
            sign,
        };
        draw.gaussian(self.site, Factor::A, self.shape.rank * self.shape.inputs)
    }

    /// The signs of a group's rows as factors, one by one: what [`Self::signs`] is held against.
    pub(super) fn sign_factors(
        &self,
        group: &Group,
        width: usize,
        purpose: Purpose,
        sharing: NoiseSharing,
    ) -> Vec<f32> {
        let mut factors = Vec::new();
        for id in &self.rows.ids[group.rows.clone()] {
            let position = match sharing {
                NoiseSharing::Token => id.position,
                NoiseSharing::Example => 0,
                NoiseSharing::Shared => {
                    factors.extend(std::iter::repeat_n(1.0, width));
                    continue;
                }
            };
            let key = self.key(purpose, self.pass.mode.draw_of(group.sample).0);
            let mut bits = vec![0; width];
            let (stream, row) = (group.stream, id.row);
            stream.fill_sign_bits(&mut bits, position, row, key);
            factors.extend(bits.iter().map(|bits| if *bits == 0 { 1.0 } else { -1.0 }));
        }
        factors
    }

    /// The dropout of a group's inputs as factors, one by one: what [`Self::mask`] is held against.
    pub(super) fn dropout_mask(&self, group: &Group, purpose: Purpose) -> Option<Vec<f32>> {
        let (rate, width) = (DropRate::of(self.dropout())?, self.shape.inputs);
        let mut mask = vec![0.0; group.rows.len() * width];
        let rows = mask.chunks_exact_mut(width);
        for (id, factors) in self.rows.ids[group.rows.clone()].iter().zip(rows) {
            let key = self.key(purpose, group.sample);
            group.stream.fill_dropout(factors, rate, *id, key);
        }
        Some(mask)
    }

    /// The signs of all rows in a space of `width`.
    pub(super) fn signs(&self, width: usize, purpose: Purpose, sharing: NoiseSharing) -> Signs {
        let stride = width.div_ceil(32);
        if sharing == NoiseSharing::Shared {
            return Signs {
                words: None,
                stride,
            };
        }
        let mut words = vec![0; self.rows.ids.len() * stride];
        words
            .par_chunks_mut(stride)
            .with_min_len(ROWS_PER_TASK)
            .enumerate()
            .for_each(|(row, words)| {
                let id = self.rows.ids[row];
                let position = if sharing == NoiseSharing::Token {
                    id.position
                } else {
                    0
                };
                let group = self.rows.group_of(row);
                let key = self.key(purpose, self.pass.mode.draw_of(group.sample).0);
                group.stream.fill_sign_words(words, position, id.row, key);
            });
        Signs {
            words: Some(words),
            stride,
        }
    }

    /// The dropout of the inputs, if there is any. The members of a mirrored pair of `E` have masks
    /// of their own.
    pub(super) fn mask(&self, purpose: Purpose) -> Option<DropoutMask> {
        let (rate, rows) = (
            DropRate::of(self.dropout())?,
            (self.rows, self.shape.inputs),
        );
        let key = |group: &Group| self.key(purpose, group.sample);
        Some(DropoutMask::drawn(rows, rate, key))
    }
}
