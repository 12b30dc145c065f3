//! Training runs: where they end, what stops them, and how they go on.

mod adamw;
mod base_dropout;
mod conformance;
mod context;
mod encoders;
mod ensemble;
mod equations;
mod equations_beside;
mod head_files;
mod peft;
mod posterior;
mod quadratic;
mod ranks;
mod resume;
mod scalabl;
mod scale_files;
mod scales;
mod settings;
mod start;
mod steps;
#[path = "../support/mod.rs"]
mod support;
mod swag;
mod updates;
