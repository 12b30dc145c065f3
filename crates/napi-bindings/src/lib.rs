//! The engine in Node: one worker thread per model, typed arrays, errors with codes. No logic.

mod adapter;
mod batch;
mod engine;
mod error;
mod model;
mod options;
mod trainer;
mod worker;

/// Keeps freed pages: the system's allocator gives large blocks back, and each step would fault them in anew.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
