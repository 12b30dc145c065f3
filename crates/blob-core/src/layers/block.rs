//! A block: attention, then an MLP, each between its residual norms.
//!
//! ```text
//! u = residual( x, attention )        y = residual( u, MLP )
//! ```
//!
//! After the last block only the last position of each prompt is read, so there queries, MLP and
//! residual stream are computed for those rows alone; keys and values need all.
//! Shapes: x (n, d); in the last block y is (segments, d).

use super::attention::{AttentionKept, Positioned, Sources};
use super::mlp::{At, MlpKept};
use super::residual::ResidualKept;
use super::{Adapted, Attention, Linear, Mlp, Residual};
use crate::Result;
use crate::adapter::{Module, Parameters, Site};
use crate::ops::Tensor;
use crate::ops::attention::Queries;
use crate::ops::dropout::Dropout;
use crate::ops::rows;
use crate::pass::Pass;

/// The frozen weights of one block.
pub struct Block {
    /// Its index.
    pub index: usize,
    /// The attention; where only last positions have queries, the rest of the block has their rows
    /// alone.
    pub attention: Attention,
    /// Around the attention.
    pub around_attention: Residual,
    /// The MLP.
    pub mlp: Mlp,
    /// Around the MLP.
    pub around_mlp: Residual,
}

/// What the backward pass of a block needs.
pub struct BlockKept {
    x: Tensor,
    u: Tensor,
    attention: AttentionKept,
    around_attention: ResidualKept,
    mlp: MlpKept,
    around_mlp: ResidualKept,
}

impl Block {
    /// All layers, in the order of their sites.
    pub fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.attention.linears().chain(self.mlp.linears())
    }

    /// Bytes that a forward pass keeps for the backward pass.
    pub fn kept_bytes(&self, of: Adapted<'_>) -> usize {
        let d = self.attention.o.width();
        // x and u beside what the parts keep.
        let row = 2 * d + self.attention.kept_values() + self.mlp.kept_values(self.at(of));
        4 * row * of.pass.all_rows.ids.len()
    }

    /// (n, d) → (n, d), or (segments, d) in the last block; and what the backward pass needs when
    /// `keep`.
    pub fn forward(
        &self,
        x: &Tensor,
        at: Positioned<'_>,
        keep: bool,
    ) -> Result<(Tensor, Option<BlockKept>)> {
        let of = at.of;
        let (first, second) = (&self.around_attention, &self.around_mlp);
        let stream = self.of_queries(x, of.pass)?;
        let sources = Sources {
            all: first.source(x),
            of_queries: first.source(&stream),
        };
        let [of_first, of_second] = self.dropouts(of.pass);
        let addend = first.addend(&stream, of_first);
        let (part, attention) = self.attention.forward(sources, addend, at, keep)?;
        let (u, around_attention) = first.forward(part, &stream, of_first)?;
        let (source, addend) = (second.source(&u), second.addend(&u, of_second));
        let (part, mlp) = self.mlp.forward(source, addend, self.at(of), keep)?;
        let (y, around_mlp) = second.forward(part, &u, of_second)?;
        let kept = attention.zip(mlp).map(|(attention, mlp)| BlockKept {
            x: x.clone(),
            u,
            attention,
            around_attention,
            mlp,
            around_mlp,
        });
        Ok((y, kept))
    }

    /// dL/dx (n, d) of dL/dy, or `None` where nothing below is trained; adds the terms' gradients.
    pub fn backward(
        &self,
        kept: &BlockKept,
        dy: &Tensor,
        positioned: Positioned<'_>,
        want_dx: bool,
        gradients: &mut Parameters,
    ) -> Result<Option<Tensor>> {
        let of = positioned.of;
        let (first, second) = (&self.around_attention, &self.around_mlp);
        let BlockKept { x, u, .. } = kept;
        let mut layers = self.attention.linears();
        let is_read = layers.any(|layer| of.adapts(layer));
        let below_mlp = want_dx || is_read;
        let [of_first, of_second] = self.dropouts(of.pass);
        let (dpart, beside) = second.backward(&kept.around_mlp, dy, of_second)?;
        let read = (second.source(u), &dpart);
        let (mlp, at) = (&kept.mlp, self.at(of));
        let Some(dsource) = self.mlp.backward(mlp, read, at, below_mlp, gradients)? else {
            return Ok(None);
        };
        let du = second.join(u, &dsource, &beside)?;
        let (dpart, beside) = first.backward(&kept.around_attention, &du, of_first)?;
        let stream = self.of_queries(x, of.pass)?;
        let sources = Sources {
            all: first.source(x),
            of_queries: first.source(&stream),
        };
        let (attention, read) = (&kept.attention, (sources, &dpart));
        let dsource = self
            .attention
            .backward(attention, read, positioned, want_dx, gradients)?;
        let Some(dsource) = dsource.filter(|_| want_dx) else {
            return Ok(None);
        };
        let beside = match self.attention.queries {
            Queries::Every => beside,
            Queries::Last => rows::scatter(&beside, &of.pass.last, x.dim(0)?)?,
        };
        Ok(Some(first.join(x, &dsource, &beside)?))
    }

    /// Of what attention and MLP give.
    fn dropouts<'a>(&self, pass: &'a Pass) -> [Option<Dropout<'a>>; 2] {
        let rows = self.attention.rows_of_queries(pass);
        let slot = |module| {
            let site = Site {
                block: self.index,
                module,
            };
            (rows, site.slot())
        };
        let first = self.around_attention.dropout(pass, slot(Module::O));
        [first, self.around_mlp.dropout(pass, slot(Module::Down))]
    }

    /// The rows of x that the residual stream goes on with.
    fn of_queries(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        match self.attention.queries {
            Queries::Every => Ok(x.clone()),
            Queries::Last => rows::gather(x, &pass.last),
        }
    }

    fn at<'a>(&self, of: Adapted<'a>) -> At<'a> {
        let rows = self.attention.rows_of_queries(of.pass);
        At { rows, of }
    }
}
