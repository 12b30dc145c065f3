//! Layers of the adapter's own on the kernels of the CPU.

use std::ops::Range;

use super::{Affine, add};
use crate::Result;
use crate::adapter::{OwnLayerRef, Parameters};
use crate::kernels::cpu::low_rank::{dots, outer, spread, transposed};
use crate::ops::low_rank::Kept;
use crate::ops::{Tensor, read, wrap};

/// As [`Affine::forward`].
pub(super) fn forward(of: &Affine<'_>, x: &Tensor) -> Result<(Tensor, Option<Kept>)> {
    let (n, (m, k)) = (of.rows.ids.len(), of.shape);
    let x = read(x)?;
    let mut y = vec![0.0; n * m];
    for (member, rows) in of.rows.by_member() {
        let OwnLayerRef { weight, bias } = of.member(member)?;
        let y = &mut y[values_of(&rows, m)];
        dots(&x[values_of(&rows, k)], weight, k, None, y);
        for (y, b) in y.iter_mut().zip(bias.iter().cycle()) {
            *y += b;
        }
    }
    let kept = of.term.as_ref().map(|term| {
        let kept = term.down(&x);
        let r = term.rank();
        for (member, rows) in of.rows.by_member() {
            let b = transposed(term.factors_of(rows.start).b, r);
            debug_assert_eq!(term.member_of(rows.start), member);
            let h = &kept.h()[values_of(&rows, r)];
            spread(h, &b, m, term.scaling(), &mut y[values_of(&rows, m)]);
        }
        kept
    });
    Ok((wrap(y, (n, m))?, kept))
}

/// As [`Affine::backward`].
pub(super) fn backward(
    of: &Affine<'_>,
    (x, kept): (&Tensor, Option<&Kept>),
    dy: &Tensor,
    gradients: &mut Parameters,
) -> Result<Tensor> {
    let (n, (m, k)) = (of.rows.ids.len(), of.shape);
    let (x, dy) = (read(x)?, read(dy)?);
    let mut dx = vec![0.0; n * k];
    for (member, rows) in of.rows.by_member() {
        let (x, dy) = (&x[values_of(&rows, k)], &dy[values_of(&rows, m)]);
        if let Some(sums) = of.sums(member, gradients) {
            outer(dy, x, k, None, sums.weight);
            for row in dy.chunks_exact(m.max(1)) {
                add(sums.bias, row);
            }
        }
        let weight = of.member(member)?.weight;
        spread(dy, weight, k, 1.0, &mut dx[values_of(&rows, k)]);
    }
    if let (Some(term), Some(kept)) = (&of.term, kept) {
        let adjoint = term.backward(kept, (&x, &dy), gradients);
        term.add_adjoint(kept, &adjoint, &mut dx);
    }
    wrap(dx, (n, k))
}

/// The values of rows of a width.
fn values_of(rows: &Range<usize>, width: usize) -> Range<usize> {
    rows.start * width..rows.end * width
}
