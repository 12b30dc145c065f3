//! Noise as a pure function of who asks: never of the place in a batch, the thread or the device.
//!
//! ```text
//! stream  = first two words of Philox( counter = [step low, step high, phase, 0], key = seed )
//! draw    = Philox( counter = [block, position, row, site | sample·2¹⁶], key = stream )
//! site    = slot·16 + purpose   slot = 8·decoder block + module, the head's after the last block
//! phase   = kind + 256·micro-batch     kind: 0 training, 1 evaluation, 2 initialisation
//! ```
//!
//! `step` counts updates from 1 in training and is 0 elsewhere. Matrices over the weights (`E`, the
//! initial values) have position = row = 0 and four elements to a block; signs have 128 to a block,
//! dropout masks eight, and both belong to a token: `row` is the identity of its data row,
//! `position` its place in the prompt. Recomputation, resuming, other batch sizes and other chunks
//! of samples so see the same numbers.

mod normal;

use std::ops::Range;

use crate::kernels::cpu::dropout::RowDraw;
pub use crate::kernels::cpu::philox::philox4x32_10;

/// Which of the engine's uses of randomness asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A training step's micro-batch (0, 1, … under gradient accumulation; below 2²⁴).
    Training {
        /// Index of the micro-batch within its update.
        micro_batch: u32,
    },
    /// Evaluation and prediction.
    Evaluation,
    /// Initial values of an adapter.
    Initialisation,
}

/// Declares what is drawn, each with its number: none more than a counter tells apart.
macro_rules! purposes {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal,)+) => {
        /// What is drawn at a site.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Purpose {
            $($(#[doc = $doc])+ $name = $number,)+
        }

        // Another number would be the noise of another site.
        const _: () = { $(assert!($number < PURPOSES);)+ };
    };
}

purposes! {
    /// The Gaussian matrix `E` of one posterior sample of `A`, (r, k).
    Gaussian = 0,
    /// Flipout signs of a layer's input, one per token and input.
    InputSigns = 1,
    /// Flipout signs in the rank space, one per token and rank.
    RankSigns = 2,
    /// Dropout mask of the mean path.
    MeanDropout = 3,
    /// Dropout mask of the noise path.
    NoiseDropout = 4,
    /// Initial `A`.
    InitialA = 5,
    /// Initial `ρ` of `A`.
    InitialRho = 6,
    /// The Gaussian matrix of a Gaussian `B` of one posterior sample, (m, r).
    GaussianB = 7,
    /// Initial `ρ` of a Gaussian `B`.
    InitialRhoB = 8,
    /// Coefficients of a covariance of low rank, (K), for all layers of a member: slot 0.
    Deviations = 9,
    /// Normals that logits of a prompt are drawn by, one per class: slot 0.
    Logits = 10,
    /// What sums of a factor's curvature are sketched with, (ℓ, d): slot 0.
    Sketch = 11,
    /// Dropout mask of a row of the base's own activations.
    BaseDropout = 12,
    /// The Gaussian matrix of a token under a context, (r, r).
    Context = 13,
    /// Initial parameters of a context's network, one sample for each.
    InitialContext = 14,
}

/// The stream of one (seed, step, phase).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream([u32; 2]);

/// Who asks: an adapted layer, a purpose and a posterior sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoiseKey {
    /// 8·block + module; below 4096.
    pub slot: u32,
    /// What is drawn.
    pub purpose: Purpose,
    /// Index of the posterior sample; below 2¹⁶.
    pub sample: u32,
}

/// Identity of a row of activations for the noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenId {
    /// Identity of its data row or request.
    pub row: u32,
    /// Place in its prompt.
    pub position: u32,
}

impl NoiseKey {
    /// As the counter takes it.
    pub(crate) fn word(self) -> u32 {
        (self.slot * PURPOSES + self.purpose as u32) | (self.sample << 16)
    }
}

/// Purposes that a counter tells apart.
const PURPOSES: u32 = 16;

impl Stream {
    /// The stream of `seed` at `step` (0 outside training).
    pub fn new(seed: u64, step: u64, phase: Phase) -> Self {
        let phase = match phase {
            Phase::Training { micro_batch } => micro_batch << 8,
            Phase::Evaluation => 1,
            Phase::Initialisation => 2,
        };
        let words = philox4x32_10([step as u32, (step >> 32) as u32, phase, 0], split(seed));
        Self([words[0], words[1]])
    }

    /// The key of its draws.
    #[cfg(feature = "cuda")]
    pub(crate) fn key(self) -> [u32; 2] {
        self.0
    }

    /// Four words for a token (or a matrix, with `position = row = 0`).
    #[inline]
    pub fn words(self, block: u32, position: u32, row: u32, key: NoiseKey) -> [u32; 4] {
        philox4x32_10([block, position, row, key.word()], self.0)
    }

