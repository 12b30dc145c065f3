//! The tensors of a backbone: which there are, by the engine's names (Llama's, where it has them),
//! and their shapes.

use super::{BackboneConfig, EncoderConfig, Positions};
use crate::adapter::{Module, Site};

type Tensors = Vec<(String, Vec<usize>)>;

impl BackboneConfig {
    /// Name and shape of every tensor; a tied head has none.
    pub fn tensors(&self) -> Tensors {
        let d = self.hidden_size;
        let table = vec![self.vocab_size, d];
        let mut tensors = vec![("model.embed_tokens.weight".to_owned(), table.clone())];
        if let Some(encoder) = &self.encoder {
            self.around_an_encoder(encoder, &mut tensors);
        } else {
            tensors.push(("model.norm.weight".to_owned(), vec![d]));
            if !self.tie_word_embeddings {
                tensors.push(("lm_head.weight".to_owned(), table));
            }
        }
        for block in 0..self.num_layers {
            for (name, width) in self.norms(block) {
                let name = format!("model.layers.{block}.{name}");
                self.norm(&name, width, &mut tensors);
            }
            for &module in self.modules() {
                if module.is_of_head() {
                    continue;
                }
                let site = Site { block, module };
                self.layer(site, self.biases.contains(&module), &mut tensors);
            }
        }
        tensors
    }

    /// Beside the blocks: positions, token types, their norm, and what the file has of a head.
    fn around_an_encoder(&self, encoder: &EncoderConfig, tensors: &mut Tensors) {
        let d = self.hidden_size;
        let positions = match encoder.positions {
            Positions::Learned => self.max_position_embeddings + encoder.first_position(),
            Positions::Rotary | Positions::Relative(_) => 0,
        };
        let distances = match encoder.positions {
            Positions::Relative(buckets) => 2 * buckets.span,
            Positions::Learned | Positions::Rotary => 0,
        };
        let tables = [
            ("embed_positions", positions),
            ("embed_types", encoder.token_types),
            ("embed_distances", distances),
        ];
        for (name, rows) in tables.into_iter().filter(|(_, rows)| *rows > 0) {
            tensors.push((format!("model.{name}.weight"), vec![rows, d]));
        }
        self.norm("model.embed_norm", d, tensors);
        if distances > 0 {
            self.norm("model.distances_norm", d, tensors);
        }
        if encoder.is_pre_norm {
            self.norm("model.norm", d, tensors);
        }
        let site = |module| Site {
            block: self.num_layers,
            module,
        };
        if encoder.head.pools || encoder.classes.is_some() {
            let is_biased = !encoder.head.pools || self.biases.contains(&Module::Dense);
            self.layer(site(Module::Dense), is_biased, tensors);
            if encoder.head.norms {
                self.norm("classifier.norm", d, tensors);
            }
        }
        if encoder.classes.is_some() {
            self.layer(site(Module::Classifier), true, tensors);
        }
    }

    /// The norms of a block and their widths.
    fn norms(&self, block: usize) -> Vec<(&'static str, usize)> {
        let d = self.hidden_size;
        if let Some(encoder) = &self.encoder {
            let mut norms = vec![("attention_norm", d), ("mlp_norm", d)];
            if encoder.is_pre_norm && block == 0 {
                norms.remove(0); // what the stem gives is normed
            }
            return norms;
        }
        let mut norms = vec![("input_layernorm", d), ("post_attention_layernorm", d)];
        if self.gemma.as_ref().is_some_and(|gemma| gemma.is_sandwich) {
            norms.push(("pre_feedforward_layernorm", d));
            norms.push(("post_feedforward_layernorm", d));
        }
        if self.qk_norm {
            norms.push(("self_attn.q_norm", self.head_dim));
            norms.push(("self_attn.k_norm", self.head_dim));
        }
        norms
    }

    fn norm(&self, name: &str, width: usize, tensors: &mut Tensors) {
        tensors.push((format!("{name}.weight"), vec![width]));
        if self.encoder.as_ref().is_some_and(|it| it.norm_bias) {
            tensors.push((format!("{name}.bias"), vec![width]));
        }
    }

    fn layer(&self, site: Site, is_biased: bool, tensors: &mut Tensors) {
        let (path, (outputs, inputs)) = (site.path(), site.shape(self));
        if is_biased {
            tensors.push((format!("{path}.bias"), vec![outputs]));
        }
        tensors.push((format!("{path}.weight"), vec![outputs, inputs]));
    }
}
