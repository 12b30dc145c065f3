//! Updates of flat buffers, and sums over them; equations in `optimizer.cu`.

use std::ops::Range;

use cudarc::driver::{DeviceRepr, LaunchConfig};

use super::Array;
use super::memory::View;
use super::pointwise::a_thread_per;
use super::tally::{THREADS, Tally, TallySum, blocks_of};
use crate::Result;
use crate::optim::AdamWConstants;

const FILE: &str = "optimizer";

/// A divergence and how σ follows from ρ, as kernels take it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Kl {
    /// σp
    pub prior_std: f64,
    /// c
    pub c: f64,
    /// 2σp² + c
    pub denominator: f64,
    /// σ = ln(1 + e^ρ) where it is 1, else ρ².
    pub is_softplus: u32,
    /// Leaves no gap behind it: 0.
    pub unused: u32,
}

// SAFETY: plain words, laid out as in optimizer.cu.
unsafe impl DeviceRepr for Kl {}

/// A member of the adapter: its number, and where its values lie.
#[derive(Clone)]
pub struct Member {
    /// From 0.
    pub index: usize,
    /// The means of its Gaussian, among all parameters.
    pub means: Range<usize>,
    /// Their ρ.
    pub rho: Range<usize>,
}

/// Gradients one after another: of members, or of their draws.
#[derive(Clone, Copy)]
pub(crate) struct Lengths {
    /// How many.
    pub(crate) gradients: usize,
    /// Values of each.
    pub(crate) len: usize,
    /// Of these, values that its norm counts, from the first.
    pub(crate) counted: usize,
}

/// scale · each gradient, by its norm.
///
/// # Errors
/// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`; the same of all functions here.
pub(crate) fn clip(
    tally: &mut Tally,
    gradient: &Array,
    lengths: Lengths,
    limit: f64,
) -> Result<()> {
    let Lengths {
        gradients,
        len,
        counted,
    } = lengths;
    let gpu = tally.gpu();
    let parts = [0..counted, counted..len];
    let blocks = parts.clone().map(|part| {
        if part.is_empty() {
            0
        } else {
            blocks_of(part.len())
        }
    });
    let mut at = 0;
    for index in 0..gradients {
        for (part, blocks) in parts.iter().zip(blocks) {
            if blocks > 0 {
                let from = index * len;
                let values = gradient.values().slice(from + part.start..from + part.end);
                square_sum(tally, &values, at..at + blocks)?;
            }
            at += blocks;
        }
    }
    let [counted, others] = blocks.map(|blocks| blocks as u32);
    let count = gradients as u32;
    let (sums, scales, partials) = tally.parts();
    let scales = scales.address_mut(0)?;
    let kernel = gpu.kernel(FILE, "clip")?;
    let mut call = gpu.call(&kernel);
    call.arg(partials).arg(&counted).arg(&others).arg(&count);
    call.arg(&limit).arg(sums).arg(&scales);
    gpu.run(call, blocks_of_threads(1))
}

/// Values under AdamW, one after another: where they lie among the parameters and the gradients,
/// and among the moments.
#[derive(Clone)]
pub struct Span {
    /// The member that has them.
    pub member: usize,
    /// Among the parameters.
    pub values: Range<usize>,
    /// First of its moments.
    pub moments: usize,
}

/// One update, unless the tally forbids it.
///
/// # Errors
/// As [`clip`].
pub(crate) fn adamw(
    tally: &Tally,
    span: &Span,
    constants: AdamWConstants,
    (w, gradient): (&mut Array, &Array),
    [first, second]: [&mut Array; 2],
) -> Result<()> {
    let (gpu, count) = (tally.gpu(), span.values.len());
    let constants = gpu.words(&constants.numbers().map(f32::to_bits))?;
    let gradient = gradient.values().slice(span.values.clone());
    let scale = tally.scales().slice(span.member..);
    let w = w.address_mut(span.values.start)?;
    let (first, second) = (
        first.address_mut(span.moments)?,
        second.address_mut(span.moments)?,
    );
    let kernel = gpu.kernel(FILE, "adamw")?;
    let mut call = gpu.call(&kernel);
    call.arg(&w).arg(&gradient).arg(&scale);
    call.arg(&first).arg(&second).arg(&count).arg(&*constants);
    gpu.run(call, a_thread_per(count))
}

