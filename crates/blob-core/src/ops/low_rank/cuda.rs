//! The low-rank term on a GPU.

use super::Term;
use crate::adapter::{Factor, Gaussian, Parameters};
use crate::kernels::cuda::low_rank::{
    self as cuda, Dropout, Epsilon, FactorPlaces, Group, Identities, Noise, Signs, Whose,
};
use crate::kernels::cuda::{Array, Gpu, Memory};
use crate::noise::Purpose;
use crate::ops::Tensor;
use crate::pass::NoiseSharing;
use crate::{Error, Result};

/// y (n, m) of what the frozen weight gave, with the term of x (n, k) added.
pub(in crate::ops) fn add(
    term: &Term<'_>,
    gpu: Gpu,
    x: &Tensor,
    mut y: Memory<f32>,
) -> Result<Array> {
    let shape = [x.dim(0)?, term.shape.outputs];
    Placed::new(term, gpu)?.term().add(&x.on(gpu)?, &mut y)?;
    Ok(Array::of_kernel(gpu, y, &shape))
}

/// dL/dx (n, k) of what the frozen weight gave, if it is wanted, with the term's added; adds the
/// gradients of the factors.
pub(in crate::ops) fn backward(
    term: &Term<'_>,
    gpu: Gpu,
    (x, dy): (&Tensor, &Tensor),
    mut dx: Option<Memory<f32>>,
    gradients: &mut Parameters,
) -> Result<Option<Array>> {
    let (n, k) = x.dims2()?;
    let placed = Placed::new(term, gpu)?;
    let (x, dy) = (x.on(gpu)?, dy.on(gpu)?);
    let sums = gradients.change_on(gpu)?;
    placed.term().backward((&x, &dy), dx.as_mut(), sums)?;
    Ok(dx.map(|dx| Array::of_kernel(gpu, dx, &[n, k])))
}

/// What a term's kernels read.
pub(in crate::ops) struct Placed {
    gpu: Gpu,
    parameters: Array,
    members: Vec<FactorPlaces>,
    identities: Identities,
    groups: Vec<Group>,
    rank: usize,
    /// (m, k)
    shape: (usize, usize),
    scaling: f32,
    context_kl: [f32; 3],
}

impl Placed {
    pub(in crate::ops) fn new(term: &Term<'_>, gpu: Gpu) -> Result<Self> {
        let layout = term.parameters.layout();
        let place = |member, factor| {
            let range = layout.range(term.site, factor)?;
            Some(member * layout.len() + range.start)
        };
        let members = 0..term.parameters.members();
        let members = members.map(|member| {
            Some(FactorPlaces {
                a: place(member, Factor::A)?,
                b: place(member, Factor::B)?,
                rho: place(member, Factor::Rho),
                network: network(&|factor| place(member, factor)),
            })
        });
        let members = members.collect::<Option<_>>().ok_or_else(|| {
            let site = term.site.path();
            Error::InvalidInput(format!("an adapter must have factors at {site}, got none"))
        })?;
        let groups = term.rows.groups.iter().enumerate();
        Ok(Self {
            gpu,
            parameters: term.parameters.values().on(gpu)?,
            members,
            identities: term.rows.on(gpu)?,
            groups: groups
                .map(|(index, group)| {
                    Ok(Group {
                        rows: group.rows.clone(),
                        member: group.member,
                        index,
                        noise: noise(term, group, gpu)?,
                        epsilon: epsilon(term, group),
                        dropout: dropout(term, group),
                    })
                })
                .collect::<Result<_>>()?,
            rank: term.shape.rank,
            shape: (term.shape.outputs, term.shape.inputs),
            scaling: term.scaling,
            context_kl: term
                .pass
                .mode
                .context_kl
                .map_or([0.0; 3], |(kl, w)| kl.slopes(w)),
        })
    }

    pub(in crate::ops) fn term(&self) -> cuda::Term<'_> {
        cuda::Term {
            gpu: self.gpu,
            parameters: &self.parameters,
            members: &self.members,
            identities: &self.identities,
            groups: &self.groups,
            rank: self.rank,
            shape: self.shape,
            scaling: self.scaling,
            context_kl: self.context_kl,
        }
    }
}

/// Where the network of a context lies, where there is one.
fn network(place: &dyn Fn(Factor) -> Option<usize>) -> Option<cuda::NetworkPlaces> {
    let mut places = [0; 4];
    for (to, &factor) in places.iter_mut().zip(Gaussian::Context.factors()) {
        *to = place(factor)?;
    }
    Some(places)
}

/// Where the ε of a group's matrices comes from; `None` for the mean and without a context.
fn epsilon(term: &Term<'_>, group: &crate::pass::Group) -> Option<Epsilon> {
    let layout = term.parameters.layout();
    layout.range(term.site, Factor::ContextIn)?;
    let (sample, sign) = term.pass.mode.draw_of(group.sample);
    Some(Epsilon {
        whose: match term.sharing()? {
            NoiseSharing::Token => Whose::OfToken,
            NoiseSharing::Example => Whose::OfPrompt,
            NoiseSharing::Shared => Whose::OfAll,
        },
        tag: term.key(Purpose::Context, sample).word(),
        sign,
    })
}

/// Where the draw of a group's A comes from; `None` where it is none.
fn noise(term: &Term<'_>, group: &crate::pass::Group, gpu: Gpu) -> Result<Option<Noise>> {
    let (Some(sharing), Some(sigma)) = (term.sharing(), term.sigma) else {
        return Ok(None);
    };
    let layout = term.parameters.layout();
    if layout.range(term.site, Factor::Rho).is_none() {
        return Ok(None);
    }
    let (sample, sign) = term.pass.mode.draw_of(group.sample);
    let tag = |purpose| term.key(purpose, sample).word();
    Ok(Some(Noise {
        gaussian: tag(Purpose::Gaussian),
        inputs: tag(Purpose::InputSigns),
        ranks: tag(Purpose::RankSigns),
        signs: match sharing {
            NoiseSharing::Token => Signs::OfTokens,
            NoiseSharing::Example => Signs::OfPrompts,
            NoiseSharing::Shared => Signs::Absent,
        },
        sign,
        is_softplus: sigma.is_softplus(gpu)?,
    }))
}

/// Where a group's dropout comes from. The members of a mirrored pair of `E` have masks of their
/// own.
fn dropout(term: &Term<'_>, group: &crate::pass::Group) -> Option<Dropout> {
    let tag = |purpose| term.key(purpose, group.sample).word();
    let probability = Some(term.dropout()).filter(|&p| p > 0.0)?;
    Some(Dropout {
        probability,
        mean: tag(Purpose::MeanDropout),
        noise: tag(Purpose::NoiseDropout),
    })
}
