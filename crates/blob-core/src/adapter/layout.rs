//! Where each parameter of an adapter lies in its flat buffers.
//!
//! ```text
//! [ A of every site | B | W, b | ρ of A | ρ of B | scales | context | W, b ]     each by depth
//! ```
//!
//! Scales and context are those of `scales` and `context`. W and b are layers of the adapter's own,
//! such as a classification head: trained, they are point parameters behind B; frozen, they lie
//! where no optimizer reaches.
//!
//! The point parameters come first, so that an optimizer of these is one run of values; among them
//! the low-rank factors. An adapter of several members repeats all of it, member after member.
//! Gradients have the same layout; a state of an optimizer may cover its beginning only
//! (`point_len`).

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Factor, Gaussian, LowRankMut, Site};

/// H, the hidden units of a context's network.
pub const CONTEXT_WIDTH: usize = 64;

/// One parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its layer.
    pub site: Site,
    /// Its part of the layer's term.
    pub factor: Factor,
    /// Rows and columns.
    pub shape: [usize; 2],
    /// Its values in a member's part of a buffer.
    pub range: Range<usize>,
}

/// The widths of one layer's term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TermShape {
    /// r.
    pub rank: usize,
    /// k, the layer's inputs.
    pub inputs: usize,
    /// m, the layer's outputs.
    pub outputs: usize,
}

impl TermShape {
    /// Rows and columns of a factor.
    pub fn of(self, factor: Factor) -> [usize; 2] {
        match factor {
            Factor::A | Factor::Rho => [self.rank, self.inputs],
            Factor::B | Factor::RhoB => [self.outputs, self.rank],
            Factor::Scale | Factor::RhoScale => [1, self.rank],
            Factor::ContextIn => [CONTEXT_WIDTH, self.rank],
            Factor::ContextInBias => [1, CONTEXT_WIDTH],
            Factor::ContextOut => [2 * self.rank * self.rank, CONTEXT_WIDTH],
            Factor::ContextOutBias => [1, 2 * self.rank * self.rank],
            Factor::Weight => [self.outputs, self.inputs],
            Factor::Bias => [1, self.outputs],
        }
    }
}

/// The layers of an adapter's own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnLayers {
    /// Outputs and inputs of each.
    pub shapes: BTreeMap<Site, (usize, usize)>,
    /// Whether an optimizer moves them.
    pub trained: bool,
}

/// The parameters of one member, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    terms: BTreeMap<Site, TermShape>,
    own_layers: OwnLayers,
    parameters: Vec<Parameter>,
    index: BTreeMap<(Site, Factor), usize>,
}

impl Layout {
    /// Of the terms' widths, with the ρ of what is Gaussian; beside them `own_layers`.
    pub fn new(
        terms: BTreeMap<Site, TermShape>,
        gaussian: Option<Gaussian>,
        own_layers: OwnLayers,
    ) -> Self {
        let mut layout = Self {
            terms,
            own_layers,
            parameters: Vec::new(),
            index: BTreeMap::new(),
        };
        layout.add_terms(Factor::A);
        layout.add_terms(Factor::B);
        if layout.own_layers.trained {
            layout.add_own_layers();
        }
        for &factor in gaussian.map_or(&[][..], Gaussian::factors) {
            layout.add_terms(factor);
        }
        if !layout.own_layers.trained {
            layout.add_own_layers();
        }
        layout
    }

    fn add_terms(&mut self, factor: Factor) {
        let terms: Vec<_> = self
            .terms
            .iter()
            .map(|(&site, term)| (site, term.of(factor)))
            .collect();
        for (site, shape) in terms {
            self.add(site, factor, shape);
        }
    }

    fn add_own_layers(&mut self) {
        let shapes: Vec<_> = self.own_layers.shapes.clone().into_iter().collect();
        for (site, (outputs, inputs)) in shapes {
            self.add(site, Factor::Weight, [outputs, inputs]);
            self.add(site, Factor::Bias, [1, outputs]);
        }
    }

    fn add(&mut self, site: Site, factor: Factor, shape: [usize; 2]) {
        let from = self.len();
        self.index.insert((site, factor), self.parameters.len());
        self.parameters.push(Parameter {
            site,
            factor,
            shape,
            range: from..from + shape[0] * shape[1],
        });
    }

    /// The adapted layers and the widths of their terms.
    pub fn terms(&self) -> &BTreeMap<Site, TermShape> {
        &self.terms
    }

    /// The layers of the adapter's own.
    pub fn own_layers(&self) -> &OwnLayers {
        &self.own_layers
    }

    /// Whether there are layers of the adapter's own that an optimizer moves.
    pub fn trains_own_layers(&self) -> bool {
        self.own_layers.trained
    }

    /// All parameters, in order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// One parameter's place.
    pub fn range(&self, site: Site, factor: Factor) -> Option<Range<usize>> {
        let index = *self.index.get(&(site, factor))?;
        Some(self.parameters[index].range.clone())
    }

    /// Where the factors of a kind lie, which follow each other; nowhere if there are none.
    pub fn run(&self, factor: Factor) -> Range<usize> {
        let mut of_kind = self.parameters.iter().filter(|it| it.factor == factor);
        let first = of_kind.next();
        match (first, of_kind.next_back().or(first)) {
            (Some(first), Some(last)) => first.range.start..last.range.end,
            _ => 0..0,
        }
    }

