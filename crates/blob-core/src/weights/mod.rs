//! Frozen weights by their Hugging Face names, whatever file they came from.
