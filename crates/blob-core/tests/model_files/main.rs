//! Model files and tokenizers: what is read, and that nothing in a file can do harm.

mod architectures;
mod encoders;
mod hostile;
mod not_finite;
mod other_files;
mod pairs;
#[path = "../support/mod.rs"]
mod support;
mod tokenizer_families;
mod tokenizers;
mod weights;
