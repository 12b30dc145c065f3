//! The Gaussian over a prompt's logits that a Gaussian over the weights gives, linearised in them.
//!
//! ```text
//! f(x) ~ N(f_θ*(x), Λ)      Λ_cc' = Σ_blocks ⟨J_c, (F + λI)⁻¹ J_c'⟩    J_c = Σ_t g_tcᵀ a_t (o, i)
//! P_c,ij = q_jᵀ J_c v_i   Λ_cc' = Σ_ij P_c,ij P_c',ij/(l_i s_j + λ) + (⟨J_c, J_c'⟩ − Σ_ij P P')/λ
//! ```
//!
//! Foong et al., arXiv:1906.11537; Immer et al., arXiv:2008.08216. The last term is what lies
//! outside of the directions that are kept, where the prior alone speaks. J_c is a backward pass of
//! e_c, and one matrix of all classes is in memory at a time; Λ of any number of λ comes from one
//! pass over a batch.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::Curvature;
use super::jacobians::Jacobians;
use crate::abort::Abort;
use crate::adapter::Adapter;
use crate::backbone::Backbone;
use crate::batch::Batch;
use crate::noise::{Phase, Stream};
use crate::observer::Watch;
use crate::ops::Tensor;
use crate::pass::{BatchCopy, Mode, Pass};
use crate::{Error, Result};

/// Bytes of the Jacobians of one matrix at a time; fewer prompts are taken together for them.
const JACOBIAN_BYTES: usize = 256 << 20;

/// Most bytes of activations to keep; more are computed again.
pub const KEPT_BYTES: usize = 512 << 20;

/// Logits of a batch's prompts.
#[derive(Debug, Clone, PartialEq)]
pub struct Linearised {
    /// f_θ*, (S).
    pub mean: Vec<f32>,
    /// Λ of each λ, of each prompt with C classes (C, C).
    pub covariances: Vec<Vec<Vec<f64>>>,
}

/// What answers are linearised for.
#[derive(Clone, Copy)]
pub struct Linearisation<'a> {
    /// The prompts.
    pub batch: &'a Batch,
    /// λ, at least one.
    pub precisions: &'a [f64],
    /// Layers of earlier blocks stay at their mean.
    pub from_block: usize,
}

impl Curvature {
    /// Of a batch, for each precision.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG` for a precision that is not positive, `BPEFT_INVALID_INPUT` for a
    /// batch that does not fit the model, `BPEFT_NOT_FINITE`, `BPEFT_ABORTED`.
    pub fn linearise(
        self: &Arc<Self>,
        backbone: &Backbone,
        adapter: &Adapter,
        of: Linearisation<'_>,
        abort: &Abort,
    ) -> Result<Linearised> {
        let Linearisation {
            batch, precisions, ..
        } = of;
        precisions
            .iter()
            .try_for_each(|&precision| super::evidence::check_precision(precision))?;
        if precisions.is_empty() {
            return Err(Error::InvalidInput(
                "answers must be asked for under at least one precision, got 0".into(),
            ));
        }
        let classes = most_classes(batch, 0..batch.len());
        let largest = self
            .matrices
            .values()
            .map(|matrix| matrix.output.width().min(1 << 16) * matrix.input.width())
            .max()
            .unwrap_or(1);
        let at_once = JACOBIAN_BYTES / (size_of::<f32>() * classes * largest.max(1));
        let mut all = Linearised {
            mean: Vec::new(),
            covariances: vec![Vec::new(); precisions.len()],
        };
        let prompts: Vec<usize> = (0..batch.len()).collect();
        for part in prompts.chunks(at_once.max(1)) {
            let part = part[0]..part[0] + part.len();
            let found = self.linearise_part(backbone, adapter, of, part, abort)?;
            all.mean.extend(found.mean);
            for (all, found) in all.covariances.iter_mut().zip(found.covariances) {
                all.extend(found);
            }
        }
        Ok(all)
    }

    fn linearise_part(
        self: &Arc<Self>,
        backbone: &Backbone,
        adapter: &Adapter,
        of: Linearisation<'_>,
        prompts: Range<usize>,
        abort: &Abort,
    ) -> Result<Linearised> {
        let Linearisation {
            batch,
            precisions,
            from_block,
        } = of;
        let classes = most_classes(batch, prompts.clone());
        let curvature = Arc::clone(self);
        let shape = (prompts.len(), classes);
        let jacobians = Jacobians::new(curvature, (precisions, from_block), shape);
        let jacobians = Arc::new(Mutex::new(jacobians));
        let first = self.first_block().max(from_block);
        let above_all = first == backbone.config().num_layers;
        let mode = Mode {
            kept_bytes: Some(if above_all { 0 } else { KEPT_BYTES }),
            ..Mode::MEAN
        };
        let copy = BatchCopy {
            prompts: prompts.clone(),
            ..BatchCopy::whole(batch, Stream::new(0, 0, Phase::Evaluation), 0)
        };
        let pass = Pass::new(batch, vec![copy], mode, abort.clone());
        let pass = pass.watched(Watch::by(&jacobians));
        let (mean, kept) = backbone.forward(batch, &pass, Some(adapter), true)?;
        let bounds: Vec<Range<usize>> = segments(batch, prompts);
        let units: Vec<_> = (0..classes)
            .map(|class| {
                let mut unit = vec![0.0; mean.len()];
                for bounds in bounds.iter().filter(|bounds| class < bounds.len()) {
                    unit[bounds.start + class] = 1.0;
                }
                Tensor::vector(unit)
            })
            .collect::<Result<_>>()?;
        if let Some(kept) = kept {
            let mut gradients = adapter.parameters().zeros_like();
            backbone.backward_each(kept, &units, &pass, adapter, first, &mut gradients)?;
        }
        let found = jacobians.lock().unwrap_or_else(PoisonError::into_inner);
        let of_precision = |index: usize| {
            let trimmed = |(prompt, bounds): (usize, &Range<usize>)| {
                let all = found.covariance(prompt, index);
                let rows = all.chunks_exact(classes).take(bounds.len());
                rows.flat_map(|row| row[..bounds.len()].to_vec()).collect()
            };
            bounds
                .iter()
                .enumerate()
                .map(trimmed)
                .collect::<Vec<Vec<f64>>>()
        };
        let covariances: Vec<_> = (0..precisions.len()).map(of_precision).collect();
        if covariances
            .iter()
            .flatten()
            .flatten()
            .all(|value| value.is_finite())
        {
            return Ok(Linearised { mean, covariances });
        }
        Err(Error::NotFinite {
            step: 0,
            what: "a value",
            layer: "the covariance of the logits".into(),
        })
    }
}

/// Where the classes of each prompt lie among the logits of these prompts.
fn segments(batch: &Batch, prompts: Range<usize>) -> Vec<Range<usize>> {
    let ends = &batch.answer_offsets()[prompts.start..=prompts.end];
    let first = ends[0];
    let bound = |end: u32| (end - first) as usize;
    ends.windows(2)
        .map(|ends| bound(ends[0])..bound(ends[1]))
        .collect()
}

fn most_classes(batch: &Batch, prompts: Range<usize>) -> usize {
    let segments = segments(batch, prompts).into_iter();
    segments.map(|bounds| bounds.len()).max().unwrap_or(1)
}
