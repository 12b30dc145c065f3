//! Blocks made of a source of weights, under Hugging Face's names; what is below and above them in
//! `ends`.

mod ends;

use super::stack::Stack;
use super::{BackboneConfig, EncoderConfig, Positions, WeightSource};
use crate::adapter::{Module, Site};
use crate::layers::{
    Attention, Block, DistanceTable, GatedMlp, Linear, Mlp, Nonlinearity, QueryKeyValue, Residual,
    TwoLayerMlp,
};
use crate::ops::activation::Activation;
use crate::ops::attention::{AttentionShape, Queries};
use crate::ops::linear::Weight;
use crate::ops::norm::{Norm, NormKind};
use crate::ops::{Device, Precision, Tensor, rope, wrap};
use crate::{Error, Result};

/// What blocks are made of.
pub(super) struct Build<'a> {
    pub(super) config: &'a BackboneConfig,
    pub(super) source: &'a dyn WeightSource,
    pub(super) precision: Precision,
    pub(super) device: Device,
}

/// A part of a block.
#[derive(Clone, Copy)]
enum Part {
    Attention,
    Mlp,
}

impl Part {
    fn name_in_encoders(self) -> &'static str {
        match self {
            Self::Attention => "attention_norm",
            Self::Mlp => "mlp_norm",
        }
    }
}

