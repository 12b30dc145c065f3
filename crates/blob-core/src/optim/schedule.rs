//! How learning rates and the KL weight move over a run.
//!
//! ```text
//! λ(k) = min(1, (k + k₀) / max(1, W))  for k < W,   max(0, (T − k) / max(1, T − W))  after
//! k = (t − 1)·stride
//! π_t  = 2^i / (2^{M+1} − 1),  i = ((t − 1) mod M) + 1     (pulse)     or     1 / M     (uniform)
//! ```
//!
//! `t` counts updates from 1. The pulse is computed as 2^{i−M−1} / (1 − 2^{−M−1}): a direct power
//! overflows for M ≥ 1023. It sums to 2·(2^M − 1)/(2^{M+1} − 1) ≈ 1 over a cycle, half of it in the
//! last update.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Linear warm-up and decay of all learning rates.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Schedule {
    /// T, in ticks.
    pub total: u64,
    /// W, in ticks; may be fractional.
    pub warmup: f64,
    /// k₀: where in the warm-up the first update stands, in ticks. At 0 its rate is 0.
    pub warmup_start: u64,
    /// Ticks per update (the reference's number of processes).
    pub stride: u64,
}

impl Schedule {
    /// λ of update `t` (from 1), in [0, 1].
    pub fn factor(&self, t: u64) -> f64 {
        let k = (t.saturating_sub(1) * self.stride) as f64;
        if k < self.warmup {
            return ((k + self.warmup_start as f64) / self.warmup.max(1.0)).min(1.0);
        }
        let total = self.total as f64;
        ((total - k) / (total - self.warmup).max(1.0)).max(0.0)
    }

    /// Checks every rule that the engine relies on.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`.
    pub fn check(&self) -> Result<()> {
        if self.stride == 0 {
            return Err(Error::InvalidConfig {
                field: "stride",
                rule: "must be positive",
                value: "0".into(),
            });
        }
        if !(self.warmup.is_finite() && self.warmup >= 0.0) {
            let value = self.warmup.to_string();
            return Err(Error::InvalidConfig {
                field: "warmup",
                rule: "must be at least 0",
                value,
            });
        }
        Ok(())
    }
}

/// How the KL is dealt out over the updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum KlCycle {
    /// The reference's re-weighting: a pulse at the end of every `length` updates.
    Pulse {
        /// M.
        length: u64,
    },
    /// 1/M in every update.
    Uniform {
        /// M.
        length: u64,
    },
}

impl KlCycle {
    /// π of update `t` (from 1).
    pub fn weight(&self, t: u64) -> f64 {
        match *self {
            Self::Uniform { length } => 1.0 / length as f64,
            Self::Pulse { length } => {
                let i = (t.saturating_sub(1) % length + 1) as f64;
                let m = length as f64;
                (i - m - 1.0).exp2() / (1.0 - (-m - 1.0).exp2())
            }
        }
    }

    /// M.
    pub fn length(&self) -> u64 {
        match *self {
            Self::Pulse { length } | Self::Uniform { length } => length,
        }
    }

    /// Checks that M ≥ 1.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`.
    pub fn check(&self) -> Result<()> {
        if self.length() == 0 {
            return Err(Error::InvalidConfig {
                field: "kl_cycle",
                rule: "must be at least 1",
                value: "0".into(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warms_up_from_zero_and_decays_to_zero() {
        let schedule = Schedule {
            total: 10,
            warmup: 4.0,
            warmup_start: 0,
            stride: 1,
        };
        let factors: Vec<f64> = (1..=12).map(|t| schedule.factor(t)).collect();
        let expected = [
            0.0,
            0.25,
            0.5,
            0.75,
            1.0,
            5.0 / 6.0,
            4.0 / 6.0,
            3.0 / 6.0,
            2.0 / 6.0,
            1.0 / 6.0,
            0.0,
            0.0,
        ];
        for (factor, expected) in factors.iter().zip(expected) {
            assert!((factor - expected).abs() < 1e-12, "{factors:?}");
        }
    }

    #[test]
    fn a_warm_up_may_begin_above_zero() {
        let schedule = |total, warmup| Schedule {
            total,
            warmup,
            warmup_start: 1,
            stride: 1,
        };
        let first: Vec<f64> = (1..=5).map(|t| schedule(10, 2.5).factor(t)).collect();
        let expected = [0.4, 0.8, 1.0, 7.0 / 7.5, 6.0 / 7.5];
        for (factor, expected) in first.iter().zip(expected) {
            assert!((factor - expected).abs() < 1e-12, "{first:?}");
        }
        assert!((schedule(1, 0.06).factor(1) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn nothing_is_left_after_a_warm_up_that_outlasts_the_run() {
        let schedule = Schedule {
            total: 2,
            warmup: 4.0,
            warmup_start: 0,
            stride: 1,
        };
        let factors: Vec<f64> = (1..=6).map(|t| schedule.factor(t)).collect();
        assert_eq!(factors, [0.0, 0.25, 0.5, 0.75, 0.0, 0.0]);
    }

    #[test]
    fn two_processes_tick_twice_per_update() {
        let schedule = Schedule {
            total: 10,
            warmup: 0.0,
            warmup_start: 0,
            stride: 2,
        };
        assert!((schedule.factor(3) - 0.6).abs() < 1e-12);
    }

    #[test]
    fn a_pulse_doubles_within_its_cycle_and_starts_over() {
        let cycle = KlCycle::Pulse { length: 3 };
        let weights: Vec<f64> = (1..=4).map(|t| cycle.weight(t)).collect();
        for (weight, expected) in
            weights
                .iter()
                .zip([2.0 / 15.0, 4.0 / 15.0, 8.0 / 15.0, 2.0 / 15.0])
        {
            assert!((weight - expected).abs() < 1e-15, "{weights:?}");
        }
    }

    #[test]
    fn a_uniform_cycle_weighs_every_update_alike() {
        let cycle = KlCycle::Uniform { length: 3 };
        for t in 1..=7 {
            assert_eq!(cycle.weight(t), 1.0 / 3.0);
        }
        assert!(KlCycle::Uniform { length: 0 }.check().is_err());
    }

    #[test]
    fn long_cycles_neither_overflow_nor_lose_their_sum() {
        let cycle = KlCycle::Pulse { length: 2356 };
        let sum: f64 = (1..=2356).map(|t| cycle.weight(t)).sum();
        assert!((sum - 1.0).abs() < 1e-12 && (cycle.weight(2356) - 0.5).abs() < 1e-12);
    }
}
