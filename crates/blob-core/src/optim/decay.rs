//! Decoupled weight decay (arXiv:1711.05101) that acts in f32 however small it is.
//!
//! ```text
//! w ← w·Π_{s = t−n+1..t} (1 − η_s·λ)   in every n-th update t    n = ⌈2⁻²⁰/(η·λ)⌉, η the peak rate
//! ```
//!
//! As published n is 1, and so it is here from ηλ = 2⁻²⁰ ≈ 1e-6 on. Below that 1 − ηλ is 1 in
//! f32, or a few roundings from it, and w·(1 − ηλ) is w: PyTorch's AdamW, which multiplies in
//! the weights' type, so loses all of 1e-4·1e-5. At the peak rate the factors of n updates
//! together are eight roundings or more away from 1, where the schedule ends two or three. What
//! the last updates of a run have together stays out where n does not divide their number. All
//! of it is a function of t, so there is no state.

/// λ, and how often it acts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decay {
    weight_decay: f64,
    /// n
    every: u64,
}

/// Least decay that acts at once.
const LEAST: f64 = 1.0 / 1_048_576.0;

impl Decay {
    /// λ under a peak rate.
    #[expect(clippy::cast_sign_loss, reason = "rates and decays are not negative")]
    pub fn new(weight_decay: f64, lr: f64) -> Self {
        // A cast saturates: where n is beyond every run, nothing ever acts.
        let every = (LEAST / (lr * weight_decay)).ceil() as u64;
        Self {
            weight_decay,
            every: every.max(1),
        }
    }

    /// What update `t` (from 1) keeps of a weight, by the rate of each update.
    pub fn keep(&self, t: u64, rate: impl Fn(u64) -> f64) -> f64 {
        if self.weight_decay == 0.0 || !t.is_multiple_of(self.every) {
            return 1.0;
        }
        let kept = |s: u64| 1.0 - rate(s) * self.weight_decay;
        (t - self.every + 1..=t).map(kept).product()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decay_that_f32_can_hold_acts_in_every_update_as_published() {
        let decay = Decay::new(0.01, 1e-4);
        for (t, rate) in [(1, 1e-4), (2, 3e-5), (3, 0.0)] {
            assert_eq!(decay.keep(t, |_| rate), 1.0 - rate * 0.01);
        }
        assert_eq!(Decay::new(0.0, 1e-4).keep(7, |_| 1e-4), 1.0);
        assert_eq!(Decay::new(0.1, 0.0).keep(7, |_| 0.0), 1.0);
    }

    #[test]
    fn a_smaller_one_waits_until_it_can_be_held_and_loses_nothing() {
        let decay = Decay::new(1e-5, 1e-4);
        let rate = |t: u64| 1e-4 * (1.0 - t as f64 / 20_000.0);
        let kept: Vec<f64> = (1..=9540).map(|t| decay.keep(t, rate)).collect();
        let acting: Vec<usize> = (0..kept.len()).filter(|&at| kept[at] < 1.0).collect();
        assert_eq!(
            acting,
            [954, 1908, 2862, 3816, 4770, 5724, 6678, 7632, 8586, 9540].map(|t| t - 1)
        );
        assert!(acting.iter().all(|&at| (kept[at] as f32) < 1.0));
        let all: f64 = (1..=9540).map(|t| 1.0 - rate(t) * 1e-5).product();
        assert!((kept.iter().product::<f64>() - all).abs() < 1e-12);
    }
}
