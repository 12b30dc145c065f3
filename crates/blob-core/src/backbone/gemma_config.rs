//! What Gemma has that Llama lacks (arXiv:2403.08295, 2408.00118, 2503.19786).

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The switches of Gemma 1 to 3: words times √d, GELU by tanh in the MLP, norms whose weights files
/// hold without the 1 that they begin at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GemmaConfig {
    /// Whether what attention and MLP give passes a norm, too.
    pub is_sandwich: bool,
    /// Factor of the attention's scores, κ.
    pub attention_scale: f64,
    /// What the scores stay below.
    pub attention_cap: Option<f64>,
    /// What the logits stay below.
    pub logit_cap: Option<f64>,
    /// Base of the rotary frequencies in the blocks with a window, which nothing stretches; `None`:
    /// as in the others.
    pub window_rope_theta: Option<f64>,
}

impl GemmaConfig {
    /// Checks every rule that the engine relies on.
    pub(super) fn check(&self) -> Result<()> {
        for (field, number) in [
            ("query_pre_attn_scalar", Some(self.attention_scale)),
            ("attn_logit_softcapping", self.attention_cap),
            ("final_logit_softcapping", self.logit_cap),
            ("rope_local_base_freq", self.window_rope_theta),
        ] {
            if let Some(value) = number.filter(|number| !(number.is_finite() && *number > 0.0)) {
                return Err(Error::InvalidConfig {
                    field,
                    rule: "must be positive",
                    value: value.to_string(),
                });
            }
        }
        Ok(())
    }
}
