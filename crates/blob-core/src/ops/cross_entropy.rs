//! Cross-entropy of ragged rows of class logits; rows may have different numbers of classes.
//!
//! ```text
//! p_bj = e^{z_bj} / Σ_i e^{z_bi}        nll_b = −ln p_{b,label_b}
//! dz_bj = w_b·(p_bj − [j = label_b])
//! ```
//!
//! Row b has the logits `answer_offsets[b]..answer_offsets[b+1]` of the flat vector. Everything is
//! summed in f64; nll in nats, per row. A label of −1 means none: its nll and gradient are 0.
//! `S` logits in all, `B` rows. The operation is tiny: on the host it works on slices, one after
//! another; a GPU, where the logits of its models lie, has a kernel for the loss of all samples.

#[cfg(feature = "cuda")]
use std::ops::Range;

use super::shapes;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::head::{Labelled, cross_entropy};
#[cfg(feature = "cuda")]
use crate::kernels::cuda::{Array, Tally};
use crate::{Error, Result};

/// What [`forward`] returns.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassLosses {
    /// Negative log-likelihood of the label (B), in nats; 0 without a label.
    pub nll: Vec<f64>,
    /// Softmax within each row (S).
    pub probs: Vec<f32>,
    /// Whether the largest logit, the first one among equals, is the label's (B).
    pub correct: Vec<bool>,
}

/// logits (S), answer_offsets (B+1), labels (B).
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when the offsets do not cut the logits into rows, or a label names no
/// class.
pub fn forward(logits: &[f32], answer_offsets: &[u32], labels: &[i32]) -> Result<ClassLosses> {
    shapes::segments("answer_offsets", answer_offsets, logits.len())?;
    if labels.len() + 1 != answer_offsets.len() {
        return Err(Error::InvalidInput(format!(
            "labels must have one entry per row, {}, got {}",
            answer_offsets.len() - 1,
            labels.len()
        )));
    }
    let mut result = ClassLosses {
        nll: Vec::with_capacity(labels.len()),
        probs: Vec::with_capacity(logits.len()),
        correct: Vec::with_capacity(labels.len()),
    };
    for (row, (ends, &label)) in answer_offsets.windows(2).zip(labels).enumerate() {
        let logits = &logits[ends[0] as usize..ends[1] as usize];
        let label = class(row, label, logits.len())?;
        let (best, largest) = argmax(logits);
        let shifted = |logit: f32| f64::from(logit) - f64::from(largest);
        let total: f64 = logits.iter().map(|&logit| shifted(logit).exp()).sum();
        let probs = logits
            .iter()
            .map(|&logit| (shifted(logit).exp() / total) as f32);
        result.probs.extend(probs);
        result
            .nll
            .push(label.map_or(0.0, |label| total.ln() - shifted(logits[label])));
        result.correct.push(label == Some(best));
    }
    Ok(result)
}

/// The gradient (S) of `Σ_b weight_b·nll_b`: probs (S) of [`forward`] with the same offsets and
/// labels.
pub fn backward(probs: &[f32], answer_offsets: &[u32], labels: &[i32], weight: &[f32]) -> Vec<f32> {
    debug_assert_eq!(labels.len(), weight.len());
    let mut d_logits = probs.to_vec();
    let rows = answer_offsets.windows(2).zip(labels).zip(weight);
    for ((ends, &label), &weight) in rows {
        let row = &mut d_logits[ends[0] as usize..ends[1] as usize];
        let Ok(label) = usize::try_from(label) else {
            row.fill(0.0);
            continue;
        };
        row[label] -= 1.0;
        for value in row {
            *value *= weight;
        }
    }
    d_logits
}

/// Adds the losses of a part of the logits to `tally`, and writes the gradient of their weighted
/// sum there into `dz`: what [`forward`] and [`backward`] compute, of every sample or of the mean
/// of their logits.
///
/// # Errors
/// As [`forward`]. Every row has a label.
#[cfg(feature = "cuda")]
pub(crate) fn add_on_gpu(
    (logits, part): (&Array, Range<usize>),
    rows: Labelled<'_>,
    dz: &mut Array,
    tally: &mut Tally,
) -> Result<()> {
    let of_sample = part.len() / rows.samples.max(1);
    shapes::segments("answer_offsets", rows.offsets, of_sample)?;
    for (row, (ends, &label)) in rows.offsets.windows(2).zip(rows.labels).enumerate() {
        class(row, label, (ends[1] - ends[0]) as usize)?;
    }
    cross_entropy((logits, part), rows, dz, tally)
}

