//! What must hold exactly, or by a closed form, whatever the weights are.

mod draws;
mod flipout;
mod gradients;
mod prediction;
#[path = "../support/mod.rs"]
mod support;
