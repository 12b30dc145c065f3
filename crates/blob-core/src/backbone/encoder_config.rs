//! What an encoder has that a decoder lacks: a table of positions, token types, a classification
//! head.

use serde::{Deserialize, Serialize};

use crate::ops::activation::Activation;
use crate::ops::squash::Squash;
use crate::{Error, Result};

/// Whose names and read-out an encoder has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// arXiv:1810.04805.
    Bert,
    /// arXiv:1907.11692, and XLM-RoBERTa.
    Roberta,
    /// arXiv:1910.01108.
    DistilBert,
}

impl Family {
    /// What reports call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bert => "bert",
            Self::Roberta => "roberta",
            Self::DistilBert => "distilbert",
        }
    }
}

/// The switches of an encoder: post-norm blocks with layer norms, attention over whole segments,
/// plain MLPs, biases everywhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderConfig {
    /// Whose names and read-out.
    pub family: Family,
    /// Of the MLPs.
    pub activation: Activation,
    /// The token that has no position of its own, and whose index comes before the first position.
    pub padding: Option<u32>,
    /// Rows of the table of token types; 0 = none.
    pub token_types: usize,
    /// Standard deviation of a head's initial weights.
    pub initializer_range: f64,
    /// Classes of the head in the model's own file.
    #[serde(default)]
    pub classes: Option<usize>,
}

impl EncoderConfig {
    /// What lies between the layers of the head.
    pub fn squash(&self) -> Squash {
        match self.family {
            Family::Bert | Family::Roberta => Squash::Tanh,
            Family::DistilBert => Squash::Relu,
        }
    }

    /// Whether the head's first layer is the base's pooler, frozen and of its file.
    pub fn pools(&self) -> bool {
        self.family == Family::Bert
    }

    /// Rows of the table of positions before the first that a token has.
    pub fn first_position(&self) -> usize {
        self.padding.map_or(0, |padding| padding as usize + 1)
    }

    /// Checks every rule that the engine relies on.
    pub(super) fn check(&self) -> Result<()> {
        let invalid = |field, rule, value: String| Err(Error::InvalidConfig { field, rule, value });
        if self.token_types > 1 << 16 {
            let (rule, value) = ("must be at most 2^16", self.token_types.to_string());
            return invalid("type_vocab_size", rule, value);
        }
        if !(self.initializer_range.is_finite() && self.initializer_range >= 0.0) {
            let value = self.initializer_range.to_string();
            return invalid("initializer_range", "must be at least 0 and finite", value);
        }
        if self.padding.is_some_and(|padding| padding > 1 << 23) {
            let value = format!("{:?}", self.padding);
            return invalid("pad_token_id", "must be at most 2^23", value);
        }
        match self.classes {
            Some(classes) if classes == 0 || classes > MOST_CLASSES => invalid(
                "num_labels",
                "must be between 1 and 65536",
                classes.to_string(),
            ),
            _ => Ok(()),
        }
    }
}

/// Classes that a head may have.
pub const MOST_CLASSES: usize = 1 << 16;
