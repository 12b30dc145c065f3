//! What an encoder has that a decoder lacks: its kinds of positions, token types, a classification
//! head.

use serde::{Deserialize, Serialize};

use crate::ops::activation::Activation;
use crate::ops::disentangled::Buckets;
use crate::ops::head_activation::HeadActivation;
use crate::{Error, Result};

/// Whose names an encoder has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// arXiv:1810.04805.
    Bert,
    /// arXiv:1907.11692, and XLM-RoBERTa.
    Roberta,
    /// arXiv:1910.01108.
    DistilBert,
    /// arXiv:2412.13663.
    ModernBert,
    /// arXiv:2006.03654 and 2111.09543: DeBERTa-v2 and -v3.
    #[serde(rename = "deberta-v2")]
    Deberta,
}

impl Family {
    /// What reports call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bert => "bert",
            Self::Roberta => "roberta",
            Self::DistilBert => "distilbert",
            Self::ModernBert => "modernbert",
            Self::Deberta => "deberta-v2",
        }
    }
}

/// What tells positions apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Positions {
    /// A table, whose rows are added to those of the words.
    Learned,
    /// Rotations of queries and keys.
    Rotary,
    /// Terms of the scores, by the distance from query to key.
    Relative(Buckets),
}

/// What a head reads of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reading {
    /// The first token.
    First,
    /// The mean of all tokens.
    Mean,
}

/// What a classification head has beside its layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadSwitches {
    /// Whether its first layer is the base's own, frozen and of its file: a pooler, or what the
    /// head of the pre-training begins with.
    pub pools: bool,
    /// Whether a norm lies between its layers; the base's own, too.
    pub norms: bool,
    /// Whether the base was trained with dropout of what its first layer reads, beside that of
    /// what its second reads.
    pub drops_input: bool,
}

/// The switches of an encoder: layer norms, attention over whole segments or on both sides of a
/// position.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderConfig {
    /// Whose names.
    pub family: Family,
    /// What tells positions apart.
    pub positions: Positions,
    /// Of the MLPs.
    pub activation: Activation,
    /// Whether norms come before what reads the stream, and one more behind the last block; if not,
    /// they come after each sum.
    pub is_pre_norm: bool,
    /// Whether norms add a bias.
    pub norm_bias: bool,
    /// Whether the base was trained with dropout of what attention adds to the stream.
    pub drops_attention: bool,
    /// Base of the rotary frequencies in the blocks with a window; `None`: as in the others.
    pub window_rope_theta: Option<f64>,
    /// The token that has no position of its own, and whose index comes before the first position.
    pub padding: Option<u32>,
    /// Rows of the table of token types; 0 = none.
    pub token_types: usize,
    /// What the head reads.
    pub reading: Reading,
    /// What the head has beside its layers.
    pub head: HeadSwitches,
    /// What lies between the layers of the head.
    pub head_activation: HeadActivation,
    /// Standard deviation of a head's initial weights.
    pub initializer_range: f64,
    /// Classes of the head in the model's own file.
    #[serde(default)]
    pub classes: Option<usize>,
}

impl EncoderConfig {
    /// Whether the rows of a text stay in order: where its positions are not part of the stream.
    pub fn keeps_order(&self) -> bool {
        self.positions != Positions::Learned
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
        if let Positions::Relative(buckets) = self.positions {
            let Buckets { span, farthest } = buckets;
            let is_far =
                farthest.is_none_or(|farthest| (span / 2 + 2..1 << 24).contains(&farthest));
            if !(2..=1 << 16).contains(&span) || !is_far {
                let rule =
                    "must have between 2 and 2^16 buckets, and reach farther than half of them";
                return invalid("position_buckets", rule, format!("{buckets:?}"));
            }
        }
        let theta = self.window_rope_theta;
        if let Some(theta) = theta.filter(|theta| !(theta.is_finite() && *theta > 0.0)) {
            return invalid("local_rope_theta", "must be positive", theta.to_string());
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
                "must be between 1 and 2^24",
                classes.to_string(),
            ),
            _ => Ok(()),
        }
    }
}

/// Classes that a head may have: a matrix has 2³⁴ initial values (`noise`), 2²⁴ rows of 1,024,
/// which are 64 GiB.
pub const MOST_CLASSES: usize = 1 << 24;
