//! The engine in Node: one worker thread per model, typed arrays, errors with codes. No logic.

#![expect(clippy::needless_pass_by_value, reason = "Node-API hands values over")]

mod adapter;
mod allocator;
mod batch;
pub mod device;
pub mod engine;
mod error;
pub mod forecast;
pub mod group;
mod held;
pub mod laplace;
mod model;
mod options;
mod promise;
pub mod rate;
mod reading;
pub mod trainer;
mod worker;
