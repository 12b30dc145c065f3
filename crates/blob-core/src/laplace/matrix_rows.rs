//! What a layer saw in a backward pass, as the rows of its matrices: a_t and g_t.

use std::borrow::Cow;

use super::MatrixId;
use crate::adapter::{Factor, LowRankRef};
use crate::observer::{OutputGradient, Seen};
use crate::ops::head::Classes;
use crate::ops::products;

/// g of all rows.
pub(super) enum Outputs<'a> {
    /// (n, o)
    Rows(Cow<'a, [f32]>),
    /// Of a vocabulary: values at the classes of each row.
    Classes(&'a Classes, &'a [f32]),
}

/// A matrix, its rows a (n, i), and theirs.
pub(super) struct MatrixRows<'a> {
    pub(super) matrix: MatrixId,
    pub(super) inputs: Cow<'a, [f32]>,
    pub(super) outputs: Outputs<'a>,
}

/// The matrices of a layer.
pub(super) fn of<'a>(seen: &'a Seen<'a>) -> Vec<MatrixRows<'a>> {
    let outputs = || match seen.dy {
        OutputGradient::Rows(dy) => Outputs::Rows(Cow::Borrowed(dy)),
        OutputGradient::Classes(classes, values) => Outputs::Classes(classes, values),
    };
    let Some((factors, scaling)) = &seen.term else {
        let rows = seen.segments.last().map_or(0, |last| last.end);
        let width = seen.x.len() / rows.max(1);
        let with_one = |row: &[f32]| row.iter().copied().chain([1.0]).collect::<Vec<_>>();
        return vec![MatrixRows {
            matrix: (seen.site, Factor::Weight),
            inputs: seen
                .x
                .chunks_exact(width.max(1))
                .flat_map(with_one)
                .collect(),
            outputs: outputs(),
        }];
    };
    let k = factors.shape.inputs;
    let mut h = products::by_rows(seen.x, factors.a, k);
    for h in &mut h {
        *h *= scaling;
    }
    let p = rank_gradient(seen, factors, *scaling);
    vec![
        MatrixRows {
            matrix: (seen.site, Factor::A),
            inputs: Cow::Borrowed(seen.x),
            outputs: Outputs::Rows(Cow::Owned(p)),
        },
        MatrixRows {
            matrix: (seen.site, Factor::B),
            inputs: Cow::Owned(h),
            outputs: outputs(),
        },
    ]
}

/// p = s·dy·B (n, r).
fn rank_gradient(seen: &Seen<'_>, factors: &LowRankRef<'_>, scaling: f32) -> Vec<f32> {
    let (k, r) = (factors.shape.inputs, factors.shape.rank);
    let mut p = match seen.dy {
        OutputGradient::Rows(dy) => products::by_columns(dy, factors.b, r),
        OutputGradient::Classes(classes, values) => {
            let mut p = vec![0.0; seen.x.len() / k * r];
            let places = classes.rows.iter().zip(&classes.tokens);
            for ((&row, &token), &value) in places.zip(values) {
                let of_token = &factors.b[token as usize * r..][..r];
                for (p, b) in p[row * r..][..r].iter_mut().zip(of_token) {
                    *p += value * b;
                }
            }
            p
        }
    };
    for p in &mut p {
        *p *= scaling;
    }
    p
}
