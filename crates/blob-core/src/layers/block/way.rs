//! The way back through layers of a block that share an input.

use candle_core::Tensor;

use super::{BlockKept, Terms, check_finite_values};
use crate::Result;
use crate::adapter::{Module, Parameters};
use crate::layers::{InputGradient, Returning};
use crate::ops::read;
use crate::pass::Rows;

/// A layer of the block with its dL/dy and its input, where its term may need that.
pub(super) type Layer<'a> = (Module, &'a Tensor, Option<&'a Tensor>);

/// What the way back needs everywhere.
pub(super) struct Way<'a> {
    pub(super) kept: &'a BlockKept,
    pub(super) terms: Terms<'a>,
    pub(super) gradients: &'a mut Parameters,
}

impl<'a> Way<'a> {
    /// Adds the gradients of layers with one input: of their terms to theirs, and dL/dx to `dx` unless it is unwanted.
    pub(super) fn back(
        &mut self,
        layers: &[Layer<'_>],
        rows: &'a Rows,
        mut dx: Option<&mut InputGradient>,
    ) -> Result<()> {
        let pass = self.terms.pass;
        // Where a culprit is looked for, one by one.
        let together = if pass.mode.check_finite {
            1
        } else {
            layers.len()
        };
        for layers in layers.chunks(together.max(1)) {
            pass.abort.check()?;
            let mut returning = Vec::new();
            for (module, dy, x) in layers {
                let kept = self.kept.term(*module);
                let term = match (self.terms.at(*module, rows), kept, x) {
                    (Some(term), Some(kept), Some(x)) => {
                        let rows = (&*read(x)?, &*read(dy)?);
                        let adjoint = term.backward(kept, rows, self.gradients);
                        Some((term, kept, adjoint))
                    }
                    _ => None,
                };
                let linear = self.terms.block.linear(*module);
                returning.push(Returning { linear, dy, term });
            }
            if let Some(dx) = &mut dx {
                dx.add(&returning)?;
                check_finite_values(pass, dx.values(), || {
                    format!(
                        "the gradient at {}",
                        self.terms.block.site(layers[0].0).path()
                    )
                })?;
            }
        }
        Ok(())
    }
}
