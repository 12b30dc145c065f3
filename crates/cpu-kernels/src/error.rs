//! What kernels refuse.

use std::fmt;

/// An argument breaks its rule; the text says subject, rule, value received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidInput(pub String);

impl fmt::Display for InvalidInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidInput {}

/// The result of a kernel.
pub type Result<T> = std::result::Result<T, InvalidInput>;
