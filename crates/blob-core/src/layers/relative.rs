//! The distances that an attention reads beside its rows: queries and keys of a table that all
//! blocks share (DeBERTa, arXiv:2006.03654 §3.1).
//!
//! ```text
//! K̂ = K·r + b      Q̂ = Q·r + b      r: a row of the table, normed
//! ```
//!
//! Q and K are the block's own layers, low-rank terms and all, so the distances draw noise as the
//! tokens of a text of their own do; every copy of a batch has its share of rows. Only the rows of
//! distances that occur are computed. Shapes: `C` copies, `w` rows each; K̂ and Q̂ (C·w, H·c).

use super::{Adapted, Linear, QueryKeyValue};
use crate::adapter::Parameters;
use crate::ops::attention::AttentionShape;
use crate::ops::disentangled::{Buckets, Disentangled, OfDistances, Places};
use crate::ops::linear::{self, Source, Wants};
use crate::ops::low_rank::Kept;
use crate::ops::{Tensor, rows};
use crate::pass::{Pass, Rows};
use crate::{Error, Result};

/// The table of a model.
pub struct DistanceTable {
    /// Which row a distance has.
    pub buckets: Buckets,
    /// Rows, normed; (2·span, d).
    pub table: Tensor,
}

/// What a pass reads of it.
pub struct Distances {
    x: Tensor,
    rows: Rows,
    places: Places,
    /// The first row of each segment's share.
    shares: Vec<u32>,
}

/// What the backward pass needs.
pub(super) struct DistancesKept {
    queries: Tensor,
    keys: Tensor,
    terms: [Option<Kept>; 2],
}

impl DistanceTable {
    /// The rows of every distance in a pass.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when the table is not as long as its buckets say.
    pub fn of(&self, pass: &Pass) -> Result<Distances> {
        let lengths = pass.offsets.windows(2).map(|ends| ends[1] - ends[0]);
        let (places, used) = self.buckets.places(lengths.max().unwrap_or(1) as usize);
        let width = used.len() as u32;
        let mut shares = Vec::with_capacity(pass.prompts.len());
        for (share, copy) in (0_u32..).zip(&pass.copies) {
            shares.extend(copy.prompts.clone().map(|_| share * width));
        }
        Ok(Distances {
            x: rows::repeat(&self.table, &vec![used.clone(); pass.copies.len()])?,
            rows: Rows::of_table(&pass.copies, used),
            places,
            shares,
        })
    }
}

impl Distances {
    /// The operation over them.
    pub(super) fn operation<'a>(
        &'a self,
        shape: &'a AttentionShape,
        pass: &'a Pass,
    ) -> Disentangled<'a> {
        Disentangled {
            shape,
            offsets: &pass.offsets,
            places: &self.places,
            shares: &self.shares,
        }
    }

    /// Q̂ and K̂.
    pub(super) fn forward(&self, of: &QueryKeyValue, at: Adapted<'_>) -> Result<DistancesKept> {
        let layers = layers(of)?.map(|layer| layer.on(&self.rows, at));
        let layers = layers.each_ref();
        let input = linear::input(Source::Rows(&self.x), &layers)?;
        let [(queries, of_q), (keys, of_k)] = linear::forward(layers, &input, at.pass)?;
        Ok(DistancesKept {
            queries,
            keys,
            terms: [of_q, of_k],
        })
    }

    /// Adds the gradients of the terms of Q and K that come by the distances.
    pub(super) fn backward(
        &self,
        of: &QueryKeyValue,
        (kept, [d_queries, d_keys]): (&DistancesKept, [&Tensor; 2]),
        at: Adapted<'_>,
        gradients: &mut Parameters,
    ) -> Result<()> {
        let [queries, keys] = layers(of)?;
        let [of_q, of_k] = kept.terms.each_ref().map(Option::as_ref);
        let returning = [
            queries.returning(&self.rows, at, of_q, d_queries),
            keys.returning(&self.rows, at, of_k, d_keys),
        ];
        let wants = Wants {
            dx: false,
            addend: None,
            pass: at.pass,
        };
        linear::backward(&returning, Source::Rows(&self.x), wants, gradients)?;
        Ok(())
    }
}

impl DistancesKept {
    pub(super) fn operands(&self) -> OfDistances<'_> {
        OfDistances {
            queries: &self.queries,
            keys: &self.keys,
        }
    }
}

fn layers(of: &QueryKeyValue) -> Result<[&Linear; 2]> {
    match of {
        QueryKeyValue::Apart(layers) => Ok([&layers[0], &layers[1]]),
        QueryKeyValue::Fused(..) => Err(Error::InvalidInput(
            "an attention over distances must have layers of its own for queries and keys".into(),
        )),
    }
}
