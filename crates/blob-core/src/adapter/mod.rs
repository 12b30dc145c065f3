//! Low-rank adapters: point estimates (LoRA) and Gaussians over `A` (BLoB), or what else `Gaussian`
//! names, by the layers they sit on; beside them layers of the adapter's own.
//!
//! ```text
//! W = W₀ + s·B·A      A (r, k)   B (m, r)   s = α / r         LoRA, arXiv:2106.09685 §4.1
//! A_ij ~ N(M_ij, σ_ij²)          σ = ρ² or ln(1 + e^ρ)        BLoB, arXiv:2406.11675 §3
//! ```
//!
//! `A` starts as U(−1/√k, 1/√k) (PyTorch's Kaiming-uniform with a = √5), `B` as 0, ρ as
//! U(ρ(ε²/2), ρ(ε²)), so that σ starts in [ε²/2, ε²), or U(ε−1, ε) where ε < 0 (softplus, the
//! reference's start). `scales` and `context` have starts of their own. An ensemble has several
//! members of one shape; member j starts as a single adapter of seed + j does.

mod config;
mod context;
mod deviations;
mod draws;
mod factor;
mod isotropic;
mod layout;
mod low_rank;
mod own_layers;
mod parameters;
pub mod peft;
mod scales;
mod sigma_quantiles;
mod site;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use config::{Gaussian, LoraConfig, Posterior, Sigma};
pub use deviations::{Deviations, MOST_DEVIATIONS};
pub use draws::Draw;
pub use factor::Factor;
pub use isotropic::SpectrumRule;
pub use layout::{CONTEXT_WIDTH, Layout, OwnLayers, Parameter, TermShape};
pub use low_rank::{LowRank, LowRankMut, LowRankRef};
pub use own_layers::{HeadConfig, OwnLayerMut, OwnLayerRef, OwnValues};
pub use parameters::Parameters;
pub use site::{Module, Site};

use crate::backbone::BackboneConfig;
use crate::laplace::Laplace;
use crate::{Error, Result};

/// All low-rank terms of one fine-tuning.
#[derive(Debug, Clone)]
pub struct Adapter {
    config: LoraConfig,
    parameters: Parameters,
    covariance: Option<Covariance>,
}

/// How weights vary together, beside the ρ of each.
#[derive(Debug, Clone)]
pub enum Covariance {
    /// Columns, which draws of whole factors add.
    Columns(Deviations),
    /// The curvature of the loss around the points, and the precision of a prior.
    Curvature(Arc<Laplace>),
}

impl Adapter {
    /// Of values alone.
    fn of_parameters(config: LoraConfig, parameters: Parameters) -> Self {
        Self {
            config,
            parameters,
            covariance: None,
        }
    }

    /// A fresh adapter for a backbone: `B = 0`, so that the model's outputs are unchanged; the head
    /// of an encoder starts from the seed.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`.
    pub fn new(config: LoraConfig, backbone: &BackboneConfig) -> Result<Self> {
        config.check()?;
        config.check_for(backbone)?;
        let classes = config.head.map_or(0, |head| head.classes);
        let own_layers = OwnLayers::of_head(config.head, backbone);
        let backbone = &backbone.with_classes(classes);
        let sites = Site::all(&config.target_modules, backbone).into_iter();
        let shape = |site: Site| {
            let (outputs, inputs) = site.shape(backbone);
            let rank = config.rank;
            TermShape {
                rank,
                inputs,
                outputs,
            }
        };
        let terms = sites.map(|site| (site, shape(site))).collect();
        let layout = Arc::new(Layout::new(terms, config.gaussian(), own_layers));
        let mut parameters = Parameters::zeros(Arc::clone(&layout), config.members);
        for member in 0..config.members {
            for &site in layout.terms().keys() {
                if let Some(mut term) = parameters.term_mut(member, site) {
                    term.initialise(site, &config, member);
                }
            }
        }
        let mut adapter = Self::of_parameters(config, parameters);
        for member in 0..adapter.config.members {
            adapter.initialise_scales(member);
            adapter.initialise_context(member);
        }
        if let Some(encoder) = &backbone.encoder {
            adapter.initialise_own_layers(encoder.initializer_range);
        }
        Ok(adapter)
    }

    /// An adapter of given terms, one map per member, as files hold them; it has no layers of its
    /// own.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when there is no term, or when members or terms differ in shape;
    /// `BPEFT_INVALID_CONFIG`.
    pub fn from_terms(config: LoraConfig, members: &[BTreeMap<Site, LowRank>]) -> Result<Self> {
        Self::from_parts(config, members, OwnLayers::default())
    }

