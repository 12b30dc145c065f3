//! Methods: how an adapter is sampled in training, what a step minimises, and how it is updated.
//!
//! A method is an entry of this folder and a member of [`MethodConfig`]; nothing else asks for its
//! name (docs/adr/0004). How many members an adapter has and how its predictions are drawn are
//! properties of the adapter and of the request: an ensemble of any method is its adapter's
//! `members`, dropout at prediction a `dropout` of the request.

mod bbb;
mod blob;
mod c_lora;
mod ivon;
mod map;
mod mle;
mod point;
mod scalabl;
mod swag;

#[cfg(feature = "cuda")]
use std::ops::Range;

use serde::{Deserialize, Serialize};

pub use bbb::{Bbb, BbbConfig};
pub use blob::{Blob, BlobConfig};
pub use c_lora::{CLora, CLoraConfig};
pub use ivon::{Ivon, IvonConfig};
pub use map::{Map, MapConfig};
pub use mle::{Mle, MleConfig};
pub use point::{PointConfig, PointUpdate};
pub use scalabl::{ScalaBl, ScalaBlConfig};
pub use swag::{Swag, SwagConfig};

use crate::adapter::{Adapter, Factor, Gaussian, Parameters, Site};
use crate::buffer::Buffer;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::{Gpu, Tally, optimizer::Member};
use crate::kl::GaussianKl;
use crate::noise::Stream;
use crate::objective::{Average, CrossEntropy, Objective};
use crate::pass::NoiseSharing;
use crate::{Error, Result};

/// A method and its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "id", rename_all = "kebab-case")]
pub enum MethodConfig {
    /// Maximum likelihood.
    Mle(MleConfig),
    /// Maximum a posteriori.
    Map(MapConfig),
    /// Bayes by backprop.
    Bbb(BbbConfig),
    /// BLoB.
    Blob(BlobConfig),
    /// IVON.
    Ivon(IvonConfig),
    /// SWAG.
    Swag(SwagConfig),
    /// ScalaBL.
    #[serde(rename = "scalabl")]
    ScalaBl(ScalaBlConfig),
    /// C-LoRA.
    CLora(CLoraConfig),
}

impl MethodConfig {
    /// The method at its start, for an adapter.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`.
    pub fn build(&self, adapter: &Adapter) -> Result<Box<dyn Method>> {
        Ok(match *self {
            Self::Mle(config) => Box::new(Mle::new(config, adapter)?),
            Self::Map(config) => Box::new(Map::new(config, adapter)?),
            Self::Bbb(config) => Box::new(Bbb::new(config, adapter)?),
            Self::Blob(config) => Box::new(Blob::new(config, adapter)?),
            Self::Ivon(config) => Box::new(Ivon::new(config, adapter)?),
            Self::Swag(config) => Box::new(Swag::new(config, adapter)?),
            Self::ScalaBl(config) => Box::new(ScalaBl::new(config, adapter)?),
            Self::CLora(config) => Box::new(CLora::new(config, adapter)?),
        })
    }
}

/// The draws of a training step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// Copies of each micro-batch, at least 1.
    pub samples: u32,
    /// Who shares signs; `None`: at the mean.
    pub sharing: Option<NoiseSharing>,
}

impl Sampling {
    /// One copy at the mean.
    pub const MEAN: Self = Self {
        samples: 1,
        sharing: None,
    };
}

/// What an update did, for the step's report; means over the members of an ensemble.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct UpdateReport {
    /// AdamW's rate.
    pub lr: f64,
    /// L2 norm of the NLL gradient of M and B, before clipping.
    pub grad_norm: f64,
    /// KL to the prior, in nats, after the AdamW step.
    pub kl: Option<f64>,
    /// π.
    pub kl_weight: Option<f64>,
    /// The KL-SGD's rate.
    pub kl_lr: Option<f64>,
}

impl UpdateReport {
    /// With the divergence, its weight, and the rate of a descent of its own, if it has one.
    fn with_kl(self, kl: Option<f64>, kl_weight: f64, kl_lr: Option<f64>) -> Self {
        let kl_weight = Some(kl_weight);
        Self {
            kl,
            kl_weight,
            kl_lr,
            ..self
        }
    }
}

