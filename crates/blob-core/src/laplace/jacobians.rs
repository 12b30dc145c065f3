//! What the Jacobians of a batch's logits add to their covariances, matrix by matrix.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::matrix_rows::{self, MatrixRows, Outputs};
use super::{Curvature, Directions, MatrixCurvature, MatrixId};
use crate::Result;
use crate::observer::{Observer, Seen};
use crate::ops::products as ops;

/// Λ of every prompt and λ, which grows with every matrix that was seen.
pub(super) struct Jacobians {
    curvature: Arc<Curvature>,
    precisions: Vec<f64>,
    from_block: usize,
    prompts: usize,
    /// C, of the prompt with most.
    classes: usize,
    /// J of the classes so far, in order.
    seen: BTreeMap<MatrixId, Vec<Jacobian>>,
    /// Of each prompt for each λ, (C, C).
    covariances: Vec<Vec<f64>>,
}

/// J of one class, of every prompt.
enum Jacobian {
    /// (prompts, narrow, wide)
    Dense(Vec<f32>),
    /// Of a vocabulary, where the row of one token alone is not 0: that token, and its row (i).
    Row(Vec<(usize, Vec<f32>)>),
}

/// The factors of a matrix's curvature, the narrower first.
struct Sides<'a> {
    narrow: &'a Directions,
    wide: &'a Directions,
    is_input_narrow: bool,
}

impl MatrixCurvature {
    fn sides(&self) -> Sides<'_> {
        let is_input_narrow = self.input.width() < self.output.width();
        let (narrow, wide) = if is_input_narrow {
            (&self.input, &self.output)
        } else {
            (&self.output, &self.input)
        };
        Sides {
            narrow,
            wide,
            is_input_narrow,
        }
    }
}

/// ⟨J_c, J_c'⟩ (C, C) of a prompt, and P of each class (directions of narrow, of wide).
struct Products {
    inner: Vec<f64>,
    projections: Vec<Vec<f64>>,
}

impl Jacobians {
    /// For logits of (prompts, classes).
    pub(super) fn new(
        curvature: Arc<Curvature>,
        (precisions, from_block): (&[f64], usize),
        (prompts, classes): (usize, usize),
    ) -> Self {
        Self {
            curvature,
            precisions: precisions.to_vec(),
            from_block,
            prompts,
            classes,
            seen: BTreeMap::new(),
            covariances: vec![vec![0.0; classes * classes]; prompts * precisions.len()],
        }
    }

    /// Λ of a prompt for one λ, (C, C).
    pub(super) fn covariance(&self, prompt: usize, precision: usize) -> &[f64] {
        &self.covariances[prompt * self.precisions.len() + precision]
    }

    fn add(&mut self, matrix: &MatrixCurvature, products: &[Products]) {
        let Sides { narrow, wide, .. } = matrix.sides();
        let with = |one: &f64| {
            let one = *one;
            wide.values().iter().map(move |other| one * other)
        };
        let eigenvalues: Vec<f64> = narrow.values().iter().flat_map(with).collect();
        let is_complete = narrow.is_complete() && wide.is_complete();
        let (classes, precisions) = (self.classes, &self.precisions);
        let of_prompts = self.covariances.par_chunks_mut(precisions.len());
        of_prompts.zip(products).for_each(|(covariances, of)| {
            for (covariance, precision) in covariances.iter_mut().zip(precisions) {
                for (at, sum) in covariance.iter_mut().enumerate() {
                    let [one, other] = [at / classes, at % classes].map(|c| &of.projections[c]);
                    let (mut known, mut kept) = (0.0, 0.0);
                    for ((p, q), f) in one.iter().zip(other).zip(&eigenvalues) {
                        known += p * q / (f + precision);
                        kept += p * q;
                    }
                    let outside = if is_complete {
                        0.0
                    } else {
                        of.inner[at] - kept
                    };
                    *sum += known + outside / precision;
                }
            }
        });
    }
}

impl Observer for Jacobians {
    fn see(&mut self, seen: &Seen<'_>) -> Result<()> {
        if seen.site.block < self.from_block {
            return Ok(());
        }
        let curvature = Arc::clone(&self.curvature);
        for rows in matrix_rows::of(seen) {
            let Some(matrix) = curvature.matrices.get(&rows.matrix) else {
                continue;
            };
            let jacobian = jacobian(matrix, &rows, seen.segments);
            let so_far = self.seen.entry(rows.matrix).or_default();
            so_far.push(jacobian);
            if so_far.len() < self.classes {
                continue;
            }
            let all = self.seen.remove(&rows.matrix).unwrap_or_default();
            let products = products(matrix, &all, self.prompts);
            self.add(matrix, &products);
        }
        Ok(())
    }
}

