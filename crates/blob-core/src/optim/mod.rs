//! Optimizers and schedules.

mod adamw;
mod schedule;

pub use adamw::{AdamW, AdamWConstants, Moments};
pub use schedule::{KlCycle, Schedule};
