//! A context by plain operations, of which the tape knows the adjoint.

use candle_core::Tensor;

use crate::Result;
use crate::adapter::Sigma;
use crate::kl::GaussianKl;
use crate::ops::low_rank::reference::std_of;

/// μ and σ, (n, r²) each, that a network makes of z (n, r).
fn moments([w1, b1, w2, b2]: &[Tensor; 4], z: &Tensor) -> Result<[Tensor; 2]> {
    let hidden = z.matmul(&w1.t()?)?.broadcast_add(b1)?.relu()?;
    let made = hidden.matmul(&w2.t()?)?.broadcast_add(b2)?;
    let entries = made.dim(1)? / 2;
    let rho = made.narrow(1, entries, entries)?;
    Ok([
        made.narrow(1, 0, entries)?,
        std_of(Sigma::SquaredLogistic, &rho)?,
    ])
}

/// h (n, r) = E·z under ε (n, r²), or at the mean.
pub(in crate::ops::low_rank) fn forward(
    network: &[Tensor; 4],
    z: &Tensor,
    noise: Option<&Tensor>,
) -> Result<Tensor> {
    let (n, r) = z.dims2()?;
    let [mean, std] = moments(network, z)?;
    let e = match noise {
        Some(noise) => (mean + (std * noise)?)?,
        None => mean,
    };
    let e = e.reshape((n, r, r))?;
    Ok(e.broadcast_mul(&z.unsqueeze(1)?)?.sum(2)?)
}

/// The divergence of all entries of all rows, in nats.
pub(in crate::ops::low_rank) fn divergence(
    network: &[Tensor; 4],
    z: &Tensor,
    kl: GaussianKl,
) -> Result<Tensor> {
    let [mean, std] = moments(network, z)?;
    kl.plain(&mean, &std)
}
