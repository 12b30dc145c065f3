//! The engine in Node: one worker thread per model, typed arrays, errors with codes. No logic.

#![expect(clippy::needless_pass_by_value, reason = "Node-API hands values over")]

mod adapter;
mod allocator;
mod batch;
pub mod engine;
mod error;
mod model;
mod options;
pub mod trainer;
mod worker;