/// The class that a label names; `None` for −1.
fn class(row: usize, label: i32, classes: usize) -> Result<Option<usize>> {
    match usize::try_from(label) {
        Ok(class) if class < classes => Ok(Some(class)),
        Err(_) if label == -1 => Ok(None),
        _ => Err(Error::InvalidInput(format!(
            "the label of row {row} must be -1 or below its number of classes {classes}, \
             got {label}"
        ))),
    }
}

/// Place and value of the largest logit; the first among equals.
fn argmax(logits: &[f32]) -> (usize, f32) {
    let mut best = (0, logits[0]);
    for (index, &logit) in logits.iter().enumerate() {
        if logit > best.1 {
            best = (index, logit);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::super::oracle::{assert_close, assert_gradient};
    use super::*;
    use candle_core::{DType, Device, Tensor};

    const OFFSETS: [u32; 5] = [0, 3, 5, 9, 10];
    const LABELS: [i32; 4] = [2, -1, 1, 0];
    const LOGITS: [f32; 10] = [0.3, -1.0, 0.9, 2.0, 1.0, -0.5, 0.2, 0.7, 0.1, 4.0];

    fn flat(values: &[f32]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    /// The nll of each row (B); 0 without a label.
    fn reference(logits: &Tensor) -> Result<Tensor> {
        let logits = logits.to_dtype(DType::F64)?;
        let mut rows = Vec::new();
        for (ends, &label) in OFFSETS.windows(2).zip(&LABELS) {
            let row = logits.narrow(0, ends[0] as usize, (ends[1] - ends[0]) as usize)?;
            rows.push(match usize::try_from(label) {
                Ok(label) => (row.exp()?.sum_all()?.log()? - row.get(label)?)?,
                Err(_) => (row.sum_all()? * 0.0)?,
            });
        }
        Ok(Tensor::stack(&rows, 0)?)
    }

    #[test]
    fn nll_is_the_plain_composition() {
        let result = forward(&LOGITS, &OFFSETS, &LABELS).unwrap();
        let nll = Tensor::new(result.nll.as_slice(), &Device::Cpu).unwrap();
        assert_close(&nll, &reference(&flat(&LOGITS)).unwrap(), 1e-12);
        assert_eq!(result.correct, [true, false, false, true]);
        for ends in OFFSETS.windows(2) {
            let total: f32 = result.probs[ends[0] as usize..ends[1] as usize]
                .iter()
                .sum();
            assert!((total - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn backward_is_the_gradient_of_the_weighted_nll() {
        let weight = [0.5, 3.0, -2.0, 1.0];
        let result = forward(&LOGITS, &OFFSETS, &LABELS).unwrap();
        let d_logits = backward(&result.probs, &OFFSETS, &LABELS, &weight);
        assert_eq!(d_logits[3..5], [0.0, 0.0]);
        assert_gradient(&flat(&d_logits), &flat(&LOGITS), &flat(&weight), reference);
    }

    #[test]
    fn large_logits_stay_finite_and_ties_go_to_the_first() {
        let result = forward(&[1e4, 1e4, -1e4], &[0, 3], &[1]).unwrap();
        assert!((result.nll[0] - 2.0_f64.ln()).abs() < 1e-15);
        assert_eq!(
            (result.probs, result.correct),
            (vec![0.5, 0.5, 0.0], vec![false])
        );
    }

    #[test]
    fn labels_outside_of_their_row_are_refused() {
        for (label, text) in [(2, "got 2"), (-2, "got -2")] {
            let error = forward(&[0.0, 1.0, 2.0], &[0, 2, 3], &[label, 0]).unwrap_err();
            assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
            assert!(error.to_string().ends_with(text), "{error}");
        }
        assert!(forward(&[0.0, 1.0], &[0, 2], &[0, 0]).is_err());
        assert!(forward(&[0.0, 1.0], &[0, 0, 2], &[-1, 0]).is_err());
    }
}
