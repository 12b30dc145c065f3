//! A frozen linear layer at its site: y = x·W₀ᵀ + b + term(x).

use crate::adapter::{Adapter, Site};
use crate::ops::Tensor;
use crate::ops::linear::{Projection, Returning, Weight};
use crate::ops::low_rank::{Kept, Term};
use crate::pass::{Pass, Rows};

/// `W₀` (m, k), as it is stored, and b (m).
pub struct Linear {
    /// Where it sits.
    pub site: Site,
    /// `W₀`.
    pub weight: Weight,
    /// Added to every row.
    pub bias: Option<Tensor>,
}

/// A pass, and the adapter whose terms it has.
#[derive(Clone, Copy)]
pub struct Adapted<'a> {
    /// The pass.
    pub pass: &'a Pass,
    /// `None`: the frozen model alone.
    pub adapter: Option<&'a Adapter>,
}

impl<'a> Adapted<'a> {
    /// Whether a layer has a term.
    pub(super) fn adapts(&self, layer: &Linear) -> bool {
        self.adapter.is_some_and(|adapter| adapter.has(layer.site))
    }

    /// The term of a site, whose input has these rows.
    pub(super) fn term(&self, site: Site, rows: &'a Rows) -> Option<Term<'a>> {
        Term::at(self.adapter?, site, rows, self.pass)
    }
}

impl Linear {
    /// m
    pub(super) fn width(&self) -> usize {
        self.weight.rows()
    }

    /// The layer on these rows of a pass.
    pub(super) fn on<'a>(&'a self, rows: &'a Rows, of: Adapted<'a>) -> Projection<'a> {
        Projection {
            site: self.site,
            weight: &self.weight,
            bias: self.bias.as_ref(),
            term: of.term(self.site, rows),
            addend: None,
        }
    }

    /// The layer in the backward pass, with what its term kept and dL/dy.
    pub(super) fn returning<'a>(
        &'a self,
        rows: &'a Rows,
        of: Adapted<'a>,
        kept: Option<&'a Kept>,
        dy: &'a Tensor,
    ) -> Returning<'a> {
        Returning {
            projection: self.on(rows, of),
            kept,
            dy,
        }
    }
}