/// One update as a method sees it.
#[derive(Clone, Copy)]
pub struct Step<'a> {
    /// Its number, from 1.
    pub t: u64,
    /// Of each member's mean NLL, with the layout of what the passes ran with: the adapter, or the
    /// draws.
    pub gradients: &'a Parameters,
    /// What [`Method::drawn`] gave.
    pub drawn: Option<&'a Adapter>,
}

/// One update on the GPU that has its gradients.
#[cfg(feature = "cuda")]
pub struct StepOnGpu<'a> {
    /// Its number, from 1.
    pub t: u64,
    /// Of each member's mean NLL, with the layout of what the passes ran with: the adapter, or the
    /// draws.
    pub gradients: &'a mut Parameters,
    /// What [`Method::drawn_on_gpu`] gave.
    pub drawn: Option<&'a Adapter>,
    /// What is read at its end.
    pub tally: &'a mut Tally,
}

/// State of a method beside the adapter: one value per parameter, for all of them or for the
/// layout's first ones, member after member.
pub struct Statistic<'a> {
    /// What saved states call it, after the parameter's name.
    pub name: &'static str,
    /// In the order of the layout.
    pub values: &'a mut Buffer,
}

/// The training side of a method.
pub trait Method: Send {
    /// The draws of a step, of each member; one at the mean unless a method says more.
    fn sampling(&self) -> Sampling {
        Sampling::MEAN
    }

    /// Whose mean over its draws a step minimises the loss of.
    fn average(&self) -> Average {
        Average::Logits
    }

    /// What a step minimises beside the prior; the cross-entropy unless a method says more.
    fn objective(&self) -> Box<dyn Objective> {
        let average = self.average();
        Box::new(CrossEntropy { average })
    }

    /// The divergence of a context in step `t`, with its weight for each sample of each token.
    fn context_kl(&self, _t: u64) -> Option<(GaussianKl, f64)> {
        None
    }

    /// The factors that the passes of a step run with, where a method draws them itself: of each
    /// member [`Sampling::samples`] draws, one after another. `None`: the adapter's own.
    fn drawn(&self, _adapter: &Adapter, _streams: &[Stream]) -> Option<Adapter> {
        None
    }

    /// [`Self::drawn`] by the kernels of a GPU; the host draws unless a method says how.
    ///
    /// # Errors
    /// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`.
    #[cfg(feature = "cuda")]
    fn drawn_on_gpu(
        &self,
        _gpu: Gpu,
        adapter: &Adapter,
        streams: &[Stream],
    ) -> Result<Option<Adapter>> {
        Ok(self.drawn(adapter, streams))
    }

