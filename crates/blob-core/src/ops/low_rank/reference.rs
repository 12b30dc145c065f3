//! The low-rank term by plain operations; its adjoint by the tape.

use candle_core::{Device, Tensor};

use super::{Term, context};
use crate::Result;
use crate::adapter::{Factor, Gaussian, Parameters, Sigma};
use crate::noise::Purpose;
use crate::ops::reference;
use crate::pass::Group;

/// A member's `A` (r, k) and `B` (m, r); then ρ (r, k) where `A` is Gaussian, or W₁, b₁, W₂ and b₂
/// of the network of a context.
pub(in crate::ops) struct MemberFactors(Vec<Tensor>);

impl MemberFactors {
    fn a(&self) -> &Tensor {
        &self.0[0]
    }

    pub(in crate::ops) fn b(&self) -> &Tensor {
        &self.0[1]
    }

    fn rho(&self) -> Option<&Tensor> {
        match &self.0[2..] {
            [rho] => Some(rho),
            _ => None,
        }
    }

    fn network(&self) -> Option<&[Tensor; 4]> {
        self.0[2..].try_into().ok()
    }
}

/// Which factors these are, in their order.
fn kinds(term: &Term<'_>) -> Vec<Factor> {
    let layout = term.parameters.layout();
    let of_network = Gaussian::Context.factors().iter().copied();
    let all = [Factor::A, Factor::B, Factor::Rho]
        .into_iter()
        .chain(of_network);
    all.filter(|&factor| layout.range(term.site, factor).is_some())
        .collect()
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

/// The adjoint of a function of the members' factors and x, and of a context's divergence: dL/dx,
/// and the factors' gradients added.
pub(in crate::ops) fn adjoint(
    term: &Term<'_>,
    (x, dy): (&Tensor, &Tensor),
    gradients: &mut Parameters,
    forward: impl FnOnce(&[MemberFactors], &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let (members, kinds) = (factors(term)?, kinds(term));
    let mut inputs = vec![x];
    inputs.extend(members.iter().flat_map(|factors| &factors.0));
    let mut found = reference::gradients(&inputs, |inputs| {
        let (x, members) = (&inputs[0], inputs[1..].chunks(kinds.len()));
        let members: Vec<_> = members
            .map(|factors| MemberFactors(factors.to_vec()))
            .collect();
        let loss = (forward(&members, x)? * dy)?.sum_all()?;
        Ok(match divergence(term, &members, x)? {
            Some(divergence) => (loss + divergence)?,
            None => loss,
        })
    })?;
    let (of_factors, layout) = (found.split_off(1), gradients.layout().clone());
    for (member, of_factors) in of_factors.chunks(kinds.len()).enumerate() {
        let sums = gradients.member_mut(member);
        for (&factor, gradient) in kinds.iter().zip(of_factors) {
            let Some(range) = layout.range(term.site, factor) else {
                continue;
            };
            for (sum, gradient) in sums[range]
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
pub(in crate::ops) fn factors(term: &Term<'_>) -> Result<Vec<MemberFactors>> {
    let kinds = kinds(term);
    let of_member = |member| {
        let of = |&factor: &Factor| {
            let values = term.parameters.factor(member, term.site, factor);
            tensor(
                values.unwrap_or_default().to_vec(),
                term.shape.of(factor)[0],
            )
        };
        Ok(MemberFactors(kinds.iter().map(of).collect::<Result<_>>()?))
    };
    (0..term.parameters.members()).map(of_member).collect()
}

/// h (n, r) of x (n, k).
pub(in crate::ops) fn down(
    term: &Term<'_>,
    members: &[MemberFactors],
    x: &Tensor,
) -> Result<Tensor> {
    let mut groups = Vec::new();
    for group in &term.rows.groups {
        groups.push(down_group(term, &members[group.member], group, x)?);
    }
    Ok(Tensor::cat(&groups, 0)?)
}

/// A group's rows of x under a dropout mask of theirs.
fn dropped(term: &Term<'_>, group: &Group, x: &Tensor, purpose: Purpose) -> Result<Tensor> {
    let n = group.rows.len();
    let x = x.narrow(0, group.rows.start, n)?;
    match term.dropout_mask(group, purpose) {
        Some(mask) => Ok((x * tensor(mask, n)?)?),
        None => Ok(x),
    }
}

/// D·Aᵀ of a group: h at the mean, and what a context reads.
fn at_mean(term: &Term<'_>, of: &MemberFactors, group: &Group, x: &Tensor) -> Result<Tensor> {
    Ok(dropped(term, group, x, Purpose::MeanDropout)?.matmul(&of.a().t()?)?)
}

fn down_group(term: &Term<'_>, of: &MemberFactors, group: &Group, x: &Tensor) -> Result<Tensor> {
    let n = group.rows.len();
    let h = at_mean(term, of, group, x)?;
    if let Some(network) = of.network() {
        let noise = term.context_noise(group);
        let noise = noise.map(|noise| tensor(noise, n)).transpose()?;
        return context::reference::forward(network, &h, noise.as_ref());
    }
    let (Some(sharing), Some(sigma), Some(rho)) = (term.sharing(), term.sigma, of.rho()) else {
        return Ok(h);
    };
    let perturbation = (std_of(sigma, rho)? * tensor(term.gaussian(group), term.shape.rank)?)?;
    let signs = |width, purpose| tensor(term.sign_factors(group, width, purpose, sharing), n);
    let x = dropped(term, group, x, Purpose::NoiseDropout)?;
    let x = (x * signs(term.shape.inputs, Purpose::InputSigns)?)?;
    let noise = x.matmul(&perturbation.t()?)?;
    let noise = (noise * signs(term.shape.rank, Purpose::RankSigns)?)?;
    Ok((h + noise)?)
}

/// w·KL of the matrices that a context makes of x, where it is part of the gradients.
fn divergence(term: &Term<'_>, members: &[MemberFactors], x: &Tensor) -> Result<Option<Tensor>> {
    let Some((kl, weight)) = term.pass.mode.context_kl else {
        return Ok(None);
    };
    let mut sums = Vec::new();
    for group in &term.rows.groups {
        let of = &members[group.member];
        if let Some(network) = of.network() {
            let z = at_mean(term, of, group, x)?;
            sums.push(context::reference::divergence(network, &z, kl)?);
        }
    }
    if sums.is_empty() {
        return Ok(None);
    }
    Ok(Some((Tensor::stack(&sums, 0)?.sum_all()? * weight)?))
}

/// σ of ρ.
pub(super) fn std_of(sigma: Sigma, rho: &Tensor) -> Result<Tensor> {
    Ok(match sigma {
        Sigma::Square => rho.sqr()?,
        Sigma::Softplus => (rho.exp()? + 1.0)?.log()?,
        Sigma::Exp => rho.exp()?,
        Sigma::SquaredLogistic => ((rho.neg()?.exp()? + 1.0)?.recip()?).sqr()?,
    })
}

fn output(term: &Term<'_>, members: &[MemberFactors], x: &Tensor) -> Result<Tensor> {
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