impl Build<'_> {
    /// All blocks.
    pub(super) fn stack(&self) -> Result<Stack> {
        let config = self.config;
        let blocks = (0..config.num_layers).map(|index| self.block(index));
        let tables = |frequencies: Vec<f64>| {
            rope::tables(&frequencies, config.max_position_embeddings, self.device)
        };
        let frequencies = config.is_rotary().then(|| config.rope_frequencies());
        let in_windows = config.window_rope_frequencies();
        Ok(Stack {
            blocks: blocks.collect::<Result<_>>()?,
            tables: frequencies.map(tables).transpose()?,
            window_tables: in_windows.map(tables).transpose()?,
            distances: self.distances()?,
        })
    }

    /// The rows of distances, normed once: nothing changes them.
    fn distances(&self) -> Result<Option<DistanceTable>> {
        let encoder = self.config.encoder.as_ref();
        let Some(Positions::Relative(buckets)) = encoder.map(|encoder| encoder.positions) else {
            return Ok(None);
        };
        let d = self.config.hidden_size;
        let shape = [2 * buckets.span, d];
        let table = self.source.tensor("model.embed_distances.weight", &shape)?;
        let table = self.device.place(wrap(table.data, (shape[0], shape[1]))?)?;
        let norm = self.norm("model.distances_norm", d)?;
        Ok(Some(DistanceTable {
            buckets,
            table: norm.forward(&table)?,
        }))
    }

    fn block(&self, index: usize) -> Result<Block> {
        let norm = |name: &str, width| self.norm(&format!("model.layers.{index}.{name}"), width);
        let around = |part| self.around((index, part), &norm);
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
            around_attention: around(Part::Attention)?,
            attention: Attention {
                qkv: self.query_key_value(&linear)?,
                o: linear(Module::O)?,
                head_norms,
                shape: self.heads(),
                mask: self.config.mask(index),
                queries: self.queries(index),
            },
            around_mlp: around(Part::Mlp)?,
            mlp: self.mlp(&linear)?,
        })
    }

    /// Who asks: in the last block what is read alone, where that is the last row of a segment.
    fn queries(&self, index: usize) -> Queries {
        let encoder = self.config.encoder.as_ref();
        let keeps_order = encoder.is_some_and(EncoderConfig::keeps_order);
        if index + 1 == self.config.num_layers && !keeps_order {
            Queries::Last
        } else {
            Queries::Every
        }
    }

    fn query_key_value(&self, linear: &dyn Fn(Module) -> Result<Linear>) -> Result<QueryKeyValue> {
        if !self.config.fused {
            let layers = [linear(Module::Q)?, linear(Module::K)?, linear(Module::V)?];
            return Ok(QueryKeyValue::Apart(Box::new(layers)));
        }
        let (q, kv) = (self.config.query_width(), self.config.kv_width());
        let layer = Box::new(linear(Module::Qkv)?);
        Ok(QueryKeyValue::Fused(layer, [q, kv, kv]))
    }

    fn mlp(&self, linear: &dyn Fn(Module) -> Result<Linear>) -> Result<Mlp> {
        let encoder = self.config.encoder.as_ref();
        let activation = match (encoder, &self.config.gemma) {
            (Some(encoder), _) => encoder.activation,
            (None, Some(_)) => Activation::GeluTanh,
            (None, None) => Activation::Silu,
        };
        let of_two = |first, nonlinearity| {
            Ok(Mlp::TwoLayers(TwoLayerMlp {
                first: linear(first)?,
                nonlinearity,
                activation,
                down: linear(Module::Down)?,
                device: self.device,
            }))
        };
        match encoder {
            _ if self.config.fused => of_two(Module::GateUp, Nonlinearity::Gates),
            None => Ok(Mlp::Gated(GatedMlp {
                activation,
                gate: linear(Module::Gate)?,
                up: linear(Module::Up)?,
                down: linear(Module::Down)?,
            })),
            Some(_) => of_two(Module::Up, Nonlinearity::Activation),
        }
    }

    /// The norms around a part of a block, of names without the block's.
    fn around(
        &self,
        (block, part): (usize, Part),
        norm: &dyn Fn(&str, usize) -> Result<Norm>,
    ) -> Result<Residual> {
        let is_sandwich = self.config.gemma.as_ref().is_some_and(|it| it.is_sandwich);
        let is_pre_norm = (self.config.encoder.as_ref()).map(|encoder| encoder.is_pre_norm);
        let [before, within, after] = match part {
            // What the stem gives is normed.
            Part::Attention if is_pre_norm == Some(true) && block == 0 => [None, None, None],
            _ if is_pre_norm == Some(true) => [Some(part.name_in_encoders()), None, None],
            _ if is_pre_norm == Some(false) => [None, None, Some(part.name_in_encoders())],
            Part::Attention if is_sandwich => {
                let names = ["input_layernorm", "post_attention_layernorm"];
                [Some(names[0]), Some(names[1]), None]
            }
            Part::Mlp if is_sandwich => {
                let names = ["pre_feedforward_layernorm", "post_feedforward_layernorm"];
                [Some(names[0]), Some(names[1]), None]
            }
            Part::Attention => [Some("input_layernorm"), None, None],
            Part::Mlp => [Some("post_attention_layernorm"), None, None],
        };
        let of = |name: Option<&str>| {
            let norm = name.map(|name| norm(name, self.config.hidden_size));
            norm.transpose()
        };
        Ok(Residual {
            before: of(before)?,
            within: of(within)?,
            after: of(after)?,
            drops: match (&self.config.encoder, part) {
                (Some(encoder), Part::Attention) => encoder.drops_attention,
                (encoder, _) => encoder.is_some(),
            },
        })
    }

    fn heads(&self) -> AttentionShape {
        let gemma = self.config.gemma.as_ref();
        // Content to content, content to position, and back.
        let terms = match self
            .config
            .encoder
            .as_ref()
            .map(|encoder| encoder.positions)
        {
            Some(Positions::Relative(_)) => 3.0,
            _ => 1.0,
        };
        let usual = 1.0 / (terms * self.config.head_dim as f32).sqrt();
        let usual = usual * self.config.rope_scaling.scores() as f32;
        AttentionShape {
            num_heads: self.config.num_heads,
            num_kv_heads: self.config.num_kv_heads,
            head_dim: self.config.head_dim,
            scale: gemma.map_or(usual, |gemma| gemma.attention_scale as f32),
            soft_cap: gemma
                .and_then(|gemma| gemma.attention_cap)
                .map(|cap| cap as f32),
            precision: self.precision,
            device: self.device,
        }
    }

    /// The norm of a name without `.weight`.
    pub(super) fn norm(&self, name: &str, width: usize) -> Result<Norm> {
        let weight = self.source.tensor(&format!("{name}.weight"), &[width])?;
        let kind = match &self.config.encoder {
            Some(encoder) => {
                let bias = if encoder.norm_bias {
                    self.source.tensor(&format!("{name}.bias"), &[width])?.data
                } else {
                    vec![0.0; width]
                };
                let bias = self.device.place(wrap(bias, width)?)?;
                NormKind::Layer { bias }
            }
            None => NormKind::Rms,
        };
        Ok(Norm {
            kind,
            weight: self.device.place(wrap(weight.data, width)?)?,
            eps: self.config.norm_eps as f32,
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
        Ok(Linear {
            bias: self.bias(site, outputs)?,
            site,
            weight,
        })
    }

    /// What a layer adds, if it adds something.
    fn bias(&self, site: Site, outputs: usize) -> Result<Option<Tensor>> {
        if !self.config.biases.contains(&site.module) {
            return Ok(None);
        }
        let name = format!("{}.bias", site.path());
        let bias = self.source.tensor(&name, &[outputs])?.data;
        Ok(Some(self.device.place(wrap(bias, outputs)?)?))
    }
}