    /// Fills `out` with standard normals, in row-major order of the matrix.
    pub fn fill_normal(self, out: &mut [f32], key: NoiseKey) {
        normal::fill(out, |block| self.words(block, 0, 0, key));
    }

    /// Fills `out` with standard normals of a prompt, by the identity of its data row.
    pub fn fill_normal_of_row(self, out: &mut [f32], row: u32, key: NoiseKey) {
        normal::fill(out, |block| self.words(block, 0, row, key));
    }

    /// Fills `out` with standard normals of a token.
    pub fn fill_normal_of_token(self, out: &mut [f32], token: TokenId, key: NoiseKey) {
        let TokenId { row, position } = token;
        normal::fill(out, |block| self.words(block, position, row, key));
    }

    /// Fills `out` with uniforms of an interval, in row-major order of the matrix.
    pub fn fill_uniform(self, out: &mut [f32], interval: Range<f32>, key: NoiseKey) {
        let Range {
            start: low,
            end: high,
        } = interval;
        for (block, four) in out.chunks_mut(4).enumerate() {
            let words = self.words(block as u32, 0, 0, key);
            for (value, word) in four.iter_mut().zip(words) {
                *value = low + (high - low) * unit(word);
            }
        }
    }

    /// Writes a token's signs as sign bits (0 for +1, 2³¹ for −1), to be XORed into its values.
    pub fn fill_sign_bits(self, out: &mut [u32], position: u32, row: u32, key: NoiseKey) {
        let mut words = vec![0; out.len().div_ceil(32)];
        self.fill_sign_words(&mut words, position, row, key);
        for (group, word) in out.chunks_mut(32).zip(words) {
            for (bit, sign) in group.iter_mut().enumerate() {
                *sign = ((word >> bit) & 1) << 31;
            }
        }
    }

    /// Writes a token's signs, 32 to a word: bit j of word w is sign 32·w + j, 1 for −1.
    pub fn fill_sign_words(self, out: &mut [u32], position: u32, row: u32, key: NoiseKey) {
        for (block, out) in out.chunks_mut(4).enumerate() {
            let words = self.words(block as u32, position, row, key);
            out.copy_from_slice(&words[..out.len()]);
        }
    }

    /// Fills `out` with a token's factors under dropout, 0 or 1/(1 − p): what masks of bits are
    /// held against.
    pub fn fill_dropout(self, out: &mut [f32], rate: DropRate, token: TokenId, key: NoiseKey) {
        let TokenId { row, position } = token;
        for (block, eight) in out.chunks_mut(8).enumerate() {
            let words = self.words(block as u32, position, row, key);
            for (at, factor) in eight.iter_mut().enumerate() {
                let half = (words[at / 2] >> (16 * (at % 2))) & 0xffff;
                *factor = if half < rate.0 { 0.0 } else { rate.kept() };
            }
        }
    }

    /// Who draws the mask of a token.
    pub(crate) fn row_draw(self, token: TokenId, key: NoiseKey) -> RowDraw {
        RowDraw {
            counter: [token.position, token.row, key.word()],
            key: self.0,
        }
    }
}

/// How much dropout takes: t of 2¹⁶, so that 128 random bits are for eight elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DropRate(u32);

impl DropRate {
    /// The nearest to a probability; of one that is between 0 and 1 neither none nor all. `None`
    /// for 0.
    #[expect(clippy::cast_sign_loss, reason = "a probability")]
    pub fn of(p: f32) -> Option<Self> {
        let nearest = (p * 65_536.0 + 0.5) as u32;
        (p > 0.0).then_some(Self(nearest.clamp(1, 65_535)))
    }

    /// t
    pub(crate) fn below(self) -> u32 {
        self.0
    }

    /// 1/(1 − t/2¹⁶), by which the expectation stays.
    pub fn kept(self) -> f32 {
        65_536.0 / (65_536 - self.0) as f32
    }
}