/// The SGD of the divergence and of ρ, unless the tally forbids it: η' and π.
///
/// # Errors
/// As [`clip`].
pub(crate) fn kl_sgd(
    tally: &Tally,
    member: &Member,
    (w, gradient): (&mut Array, &Array),
    kl: Kl,
    rates: [f64; 2],
) -> Result<()> {
    let (gpu, count) = (tally.gpu(), member.means.len());
    let rates = gpu.numbers(&rates)?;
    let of_nll = gradient.values().slice(member.rho.clone());
    let scale = tally.scales().slice(member.index..);
    let (mean, rho) = (
        w.address_mut(member.means.start)?,
        w.address_mut(member.rho.start)?,
    );
    let kernel = gpu.kernel(FILE, "kl_sgd")?;
    let mut call = gpu.call(&kernel);
    call.arg(&mean).arg(&rho).arg(&of_nll).arg(&scale);
    call.arg(&count).arg(&kl).arg(&*rates);
    gpu.run(call, a_thread_per(count))
}

/// Adds π times the gradient of the divergence.
///
/// # Errors
/// As [`clip`].
pub(crate) fn kl_add(
    member: &Member,
    (gradient, w): (&mut Array, &Array),
    kl: Kl,
    weight: f64,
) -> Result<()> {
    let (gpu, count) = (w.gpu(), member.means.len());
    let weight = gpu.numbers(&[weight])?;
    let [mean, rho] = [&member.means, &member.rho].map(|part| w.values().slice(part.clone()));
    let of_mean = gradient.address_mut(member.means.start)?;
    let of_rho = gradient.address_mut(member.rho.start)?;
    let kernel = gpu.kernel(FILE, "kl_add")?;
    let mut call = gpu.call(&kernel);
    call.arg(&of_mean).arg(&of_rho).arg(&mean).arg(&rho);
    call.arg(&count).arg(&kl).arg(&*weight);
    gpu.run(call, a_thread_per(count))
}

/// y += factor · x in a part of both.
///
/// # Errors
/// As [`clip`].
pub(crate) fn add_scaled(y: &mut Array, x: &Array, factor: f32, part: Range<usize>) -> Result<()> {
    let (gpu, count) = (x.gpu(), part.len());
    let x = x.values().slice(part.clone());
    let y = y.address_mut(part.start)?;
    let kernel = gpu.kernel(FILE, "add_scaled")?;
    let mut call = gpu.call(&kernel);
    call.arg(&y).arg(&x).arg(&factor).arg(&count);
    gpu.run(call, a_thread_per(count))
}

/// w −= rate · gradient in a part of a member, unless the tally forbids it.
///
/// # Errors
/// As [`clip`].
pub(crate) fn sgd(
    tally: &Tally,
    (member, part): (usize, Range<usize>),
    (w, gradient): (&mut Array, &Array),
    rate: f32,
) -> Result<()> {
    let (gpu, count) = (tally.gpu(), part.len());
    let rate = gpu.words(&[rate.to_bits()])?;
    let gradient = gradient.values().slice(part.clone());
    let scale = tally.scales().slice(member..);
    let w = w.address_mut(part.start)?;
    let kernel = gpu.kernel(FILE, "sgd")?;
    let mut call = gpu.call(&kernel);
    call.arg(&w).arg(&gradient).arg(&scale);
    call.arg(&*rate).arg(&count);
    gpu.run(call, a_thread_per(count))
}

