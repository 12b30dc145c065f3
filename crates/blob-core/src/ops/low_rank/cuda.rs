//! The low-rank term on a GPU; under dropout, by plain operations on the host.

use cudarc::driver::CudaSlice;

use super::{Term, reference};
use crate::Result;
use crate::adapter::{Parameters, Sigma};
use crate::kernels::cuda::low_rank::{self as cuda, Factors, Group, Identities, Noise};
use crate::kernels::cuda::{Array, Gpu, pointwise};
use crate::noise::Purpose;
use crate::ops::Tensor;
use crate::pass::NoiseSharing;

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
    let of_members = placed.term(term, gpu).backward((&x, &dy), dx.as_mut())?;
    for (member, found) in of_members.iter().enumerate() {
        let Some(sums) = gradients.term_mut(member, term.site) else {
            continue;
        };
        add_to(sums.a, &found.a);
        add_to(sums.b, &found.b);
        if let (Some(sum), Some(found)) = (sums.rho, &found.rho) {
            add_to(sum, found);
        }
    }
    Ok(dx.map(array))
}

fn add_to(sum: &mut [f32], values: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += value;
    }
}

/// What a term's kernels read.
struct Placed {
    members: Vec<Factors>,
    identities: Identities,
    groups: Vec<Group>,
}

impl Placed {
    fn new(term: &Term<'_>, gpu: Gpu) -> Result<Self> {
        let members = term.members.iter();
        let members = members.map(|of| Factors::new(gpu, of.a, of.b, of.rho));
        let rows: Vec<u32> = term.rows.ids.iter().map(|id| id.row).collect();
        let positions: Vec<u32> = match term.sharing() {
            Some(NoiseSharing::Example) => vec![0; rows.len()],
            _ => term.rows.positions().to_vec(),
        };
        let groups = term.rows.groups.iter();
        Ok(Self {
            members: members.collect::<Result<_>>()?,
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
