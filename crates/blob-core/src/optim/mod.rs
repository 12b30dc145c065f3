//! Optimizers and schedules.

mod adamw;
mod schedule;

pub use adamw::{AdamW, Moments};
pub use schedule::{KlCycle, Schedule};
