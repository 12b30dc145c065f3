//! What is below the blocks, and what is above them.

use super::Build;
use crate::adapter::{HeadConfig, Module, OwnLayers, OwnValues, Site};
use crate::backbone::read_out::ReadOut;
use crate::backbone::stem::{Learned, Stem};
use crate::backbone::{EncoderConfig, Positions};
use crate::layers::{ClassHead, Head, Linear};
use crate::ops::Precision;
use crate::ops::embedding::Embedding;
use crate::ops::head::Vocabulary;
use crate::ops::linear::Weight;
use crate::ops::table::Table;
use crate::weights::StoredMatrix;
use crate::{Error, Result};

impl Build<'_> {
    /// What is below the blocks.
    pub(in crate::backbone) fn stem(&self, words: Table) -> Result<Stem> {
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

    /// Tables and norm of an encoder's.
    fn learned(&self, encoder: &EncoderConfig) -> Result<Learned> {
        let d = self.config.hidden_size;
        let table = |name: &str, rows: usize| {
            let table = self.source.tensor(name, &[rows, d])?;
            let table = Table::new(StoredMatrix::from_tensor(&table)?, self.device)?;
            Ok::<_, Error>(Embedding::new(table))
        };
        let positions = match encoder.positions {
            Positions::Learned => {
                let rows = self.config.max_position_embeddings + encoder.first_position();
                Some(table("model.embed_positions.weight", rows)?)
            }
            Positions::Rotary | Positions::Relative(_) => None,
        };
        let types = match encoder.token_types {
            0 => None,
            rows => Some(table("model.embed_types.weight", rows)?),
        };
        Ok(Learned {
            positions,
            types,
            token_types: encoder.token_types,
            padding: encoder.padding,
            norm: self.norm("model.embed_norm", d)?,
        })
    }

    /// What is above the blocks; `words` is the table of the embedding.
    pub(in crate::backbone) fn read_out(&self, words: &Table) -> Result<ReadOut> {
        let (config, block) = (self.config, self.config.num_layers);
        if let Some(encoder) = &config.encoder {
            let dense = encoder.head.pools.then(|| self.pooler(block)).transpose()?;
            let norm = |name: &str, is_there: bool| {
                let norm = is_there.then(|| self.norm(name, config.hidden_size));
                norm.transpose()
            };
            return Ok(ReadOut::Classes {
                head: Box::new(ClassHead {
                    block,
                    dense,
                    activation: encoder.head_activation,
                    norm: norm("classifier.norm", encoder.head.norms)?,
                    drops_input: encoder.head.drops_input,
                    device: self.device,
                }),
                norm: norm("model.norm", encoder.is_pre_norm)?,
                reading: encoder.keeps_order().then_some(encoder.reading),
            });
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
    pub(in crate::backbone) fn base_head(&self) -> Result<OwnValues> {
        let Some(classes) = self.config.encoder.as_ref().and_then(|of| of.classes) else {
            return Ok(OwnValues::new());
        };
        let head = HeadConfig {
            classes,
            trained: false,
            fresh: false,
        };
        let layers = OwnLayers::of_head(Some(head), self.config).shapes;
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
        let name = format!("{}.weight", site.path());
        let weight = self.source.tensor(&name, &[outputs, inputs])?;
        let weight = StoredMatrix::from_tensor(&weight)?;
        Ok(Linear {
            site,
            weight: Weight::new(weight, Precision::F32, self.device)?,
            bias: self.bias(site, outputs)?,
        })
    }
}