/// Takes the `collected`-th values of all parameters into their mean, their scatter and their
/// latest deviation, unless the tally forbids it.
///
/// # Errors
/// As [`clip`].
pub(crate) fn collect(
    tally: &Tally,
    theta: &Array,
    [mean, scatter, deviation]: [&mut Array; 3],
    collected: f32,
) -> Result<()> {
    let (gpu, count) = (tally.gpu(), theta.len());
    let collected = gpu.words(&[collected.to_bits()])?;
    let (mean, scatter) = (mean.address_mut(0)?, scatter.address_mut(0)?);
    let deviation = deviation.address_mut(0)?;
    let kernel = gpu.kernel(FILE, "collect")?;
    let mut call = gpu.call(&kernel);
    call.arg(theta.values()).arg(&mean).arg(&scatter);
    call.arg(&deviation).arg(tally.scales());
    call.arg(&*collected).arg(&count);
    gpu.run(call, a_thread_per(count))
}

/// The divergence of all members.
///
/// # Errors
/// As [`clip`].
pub(crate) fn kl_sum(tally: &mut Tally, members: &[Member], w: &Array, kl: Kl) -> Result<()> {
    let gpu = tally.gpu();
    let mut at = 0;
    for member in members {
        let (count, blocks) = (member.means.len(), blocks_of(member.means.len()));
        let [mean, rho] = [&member.means, &member.rho].map(|part| w.values().slice(part.clone()));
        let kernel = gpu.kernel(FILE, "kl_sum")?;
        let mut call = gpu.call(&kernel);
        let mut partials = tally.partials.slice_mut(at..at + blocks);
        call.arg(&mean)
            .arg(&rho)
            .arg(&count)
            .arg(&kl)
            .arg(&mut partials);
        gpu.run(call, blocks_of_threads(blocks))?;
        at += blocks;
    }
    add_partials(tally, at, TallySum::Kl)
}

/// σ of all members.
///
/// # Errors
/// As [`clip`].
pub(crate) fn sigma_sum(
    tally: &mut Tally,
    rho: &[Range<usize>],
    w: &Array,
    is_softplus: bool,
) -> Result<()> {
    let (gpu, is_softplus) = (tally.gpu(), u32::from(is_softplus));
    let mut at = 0;
    for part in rho {
        let (count, blocks) = (part.len(), blocks_of(part.len()));
        let rho = w.values().slice(part.clone());
        let kernel = gpu.kernel(FILE, "sigma_sum")?;
        let mut call = gpu.call(&kernel);
        let mut partials = tally.partials.slice_mut(at..at + blocks);
        call.arg(&rho)
            .arg(&count)
            .arg(&is_softplus)
            .arg(&mut partials);
        gpu.run(call, blocks_of_threads(blocks))?;
        at += blocks;
    }
    add_partials(tally, at, TallySum::Sigma)
}

/// The squares of all parameters: finite where these are.
///
/// # Errors
/// As [`clip`].
pub(crate) fn squares(tally: &mut Tally, w: &Array) -> Result<()> {
    let blocks = blocks_of(w.len());
    square_sum(tally, &w.values().slice(..w.len()), 0..blocks)?;
    add_partials(tally, blocks, TallySum::Squares)
}

fn square_sum(tally: &mut Tally, values: &View<'_, f32>, at: Range<usize>) -> Result<()> {
    let (gpu, count, blocks) = (tally.gpu(), values.len(), at.len());
    let mut partials = tally.partials.slice_mut(at);
    let kernel = gpu.kernel(FILE, "square_sum")?;
    let mut call = gpu.call(&kernel);
    call.arg(values).arg(&count).arg(&mut partials);
    gpu.run(call, blocks_of_threads(blocks))
}

fn add_partials(tally: &mut Tally, count: usize, sum: TallySum) -> Result<()> {
    let (gpu, count) = (tally.gpu(), count as u32);
    let (sums, _, partials) = tally.parts();
    let mut sum = sums.slice_mut(sum as usize..);
    let kernel = gpu.kernel(FILE, "add_partials")?;
    let mut call = gpu.call(&kernel);
    call.arg(partials).arg(&count).arg(&mut sum);
    gpu.run(call, blocks_of_threads(1))
}

fn blocks_of_threads(blocks: usize) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (blocks as u32, 1, 1),
        block_dim: (THREADS as u32, 1, 1),
        shared_mem_bytes: 0,
    }
}
