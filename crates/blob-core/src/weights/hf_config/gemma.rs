//! The fields of a `config.json` that Gemma alone has.

use super::super::architecture::Gemma;
use super::super::unsupported;
use super::HfConfig;
use super::rope::Rope;
use crate::Result;
use crate::backbone::GemmaConfig;

/// `local` are the rotary fields of the blocks with a window.
pub(super) fn gemma(
    hf: &HfConfig,
    defaults: &Gemma,
    head_dim: usize,
    local: &Rope,
) -> Result<GemmaConfig> {
    check_supported(hf)?;
    let scalar = defaults
        .scalar
        .map(|scalar| hf.query_pre_attn_scalar.unwrap_or(scalar));
    let [attention_cap, logit_cap] = defaults.caps;
    let theta = match local.number("rope_theta")? {
        Some(theta) => Some(theta),
        None => hf.rope_local_base_freq.or(defaults.window_rope_theta),
    };
    Ok(GemmaConfig {
        is_sandwich: defaults.is_sandwich,
        attention_scale: scalar.unwrap_or(head_dim as f64).sqrt().recip(),
        attention_cap: hf.attn_logit_softcapping.unwrap_or(attention_cap),
        logit_cap: hf.final_logit_softcapping.unwrap_or(logit_cap),
        window_rope_theta: theta.filter(|_| defaults.window_rope_theta.is_some()),
    })
}

fn check_supported(hf: &HfConfig) -> Result<()> {
    // Gemma 1 says gelu and means the form by tanh; Gemma 2 and 3 do not read hidden_act.
    let stated = hf.hidden_activation.as_deref();
    match stated.filter(|activation| *activation != "gelu_pytorch_tanh") {
        Some(other) => Err(unsupported("activation", other, "gelu_pytorch_tanh")),
        None if hf.use_bidirectional_attention == Some(true) => {
            let value = "use_bidirectional_attention = true";
            Err(unsupported("hyper-parameter", value, "false"))
        }
        None => Ok(()),
    }
}
