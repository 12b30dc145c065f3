//! What is above the blocks: the read row of each prompt (segments, d) → class logits.

use super::Reading;
use crate::adapter::Parameters;
use crate::batch::Batch;
use crate::layers::{Adapted, ClassHead, ClassHeadKept, Head, HeadKept};
use crate::ops::norm::Norm;
use crate::ops::{Tensor, finite, segments, soft_cap};
use crate::{Error, Result};

/// A decoder's, or an encoder's.
pub(super) enum ReadOut {
    /// A norm, and the class tokens' rows of the vocabulary.
    Vocabulary {
        norm: Norm,
        head: Head,
        /// Whether the head's weight is the embedding.
        is_tied: bool,
        /// What the logits stay below.
        cap: Option<f32>,
    },
    /// Two layers.
    Classes {
        head: Box<ClassHead>,
        /// Of every row, behind the last block.
        norm: Option<Norm>,
        /// What is read of a segment; `None` where the stream has one row of each.
        reading: Option<Reading>,
    },
}

/// What the backward pass needs.
pub(super) enum ReadOutKept {
    Vocabulary {
        head: Box<HeadKept>,
        /// Logits under the cap, where there is one.
        capped: Option<Tensor>,
    },
    Classes(Box<ClassHeadKept>),
}

impl ReadOut {
    /// Bytes of the matrices that nothing else counts.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Vocabulary { is_tied: true, .. } => 0,
            Self::Vocabulary { head, .. } => head.vocabulary.bytes(),
            Self::Classes { head, .. } => {
                head.dense.as_ref().map_or(0, |dense| dense.weight.bytes())
            }
        }
    }

    /// Where the logits are made, as errors name it.
    pub(super) fn path(&self) -> String {
        let site = match self {
            Self::Vocabulary { head, .. } => head.site(),
            Self::Classes { head, .. } => head.site(),
        };
        site.path()
    }

    /// Logits (L) of the stream, (segments, d) or (n, d): for each copy, each prompt's classes.
    pub(super) fn forward(
        &self,
        stream: &Tensor,
        batch: &Batch,
        of: Adapted<'_>,
    ) -> Result<(Tensor, ReadOutKept)> {
        match self {
            Self::Vocabulary {
                norm, head, cap, ..
            } => {
                let normed = norm.forward(stream)?;
                finite::check(of.pass, &normed, || "model.norm".into())?;
                let (logits, kept) = head.forward(&normed, batch, of)?;
                finite::require_leaving(of.pass, &logits, || self.path())?;
                let capped = cap.map(|cap| soft_cap::forward(cap, &logits)).transpose()?;
                let logits = capped.clone().unwrap_or(logits);
                let head = Box::new(kept);
                Ok((logits, ReadOutKept::Vocabulary { head, capped }))
            }
            Self::Classes {
                head,
                norm,
                reading,
            } => {
                let normed = match norm {
                    Some(norm) => norm.forward(stream)?,
                    None => stream.clone(),
                };
                let offsets = &of.pass.offsets;
                let x = match reading {
                    None => normed,
                    Some(Reading::First) => segments::first(&normed, offsets)?,
                    Some(Reading::Mean) => segments::mean(&normed, offsets)?,
                };
                let (logits, kept) = head.forward(&x, batch, of)?;
                finite::require_leaving(of.pass, &logits, || self.path())?;
                Ok((logits, ReadOutKept::Classes(Box::new(kept))))
            }
        }
    }

    /// dL/d(stream) of dL/dlogits; adds the head's gradients.
    pub(super) fn backward(
        &self,
        kept: &ReadOutKept,
        (stream, dlogits): (&Tensor, &Tensor),
        of: Adapted<'_>,
        gradients: &mut Parameters,
    ) -> Result<Tensor> {
        match (self, kept) {
            (
                Self::Vocabulary {
                    norm, head, cap, ..
                },
                ReadOutKept::Vocabulary { head: kept, capped },
            ) => {
                let uncapped = cap.zip(capped.as_ref());
                let uncapped = uncapped.map(|(cap, y)| soft_cap::backward(cap, y, dlogits));
                let uncapped = uncapped.transpose()?;
                let dlogits = uncapped.as_ref().unwrap_or(dlogits);
                let dnormed = head.backward(kept, dlogits, of, gradients)?;
                norm.backward(stream, &dnormed, None)
            }
            (
                Self::Classes {
                    head,
                    norm,
                    reading,
                },
                ReadOutKept::Classes(kept),
            ) => {
                let dx = head.backward(kept, dlogits, of, gradients)?;
                let offsets = &of.pass.offsets;
                let dnormed = match reading {
                    None => dx,
                    Some(Reading::First) => segments::first_back(&dx, offsets)?,
                    Some(Reading::Mean) => segments::mean_back(&dx, offsets)?,
                };
                match norm {
                    Some(norm) => norm.backward(stream, &dnormed, None),
                    None => Ok(dnormed),
                }
            }
            _ => Err(Error::InvalidInput(
                "a read-out must be given what its own forward pass kept, got another kind's"
                    .into(),
            )),
        }
    }
}
