//! What must hold exactly, or by a closed form, whatever the weights are.

mod adapters;
mod draws;
mod flipout;
mod gradients;
mod objective;
mod prediction;
#[path = "../support/mod.rs"]
mod support;
