//! Stretches of rotary positions, and the frequencies that they leave.

use serde::{Deserialize, Serialize};

/// How rotary frequencies are stretched for longer contexts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum RopeScaling {
    /// Frequencies as trained.
    None,
    /// Every frequency divided by `factor` (position interpolation, arXiv:2306.15595).
    Linear {
        /// The stretch, ≥ 1.
        factor: f64,
    },
    /// Llama 3.1's rule: long wave lengths divided by `factor`, short ones kept, a linear blend
    /// between.
    Llama3 {
        /// The stretch of the long wave lengths.
        factor: f64,
        /// Wave lengths above `original_context / low_freq_factor` are stretched.
        low_freq_factor: f64,
        /// Wave lengths below `original_context / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// Context length of the original training, in tokens.
        original_context: usize,
    },
    /// One divisor per rotary pair, as GGUF files state Llama 3.1's rule.
    Factors {
        /// `c/2` positive numbers.
        factors: Vec<f32>,
    },
    /// LongRoPE (arXiv:2402.13753) up to the context of the original training: one divisor per
    /// pair, and queries and keys both times `amplitude`.
    LongRope {
        /// `c/2` positive numbers.
        factors: Vec<f32>,
        /// Of every position.
        amplitude: f64,
    },
}

impl RopeScaling {
    /// Whether every number can be divided by, and there are as many factors as pairs of a head.
    pub(super) fn is_sound(&self, head_dim: usize) -> bool {
        let positive = |number: f64| number.is_finite() && number > 0.0;
        let fit = |factors: &Vec<f32>| {
            let are_positive = factors.iter().all(|factor| positive(f64::from(*factor)));
            factors.len() == head_dim / 2 && are_positive
        };
        match self {
            Self::None => true,
            Self::Linear { factor } => positive(*factor),
            Self::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_context,
            } => {
                positive(*factor)
                    && positive(*low_freq_factor)
                    && positive(*high_freq_factor)
                    && low_freq_factor < high_freq_factor
                    && *original_context > 0
            }
            Self::Factors { factors } => fit(factors),
            Self::LongRope { factors, amplitude } => fit(factors) && positive(*amplitude),
        }
    }

    /// What the scores of the attention are multiplied by, because its operands are.
    pub(super) fn scores(&self) -> f64 {
        match self {
            Self::LongRope { amplitude, .. } => amplitude * amplitude,
            Self::None | Self::Linear { .. } | Self::Llama3 { .. } | Self::Factors { .. } => 1.0,
        }
    }

    /// Angular frequency of each rotary pair of a head of width c, `c/2` values: `θ^(−2i/c)`,
    /// stretched.
    pub(super) fn frequencies(&self, theta: f64, head_dim: usize) -> Vec<f64> {
        let pairs = 0..head_dim / 2;
        let plain = pairs.map(|i| theta.powf(-((2 * i) as f64) / head_dim as f64));
        match self {
            Self::None => plain.collect(),
            Self::Factors { factors } | Self::LongRope { factors, .. } => plain
                .zip(factors)
                .map(|(frequency, factor)| frequency / f64::from(*factor))
                .collect(),
            &Self::Linear { factor } => plain.map(|frequency| frequency / factor).collect(),
            &Self::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_context,
            } => plain
                .map(|frequency| {
                    let wave_length = 2.0 * std::f64::consts::PI / frequency;
                    let context = original_context as f64;
                    if wave_length > context / low_freq_factor {
                        frequency / factor
                    } else if wave_length < context / high_freq_factor {
                        frequency
                    } else {
                        let keep = (context / wave_length - low_freq_factor)
                            / (high_freq_factor - low_freq_factor);
                        (1.0 - keep) * frequency / factor + keep * frequency
                    }
                })
                .collect(),
        }
    }
}