    /// One member's values, cut into the terms of each site; in order of the sites.
    pub(super) fn cut<'a>(&self, values: &'a mut [f32]) -> Vec<(Site, LowRankMut<'a>)> {
        let mut rest = values;
        let mut parts = BTreeMap::new();
        for parameter in &self.parameters {
            let (part, after) = rest.split_at_mut(parameter.range.len());
            rest = after;
            parts.insert((parameter.site, parameter.factor), part);
        }
        let term = |&site: &Site| {
            let mut part = |factor| parts.remove(&(site, factor));
            let (a, b) = (part(Factor::A)?, part(Factor::B)?);
            let (rho, rho_b) = (part(Factor::Rho), part(Factor::RhoB));
            Some((site, LowRankMut { a, b, rho, rho_b }))
        };
        self.terms.keys().filter_map(term).collect()
    }

    /// Values of one member.
    pub fn len(&self) -> usize {
        self.parameters.last().map_or(0, |last| last.range.end)
    }

    /// Whether there is no parameter.
    pub fn is_empty(&self) -> bool {
        self.parameters.is_empty()
    }

    /// Values of one member's low-rank factors, which come first.
    pub fn low_rank_len(&self) -> usize {
        self.end_of(Factor::is_low_rank)
    }

    /// Values of one member's point parameters: the low-rank factors, then trained layers.
    pub fn point_len(&self) -> usize {
        let trained = self.own_layers.trained;
        self.end_of(|factor| factor.is_low_rank() || trained && factor.is_own())
    }

    /// Values of one member that are trained: the points and all of the posterior.
    pub fn trained_len(&self) -> usize {
        self.point_len().max(self.end_of(|factor| !factor.is_own()))
    }

    /// Where the last parameter of a kind ends.
    fn end_of(&self, is_kind: impl Fn(Factor) -> bool) -> usize {
        let mut backwards = self.parameters.iter().rev();
        let last = backwards.find(|parameter| is_kind(parameter.factor));
        last.map_or(0, |parameter| parameter.range.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::Module;

    #[test]
    fn parameters_follow_each_other_without_gaps_and_points_come_first() {
        let site = |block, module| Site { block, module };
        let widths = |rank, inputs, outputs| TermShape {
            rank,
            inputs,
            outputs,
        };
        let terms = BTreeMap::from([
            (site(1, Module::Q), widths(2, 5, 7)),
            (site(0, Module::V), widths(2, 3, 4)),
        ]);
        let layout = Layout::new(terms.clone(), Some(Gaussian::A), OwnLayers::default());
        let mut end = 0;
        for parameter in layout.parameters() {
            assert_eq!(parameter.range.start, end);
            assert_eq!(
                parameter.range.len(),
                parameter.shape[0] * parameter.shape[1]
            );
            end = parameter.range.end;
        }
        assert_eq!(layout.len(), end);
        assert_eq!(layout.point_len(), 2 * 3 + 2 * 5 + 2 * 4 + 2 * 7);
        assert_eq!(layout.run(Factor::A), 0..16);
        assert_eq!(layout.run(Factor::B), 16..38);
        assert_eq!(layout.run(Factor::Rho), 38..54);
        assert_eq!(layout.run(Factor::RhoB), 0..0);
        let of_rho = layout.range(site(0, Module::V), Factor::Rho);
        assert_eq!(of_rho, Some(layout.point_len()..layout.point_len() + 6));
        let point = Layout::new(terms.clone(), None, OwnLayers::default());
        assert_eq!((point.len(), point.point_len()), (38, 38));
        assert_eq!(point.range(site(0, Module::V), Factor::Rho), None);
        let both = Layout::new(terms.clone(), Some(Gaussian::AAndB), OwnLayers::default());
        assert_eq!((both.len(), both.point_len()), (76, 38));
        // Two scales of each layer, and their ρ.
        let scales = Layout::new(terms.clone(), Some(Gaussian::Scales), OwnLayers::default());
        assert_eq!((scales.len(), scales.point_len()), (38 + 8, 38));
        assert_eq!(scales.run(Factor::Scale), 38..42);
        assert_eq!(scales.trained_len(), scales.len());
        // Layers of the adapter's own: 3·5 + 3 values, among the points only where they are
        // trained.
        for trained in [true, false] {
            let own_layers = OwnLayers {
                shapes: BTreeMap::from([(site(2, Module::Classifier), (3, 5))]),
                trained,
            };
            let layout = Layout::new(terms.clone(), Some(Gaussian::A), own_layers);
            let points = if trained { 38 + 18 } else { 38 };
            assert_eq!((layout.low_rank_len(), layout.point_len()), (38, points));
            assert_eq!(
                (layout.trained_len(), layout.len()),
                (points + 16, 38 + 16 + 18)
            );
            let weight = layout.range(site(2, Module::Classifier), Factor::Weight);
            let from = if trained { 38 } else { 54 };
            assert_eq!(weight, Some(from..from + 15));
        }
    }
}
