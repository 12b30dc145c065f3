//! Training runs: where they end, what stops them, and how they go on.

mod ensemble;
mod ivon;
mod peft;
mod posterior;
mod resume;
mod steps;
#[path = "../support/mod.rs"]
mod support;
