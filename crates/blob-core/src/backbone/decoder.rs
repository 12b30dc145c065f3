//! A frozen Llama-style decoder, read at the last position of each prompt.
//!
//! Tokens (T) → embedding (T, d) → blocks → norm → class logits. With `Mode::sample_from_block` the
//! blocks below are computed once and their output repeated for every posterior sample.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::{DecoderConfig, WeightSource};
use crate::adapter::{Adapter, Module, Parameters, Site};
use crate::batch::Batch;
use crate::kernels::cpu::gemm::Precision;
use crate::layers::{Block, BlockKept, FrozenLinear, Head, HeadKept, check_finite};
use crate::ops::attention::AttentionShape;
use crate::ops::rms_norm::{self, Norm};
use crate::ops::rope::{self, RopeTables};
use crate::ops::{embedding, read, wrap};
use crate::pass::{BatchCopy, Pass};
use crate::weights::StoredMatrix;
use crate::{Error, Result};

/// The frozen model.
pub struct Decoder {
    config: DecoderConfig,
    embedding: StoredMatrix,
    blocks: Vec<Block>,
    norm: Norm,
    head_weight: StoredMatrix,
    head: Head,
    tables: RopeTables,
    precision: Precision,
}

/// The residual stream after some blocks, which all samples see alike.
pub struct Trunk {
    x: Tensor,
    blocks: usize,
}

impl Trunk {
    /// Rows that a sample adds above it.
    pub fn rows(&self) -> usize {
        self.x.dims().first().copied().unwrap_or(0)
    }
}

/// What a block left for its backward pass: everything, or what it takes to compute it again.
enum Record {
    Whole(Box<BlockKept>),
    Input(Tensor),
}

/// What the backward pass needs.
pub struct DecoderKept {
    blocks: Vec<Record>,
    stream: Tensor,
    head: HeadKept,
}

