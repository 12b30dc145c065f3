//! The values of an adapter's shape: its parameters, or their gradients, in one flat buffer.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::{Factor, Layout, LowRank, LowRankMut, LowRankRef, OwnLayerMut, OwnLayerRef, Site};
use crate::Result;
use crate::buffer::Buffer;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::{Array, Gpu};

/// Values of one layout, member after member; a gradient has the layout of what it is a gradient
/// of.
#[derive(Debug, Clone)]
pub struct Parameters {
    layout: Arc<Layout>,
    members: usize,
    values: Buffer,
}

impl Parameters {
    /// Zeros.
    pub fn zeros(layout: Arc<Layout>, members: usize) -> Self {
        let values = Buffer::zeros(layout.len() * members);
        Self {
            layout,
            members,
            values,
        }
    }

    /// Values that kernels made, as many as the layout's for each member.
    #[cfg(feature = "cuda")]
    pub(super) fn of_array(layout: Arc<Layout>, members: usize, values: Array) -> Self {
        Self {
            layout,
            members,
            values: values.into(),
        }
    }

    /// The values in a GPU's memory, to be changed by its kernels.
    ///
    /// # Errors
    /// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`.
    #[cfg(feature = "cuda")]
    pub(crate) fn change_on(&mut self, gpu: Gpu) -> Result<&mut Array> {
        self.values.change_on(gpu)
    }

    /// Brings the values into the host's memory; waits for what changes them.
    ///
    /// # Errors
    /// `BPEFT_DEVICE` when the GPU that had them is lost.
    pub fn fetch(&self) -> Result<()> {
        self.values.fetch()
    }

    /// Where everything lies.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// How many times the layout is repeated.
    pub fn members(&self) -> usize {
        self.members
    }

    /// Zeros of the same shape.
    #[must_use]
    pub fn zeros_like(&self) -> Self {
        Self::zeros(Arc::clone(&self.layout), self.members)
    }

    /// All values.
    pub fn values(&self) -> &Buffer {
        &self.values
    }

    /// [`Self::values`], to be changed.
    pub(crate) fn values_mut(&mut self) -> &mut Buffer {
        &mut self.values
    }

    /// A member's values.
    pub fn member(&self, member: usize) -> &[f32] {
        &self.values.host()[self.range_of(member)]
    }

    /// A member's values, to be changed.
    pub fn member_mut(&mut self, member: usize) -> &mut [f32] {
        let range = self.range_of(member);
        &mut self.values.host_mut()[range]
    }

    /// One of a member's parameters, if there is one.
    pub fn factor(&self, member: usize, site: Site, factor: Factor) -> Option<&[f32]> {
        let range = self.layout.range(site, factor)?;
        Some(&self.member(member)[range])
    }

    /// Copies values into one of a member's parameters, where it is there.
    pub(super) fn set_factor(&mut self, member: usize, site: Site, factor: Factor, values: &[f32]) {
        if let Some(range) = self.layout.range(site, factor) {
            self.member_mut(member)[range].copy_from_slice(values);
        }
    }

