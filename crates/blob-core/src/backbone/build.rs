//! Blocks made of a source of weights, under Hugging Face's names.

use super::stack::Stack;
use super::{BackboneConfig, WeightSource};
use crate::adapter::{Module, Site};
use crate::layers::{Attention, Block, GatedMlp, Linear, Mlp, Residual};
use crate::ops::activation::Activation;
use crate::ops::attention::{AttentionShape, Queries};
use crate::ops::linear::Weight;
use crate::ops::norm::{Norm, NormKind};
use crate::ops::{Device, Precision, rope, wrap};
use crate::{Error, Result};

/// What blocks are made of.
pub(super) struct Build<'a> {
    pub(super) config: &'a BackboneConfig,
    pub(super) source: &'a dyn WeightSource,
    pub(super) precision: Precision,
    pub(super) device: Device,
}

impl Build<'_> {
    /// All blocks.
    pub(super) fn stack(&self) -> Result<Stack> {
        let config = self.config;
        let (frequencies, positions) = (config.rope_frequencies(), config.max_position_embeddings);
        let blocks = (0..config.num_layers).map(|index| self.block(index));
        Ok(Stack {
            blocks: blocks.collect::<Result<_>>()?,
            tables: rope::tables(&frequencies, positions, self.device)?,
        })
    }

    fn block(&self, index: usize) -> Result<Block> {
        let d = self.config.hidden_size;
        let norm = |name: &str, width| self.norm(&format!("model.layers.{index}.{name}"), width);
        let before = |name| {
            Ok::<_, Error>(Residual {
                before: Some(norm(name, d)?),
                ..Residual::default()
            })
        };
        let head_norms = if self.config.qk_norm {
            let of = |name| norm(name, self.config.head_dim);
            Some([of("self_attn.q_norm")?, of("self_attn.k_norm")?])
        } else {
            None
        };
        let linear = |module| {
            self.linear(Site {
                block: index,
                module,
            })
        };
        Ok(Block {
            index,
            around_attention: before("input_layernorm")?,
            attention: Attention {
                q: linear(Module::Q)?,
                k: linear(Module::K)?,
                v: linear(Module::V)?,
                o: linear(Module::O)?,
                head_norms,
                shape: self.heads(),
                mask: self.config.mask(index),
                queries: if index + 1 == self.config.num_layers {
                    Queries::Last
                } else {
                    Queries::Every
                },
            },
            around_mlp: before("post_attention_layernorm")?,
            mlp: Mlp::Gated(GatedMlp {
                activation: Activation::Silu,
                gate: linear(Module::Gate)?,
                up: linear(Module::Up)?,
                down: linear(Module::Down)?,
            }),
        })
    }

    fn heads(&self) -> AttentionShape {
        AttentionShape {
            num_heads: self.config.num_heads,
            num_kv_heads: self.config.num_kv_heads,
            head_dim: self.config.head_dim,
            scale: 1.0 / (self.config.head_dim as f32).sqrt(),
            soft_cap: None,
            precision: self.precision,
            device: self.device,
        }
    }

    /// The norm of a name without `.weight`.
    pub(super) fn norm(&self, name: &str, width: usize) -> Result<Norm> {
        let weight = self.source.tensor(&format!("{name}.weight"), &[width])?;
        Ok(Norm {
            kind: NormKind::Rms,
            weight: self.device.place(wrap(weight.data, width)?)?,
            eps: self.config.rms_norm_eps as f32,
            device: self.device,
        })
    }

    fn linear(&self, site: Site) -> Result<Linear> {
        let (outputs, inputs) = site.shape(self.config);
        let name = format!("{}.weight", site.path());
        let stored = self.source.matrix(&name, [outputs, inputs])?;
        let weight = Weight::new(stored, self.precision, self.device);
        let weight = weight.map_err(|error| match error {
            Error::InvalidInput(text) => Error::InvalidInput(format!("{name}: {text}")),
            other => other,
        })?;
        let bias = if self.config.biases.contains(&site.module) {
            let name = format!("{}.bias", site.path());
            let bias = self.source.tensor(&name, &[outputs])?.data;
            Some(self.device.place(wrap(bias, outputs)?)?)
        } else {
            None
        };
        Ok(Linear { site, weight, bias })
    }
}
