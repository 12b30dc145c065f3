//! Blocks made of a source of weights, under Hugging Face's names.

use super::read_out::ReadOut;
use super::stack::Stack;
use super::stem::{Learned, Stem};
use super::{BackboneConfig, EncoderConfig, WeightSource};
use crate::adapter::{HeadConfig, Module, Site, Whole, WholeLayers};
use crate::layers::{Attention, Block, ClassHead, GatedMlp, Head, Linear, Mlp, PlainMlp, Residual};
use crate::ops::activation::Activation;
use crate::ops::attention::{AttentionShape, Queries};
use crate::ops::embedding::Embedding;
use crate::ops::head::Vocabulary;
use crate::ops::linear::Weight;
use crate::ops::norm::{Norm, NormKind};
use crate::ops::table::Table;
use crate::ops::{Device, Precision, rope, wrap};
use crate::weights::StoredMatrix;
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
        let frequencies = config.encoder.is_none().then(|| config.rope_frequencies());
        let in_windows = config.window_rope_frequencies();
        Ok(Stack {
            blocks: blocks.collect::<Result<_>>()?,
            tables: frequencies.map(tables).transpose()?,
            window_tables: in_windows.map(tables).transpose()?,
        })
    }

    /// What is below the blocks.
    pub(super) fn stem(&self, words: Table) -> Result<Stem> {
        let learned = self.config.encoder.as_ref();
        let learned = learned.map(|encoder| self.learned(encoder));
        Ok(Stem {
            words: match self.config.gemma {
                Some(_) => Embedding::scaled(words, (self.config.hidden_size as f32).sqrt()),
                None => Embedding::new(words),
            },
            learned: learned.transpose()?,
        })
    }

    fn learned(&self, encoder: &EncoderConfig) -> Result<Learned> {
        let d = self.config.hidden_size;
        let table = |name: &str, rows: usize| {
            let table = self.source.tensor(name, &[rows, d])?;
            let table = Table::new(StoredMatrix::from_tensor(&table)?, self.device)?;
            Ok::<_, Error>(Embedding::new(table))
        };
        let positions = self.config.max_position_embeddings + encoder.first_position();
        let types = match encoder.token_types {
            0 => None,
            rows => Some(table("model.embed_types.weight", rows)?),
        };
        Ok(Learned {
            positions: table("model.embed_positions.weight", positions)?,
            types,
            token_types: encoder.token_types,
            padding: encoder.padding,
            norm: self.norm("model.embed_norm", d)?,
        })
    }

    /// What is above the blocks; `words` is the table of the embedding.
    pub(super) fn read_out(&self, words: &Table) -> Result<ReadOut> {
        let (config, block) = (self.config, self.config.num_layers);
        if let Some(encoder) = &config.encoder {
            let dense = encoder.pools().then(|| self.pooler(block)).transpose()?;
            return Ok(ReadOut::Classes(ClassHead {
                block,
                dense,
                squash: encoder.squash(),
                device: self.device,
            }));
        }
        let vocabulary = if config.tie_word_embeddings {
            words.clone()
        } else {
            let table = [config.vocab_size, config.hidden_size];
            Table::new(self.source.matrix("lm_head.weight", table)?, self.device)?
        };
        Ok(ReadOut::Vocabulary {
            norm: self.norm("model.norm", config.hidden_size)?,
            head: Head {
                block,
                vocabulary: Vocabulary::new(vocabulary, self.device),
            },
            is_tied: config.tie_word_embeddings,
            cap: config
                .gemma
                .as_ref()
                .and_then(|gemma| gemma.logit_cap)
                .map(|cap| cap as f32),
        })
    }

    /// The head in the file, if there is one: what an adapter of as many classes starts from.
    pub(super) fn base_head(&self) -> Result<Whole> {
        let Some(classes) = self.config.encoder.as_ref().and_then(|of| of.classes) else {
            return Ok(Whole::new());
        };
        let head = HeadConfig {
            classes,
            trained: false,
            fresh: false,
        };
        let layers = WholeLayers::of_head(Some(head), self.config).shapes;
        let layer = |(site, (outputs, inputs)): (Site, (usize, usize))| {
            let tensor = |part: &str, shape: &[usize]| {
                let name = format!("{}.{part}", site.path());
                self.source.tensor(&name, shape)
            };
            let (weight, bias) = (
                tensor("weight", &[outputs, inputs])?,
                tensor("bias", &[outputs])?,
            );
            Ok((site, [weight, bias]))
        };
        layers.into_iter().map(layer).collect()
    }

    /// Of the file, and never rounded: it reads one row of each prompt.
    fn pooler(&self, block: usize) -> Result<Linear> {
        let module = Module::Dense;
        let site = Site { block, module };
        let (outputs, inputs) = site.shape(self.config);
        let tensor = |part: &str, shape: &[usize]| {
            let name = format!("{}.{part}", site.path());
            self.source.tensor(&name, shape)
        };
        let weight = StoredMatrix::from_tensor(&tensor("weight", &[outputs, inputs])?)?;
        let bias = tensor("bias", &[outputs])?.data;
        Ok(Linear {
            site,
            weight: Weight::new(weight, Precision::F32, self.device)?,
            bias: Some(self.device.place(wrap(bias, outputs)?)?),
        })
    }

    fn block(&self, index: usize) -> Result<Block> {
        let norm = |name: &str, width| self.norm(&format!("model.layers.{index}.{name}"), width);
        let encoder = self.config.encoder.as_ref();
        let around = |part| self.around(part, &norm);
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
            around_mlp: around(Part::Mlp)?,
            mlp: match encoder {
                None => Mlp::Gated(GatedMlp {
                    activation: match self.config.gemma {
                        Some(_) => Activation::GeluTanh,
                        None => Activation::Silu,
                    },
                    gate: linear(Module::Gate)?,
                    up: linear(Module::Up)?,
                    down: linear(Module::Down)?,
                }),
                Some(encoder) => Mlp::Plain(PlainMlp {
                    up: linear(Module::Up)?,
                    activation: encoder.activation,
                    down: linear(Module::Down)?,
                    device: self.device,
                }),
            },
        })
    }

    /// The norms around a part of a block, of names without the block's.
    fn around(&self, part: Part, norm: &dyn Fn(&str, usize) -> Result<Norm>) -> Result<Residual> {
        let is_sandwich = self.config.gemma.as_ref().is_some_and(|it| it.is_sandwich);
        let [before, within, after] = match part {
            _ if self.config.encoder.is_some() => [None, None, Some(part.name_in_encoders())],
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
        })
    }

    fn heads(&self) -> AttentionShape {
        let gemma = self.config.gemma.as_ref();
        let usual = 1.0 / (self.config.head_dim as f32).sqrt();
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
        let kind = if self.config.encoder.is_some() {
            let bias = self.source.tensor(&format!("{name}.bias"), &[width])?;
            let bias = self.device.place(wrap(bias.data, width)?)?;
            NormKind::Layer { bias }
        } else {
            NormKind::Rms
        };
        Ok(Norm {
            kind,
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
