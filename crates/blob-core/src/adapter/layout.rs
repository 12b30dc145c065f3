//! Where each parameter of an adapter lies in its flat buffers.
//!
//! ```text
//! [ A of every site | B | ρ of A | ρ of B ]        each of every site, in order of depth
//! ```
//!
//! The point parameters come first, so that an optimizer of these is one run of values. An adapter of
//! several members repeats the whole, member after member. Gradients have the same layout; a state
//! of an optimizer may cover its beginning only (`point_len`).

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Gaussian, LowRankMut, Site};

/// What a parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Factor {
    /// `A`, or its mean `M`; (r, k).
    A,
    /// `B`, (m, r).
    B,
    /// ρ of a Gaussian `A`, (r, k).
    Rho,
    /// ρ of a Gaussian `B`, (m, r).
    RhoB,
}

impl Factor {
    /// All, in the order of the layout.
    pub const ALL: [Self; 4] = [Self::A, Self::B, Self::Rho, Self::RhoB];

    /// What saved states call it; PEFT's names are made of these.
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "lora_A",
            Self::B => "lora_B",
            Self::Rho => "lora_A_rho",
            Self::RhoB => "lora_B_rho",
        }
    }

    /// Whether it is a point parameter, trained by the likelihood's optimizer.
    pub fn is_point(self) -> bool {
        matches!(self, Self::A | Self::B)
    }
}

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
        }
    }
}

/// The parameters of one member, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    terms: BTreeMap<Site, TermShape>,
    parameters: Vec<Parameter>,
    index: BTreeMap<(Site, Factor), usize>,
}

impl Layout {
    /// Of the terms' widths, with the ρ of what is Gaussian.
    pub fn new(terms: BTreeMap<Site, TermShape>, gaussian: Option<Gaussian>) -> Self {
        let factors = Factor::ALL.into_iter();
        let factors = factors.filter(|factor| match factor {
            Factor::A | Factor::B => true,
            Factor::Rho => gaussian.is_some(),
            Factor::RhoB => gaussian == Some(Gaussian::AAndB),
        });
        let (mut parameters, mut index, mut from) = (Vec::new(), BTreeMap::new(), 0);
        for factor in factors {
            for (&site, term) in &terms {
                let shape = term.of(factor);
                let range = from..from + shape[0] * shape[1];
                from = range.end;
                index.insert((site, factor), parameters.len());
                parameters.push(Parameter {
                    site,
                    factor,
                    shape,
                    range,
                });
            }
        }
        Self {
            terms,
            parameters,
            index,
        }
    }

    /// The adapted layers and the widths of their terms.
    pub fn terms(&self) -> &BTreeMap<Site, TermShape> {
        &self.terms
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

    /// Values of one member's point parameters, which come first.
    pub fn point_len(&self) -> usize {
        let point = self.parameters.iter().rev();
        let last = point.clone().find(|parameter| parameter.factor.is_point());
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
        let layout = Layout::new(terms.clone(), Some(Gaussian::A));
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
        let of_rho = layout.range(site(0, Module::V), Factor::Rho);
        assert_eq!(of_rho, Some(layout.point_len()..layout.point_len() + 6));
        let point = Layout::new(terms.clone(), None);
        assert_eq!((point.len(), point.point_len()), (38, 38));
        assert_eq!(point.range(site(0, Module::V), Factor::Rho), None);
        let both = Layout::new(terms, Some(Gaussian::AAndB));
        assert_eq!((both.len(), both.point_len()), (76, 38));
    }
}
