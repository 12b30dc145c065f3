//! A frozen backbone, read at one position of each prompt.
//!
//! [`Stem`]: tokens (T) → (T, d). [`Stack`]: blocks. [`ReadOut`]: (prompts, d) → class logits. With
//! `Mode::sample_from_block` the blocks below are computed once and their output repeated for every
//! posterior sample.

use std::collections::BTreeMap;

use super::read_out::{ReadOut, ReadOutKept};
use super::stack::{Stack, StackKept};
use super::stem::Stem;
use super::{BackboneConfig, WeightSource, build};
use crate::adapter::{Adapter, LoraConfig, OwnValues, Parameters};
use crate::batch::Batch;
use crate::layers::Adapted;
use crate::ops::dropout::Dropout;
use crate::ops::table::Table;
use crate::ops::{Device, Precision, Tensor, finite, rows};
use crate::pass::{BatchCopy, Pass};
use crate::{Error, Result};

/// The frozen model.
pub struct Backbone {
    config: BackboneConfig,
    stem: Stem,
    stack: Stack,
    read_out: ReadOut,
    /// The head in the file of an encoder.
    base_head: OwnValues,
    precision: Precision,
    device: Device,
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

/// What the backward pass needs.
pub struct BackboneKept {
    stack: StackKept,
    stream: Tensor,
    read_out: ReadOutKept,
}

impl Backbone {
    /// Opens every weight, for the processor's kernels; matrices stay as they are stored.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`, `BPEFT_MODEL_CORRUPT`, and `BPEFT_INVALID_INPUT` for a matrix that
    /// the precision does not fit.
    pub fn load(
        config: BackboneConfig,
        source: &dyn WeightSource,
        precision: Precision,
    ) -> Result<Self> {
        Self::load_on(Device::Cpu, config, source, precision)
    }

    /// [`Self::load`] for a given device.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_on(
        device: Device,
        config: BackboneConfig,
        source: &dyn WeightSource,
        precision: Precision,
    ) -> Result<Self> {
        config.check()?;
        let table = [config.vocab_size, config.hidden_size];
        let words = source.matrix("model.embed_tokens.weight", table)?;
        let words = Table::new(words, device)?;
        let build = build::Build {
            config: &config,
            source,
            precision,
            device,
        };
        Ok(Self {
            stack: build.stack()?,
            read_out: build.read_out(&words)?,
            stem: build.stem(words)?,
            base_head: build.base_head()?,
            precision,
            device,
            config,
        })
    }

    /// A fresh adapter: [`Adapter::new`], with the head of the file where there is one and the
    /// adapter does not ask for another.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`.
    pub fn adapter(&self, config: LoraConfig) -> Result<Adapter> {
        let is_fresh = config.head.is_none_or(|head| head.fresh);
        let mut adapter = Adapter::new(config, &self.config)?;
        if !is_fresh {
            self.give_head(&mut adapter);
        }
        Ok(adapter)
    }

    /// Copies the head of the file into every member of an adapter of as many classes.
    pub fn give_head(&self, adapter: &mut Adapter) {
        for member in 0..adapter.parameters().members() {
            adapter.set_own_layers(member, &self.base_head);
        }
    }

    /// The shape.
    pub fn config(&self) -> &BackboneConfig {
        &self.config
    }

    /// What products round their operands to.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Where it runs.
    pub fn device(&self) -> Device {
        self.device
    }

