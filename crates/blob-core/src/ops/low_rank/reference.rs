//! The low-rank term by plain operations; its adjoint by the tape.

use candle_core::{Device, Tensor};

use super::Term;
use crate::Result;
use crate::adapter::{LowRankRef, Parameters, Sigma};
use crate::noise::Purpose;
use crate::ops::{self, reference};
use crate::pass::Group;

/// A member's `A` (r, k), `B` (m, r), and ρ (r, k) where `A` is Gaussian.
pub(in crate::ops) struct Factors(Vec<Tensor>);

impl Factors {
    pub(in crate::ops) fn b(&self) -> &Tensor {
        &self.0[1]
    }
}

/// y (n, m) = s·h·Bᵀ of x (n, k).
pub(in crate::ops) fn forward(term: &Term<'_>, x: &Tensor) -> Result<Tensor> {
    output(term, &factors(term)?, x)
}

/// dL/dx (n, k) of dL/dy (n, m); adds the gradients of the factors.
pub(in crate::ops) fn backward(
    term: &Term<'_>,
    x: &Tensor,
    dy: &Tensor,
    gradients: &mut Parameters,
) -> Result<Tensor> {
    adjoint(term, (x, dy), gradients, |members, x| {
        output(term, members, x)
    })
}

/// The adjoint of a function of the members' factors and x: dL/dx, and the factors' gradients
/// added.
pub(in crate::ops) fn adjoint(
    term: &Term<'_>,
    (x, dy): (&Tensor, &Tensor),
    gradients: &mut Parameters,
    forward: impl FnOnce(&[Factors], &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let members = factors(term)?;
    let each = members.first().map_or(1, |factors| factors.0.len());
    let mut inputs = vec![x];
    inputs.extend(members.iter().flat_map(|factors| &factors.0));
    let mut found = reference::adjoints(&inputs, dy, |inputs| {
        let members = inputs[1..].chunks(each);
        let members: Vec<_> = members.map(|factors| Factors(factors.to_vec())).collect();
        forward(&members, &inputs[0])
    })?;
    let of_factors = found.split_off(1);
    for (member, of_factors) in of_factors.chunks(each).enumerate() {
        let Some(sums) = gradients.term_mut(member, term.site) else {
            continue;
        };
        let sums = [Some(sums.a), Some(sums.b), sums.rho];
        for (sum, gradient) in sums.into_iter().flatten().zip(of_factors) {
            for (sum, gradient) in sum
                .iter_mut()
                .zip(gradient.flatten_all()?.to_vec1::<f32>()?)
            {
                *sum += gradient;
            }
        }
    }
    Ok(found.remove(0))
}

/// The factors of each member as tensors.
pub(in crate::ops) fn factors(term: &Term<'_>) -> Result<Vec<Factors>> {
    term.require_no_context(ops::Device::Reference)?;
    let of_member = |factors: LowRankRef<'_>| {
        let mut tensors = vec![
            tensor(factors.a.to_vec(), term.shape.rank)?,
            tensor(factors.b.to_vec(), term.shape.outputs)?,
        ];
        if let Some(rho) = factors.rho {
            tensors.push(tensor(rho.to_vec(), term.shape.rank)?);
        }
        Ok(Factors(tensors))
    };
    term.members().map(of_member).collect()
}

/// h (n, r) of x (n, k).
pub(in crate::ops) fn down(term: &Term<'_>, members: &[Factors], x: &Tensor) -> Result<Tensor> {
    let mut groups = Vec::new();
    for group in &term.rows.groups {
        let x = x.narrow(0, group.rows.start, group.rows.len())?;
        groups.push(down_group(term, &members[group.member], group, &x)?);
    }
    Ok(Tensor::cat(&groups, 0)?)
}

fn down_group(term: &Term<'_>, of: &Factors, group: &Group, x: &Tensor) -> Result<Tensor> {
    let n = group.rows.len();
    let dropped = |purpose| match term.dropout_mask(group, purpose) {
        Some(mask) => Ok((x * tensor(mask, n)?)?),
        None => Ok::<_, crate::Error>(x.clone()),
    };
    let h = dropped(Purpose::MeanDropout)?.matmul(&of.0[0].t()?)?;
    let (Some(sharing), Some(sigma), Some(rho)) = (term.sharing(), term.sigma, of.0.get(2)) else {
        return Ok(h);
    };
    let std = match sigma {
        Sigma::Square => rho.sqr()?,
        Sigma::Softplus => (rho.exp()? + 1.0)?.log()?,
        Sigma::Exp => rho.exp()?,
        Sigma::SquaredLogistic => ((rho.neg()?.exp()? + 1.0)?.recip()?).sqr()?,
    };
    let perturbation = (std * tensor(term.gaussian(group), term.shape.rank)?)?;
    let signs = |width, purpose| tensor(term.sign_factors(group, width, purpose, sharing), n);
    let x = (dropped(Purpose::NoiseDropout)? * signs(term.shape.inputs, Purpose::InputSigns)?)?;
    let noise = x.matmul(&perturbation.t()?)?;
    let noise = (noise * signs(term.shape.rank, Purpose::RankSigns)?)?;
    Ok((h + noise)?)
}

fn output(term: &Term<'_>, members: &[Factors], x: &Tensor) -> Result<Tensor> {
    let h = down(term, members, x)?;
    let mut groups = Vec::new();
    for group in &term.rows.groups {
        let h = h.narrow(0, group.rows.start, group.rows.len())?;
        let y = h.matmul(&members[group.member].b().t()?)?;
        groups.push((y * f64::from(term.scaling))?);
    }
    Ok(Tensor::cat(&groups, 0)?)
}

/// `rows` rows of values.
fn tensor(values: Vec<f32>, rows: usize) -> Result<Tensor> {
    let columns = values.len() / rows.max(1);
    Ok(Tensor::from_vec(values, (rows, columns), &Device::Cpu)?)
}
