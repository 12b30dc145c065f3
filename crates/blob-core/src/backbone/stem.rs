//! What is below the blocks: tokens (T) → the residual stream (T, d).
//!
//! ```text
//! decoder   x_t = W[id_t], Gemma's times √d
//! encoder   x_t = norm( W[id_t] + P[position of t] + Y[type of t] )      P, Y where there are such
//! ```
//!
//! An encoder reads its first token, `[CLS]`. Where positions are added here, attention over all
//! sees no order, and the rows of a segment are put in the order *second token to last, then the
//! first*: so what reads the last row of each prompt reads `[CLS]`. RoBERTa's positions begin after
//! its padding token's index, which a padding token itself has.

use crate::batch::Batch;
use crate::ops::embedding::Embedding;
use crate::ops::norm::Norm;
use crate::ops::{Tensor, finite, rows};
use crate::{Error, Result};

/// The tables.
pub(super) struct Stem {
    pub(super) words: Embedding,
    pub(super) learned: Option<Learned>,
}

/// What an encoder adds.
pub(super) struct Learned {
    /// `None`: the rows stay in order.
    pub(super) positions: Option<Embedding>,
    pub(super) types: Option<Embedding>,
    /// Rows of the table of types.
    pub(super) token_types: usize,
    pub(super) padding: Option<u32>,
    pub(super) norm: Norm,
}

impl Stem {
    /// Bytes of the tables.
    pub(super) fn bytes(&self) -> usize {
        let learned = self.learned.as_ref().map_or(0, |learned| {
            let tables = [&learned.positions, &learned.types].into_iter().flatten();
            tables.map(Embedding::bytes).sum()
        });
        self.words.bytes() + learned
    }

    /// (T, d); `check` as in [`finite::require_rows`].
    pub(super) fn forward(&self, batch: &Batch, check: bool) -> Result<Tensor> {
        let Some(learned) = &self.learned else {
            if batch.types().iter().any(|&kind| kind != 0) {
                return Err(Error::InvalidInput(
                    "token types must be 0 in a batch of a decoder".into(),
                ));
            }
            return self.words(batch.ids(), check);
        };
        let ids = learned.ordered(batch, batch.ids());
        let mut x = self.words(&ids, check)?;
        if let Some(table) = &learned.positions {
            let positions = learned.ordered(batch, &learned.positions_of(batch));
            x = rows::sum(&x, &table.forward(&positions)?)?;
        }
        // Without a table types say nothing: a tokenizer gives them all the same.
        let Some(table) = &learned.types else {
            return learned.norm.forward(&x);
        };
        let types = learned.ordered(batch, batch.types());
        if let Some(kind) = types
            .iter()
            .find(|&&kind| kind as usize >= learned.token_types)
        {
            return Err(Error::InvalidInput(format!(
                "token types must be below the model's {}, got {kind}",
                learned.token_types
            )));
        }
        x = rows::sum(&x, &table.forward(&types)?)?;
        learned.norm.forward(&x)
    }

    fn words(&self, ids: &[u32], check: bool) -> Result<Tensor> {
        let x = self.words.forward(ids)?;
        finite::require_rows(&x, check, |row| {
            let token = ids[row];
            format!("model.embed_tokens.weight, row of token {token}")
        })?;
        Ok(x)
    }
}

impl Learned {
    /// The row of each token in the table of positions, (T).
    fn positions_of(&self, batch: &Batch) -> Vec<u32> {
        let mut positions = Vec::with_capacity(batch.ids().len());
        for prompt in 0..batch.len() {
            let mut next = self.padding.map_or(0, |padding| padding + 1);
            positions.extend(batch.prompt(prompt).iter().map(|&id| {
                if self.padding == Some(id) {
                    return id;
                }
                next += 1;
                next - 1
            }));
        }
        positions
    }

    /// Values of the tokens in the order of the rows: with each prompt's first put last, unless
    /// they stay in order.
    fn ordered(&self, batch: &Batch, values: &[u32]) -> Vec<u32> {
        let mut values = values.to_vec();
        if self.positions.is_some() {
            for ends in batch.offsets().windows(2) {
                values[ends[0] as usize..ends[1] as usize].rotate_left(1);
            }
        }
        values
    }
}
