//! AdamW: Adam with decoupled weight decay (arXiv:1711.05101, algorithm 2), as PyTorch computes it
//! but for decay that f32 would lose (`decay`).
//!
//! ```text
//! w ← w·keep           m ← β₁m + (1 − β₁)g      v ← β₂v + (1 − β₂)g²
//! w ← w − η/(1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε)
//! ```

/// The constants of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// β₁.
    pub beta1: f64,
    /// β₂.
    pub beta2: f64,
    /// ε, added to the corrected root.
    pub epsilon: f64,
}

/// What one update goes by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// η.
    pub lr: f64,
    /// What decay keeps of a weight.
    pub keep: f64,
}

/// The gradient of a run of values: `scale·values`.
#[derive(Debug, Clone, Copy)]
pub struct ScaledGradient<'a> {
    /// As many as there are weights.
    pub values: &'a [f32],
    /// What clipping leaves of them.
    pub scale: f32,
}

/// Running moments of a run of values.
#[derive(Debug)]
pub struct Moments<'a> {
    /// Mean of the gradient.
    pub first: &'a mut [f32],
    /// Mean of the squared gradient.
    pub second: &'a mut [f32],
}

/// What the equations need of one update, in the order in which kernels read it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWConstants {
    /// η/(1 − β₁ᵗ)
    pub step: f32,
    /// √(1 − β₂ᵗ)
    pub root: f32,
    /// What decay keeps of a weight.
    pub keep: f32,
    /// β₁
    pub beta1: f32,
    /// β₂
    pub beta2: f32,
    /// 1 − β₁
    pub rest1: f32,
    /// 1 − β₂
    pub rest2: f32,
    /// ε
    pub epsilon: f32,
}

impl AdamWConstants {
    /// All of them, in order.
    #[cfg(feature = "cuda")]
    pub(crate) fn numbers(self) -> [f32; 8] {
        [
            self.step,
            self.root,
            self.keep,
            self.beta1,
            self.beta2,
            self.rest1,
            self.rest2,
            self.epsilon,
        ]
    }
}

impl AdamW {
    /// The constants of update `t` (from 1).
    pub fn constants(&self, Rates { lr, keep }: Rates, t: u64) -> AdamWConstants {
        let t = t.min(i32::MAX as u64) as i32;
        AdamWConstants {
            step: (lr / (1.0 - self.beta1.powi(t))) as f32,
            root: (1.0 - self.beta2.powi(t)).sqrt() as f32,
            keep: keep as f32,
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            rest1: (1.0 - self.beta1) as f32,
            rest2: (1.0 - self.beta2) as f32,
            epsilon: self.epsilon as f32,
        }
    }

    /// An update of a run of values.
    pub fn update(
        weights: &mut [f32],
        gradient: ScaledGradient<'_>,
        moments: Moments<'_>,
        constants: AdamWConstants,
    ) {
        let AdamWConstants {
            step,
            root,
            keep,
            beta1,
            beta2,
            rest1,
            rest2,
            epsilon,
        } = constants;
        let ScaledGradient { values, scale } = gradient;
        let moments = moments.first.iter_mut().zip(moments.second);
        for ((w, g), (m, v)) in weights.iter_mut().zip(values).zip(moments) {
            let g = scale * g;
            *m = beta1 * *m + rest1 * g;
            *v = beta2 * *v + rest2 * g * g;
            *w = *w * keep - step * *m / (v.sqrt() / root + epsilon);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADAMW: AdamW = AdamW {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-6,
    };

    fn gradient(values: &[f32]) -> ScaledGradient<'_> {
        ScaledGradient { values, scale: 1.0 }
    }

    #[test]
    fn the_first_update_is_the_learning_rate_against_the_gradients_sign() {
        let mut weights = [1.0, 1.0];
        AdamW::update(
            &mut weights,
            gradient(&[0.5, -3.0]),
            Moments {
                first: &mut [0.0; 2],
                second: &mut [0.0; 2],
            },
            ADAMW.constants(
                Rates {
                    lr: 0.01,
                    keep: 1.0,
                },
                1,
            ),
        );
        assert!(
            (weights[0] - 0.99).abs() < 1e-6 && (weights[1] - 1.01).abs() < 1e-6,
            "{weights:?}"
        );
    }

    #[test]
    fn decay_is_decoupled_from_the_gradient() {
        let mut weights = [2.0];
        let moments = Moments {
            first: &mut [0.0],
            second: &mut [0.0],
        };
        let constants = ADAMW.constants(
            Rates {
                lr: 0.5,
                keep: 0.95,
            },
            1,
        );
        AdamW::update(&mut weights, gradient(&[0.0]), moments, constants);
        assert!(
            (weights[0] - 2.0 * (1.0 - 0.05)).abs() < 1e-6,
            "{weights:?}"
        );
    }

    #[test]
    fn a_zero_learning_rate_moves_only_the_moments() {
        let (mut weights, mut first, mut second) = ([1.0], [0.0], [0.0]);
        let moments = Moments {
            first: &mut first,
            second: &mut second,
        };
        let constants = ADAMW.constants(Rates { lr: 0.0, keep: 1.0 }, 1);
        AdamW::update(&mut weights, gradient(&[2.0]), moments, constants);
        assert_eq!(weights, [1.0]);
        assert!((first[0] - 0.2).abs() < 1e-6 && (second[0] - 0.004).abs() < 1e-6);
    }
}
