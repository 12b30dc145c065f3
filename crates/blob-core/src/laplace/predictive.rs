//! Answers of an adapter with a curvature.

use std::ops::Range;

use super::link::{bridge, drawn, probit, root};
use super::{Fitted, Laplace, Linearisation, Linearised, Link};
use crate::abort::Abort;
use crate::adapter::Adapter;
use crate::backbone::Backbone;
use crate::batch::Batch;
use crate::noise::{NoiseKey, Phase, Purpose, Stream};
use crate::pass::Mode;
use crate::{Error, Result};

/// What is asked of the Gaussian over the logits.
pub(crate) struct Asked {
    pub(crate) link: Link,
    /// Of [`Link::Sample`].
    pub(crate) draws: Range<u32>,
    /// Of its pairs.
    pub(crate) mode: Mode,
    pub(crate) seed: u64,
}

/// Logits (N·S) of draws; in closed form (S) the logarithms of the probabilities.
///
/// # Errors
/// As [`super::Curvature::linearise`].
pub(crate) fn predictive(
    laplace: &Laplace,
    (backbone, adapter): (&Backbone, &Adapter),
    batch: &Batch,
    asked: &Asked,
    abort: &Abort,
) -> Result<Vec<f32>> {
    let precisions = [laplace.precision];
    let of = Linearisation {
        batch,
        precisions: &precisions,
        from_block: asked.mode.sample_from_block,
    };
    let found = laplace.curvature.linearise(backbone, adapter, of, abort)?;
    let prompts = || each(batch, &found, 0);
    let in_closed_form = |form: fn(&[f32], &[f64]) -> Vec<f64>| {
        let probabilities = prompts().flat_map(|(mean, covariance)| form(mean, covariance));
        probabilities
            .map(|p| p.max(f64::MIN_POSITIVE).ln() as f32)
            .collect()
    };
    Ok(match asked.link {
        Link::Probit => in_closed_form(probit),
        Link::Bridge => in_closed_form(bridge),
        Link::Sample => {
            let roots: Vec<_> = prompts()
                .map(|(mean, covariance)| root(covariance, mean.len()))
                .collect();
            let stream = Stream::new(asked.seed, 0, Phase::Evaluation);
            let draw = |sample: u32| {
                let (sample, sign) = asked.mode.draw_of(sample);
                let key = NoiseKey {
                    slot: 0,
                    purpose: Purpose::Logits,
                    sample,
                };
                let of_prompt = |((mean, _), (root, &row)): ((&[f32], _), (&Vec<f64>, &u32))| {
                    let mut z = vec![0.0; mean.len()];
                    stream.fill_normal_of_row(&mut z, row, key);
                    for z in &mut z {
                        *z *= sign;
                    }
                    drawn(mean, root, &z)
                };
                let with = roots.iter().zip(batch.rows());
                prompts().zip(with).flat_map(of_prompt).collect::<Vec<_>>()
            };
            asked.draws.clone().flat_map(draw).collect()
        }
    })
}

/// Mean and covariance of each prompt's logits.
fn each<'a>(
    batch: &'a Batch,
    found: &'a Linearised,
    precision: usize,
) -> impl Iterator<Item = (&'a [f32], &'a [f64])> {
    let bounds = batch.answer_offsets().windows(2);
    let means = bounds.map(|ends| &found.mean[ends[0] as usize..ends[1] as usize]);
    means.zip(found.covariances[precision].iter().map(Vec::as_slice))
}

impl Fitted {
    /// Σ −ln p(y) of a batch's rows under each precision, by the probit approximation.
    ///
    /// # Errors
    /// As [`super::Curvature::linearise`]; `BPEFT_INVALID_INPUT` for a row without a label.
    pub fn nll(
        &self,
        backbone: &Backbone,
        adapter: &Adapter,
        batch: &Batch,
        precisions: &[f64],
        abort: &Abort,
    ) -> Result<Vec<f64>> {
        if batch.labels().contains(&-1) {
            return Err(Error::InvalidInput(
                "rows that a precision is chosen by must have a label, got -1".into(),
            ));
        }
        let of = Linearisation {
            batch,
            precisions,
            from_block: 0,
        };
        let found = self.curvature.linearise(backbone, adapter, of, abort)?;
        let of_precision = |index: usize| {
            let prompts = each(batch, &found, index).zip(batch.labels());
            let nll = |((mean, covariance), &label): ((&[f32], &[f64]), &i32)| {
                // A label is there and one of the classes: the batch and the line above see to it.
                let label = usize::try_from(label).unwrap_or(0);
                let p = probit(mean, covariance)[label];
                -p.max(f64::MIN_POSITIVE).ln()
            };
            prompts.map(nll).sum()
        };
        Ok((0..precisions.len()).map(of_precision).collect())
    }
}
