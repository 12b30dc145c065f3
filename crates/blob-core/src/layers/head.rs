//! Class logits: the answer rows of the vocabulary head, at the last position of each prompt.
//!
//! ```text
//! logit_j = x·W_aⱼ + s·h·B_aⱼ         aⱼ the token of class j, h as in `ops::low_rank`
//! ```
//!
//! Exact: the other rows of the head never reach the loss, and their rows of `B` keep a zero gradient.
//! Shapes: x (segments, d), W (V, d), B (V, r); logits (Σ classes), segment by segment.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::Tensor;

use crate::Result;
use crate::adapter::{Adapter, Module, Parameters, Site};
use crate::batch::Batch;
use crate::kernels::cpu::low_rank::dot;
use crate::ops::low_rank::{Kept, Term};
use crate::ops::{read, wrap};
use crate::pass::Pass;
use crate::weights::StoredMatrix;

/// The head's place in the decoder.
pub struct Head {
    /// Index that follows the last block.
    pub block: usize,
}

/// What the backward pass of the head needs.
pub struct HeadKept {
    x: Tensor,
    term: Option<Kept>,
}

impl Head {
    fn term<'a>(&self, pass: &'a Pass, adapter: Option<&'a Adapter>) -> Option<Term<'a>> {
        let site = Site {
            block: self.block,
            module: Module::LmHead,
        };
        Term::at(adapter?, site, &pass.last_rows, pass)
    }

    /// x (copies·B, d) → logits (copies·S): for each copy, the classes of each prompt.
    pub fn forward(
        &self,
        x: &Tensor,
        weight: &StoredMatrix,
        batch: &Batch,
        (pass, adapter): (&Pass, Option<&Adapter>),
    ) -> Result<(Vec<f32>, HeadKept)> {
        let values = read(x)?;
        let weights = answer_rows(weight, batch);
        let d = x.dim(1)?;
        let term = self.term(pass, adapter);
        let kept = term.as_ref().map(|term| term.down(&values));
        let mut logits = Vec::with_capacity(pass.copies.len() * batch.answers().len());
        for (segment, &prompt) in pass.prompts.iter().enumerate() {
            let row = &values[segment * d..(segment + 1) * d];
            for &answer in classes(batch, prompt) {
                let mut logit = dot(row, &weights[&answer]);
                let answer = answer as usize;
                if let (Some(term), Some(kept)) = (&term, &kept) {
                    let (r, b) = (term.rank(), term.factors_of(segment).b);
                    let h = &term.h(kept)[segment * r..(segment + 1) * r];
                    logit += term.scaling() * dot(h, &b[answer * r..(answer + 1) * r]);
                }
                logits.push(logit);
            }
        }
        drop(values);
        Ok((
            logits,
            HeadKept {
                x: x.clone(),
                term: kept,
            },
        ))
    }

    /// dL/dx (copies·B, d) of dL/dlogits; adds the head term's gradients.
    pub fn backward(
        &self,
        kept: &HeadKept,
        dlogits: &[f32],
        weight: &StoredMatrix,
        batch: &Batch,
        (pass, adapter): (&Pass, &Adapter),
        gradients: &mut Parameters,
    ) -> Result<Tensor> {
        let values = read(&kept.x)?;
        let weights = answer_rows(weight, batch);
        let (n, d) = kept.x.dims2()?;
        let mut dx = vec![0.0; n * d];
        let term = self.term(pass, Some(adapter));
        let rank = term.as_ref().map_or(0, Term::rank);
        let mut p = vec![0.0; n * rank];
        let mut next = dlogits.iter();
        for (segment, &prompt) in pass.prompts.iter().enumerate() {
            let member = pass.last_rows.group_of(segment).member;
            for (&answer, &dl) in classes(batch, prompt).iter().zip(&mut next) {
                axpy(
                    dl,
                    &weights[&answer],
                    &mut dx[segment * d..(segment + 1) * d],
                );
                let answer = answer as usize;
                if let (Some(term), Some(kept)) = (&term, &kept.term) {
                    let (b, h) = (
                        answer * rank..(answer + 1) * rank,
                        segment * rank..(segment + 1) * rank,
                    );
                    let factor = term.scaling() * dl;
                    let factors = term.factors_of(segment);
                    axpy(factor, &factors.b[b.clone()], &mut p[h.clone()]);
                    if let Some(gradient) = gradients.term_mut(member, term.site) {
                        axpy(factor, &term.h(kept)[h], &mut gradient.b[b]);
                    }
                }
            }
        }
        if let (Some(term), Some(kept)) = (&term, &kept.term) {
            let adjoint = term.down_backward(kept, (&values, p), gradients);
            term.add_adjoint(kept, &adjoint, &mut dx);
        }
        wrap(dx, (n, d))
    }
}

/// The rows of the head that compete somewhere in the batch.
fn answer_rows(weight: &StoredMatrix, batch: &Batch) -> BTreeMap<u32, Vec<f32>> {
    let answers: BTreeSet<u32> = batch.answers().iter().copied().collect();
    let row = |answer: u32| {
        let mut values = vec![0.0; weight.columns()];
        weight.row(answer as usize, &mut values);
        (answer, values)
    };
    answers.into_iter().map(row).collect()
}

fn classes(batch: &Batch, prompt: usize) -> &[u32] {
    &batch.answers()
        [batch.answer_offsets()[prompt] as usize..batch.answer_offsets()[prompt + 1] as usize]
}

fn axpy(factor: f32, x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += factor * x;
    }
}