/// Σ_t g_tᵀ a_t over each prompt's rows.
fn jacobian(
    matrix: &MatrixCurvature,
    rows: &MatrixRows<'_>,
    segments: &[Range<usize>],
) -> Jacobian {
    let (o, i) = (matrix.output.width(), matrix.input.width());
    match &rows.outputs {
        Outputs::Rows(outputs) => {
            let [(narrow, n), (wide, w)] = if matrix.sides().is_input_narrow {
                [(&*rows.inputs, i), (&**outputs, o)]
            } else {
                [(&**outputs, o), (&*rows.inputs, i)]
            };
            let mut all = vec![0.0; segments.len() * n * w];
            for (rows, sum) in segments.iter().zip(all.chunks_exact_mut(n * w)) {
                let narrow = &narrow[rows.start * n..rows.end * n];
                ops::add_outer(narrow, &wide[rows.start * w..rows.end * w], w, sum);
            }
            Jacobian::Dense(all)
        }
        Outputs::Classes(classes, values) => {
            let mut all = vec![(0, vec![0.0; i]); segments.len()];
            let places = classes.rows.iter().zip(&classes.tokens).zip(*values);
            for ((&row, &token), &value) in places.filter(|(_, value)| **value != 0.0) {
                let a = &rows.inputs[row * i..(row + 1) * i];
                all[row] = (token as usize, a.iter().map(|a| value * a).collect());
            }
            Jacobian::Row(all)
        }
    }
}

fn products(matrix: &MatrixCurvature, jacobians: &[Jacobian], prompts: usize) -> Vec<Products> {
    let halves: Vec<Vec<f32>> = jacobians.iter().map(|it| half(matrix, it)).collect();
    let of_prompt = |prompt: usize| {
        let inner = jacobians.iter().flat_map(|one| {
            jacobians
                .iter()
                .map(move |other| inner(matrix, [one, other], prompt))
        });
        let each = jacobians.iter().zip(&halves);
        Products {
            inner: inner.collect(),
            projections: each
                .map(|(it, half)| projection(matrix, (it, half), prompt))
                .collect(),
        }
    };
    (0..prompts).into_par_iter().map(of_prompt).collect()
}

/// A dense J's rows along the directions of the wide side, (prompts, narrow, directions).
fn half(matrix: &MatrixCurvature, jacobian: &Jacobian) -> Vec<f32> {
    let wide = matrix.sides().wide;
    match jacobian {
        Jacobian::Dense(values) => ops::by_rows(values, wide.vectors(), wide.width()),
        Jacobian::Row(_) => Vec::new(),
    }
}

/// P of a prompt.
fn projection(
    matrix: &MatrixCurvature,
    (jacobian, half): (&Jacobian, &[f32]),
    prompt: usize,
) -> Vec<f64> {
    let Sides {
        narrow,
        wide,
        is_input_narrow,
    } = matrix.sides();
    let (n, directions) = (narrow.width(), wide.values().len());
    match jacobian {
        Jacobian::Dense(_) => {
            let half = &half[prompt * n * directions..(prompt + 1) * n * directions];
            let along = |q: &[f32]| {
                (0..directions)
                    .map(|at| {
                        let column = half.iter().skip(at).step_by(directions);
                        inner_product(q.iter(), column)
                    })
                    .collect::<Vec<_>>()
            };
            narrow.vectors().chunks_exact(n).flat_map(along).collect()
        }
        Jacobian::Row(rows) => {
            let (token, row) = &rows[prompt];
            let inputs = matrix.input.vectors().chunks_exact(row.len());
            let inputs: Vec<f64> = inputs
                .map(|v| inner_product(v.iter(), row.iter()))
                .collect();
            let outputs = matrix.output.vectors().chunks_exact(matrix.output.width());
            let outputs: Vec<f64> = outputs.map(|q| f64::from(q[*token])).collect();
            let (first, second) = if is_input_narrow {
                (inputs, outputs)
            } else {
                (outputs, inputs)
            };
            let pairs = first
                .iter()
                .flat_map(|one| second.iter().map(move |other| one * other));
            pairs.collect()
        }
    }
}

/// ⟨J_c, J_c'⟩ of a prompt.
fn inner(matrix: &MatrixCurvature, of: [&Jacobian; 2], prompt: usize) -> f64 {
    let len = matrix.input.width() * matrix.output.width();
    match of {
        [Jacobian::Dense(one), Jacobian::Dense(other)] => {
            let own = prompt * len..(prompt + 1) * len;
            inner_product(one[own.clone()].iter(), other[own].iter())
        }
        [Jacobian::Row(one), Jacobian::Row(other)] if one[prompt].0 == other[prompt].0 => {
            inner_product(one[prompt].1.iter(), other[prompt].1.iter())
        }
        _ => 0.0,
    }
}

fn inner_product<'a>(
    one: impl Iterator<Item = &'a f32>,
    other: impl Iterator<Item = &'a f32>,
) -> f64 {
    let pairs = one.zip(other);
    pairs
        .map(|(one, other)| f64::from(*one) * f64::from(*other))
        .sum()
}