    /// A member's factors at a site, if the site is adapted.
    pub fn term(&self, member: usize, site: Site) -> Option<LowRankRef<'_>> {
        let shape = *self.layout.terms().get(&site)?;
        let values = self.member(member);
        let of = |factor| Some(&values[self.layout.range(site, factor)?]);
        Some(LowRankRef {
            shape,
            a: of(Factor::A)?,
            b: of(Factor::B)?,
            rho: of(Factor::Rho),
            rho_b: of(Factor::RhoB),
        })
    }

    /// [`Self::term`], to be changed.
    pub fn term_mut(&mut self, member: usize, site: Site) -> Option<LowRankMut<'_>> {
        let range = |factor| self.layout.range(site, factor);
        let (a, b) = (range(Factor::A)?, range(Factor::B)?);
        let (rho, rho_b) = (range(Factor::Rho), range(Factor::RhoB));
        let of_member = self.range_of(member);
        // In the order of the layout, each cut from what follows the one before.
        let (_, rest) = self.values.host_mut()[of_member].split_at_mut(a.start);
        let (of_a, rest) = rest.split_at_mut(a.len());
        let (_, rest) = rest.split_at_mut(b.start - a.end);
        let (of_b, rest) = rest.split_at_mut(b.len());
        let (mut rest, mut end) = (rest, b.end);
        let mut cut = |range: Range<usize>| {
            let (_, from) = std::mem::take(&mut rest).split_at_mut(range.start - end);
            let (part, after) = from.split_at_mut(range.len());
            (rest, end) = (after, range.end);
            part
        };
        Some(LowRankMut {
            a: of_a,
            b: of_b,
            rho: rho.map(&mut cut),
            rho_b: rho_b.map(cut),
        })
    }

    /// A member's layer of its own at a site, if there is one.
    pub fn own_layer(&self, member: usize, site: Site) -> Option<OwnLayerRef<'_>> {
        let values = self.member(member);
        let of = |factor| Some(&values[self.layout.range(site, factor)?]);
        Some(OwnLayerRef {
            weight: of(Factor::Weight)?,
            bias: of(Factor::Bias)?,
        })
    }

    /// [`Self::own_layer`], to be changed.
    pub fn own_layer_mut(&mut self, member: usize, site: Site) -> Option<OwnLayerMut<'_>> {
        let range = |factor| self.layout.range(site, factor);
        let (weight, bias) = (range(Factor::Weight)?, range(Factor::Bias)?);
        // The bias lies right behind its weight.
        let layer = &mut self.member_mut(member)[weight.start..bias.end];
        let (weight, bias) = layer.split_at_mut(weight.len());
        Some(OwnLayerMut { weight, bias })
    }

    /// Every term to be changed, of all members, beside the same term of `others`; in order of
    /// members and sites. `others` has this layout.
    pub(crate) fn terms_with<'a>(
        &'a mut self,
        others: &'a Self,
    ) -> Vec<(LowRankMut<'a>, LowRankRef<'a>)> {
        let (layout, len) = (Arc::clone(&self.layout), self.layout.len());
        let members = self.values.host_mut().chunks_exact_mut(len.max(1));
        members
            .enumerate()
            .flat_map(|(member, values)| {
                let terms = layout.cut(values).into_iter();
                terms.filter_map(move |(site, term)| Some((term, others.term(member, site)?)))
            })
            .collect()
    }

    /// A member's terms by their sites, as files hold them.
    pub fn terms(&self, member: usize) -> BTreeMap<Site, LowRank> {
        let sites = self.layout.terms().keys();
        let term = |&site| {
            let of = |factor| Some((factor, self.factor(member, site, factor)?.to_vec()));
            let beside = Factor::beside().filter_map(of).collect();
            let term = self.term(member, site)?.to_owned();
            Some((site, LowRank { beside, ..term }))
        };
        sites.filter_map(term).collect()
    }

    /// Copies terms of this layout into a member; the others stay.
    pub(super) fn set_terms(&mut self, member: usize, terms: &BTreeMap<Site, LowRank>) {
        for (&site, term) in terms {
            let Some(to) = self.term_mut(member, site) else {
                continue;
            };
            to.a.copy_from_slice(&term.a);
            to.b.copy_from_slice(&term.b);
            for (to, rho) in [(to.rho, &term.rho), (to.rho_b, &term.rho_b)] {
                if let (Some(to), Some(rho)) = (to, rho) {
                    to.copy_from_slice(rho);
                }
            }
            for (&factor, values) in &term.beside {
                self.set_factor(member, site, factor, values);
            }
        }
    }

    /// The first site with a value that is not finite.
    pub fn first_not_finite(&self) -> Option<Site> {
        (0..self.members).find_map(|member| {
            let values = self.member(member);
            let parameters = self.layout.parameters().iter();
            parameters
                .filter(|parameter| {
                    let values = &values[parameter.range.clone()];
                    values.iter().any(|value| !value.is_finite())
                })
                .map(|parameter| parameter.site)
                .min()
        })
    }

    fn range_of(&self, member: usize) -> Range<usize> {
        member * self.layout.len()..(member + 1) * self.layout.len()
    }
}
