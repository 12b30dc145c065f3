//! Optimizers and schedules.

mod adamw;
mod decay;
mod schedule;

pub use adamw::{AdamW, AdamWConstants, Moments, Rates, ScaledGradient};
pub use decay::Decay;
pub use schedule::{KlCycle, Schedule};
