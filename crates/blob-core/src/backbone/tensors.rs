//! The tensors of a decoder: which there are, under Hugging Face's names, and their shapes.

use super::BackboneConfig;
use crate::adapter::{Module, Site};

impl BackboneConfig {
    /// Name and shape of every tensor; a tied head has none.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let d = self.hidden_size;
        let table = vec![self.vocab_size, d];
        let mut tensors = vec![
            ("model.embed_tokens.weight".to_owned(), table.clone()),
            ("model.norm.weight".to_owned(), vec![d]),
        ];
        if !self.tie_word_embeddings {
            tensors.push(("lm_head.weight".to_owned(), table));
        }
        for block in 0..self.num_layers {
            let mut norm = |name: &str, width| {
                tensors.push((format!("model.layers.{block}.{name}.weight"), vec![width]));
            };
            norm("input_layernorm", d);
            norm("post_attention_layernorm", d);
            if self.qk_norm {
                norm("self_attn.q_norm", self.head_dim);
                norm("self_attn.k_norm", self.head_dim);
            }
            for module in Module::ALL {
                if module == Module::LmHead {
                    continue;
                }
                let site = Site { block, module };
                let (path, (outputs, inputs)) = (site.path(), site.shape(self));
                if self.biases.contains(&module) {
                    tensors.push((format!("{path}.bias"), vec![outputs]));
                }
                tensors.push((format!("{path}.weight"), vec![outputs, inputs]));
            }
        }
        tensors
    }
}