    /// How many of the blocks' matrices are stored in each type.
    pub fn block_types(&self) -> BTreeMap<&'static str, usize> {
        let mut types = BTreeMap::new();
        for linear in self.stack.linears() {
            *types.entry(linear.weight.type_name()).or_insert(0) += 1;
        }
        types
    }

    /// Bytes of all weights in memory.
    pub fn weight_bytes(&self) -> usize {
        let tensors = self.config.tensors();
        let vectors = tensors.iter().filter(|(_, shape)| shape.len() == 1);
        let vectors: usize = vectors.map(|(_, shape)| 4 * shape[0]).sum();
        let linears: usize = self
            .stack
            .linears()
            .map(|linear| linear.weight.bytes())
            .sum();
        vectors + linears + self.stem.bytes() + self.read_out.bytes()
    }

    /// Class logits (copies·S), sample-major, and what the backward pass needs when `keep`.
    pub fn forward(
        &self,
        batch: &Batch,
        pass: &Pass,
        adapter: Option<&Adapter>,
        keep: bool,
    ) -> Result<(Vec<f32>, Option<BackboneKept>)> {
        let (logits, kept) = self.logits(batch, pass, adapter, keep)?;
        Ok((self.finite(&logits)?, kept))
    }

    /// [`Self::forward`], whose logits stay where they are; in a GPU's memory nobody has looked at
    /// them.
    pub(crate) fn logits(
        &self,
        batch: &Batch,
        pass: &Pass,
        adapter: Option<&Adapter>,
        keep: bool,
    ) -> Result<(Tensor, Option<BackboneKept>)> {
        let trunk = if keep {
            self.embed(batch, pass)?
        } else {
            self.trunk(batch, pass, adapter)?
        };
        self.logits_above(&trunk, batch, pass, adapter, keep)
    }

    /// The host's copy of logits.
    fn finite(&self, logits: &Tensor) -> Result<Vec<f32>> {
        let logits = logits.to_vec()?;
        finite::require(&logits, || self.read_out.path())?;
        Ok(logits)
    }

    /// What the samples of a pass share: the blocks below `Mode::sample_from_block`, at their mean;
    /// of several members, the stem alone.
    pub fn trunk(&self, batch: &Batch, pass: &Pass, adapter: Option<&Adapter>) -> Result<Trunk> {
        let mut trunk = self.embed(batch, pass)?;
        let is_shared = adapter.is_none_or(|adapter| adapter.parameters().members() == 1);
        let shared = pass.mode.sample_from_block.min(self.config.num_layers);
        let shared = if is_shared { shared } else { 0 };
        if shared == 0 {
            return Ok(trunk);
        }
        let mean = BatchCopy {
            prompts: 0..batch.len(),
            ..pass.copies[0].clone()
        };
        let mean = Pass::new(batch, vec![mean], pass.mode, pass.abort.clone());
        let of = Adapted {
            pass: &mean,
            adapter,
        };
        trunk.x = self.stack.forward(trunk.x, 0..shared, of, false)?.0;
        trunk.blocks = shared;
        Ok(trunk)
    }

    /// The stem alone.
    fn embed(&self, batch: &Batch, pass: &Pass) -> Result<Trunk> {
        self.check_lengths(batch)?;
        let x = self.stem.forward(batch, pass.mode.check_finite)?;
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
    ) -> Result<(Vec<f32>, Option<BackboneKept>)> {
        let (logits, kept) = self.logits_above(trunk, batch, pass, adapter, keep)?;
        Ok((self.finite(&logits)?, kept))
    }

    fn logits_above(
        &self,
        trunk: &Trunk,
        batch: &Batch,
        pass: &Pass,
        adapter: Option<&Adapter>,
        keep: bool,
    ) -> Result<(Tensor, Option<BackboneKept>)> {
        let of = Adapted { pass, adapter };
        let mut x = copied(trunk, batch, pass)?;
        // Behind the stem; the slot is one of the head's that no layer has.
        let slot = 8 * self.config.num_layers as u32 + 1;
        if let Some(dropout) = Dropout::at(pass, &pass.all_rows, slot) {
            self.require_encoder()?;
            x = dropout.apply(&x)?;
        }
        let above = trunk.blocks..self.config.num_layers;
        let (stream, stack) = self.stack.forward(x, above, of, keep)?;
        let (logits, read_out) = self.read_out.forward(&stream, batch, of)?;
        let kept = keep.then_some(BackboneKept {
            stack,
            stream,
            read_out,
        });
        Ok((logits, kept))
    }

    /// Adds the adapter's gradients of dL/dlogits, (copies·S).
    pub fn backward(
        &self,
        kept: BackboneKept,
        dlogits: &Tensor,
        pass: &Pass,
        adapter: &Adapter,
        gradients: &mut Parameters,
    ) -> Result<()> {
        let (each, first) = (std::slice::from_ref(dlogits), adapter.first_block());
        self.backward_each(kept, each, pass, adapter, first, gradients)
    }

    /// [`Self::backward`] of several dL/dlogits over one forward pass, block by block: each block
    /// is gone through once for each of them before the block below. Ends above block `first`.
    pub fn backward_each(
        &self,
        kept: BackboneKept,
        dlogits: &[Tensor],
        pass: &Pass,
        adapter: &Adapter,
        first: usize,
        gradients: &mut Parameters,
    ) -> Result<()> {
        let of = Adapted {
            pass,
            adapter: Some(adapter),
        };
        let mut dxs = Vec::with_capacity(dlogits.len());
        for dlogits in dlogits {
            let read = (&kept.stream, dlogits);
            let dx = self
                .read_out
                .backward(&kept.read_out, read, of, gradients)?;
            dxs.push(dx);
        }
        self.stack.backward(kept.stack, dxs, of, first, gradients)
    }

    fn require_encoder(&self) -> Result<()> {
        if self.config.encoder.is_some() {
            return Ok(());
        }
        Err(Error::InvalidConfig {
            field: "base_dropout",
            rule: "must be 0 for a decoder, which was trained without",
            value: "above 0".into(),
        })
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
        let beyond = |answer: &&u32| **answer as usize >= vocabulary;
        match batch.answers().iter().find(beyond) {
            _ if self.config.encoder.is_some() => Ok(()), // classes are the adapter's
            Some(answer) => Err(Error::InvalidInput(format!(
                "class tokens must be below the vocabulary size {vocabulary}, got {answer}"
            ))),
            None => Ok(()),
        }
    }
}

/// The rows that each copy sees of a trunk of all prompts: of their tokens, or of the prompts when
/// the trunk ends with the last block.
fn copied(trunk: &Trunk, batch: &Batch, pass: &Pass) -> Result<Tensor> {
    if let [copy] = pass.copies.as_slice()
        && copy.prompts == (0..batch.len())
    {
        return Ok(trunk.x.clone());
    }
    let is_of_prompts = trunk.rows() == batch.len();
    let rows_of = |copy: &BatchCopy| {
        if is_of_prompts {
            copy.prompts.clone()
        } else {
            copy.tokens(batch)
        }
    };
    let ranges: Vec<_> = pass.copies.iter().map(rows_of).collect();
    rows::repeat(&trunk.x, &ranges)
}
