//! A seeded random decoder: the model of tests and of `builtin:random`.

use super::{BackboneConfig, RopeScaling, WeightSource};
use crate::Result;
use crate::noise::{NoiseKey, Phase, Purpose, Stream};
use crate::weights::{HostTensor, Summary};

/// Weights as a pure function of the seed and the tensor's name: norms are 1, biases 0, the rest is
/// N(0, 1/inputs) for linear layers and N(0, 1) for the embedding.
pub struct RandomWeights {
    /// The seed.
    pub seed: u64,
}

impl RandomWeights {
    /// Two small layers over a byte vocabulary (258 rows: 256 bytes, begin and end of text).
    pub fn config() -> BackboneConfig {
        BackboneConfig {
            vocab_size: 258,
            hidden_size: 64,
            intermediate_size: 160,
            num_layers: 2,
            num_heads: 4,
            num_kv_heads: 2,
            head_dim: 16,
            norm_eps: 1e-5,
            rope_theta: 10_000.0,
            rope_scaling: RopeScaling::None,
            max_position_embeddings: 2048,
            tie_word_embeddings: true,
            biases: Vec::new(),
            context_end: None,
            fused: false,
            qk_norm: false,
            window: None,
            encoder: None,
            gemma: None,
        }
    }
}

impl WeightSource for RandomWeights {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<HostTensor> {
        let constant = if name.ends_with("bias") { 0.0 } else { 1.0 };
        let mut data = vec![constant; shape.iter().product()];
        if let [_, inputs] = *shape {
            let salt = fnv1a(name);
            let key = NoiseKey {
                slot: 0,
                purpose: Purpose::Gaussian,
                sample: 0,
            };
            Stream::new(self.seed, salt, Phase::Initialisation).fill_normal(&mut data, key);
            if !name.contains("embed") {
                let scale = 1.0 / (inputs as f32).sqrt();
                for weight in &mut data {
                    *weight *= scale;
                }
            }
        }
        Ok(HostTensor {
            shape: shape.to_vec(),
            data,
        })
    }

    fn summary(&self) -> Summary {
        let config = Self::config();
        Summary {
            format: "random",
            weight_bytes: 4 * config.parameters() as u64,
            tensor_types: [("F32".to_owned(), 9 * config.num_layers + 2)].into(),
        }
    }
}

/// FNV-1a, 64 bits: tells tensors of one seed apart.
fn fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