/// A uniform of [0, 1) with 24 bits.
#[inline]
fn unit(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

fn split(seed: u64) -> [u32; 2] {
    [seed as u32, (seed >> 32) as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: NoiseKey = NoiseKey {
        slot: 3,
        purpose: Purpose::Gaussian,
        sample: 0,
    };

    #[test]
    fn streams_differ_by_seed_step_phase_and_micro_batch() {
        let base = Stream::new(1, 1, Phase::Training { micro_batch: 0 });
        for other in [
            Stream::new(2, 1, Phase::Training { micro_batch: 0 }),
            Stream::new(1, 2, Phase::Training { micro_batch: 0 }),
            Stream::new(1, 1, Phase::Training { micro_batch: 1 }),
            Stream::new(1, 1, Phase::Evaluation),
            Stream::new(1, 1, Phase::Initialisation),
            Stream::new(1, 1 << 32, Phase::Training { micro_batch: 0 }),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn samples_purposes_and_slots_are_independent_draws() {
        let stream = Stream::new(1, 0, Phase::Evaluation);
        let draw = |key| {
            let mut out = vec![0.0; 4096];
            stream.fill_normal(&mut out, key);
            out
        };
        let base = draw(KEY);
        for other in [
            NoiseKey { sample: 1, ..KEY },
            NoiseKey { slot: 4, ..KEY },
            NoiseKey {
                purpose: Purpose::InitialA,
                ..KEY
            },
        ] {
            let dot: f32 = base.iter().zip(draw(other)).map(|(a, b)| a * b).sum();
            assert!(
                (dot / 4096.0).abs() < 5.0 / 64.0,
                "correlation {}",
                dot / 4096.0
            );
        }
    }

    #[test]
    fn normals_have_the_moments_of_a_standard_normal() {
        let mut out = vec![0.0f32; 1 << 20];
        Stream::new(7, 0, Phase::Evaluation).fill_normal(&mut out, KEY);
        let n = out.len() as f64;
        let moment = |p: i32| out.iter().map(|&x| f64::from(x).powi(p)).sum::<f64>() / n;
        // Five standard errors of each moment's estimate: Var[x^p] = E[x^2p] − E[x^p]².
        for (p, expected, variance) in
            [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)]
        {
            let tolerance = 5.0 * f64::sqrt(variance / n);
            assert!(
                (moment(p) - expected).abs() < tolerance,
                "moment {p}: {}",
                moment(p)
            );
        }
        let beyond_three = out.iter().filter(|x| x.abs() > 3.0).count() as f64 / n;
        assert!((beyond_three - 0.0027).abs() < 0.0003);
    }

    #[test]
    fn signs_are_balanced_and_differ_between_tokens() {
        let stream = Stream::new(1, 1, Phase::Training { micro_batch: 0 });
        let key = NoiseKey {
            purpose: Purpose::InputSigns,
            ..KEY
        };
        let signs = |position, row| {
            let mut out = vec![0u32; 100_000];
            stream.fill_sign_bits(&mut out, position, row, key);
            out
        };
        let (first, next, other) = (signs(0, 0), signs(1, 0), signs(0, 1));
        let negative = first.iter().filter(|&&s| s != 0).count();
        assert!(
            negative.abs_diff(50_000) < 800,
            "{negative} of 100000 negative"
        );
        for second in [next, other] {
            let equal = first.iter().zip(&second).filter(|(a, b)| a == b).count();
            assert!(equal.abs_diff(50_000) < 800, "{equal} of 100000 equal");
        }
    }

    #[test]
    fn dropout_keeps_the_expectation() {
        let mut out = vec![0.0; 100_000];
        let key = NoiseKey {
            purpose: Purpose::MeanDropout,
            ..KEY
        };
        let rate = DropRate::of(0.1).unwrap();
        let stream = Stream::new(1, 1, Phase::Training { micro_batch: 0 });
        let token = TokenId {
            row: 0,
            position: 0,
        };
        stream.fill_dropout(&mut out, rate, token, key);
        let mean = out.iter().sum::<f32>() / 100_000.0;
        assert!((mean - 1.0).abs() < 0.006, "{mean}");
        assert!(
            out.iter()
                .all(|&f| f == 0.0 || (f - 1.0 / 0.9).abs() < 2e-5)
        );
        // No two elements of a block share their draw.
        for (one, other) in [(0, 1), (0, 2), (1, 7), (3, 4)] {
            let both = |block: &[f32]| block[one] == 0.0 && block[other] == 0.0;
            let share = out.chunks_exact(8).filter(|block| both(block)).count();
            assert!(share.abs_diff(125) < 60, "{one} {other}: {share}");
        }
    }

    #[test]
    fn a_probability_is_dropped_to_the_nearest_of_65536_and_never_as_none_or_all() {
        let below = |p: f32| DropRate::of(p).map(DropRate::below);
        assert_eq!(below(0.0), None);
        assert_eq!(below(0.25), Some(16_384));
        assert_eq!(below(0.1), Some(6554));
        assert_eq!(below(1e-9), Some(1));
        assert_eq!(below(0.999_999_9), Some(65_535));
        for p in [1e-9, 0.1, 0.5, 0.999_999_9] {
            let rate = DropRate::of(p).unwrap();
            let mean = f64::from(rate.kept()) * (1.0 - f64::from(rate.below()) / 65_536.0);
            assert!((mean - 1.0).abs() < 1e-7, "{p}: {mean}");
        }
    }
}
