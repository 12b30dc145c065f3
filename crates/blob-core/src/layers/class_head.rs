//! The classification head of an encoder: two layers on the row that is read of each prompt.
//!
//! ```text
//! z = V·norm(s(W·x + b)) + c
//! s: tanh (BERT, RoBERTa), ReLU (DistilBERT) or GELU (ModernBERT, DeBERTa); a norm in ModernBERT
//! ```
//!
//! V and c are the adapter's, and so are W and b unless they are the base's own (BERT's pooler,
//! ModernBERT's head of the pre-training).
//! Shapes: x (segments, d), z (segments, C); C is the adapter's number of classes.

use super::{Adapted, Linear};
use crate::adapter::{Module, Parameters, Site};
use crate::batch::Batch;
use crate::ops::affine::Affine;
use crate::ops::dropout::Dropout;
use crate::ops::head_activation::HeadActivation;
use crate::ops::linear::{self, Source, Wants};
use crate::ops::low_rank::Kept;
use crate::ops::norm::Norm;
use crate::ops::rows::{self, Place};
use crate::ops::{Device, Tensor};
use crate::{Error, Result};

/// The head, and its place in the model.
pub struct ClassHead {
    /// Index that follows the last block.
    pub block: usize,
    /// W and b of the base.
    pub dense: Option<Linear>,
    /// s.
    pub activation: HeadActivation,
    /// Of what s gives.
    pub norm: Option<Norm>,
    /// Whether the base was trained with dropout of what W reads, beside that of what V reads.
    pub drops_input: bool,
    /// Where the adapter's layers run.
    pub device: Device,
}

/// What the backward pass of the head needs.
pub struct ClassHeadKept {
    x: Tensor,
    /// Before s, (segments, d).
    inner: Tensor,
    /// After s.
    activated: Tensor,
    /// What V reads.
    hidden: Tensor,
    /// Of the terms of both layers.
    terms: [Option<Kept>; 2],
    /// The row and class of each logit.
    places: Vec<Place>,
}

impl ClassHead {
    /// Where its output sits.
    pub fn site(&self) -> Site {
        self.at(Module::Classifier)
    }

    fn at(&self, module: Module) -> Site {
        Site {
            block: self.block,
            module,
        }
    }

    /// What a layer reads under the base's dropout, where there is such; its own adjoint.
    fn dropped(&self, module: Module, x: &Tensor, of: Adapted<'_>) -> Result<Tensor> {
        let slot = self.at(module).slot();
        let dropout = Dropout::at(of.pass, &of.pass.last_rows, slot);
        match dropout.filter(|_| module == Module::Classifier || self.drops_input) {
            Some(dropout) => dropout.apply(x),
            None => Ok(x.clone()),
        }
    }

    /// The adapter's layer at a site.
    fn layer<'a>(&self, module: Module, of: Adapted<'a>) -> Result<Affine<'a>> {
        let rows = (&of.pass.last_rows, of.pass);
        let layer = of
            .adapter
            .and_then(|adapter| Affine::at(adapter, self.at(module), rows, self.device));
        layer.ok_or_else(|| {
            Error::InvalidInput(
                "an encoder must be given an adapter with a classification head, got none".into(),
            )
        })
    }

    /// x (segments, d) → logits (L): for each copy, the classes of each prompt.
    pub fn forward(
        &self,
        x: &Tensor,
        batch: &Batch,
        of: Adapted<'_>,
    ) -> Result<(Tensor, ClassHeadKept)> {
        let dropped = self.dropped(Module::Dense, x, of)?;
        let read = &dropped;
        let (inner, of_dense) = match &self.dense {
            Some(dense) => {
                let layer = dense.on(&of.pass.last_rows, of);
                let input = linear::input(Source::Rows(read), &[&layer])?;
                let [output] = linear::forward([&layer], &input, of.pass)?;
                output
            }
            None => self.layer(Module::Dense, of)?.forward(read)?,
        };
        let activated = self.activation.forward(&inner)?;
        let hidden = match &self.norm {
            Some(norm) => norm.forward(&activated)?,
            None => activated.clone(),
        };
        let hidden = self.dropped(Module::Classifier, &hidden, of)?;
        let out = self.layer(Module::Classifier, of)?;
        let places = places(batch, of, out.outputs())?;
        let (z, of_out) = out.forward(&hidden)?;
        let logits = rows::pick(&z, &places)?;
        let terms = [of_dense, of_out];
        let kept = ClassHeadKept {
            x: x.clone(),
            inner,
            activated,
            hidden,
            terms,
            places,
        };
        Ok((logits, kept))
    }

    /// dL/dx (segments, d) of dL/dlogits; adds the gradients of the head and of its terms.
    pub fn backward(
        &self,
        kept: &ClassHeadKept,
        dlogits: &Tensor,
        of: Adapted<'_>,
        gradients: &mut Parameters,
    ) -> Result<Tensor> {
        let out = self.layer(Module::Classifier, of)?;
        let dz = rows::put(dlogits, &kept.places, (kept.x.dim(0)?, out.outputs()))?;
        let [of_dense, of_out] = kept.terms.each_ref().map(Option::as_ref);
        let dhidden = out.backward((&kept.hidden, of_out), &dz, gradients)?;
        let dhidden = self.dropped(Module::Classifier, &dhidden, of)?;
        let dactivated = match &self.norm {
            Some(norm) => norm.backward(&kept.activated, &dhidden, None)?,
            None => dhidden,
        };
        let of_activation = (&kept.inner, &kept.activated);
        let dinner = self.activation.backward(of_activation, &dactivated)?;
        let read = &self.dropped(Module::Dense, &kept.x, of)?;
        let Some(dense) = &self.dense else {
            let dense = self.layer(Module::Dense, of)?;
            let dx = dense.backward((read, of_dense), &dinner, gradients)?;
            return self.dropped(Module::Dense, &dx, of);
        };
        let layer = dense.returning(&of.pass.last_rows, of, of_dense, &dinner);
        let wants = Wants {
            dx: true,
            addend: None,
            pass: of.pass,
        };
        let dx = linear::backward(&[layer], Source::Rows(read), wants, gradients)?;
        dx.ok_or_else(|| Error::InvalidInput("the gradient of the head must reach x".into()))
    }
}

/// The row and class of every logit: the classes of every segment's prompt.
fn places(batch: &Batch, of: Adapted<'_>, classes: usize) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    for (segment, &prompt) in of.pass.prompts.iter().enumerate() {
        let ends = &batch.answer_offsets()[prompt..prompt + 2];
        for &class in &batch.answers()[ends[0] as usize..ends[1] as usize] {
            if class as usize >= classes {
                return Err(Error::InvalidInput(format!(
                    "classes must be below the head's {classes}, got {class}"
                )));
            }
            places.push(Place {
                row: segment,
                column: class as usize,
            });
        }
    }
    Ok(places)
}