    /// [`Self::from_terms`] with room for layers of its own, all 0.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn from_parts(
        config: LoraConfig,
        members: &[BTreeMap<Site, LowRank>],
        own_layers: OwnLayers,
    ) -> Result<Self> {
        config.check()?;
        let invalid = |message: String| Err(Error::InvalidInput(message));
        if members.len() != config.members {
            return invalid(format!(
                "an adapter must have the terms of its {} members, got {}",
                config.members,
                members.len()
            ));
        }
        let first = members.first().filter(|terms| !terms.is_empty());
        let Some(first) = first else {
            return invalid("an adapter must have at least one low-rank term, got 0".into());
        };
        let shapes: BTreeMap<_, _> = first
            .iter()
            .map(|(&site, term)| (site, term.shape()))
            .collect();
        let gaussian = config.gaussian();
        for terms in members {
            let fits = |(site, term): (&Site, &LowRank)| {
                let shape = term.shape();
                let len = |factor| shape.of(factor).iter().product::<usize>();
                let wanted = gaussian.map_or(&[][..], Gaussian::factors);
                let fits = |factor| {
                    let is_there = factor == Factor::A || factor == Factor::B;
                    let len = (is_there || wanted.contains(&factor)).then(|| len(factor));
                    term.get(factor).map(Vec::len) == len
                };
                shapes.get(site) == Some(&shape) && Factor::of_terms().all(fits)
            };
            if let Some((site, _)) = terms.iter().find(|&term| !fits(term)) {
                return invalid(format!(
                    "{} must have the shape of the adapter's members, with rho if and only if it \
                     is Gaussian",
                    site.path()
                ));
            }
            if terms.len() != shapes.len() {
                return invalid(format!(
                    "the members of an adapter must have the same {} layers, got {}",
                    shapes.len(),
                    terms.len()
                ));
            }
        }
        let layout = Arc::new(Layout::new(shapes, gaussian, own_layers));
        let mut parameters = Parameters::zeros(layout, config.members);
        for (member, terms) in members.iter().enumerate() {
            parameters.set_terms(member, terms);
        }
        Ok(Self::of_parameters(config, parameters))
    }

    /// The same points as the means of another configuration's Gaussian, with every ρ at 0.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`.
    pub fn with_gaussian(&self, config: LoraConfig) -> Result<Self> {
        config.check()?;
        let own = self.parameters.layout();
        let (terms, own_layers) = (own.terms().clone(), own.own_layers().clone());
        let layout = Arc::new(Layout::new(terms, config.gaussian(), own_layers));
        let mut parameters = Parameters::zeros(Arc::clone(&layout), self.parameters.members());
        for member in 0..self.parameters.members() {
            let (from, to) = (
                self.parameters.member(member),
                parameters.member_mut(member),
            );
            for parameter in own.parameters() {
                if let Some(range) = layout.range(parameter.site, parameter.factor) {
                    to[range].copy_from_slice(&from[parameter.range.clone()]);
                }
            }
        }
        Ok(Self::of_parameters(config, parameters))
    }

    /// The curvature that it answers by, if there is one.
    pub fn curvature(&self) -> Option<&Arc<Laplace>> {
        match &self.covariance {
            Some(Covariance::Curvature(curvature)) => Some(curvature),
            Some(Covariance::Columns(_)) | None => None,
        }
    }

    /// The same adapter with a covariance, in the place of what it had.
    pub(crate) fn with_covariance(self, covariance: Covariance) -> Self {
        let covariance = Some(covariance);
        Self { covariance, ..self }
    }

    /// The configuration.
    pub fn config(&self) -> &LoraConfig {
        &self.config
    }

    /// s = α / r.
    pub fn scaling(&self) -> f32 {
        self.config.scaling()
    }

    /// How σ follows from ρ; `None` for a point estimate.
    pub fn sigma(&self) -> Option<Sigma> {
        self.config.posterior.map(|posterior| posterior.sigma)
    }

    /// Its values.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Brings its values into the host's memory, where all but passes and updates read them.
    ///
    /// # Errors
    /// `BPEFT_DEVICE` when the GPU that had them is lost.
    pub fn fetch(&self) -> Result<()> {
        self.parameters.fetch()
    }

    /// Its values, to be changed.
    pub fn parameters_mut(&mut self) -> &mut Parameters {
        &mut self.parameters
    }

    /// Whether a site is adapted.
    pub fn has(&self, site: Site) -> bool {
        self.parameters.layout().terms().contains_key(&site)
    }

    /// A member's terms by their sites, as files hold them.
    pub fn terms(&self, member: usize) -> BTreeMap<Site, LowRank> {
        self.parameters.terms(member)
    }

    /// The first block with an adapted layer; the head's index (= number of blocks) when only the
    /// head is.
    pub fn first_block(&self) -> usize {
        let mut sites = self.parameters.layout().terms().keys();
        sites.next().map_or(0, |site| site.block)
    }

    /// Elements of A, B, ρ and of trained layers, of all members.
    pub fn trainable_parameters(&self) -> usize {
        self.parameters.layout().trained_len() * self.config.members
    }

    /// The first site with a value that is not finite.
    pub fn first_not_finite(&self) -> Option<Site> {
        self.parameters.first_not_finite()
    }

    /// Every ρ of a member's layer.
    fn rhos(&self, member: usize, site: Site) -> impl Iterator<Item = &[f32]> {
        let all = [Factor::Rho, Factor::RhoB, Factor::RhoScale].into_iter();
        all.filter_map(move |factor| self.parameters.factor(member, site, factor))
    }

    /// Mean of σ over all that is Gaussian; `None` for a point estimate, and where σ depends on the
    /// input.
    pub fn sigma_mean(&self) -> Option<f64> {
        let sigma = self.sigma()?;
        let (mut sum, mut count) = (0.0, 0usize);
        for member in 0..self.config.members {
            for &site in self.parameters.layout().terms().keys() {
                for rho in self.rhos(member, site) {
                    sum += rho.iter().map(|&r| f64::from(sigma.of(r))).sum::<f64>();
                    count += rho.len();
                }
            }
        }
        (count > 0).then(|| sum / count as f64)
    }
}
