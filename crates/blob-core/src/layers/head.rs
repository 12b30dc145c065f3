//! Class logits at the last position of each prompt; equations in [`crate::ops::head`].

use super::Adapted;
use crate::Result;
use crate::adapter::{Module, Parameters, Site};
use crate::batch::Batch;
use crate::ops::Tensor;
use crate::ops::head::{Classes, Vocabulary};
use crate::ops::low_rank::{Kept, Term};
use crate::pass::Pass;

/// The head, and its place in the model.
pub struct Head {
    /// Index that follows the last block.
    pub block: usize,
    /// Its weight.
    pub vocabulary: Vocabulary,
}

/// What the backward pass of the head needs.
pub struct HeadKept {
    x: Tensor,
    classes: Classes,
    term: Option<Kept>,
}

impl Head {
    /// Where it sits.
    pub fn site(&self) -> Site {
        Site {
            block: self.block,
            module: Module::LmHead,
        }
    }

    fn term<'a>(&self, of: Adapted<'a>) -> Option<Term<'a>> {
        of.term(self.site(), &of.pass.last_rows)
    }

    /// x (segments, d) → logits (L): for each copy, the classes of each prompt.
    pub fn forward(
        &self,
        x: &Tensor,
        batch: &Batch,
        of: Adapted<'_>,
    ) -> Result<(Tensor, HeadKept)> {
        let classes = classes(of.pass, batch);
        let term = self.term(of);
        let (logits, term) = self.vocabulary.forward(x, &classes, term.as_ref())?;
        let x = x.clone();
        Ok((logits, HeadKept { x, classes, term }))
    }

    /// dL/dx (segments, d) of dL/dlogits; adds the head term's gradients.
    pub fn backward(
        &self,
        kept: &HeadKept,
        dlogits: &Tensor,
        of: Adapted<'_>,
        gradients: &mut Parameters,
    ) -> Result<Tensor> {
        let term = self.term(of);
        let term = term.as_ref().map(|term| (term, kept.term.as_ref()));
        let HeadKept { x, classes, .. } = kept;
        self.vocabulary
            .backward(x, classes, term, dlogits, gradients)
    }
}

/// The classes of every segment's prompt.
fn classes(pass: &Pass, batch: &Batch) -> Classes {
    let mut classes = Classes::default();
    for (segment, &prompt) in pass.prompts.iter().enumerate() {
        let ends = &batch.answer_offsets()[prompt..prompt + 2];
        let tokens = &batch.answers()[ends[0] as usize..ends[1] as usize];
        classes.rows.extend(tokens.iter().map(|_| segment));
        classes.tokens.extend(tokens);
    }
    classes
}
