//! The low-rank term on a GPU; under dropout, by plain operations on the host.

use cudarc::driver::CudaSlice;

use super::{Term, reference};
use crate::adapter::{Factor, Parameters, Sigma};
use crate::kernels::cuda::low_rank::{self as cuda, Factors, Group, Identities, Noise};
use crate::kernels::cuda::{Array, Gpu, pointwise};
use crate::noise::Purpose;
use crate::ops::Tensor;
use crate::pass::NoiseSharing;
use crate::{Error, Result};

/// y (n, m) of what the frozen weight gave, with the term of x (n, k) added.
pub(in crate::ops) fn add(
    term: &Term<'_>,
    gpu: Gpu,
    x: &Tensor,
    mut y: CudaSlice<f32>,
) -> Result<Array> {
    let shape = [x.dim(0)?, term.shape.outputs];
    if term.dropout() > 0.0 {
        let of_term = reference::forward(term, x.host()?)?;
        let of_term = Array::of_host(gpu, &of_term)?;
        return pointwise::sum(gpu, &of_term, &Array::of_kernel(gpu, y, &shape));
    }
    let placed = Placed::new(term, gpu)?;
    placed.term(term, gpu).add(&x.on(gpu)?, &mut y)?;
    Ok(Array::of_kernel(gpu, y, &shape))
}

/// dL/dx (n, k) of what the frozen weight gave, if it is wanted, with the term's added; adds the
/// gradients of the factors.
pub(in crate::ops) fn backward(
    term: &Term<'_>,
    gpu: Gpu,
    (x, dy): (&Tensor, &Tensor),
    dx: Option<CudaSlice<f32>>,
    gradients: &mut Parameters,
) -> Result<Option<Array>> {
    let (n, k) = x.dims2()?;
    let array = |dx| Array::of_kernel(gpu, dx, &[n, k]);
    if term.dropout() > 0.0 {
        let of_term = reference::backward(term, x.host()?, dy.host()?, gradients)?;
        let Some(dx) = dx else { return Ok(None) };
        let of_term = Array::of_host(gpu, &of_term)?;
        return pointwise::sum(gpu, &array(dx), &of_term).map(Some);
    }
    let placed = Placed::new(term, gpu)?;
    let (x, dy, mut dx) = (x.on(gpu)?, dy.on(gpu)?, dx);
    let sums = gradients.sums_on(gpu)?;
    let term = placed.term(term, gpu);
    term.backward((&x, &dy), dx.as_mut(), sums)?;
    Ok(dx.map(array))
}

/// What a term's kernels read.
struct Placed {
    parameters: Array,
    members: Vec<Factors>,
    identities: Identities,
    groups: Vec<Group>,
}

impl Placed {
    fn new(term: &Term<'_>, gpu: Gpu) -> Result<Self> {
        let layout = term.parameters.layout();
        let place = |member, factor| {
            let range = layout.range(term.site, factor)?;
            Some(member * layout.len() + range.start)
        };
        let members = 0..term.parameters.members();
        let members = members.map(|member| {
            Some(Factors {
                a: place(member, Factor::A)?,
                b: place(member, Factor::B)?,
                rho: place(member, Factor::Rho),
            })
        });
        let members = members.collect::<Option<_>>().ok_or_else(|| {
            let site = term.site.path();
            Error::InvalidInput(format!("an adapter must have factors at {site}, got none"))
        })?;
        let rows: Vec<u32> = term.rows.ids.iter().map(|id| id.row).collect();
        let positions: Vec<u32> = match term.sharing() {
            Some(NoiseSharing::Example) => vec![0; rows.len()],
            _ => term.rows.positions().to_vec(),
        };
        let groups = term.rows.groups.iter();
        Ok(Self {
            parameters: term.parameters.values().on(gpu)?,
            members,
            identities: Identities::new(gpu, &positions, &rows)?,
            groups: groups
                .map(|group| Group {
                    rows: group.rows.clone(),
                    member: group.member,
                    noise: noise(term, group),
                })
                .collect(),
        })
    }

    fn term<'a>(&'a self, term: &Term<'_>, gpu: Gpu) -> cuda::Term<'a> {
        cuda::Term {
            gpu,
            parameters: &self.parameters,
            members: &self.members,
            identities: &self.identities,
            groups: &self.groups,
            rank: term.shape.rank,
            shape: (term.shape.outputs, term.shape.inputs),
            scaling: term.scaling,
        }
    }
}

/// Where a group's draw comes from; `None` for the mean and for a point estimate.
fn noise(term: &Term<'_>, group: &crate::pass::Group) -> Option<Noise> {
    let (sharing, sigma) = (term.sharing()?, term.sigma?);
    let (sample, sign) = term.pass.mode.draw_of(group.sample);
    let asker = |purpose| term.key(purpose, sample).word();
    Some(Noise {
        key: group.stream.key(),
        gaussian: asker(Purpose::Gaussian),
        inputs: asker(Purpose::InputSigns),
        ranks: asker(Purpose::RankSigns),
        has_signs: sharing != NoiseSharing::Shared,
        sign,
        is_softplus: sigma == Sigma::Softplus,
    })
}