impl Decoder {
    /// Opens every weight; matrices stay as they are stored.
    pub fn load(
        config: DecoderConfig,
        source: &dyn WeightSource,
        precision: Precision,
    ) -> Result<Self> {
        config.check()?;
        let d = config.hidden_size;
        let norm_of = |name: &str, width| {
            Ok::<_, Error>(Norm {
                weight: wrap(source.tensor(name, &[width])?.data, width)?,
                eps: config.rms_norm_eps as f32,
            })
        };
        let norm = |name: &str| norm_of(name, d);
        let matrix = |name: &str| source.matrix(name, [config.vocab_size, d]);
        let embedding = matrix("model.embed_tokens.weight")?;
        let head_weight = if config.tie_word_embeddings {
            embedding.clone()
        } else {
            matrix("lm_head.weight")?
        };
        let shape = AttentionShape {
            num_heads: config.num_heads,
            num_kv_heads: config.num_kv_heads,
            head_dim: config.head_dim,
            precision,
        };
        let blocks = (0..config.num_layers)
            .map(|index| {
                Ok(Block {
                    index,
                    attention_norm: norm(&format!("model.layers.{index}.input_layernorm.weight"))?,
                    mlp_norm: norm(&format!(
                        "model.layers.{index}.post_attention_layernorm.weight"
                    ))?,
                    shape,
                    head_norms: if config.qk_norm {
                        let of = |part| {
                            let name = format!("model.layers.{index}.self_attn.{part}.weight");
                            norm_of(&name, config.head_dim)
                        };
                        Some([of("q_norm")?, of("k_norm")?])
                    } else {
                        None
                    },
                    mask: config.mask(index),
                    linears: linears(|module| {
                        let site = Site {
                            block: index,
                            module,
                        };
                        let (outputs, inputs) = site.shape(&config);
                        let name = format!("{}.weight", site.path());
                        let stored = source.matrix(&name, [outputs, inputs])?;
                        let linear = FrozenLinear::new(stored, precision);
                        let linear = linear.map_err(|error| match error {
                            Error::InvalidInput(text) => {
                                Error::InvalidInput(format!("{name}: {text}"))
                            }
                            other => other,
                        })?;
                        if !config.biases.contains(&module) {
                            return Ok(linear);
                        }
                        let name = format!("{}.bias", site.path());
                        let bias = source.tensor(&name, &[outputs])?.data;
                        Ok(linear.with_bias(wrap(bias, outputs)?))
                    })?,
                    last: index + 1 == config.num_layers,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            embedding,
            blocks,
            norm: norm("model.norm.weight")?,
            head_weight,
            head: Head {
                block: config.num_layers,
            },
            tables: rope::tables(&config.rope_frequencies(), config.max_position_embeddings)?,
            precision,
            config,
        })
    }

    /// The shape.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Operand precision of the packed products.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// How many of the blocks' matrices are stored in each type.
    pub fn block_types(&self) -> BTreeMap<&'static str, usize> {
        let mut types = BTreeMap::new();
        for linear in self.blocks.iter().flat_map(|block| &block.linears) {
            *types.entry(linear.type_name()).or_insert(0) += 1;
        }
        types
    }

    /// Bytes of all weights in memory.
    pub fn weight_bytes(&self) -> usize {
        let tensors = self.config.tensors();
        let vectors = tensors.iter().filter(|(_, shape)| shape.len() == 1);
        let vectors: usize = vectors.map(|(_, shape)| 4 * shape[0]).sum();
        let linears: usize = self
            .blocks
            .iter()
            .flat_map(|block| &block.linears)
            .map(FrozenLinear::bytes)
            .sum();
        let head = if self.config.tie_word_embeddings {
            0
        } else {
            self.head_weight.bytes()
        };
        vectors + linears + self.embedding.bytes() + head
    }

    /// Class logits (copies·S), sample-major, and what the backward pass needs when `keep`.
    pub fn forward(
        &self,
        batch: &Batch,
        pass: &Pass,
        adapter: Option<&Adapter>,
        keep: bool,
    ) -> Result<(Vec<f32>, Option<DecoderKept>)> {
        let trunk = if keep {
            self.embed(batch)?
        } else {
            self.trunk(batch, pass, adapter)?
        };
        self.forward_above(&trunk, batch, pass, adapter, keep)
    }

    /// What the samples of a pass share: the blocks below `Mode::sample_from_block`, at their mean;
    /// of several members, the embedding alone.
    pub fn trunk(&self, batch: &Batch, pass: &Pass, adapter: Option<&Adapter>) -> Result<Trunk> {
        let mut trunk = self.embed(batch)?;
        let is_shared = adapter.is_none_or(|adapter| adapter.parameters().members() == 1);
        let shared = pass.mode.sample_from_block.min(self.blocks.len());
        let shared = if is_shared { shared } else { 0 };
        if shared == 0 {
            return Ok(trunk);
        }
        let mean = BatchCopy {
            prompts: 0..batch.len(),
            ..pass.copies[0].clone()
        };
        let mean = Pass::new(batch, vec![mean], pass.mode, pass.abort.clone());
        for block in &self.blocks[..shared] {
            let of = (&mean, adapter);
            trunk.x = block.forward(&trunk.x, &self.tables, of, false)?.0;
        }
        trunk.blocks = shared;
        Ok(trunk)
    }

    /// The embedding alone.
    fn embed(&self, batch: &Batch) -> Result<Trunk> {
        self.check_lengths(batch)?;
        let x = embedding::gather(&self.embedding, batch.ids())?;
        let bad = read(&x)?.iter().position(|value| !value.is_finite());
        if let Some(at) = bad {
            let token = batch.ids()[at / self.config.hidden_size];
            return Err(Error::NotFinite {
                step: 0,
                what: "a value",
                layer: format!("model.embed_tokens.weight, row of token {token}"),
            });
        }
        Ok(Trunk { x, blocks: 0 })
    }

    /// [`Self::forward`] from a trunk of the same batch, which several passes may share.
    pub fn forward_above(
        &self,
        trunk: &Trunk,
        batch: &Batch,
        pass: &Pass,
        adapter: Option<&Adapter>,
        keep: bool,
    ) -> Result<(Vec<f32>, Option<DecoderKept>)> {
        let mut kept = Vec::new();
        let mut x = copied(trunk, batch, pass)?;
        let of = (pass, adapter);
        // The last blocks are the first to be walked back through, and make room.
        let mut budget = pass.mode.kept_bytes.unwrap_or(usize::MAX);
        let fits = |block: &&Block| {
            let left = budget.checked_sub(block.kept_bytes(of));
            budget = left.unwrap_or(0);
            left.is_some()
        };
        let whole = if keep {
            self.blocks.iter().rev().take_while(fits).count()
        } else {
            0
        };
        for block in &self.blocks[trunk.blocks..] {
            let is_whole = self.blocks.len() - block.index <= whole;
            let (y, block_kept) = block.forward(&x, &self.tables, of, is_whole)?;
            if keep {
                kept.push(match block_kept {
                    Some(kept) => Record::Whole(Box::new(kept)),
                    None => Record::Input(x),
                });
            }
            x = y;
        }
        let normed = rms_norm::forward(&self.norm, &x)?;
        check_finite(pass, &normed, || "model.norm".into())?;
        let (logits, head) =
            self.head
                .forward(&normed, &self.head_weight, batch, (pass, adapter))?;
        if logits.iter().any(|logit| !logit.is_finite()) {
            return Err(Error::NotFinite {
                step: 0,
                what: "a value",
                layer: "lm_head".into(),
            });
        }
        let kept = keep.then_some(DecoderKept {
            blocks: kept,
            stream: x,
            head,
        });
        Ok((logits, kept))
    }

    /// Adds the adapter's gradients of dL/dlogits, (copies·S).
    pub fn backward(
        &self,
        mut kept: DecoderKept,
        dlogits: &[f32],
        batch: &Batch,
        (pass, adapter): (&Pass, &Adapter),
        gradients: &mut Parameters,
    ) -> Result<()> {
        let dnormed = self.head.backward(
            &kept.head,
            dlogits,
            &self.head_weight,
            batch,
            (pass, adapter),
            gradients,
        )?;
        let first = adapter.first_block();
        let zeros = dnormed.zeros_like()?;
        let mut dx = rms_norm::backward(&self.norm, &kept.stream, &dnormed, &zeros)?;
        for block in self.blocks.iter().skip(first).rev() {
            let block_kept = match kept.blocks.pop() {
                Some(Record::Whole(kept)) => Some(*kept),
                // The noise is a function of who asks, so a second pass sees what the first one saw.
                Some(Record::Input(x)) => {
                    let of = (pass, Some(adapter));
                    block.forward(&x, &self.tables, of, true)?.1
                }
                None => None,
            };
            let Some(block_kept) = block_kept else { break };
            let want_dx = block.index > first;
            match block.backward(
                &block_kept,
                &dx,
                &self.tables,
                (pass, adapter),
                gradients,
                want_dx,
            )? {
                Some(below) => dx = below,
                None => break,
            }
        }
        Ok(())
    }

    fn check_lengths(&self, batch: &Batch) -> Result<()> {
        let longest = (0..batch.len())
            .map(|b| batch.prompt(b).len())
            .max()
            .unwrap_or(0);
        let limit = self.config.max_position_embeddings;
        if longest > limit {
            let ends = self.config.context_end.as_ref();
            let why = ends.map_or_else(String::new, |kind| {
                format!(", where {kind} begins, which is not computed")
            });
            return Err(Error::InvalidInput(format!(
                "prompts must fit the model's context of {limit} tokens{why}, got {longest}"
            )));
        }
        let vocabulary = self.config.vocab_size;
        match batch
            .answers()
            .iter()
            .find(|&&answer| answer as usize >= vocabulary)
        {
            Some(answer) => Err(Error::InvalidInput(format!(
                "class tokens must be below the vocabulary size {vocabulary}, got {answer}"
            ))),
            None => Ok(()),
        }
    }
}

fn linears(mut load: impl FnMut(Module) -> Result<FrozenLinear>) -> Result<[FrozenLinear; 7]> {
    Ok([
        load(Module::Q)?,
        load(Module::K)?,
        load(Module::V)?,
        load(Module::O)?,
        load(Module::Gate)?,
        load(Module::Up)?,
        load(Module::Down)?,
    ])
}

/// The rows that each copy sees of a trunk of all prompts: of their tokens, or of the prompts when
/// the trunk ends with the last block.
fn copied(trunk: &Trunk, batch: &Batch, pass: &Pass) -> Result<Tensor> {
    let (rows, d) = trunk.x.dims2()?;
    let rows_of = |copy: &BatchCopy| {
        if rows == batch.len() {
            copy.prompts.clone()
        } else {
            copy.tokens(batch)
        }
    };
    if let [copy] = pass.copies.as_slice()
        && copy.prompts == (0..batch.len())
    {
        return Ok(trunk.x.clone());
    }
    let values = read(&trunk.x)?;
    let mut copied = Vec::new();
    for rows in pass.copies.iter().map(rows_of) {
        copied.extend_from_slice(&values[rows.start * d..rows.end * d]);
    }
    let rows = copied.len() / d.max(1);
    wrap(copied, (rows, d))
}