    /// One update of an adapter that has the layout of the one that the method was built for.
    ///
    /// # Errors
    /// `BPEFT_NOT_FINITE` before anything is changed, when a gradient is not finite.
    fn update(&mut self, adapter: &mut Adapter, step: &Step<'_>) -> Result<UpdateReport>;

    /// [`Self::update`] by the kernels of the GPU that has the gradients; norm and divergence are
    /// read from the tally afterwards. Where loss or gradients are not finite, it changes nothing.
    /// `None`: there are none for this method, and the host updates.
    ///
    /// # Errors
    /// `BPEFT_OUT_OF_MEMORY` before anything is changed; `BPEFT_DEVICE`.
    #[cfg(feature = "cuda")]
    fn update_on_gpu(
        &mut self,
        _adapter: &mut Adapter,
        _step: &mut StepOnGpu<'_>,
    ) -> Result<Option<UpdateReport>> {
        Ok(None)
    }

    /// What answers after update `t`, where that is not the adapter that is trained. `None`: it is,
    /// or there is nothing else yet.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` for an adapter of another layout.
    fn posterior(&self, _adapter: &Adapter, _t: u64) -> Result<Option<Adapter>> {
        Ok(None)
    }

    /// All that a checkpoint must hold to go on.
    fn statistics(&mut self) -> Vec<Statistic<'_>>;
}

/// Most draws of a step within a pass, and as factors of their own; and the rule in words.
const DRAWN_IN_PASS: (u32, &str) = (1024, "must be between 1 and 1024");
const DRAWN_WHOLE: (u32, &str) = (64, "must be between 1 and 64");

/// # Errors
/// `BPEFT_INVALID_CONFIG` for no sample, or more than `most`.
fn check_samples(samples: u32, (most, rule): (u32, &'static str)) -> Result<()> {
    if (1..=most).contains(&samples) {
        return Ok(());
    }
    let (field, value) = ("train_samples", samples.to_string());
    Err(Error::InvalidConfig { field, rule, value })
}

/// # Errors
/// `BPEFT_INVALID_CONFIG` for a rate or weight below 0, or one that is not finite.
fn check_not_negative(field: &'static str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    let (rule, value) = ("must be at least 0 and finite", value.to_string());
    Err(Error::InvalidConfig { field, rule, value })
}

/// # Errors
/// `BPEFT_INVALID_CONFIG` with this rule, for an adapter of another kind.
fn require_gaussian(adapter: &Adapter, over: Gaussian, rule: &'static str) -> Result<()> {
    let gaussian = adapter.config().gaussian();
    if gaussian == Some(over) {
        return Ok(());
    }
    Err(Error::InvalidConfig {
        field: "posterior",
        rule,
        value: gaussian.map_or("none", Gaussian::name).into(),
    })
}

/// L2 norms of the gradients of the points (A, B and trained layers), in f64, of each member.
///
/// # Errors
/// `BPEFT_NOT_FINITE` naming the first site with a gradient (ρ's too) that is not finite.
fn norms(gradients: &Parameters, t: u64) -> Result<Vec<f64>> {
    let members = (0..gradients.members()).map(|member| norm(gradients, member));
    let norms = members.collect::<std::result::Result<_, _>>();
    norms.map_err(|site: Site| not_finite(t, site.path()))
}

fn not_finite(step: u64, layer: String) -> Error {
    let what = "gradient";
    Error::NotFinite { step, what, layer }
}

/// Names the first site of gradients that a GPU found to be not finite.
#[cfg(feature = "cuda")]
pub(crate) fn gradient_not_finite(gradients: &Parameters, t: u64) -> Error {
    let unnamed = || not_finite(t, "the adapter".into());
    norms(gradients, t).err().unwrap_or_else(unnamed)
}

/// L2 norm of a member's gradients of the points, in f64, summed site by site; or the first site
/// with a gradient (ρ's too) that is not finite.
fn norm(gradients: &Parameters, member: usize) -> std::result::Result<f64, Site> {
    let squares = |values: &[f32]| {
        values
            .iter()
            .map(|&g| f64::from(g) * f64::from(g))
            .sum::<f64>()
    };
    let mut sum = 0.0;
    for &site in gradients.layout().terms().keys() {
        let of = |factor| gradients.factor(member, site, factor).map_or(0.0, squares);
        let of_site = of(Factor::A) + of(Factor::B);
        let others = Factor::of_terms().filter(|factor| !factor.is_low_rank());
        if !(of_site + others.map(of).sum::<f64>()).is_finite() {
            return Err(site);
        }
        sum += of_site;
    }
    // Of frozen layers they are 0.
    for &site in gradients.layout().own_layers().shapes.keys() {
        let Some(gradient) = gradients.own_layer(member, site) else {
            continue;
        };
        let of_site = squares(gradient.weight) + squares(gradient.bias);
        if !of_site.is_finite() {
            return Err(site);
        }
        sum += of_site;
    }
    Ok(sum.sqrt())
}

/// Where the Gaussian means of each member lie, and their ρ.
#[cfg(feature = "cuda")]
fn members(adapter: &Adapter) -> Vec<Member> {
    let layout = adapter.parameters().layout();
    // A Gaussian over B, too, lies behind that over A.
    let from_to = |first, last| {
        let (first, last) = (layout.run(first), layout.run(last));
        first.start..first.end.max(last.end)
    };
    let is_over_b = !layout.run(Factor::RhoB).is_empty();
    let last = if is_over_b { Factor::B } else { Factor::A };
    let (means, rho) = (from_to(Factor::A, last), from_to(Factor::Rho, Factor::RhoB));
    let at = |part: &Range<usize>, from: usize| from + part.start..from + part.end;
    let members = 0..adapter.parameters().members();
    let of = |index: usize| Member {
        index,
        means: at(&means, index * layout.len()),
        rho: at(&rho, index * layout.len()),
    };
    members.map(of).collect()
}
