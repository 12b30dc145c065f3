//! Draws of a Gaussian over all factors, and updates from their gradients; equations in `draws.cu`.

use cudarc::driver::DeviceRepr;

use super::pointwise::a_thread_per;
use super::{Array, Gpu, Tally};
use crate::Result;

const FILE: &str = "draws";

/// An adapter with a Gaussian over A and B, and how its draws lie.
#[derive(Clone, Copy)]
pub(crate) struct Drawing {
    /// Of the adapter.
    pub(crate) members: usize,
    /// Draws of each.
    pub(crate) samples: usize,
    /// Values of a member.
    pub(crate) len: usize,
    /// Values of a draw.
    pub(crate) drawn_len: usize,
    /// Values of a member that are points, from the first.
    pub(crate) points: usize,
    /// Of these, values of low-rank factors, from the first.
    pub(crate) factors: usize,
    /// σ = ln(1 + e^ρ), else ρ².
    pub(crate) is_softplus: bool,
}

/// As kernels take it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Shape {
    len: usize,
    drawn_len: usize,
    points: usize,
    factors: usize,
    count: usize,
    samples: u32,
    is_softplus: u32,
}

/// The settings of an update of IVON, in the order of draws.cu.
#[derive(Clone, Copy)]
pub(crate) struct Ivon {
    /// η
    pub(crate) lr: f64,
    /// λ
    pub(crate) lambda: f64,
    /// δ
    pub(crate) delta: f64,
    /// β₁
    pub(crate) beta1: f64,
    /// β₂
    pub(crate) beta2: f64,
    /// ξ; 0 = none
    pub(crate) clip: f64,
    /// 1 − β₁ᵗ
    pub(crate) debias: f64,
}

// SAFETY: plain words, laid out as in draws.cu.
unsafe impl DeviceRepr for Shape {}

impl Ivon {
    /// As kernels read them.
    fn numbers(self) -> [f64; 7] {
        [
            self.lr,
            self.lambda,
            self.delta,
            self.beta1,
            self.beta2,
            self.clip,
            self.debias,
        ]
    }
}

impl Drawing {
    fn shape(self, count: usize) -> Shape {
        Shape {
            len: self.len,
            drawn_len: self.drawn_len,
            points: self.points,
            factors: self.factors,
            count,
            samples: self.samples as u32,
            is_softplus: u32::from(self.is_softplus),
        }
    }
}

/// Where the noise of draws comes from.
pub(crate) struct Sources {
    /// Of each member's stream.
    pub(crate) keys: Vec<[u32; 2]>,
    /// First value of each factor in a draw, in order.
    pub(crate) starts: Vec<u32>,
    /// Who asks for it, for the first sample.
    pub(crate) tags: Vec<u32>,
}

/// Where ρ lies.
#[derive(Clone, Copy)]
pub(crate) enum Rho<'a> {
    /// Among the adapter's values.
    OfAdapter,
    /// In an array of one value for each point of each member.
    In(&'a Array),
}

/// The draws of every member, one after another.
///
/// # Errors
/// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`; the same of all functions here.
pub(crate) fn draw(w: &Array, rho: Rho<'_>, of: Drawing, sources: &Sources) -> Result<Array> {
    let (gpu, factors) = (w.gpu(), sources.starts.len());
    let count = of.members * of.samples * of.drawn_len;
    let words: Vec<u32> = sources.keys.as_flattened().to_vec();
    let words = [words, sources.starts.clone(), sources.tags.clone()].concat();
    let words = gpu.words(&words)?;
    let starts = 2 * sources.keys.len();
    let keys = words.slice(..starts);
    let [starts, tags] = [starts, starts + factors].map(|at| words.slice(at..at + factors));
    let (rho, stride) = match rho {
        Rho::OfAdapter => (w.values().slice(of.points..), of.len),
        Rho::In(values) => (values.values().slice(..), of.points),
    };
    let (factors, shape) = (factors as u32, of.shape(count));
    let mut out = gpu.empty(count)?;
    let kernel = gpu.kernel(FILE, "draw_factors")?;
    let mut call = gpu.call(&kernel);
    call.arg(w.values()).arg(&rho).arg(&stride).arg(&keys);
    call.arg(&starts).arg(&tags).arg(&factors);
    call.arg(&mut out).arg(&shape);
    gpu.run(call, a_thread_per(count))?;
    Ok(Array::of_kernel(gpu, out, &[count]))
}

/// The gradients of the adapter's points and ρ, written to `out`, of those of its draws.
///
/// # Errors
/// As [`draw`].
pub(crate) fn fold(
    (w, of): (&Array, Drawing),
    [drawn, gradients]: [&Array; 2],
    out: &mut Array,
) -> Result<()> {
    let (gpu, count) = (w.gpu(), of.members * of.points);
    let shape = of.shape(count);
    let out = out.address_mut(0)?;
    let kernel = gpu.kernel(FILE, "fold_draws")?;
    let mut call = gpu.call(&kernel);
    call.arg(w.values()).arg(drawn.values());
    call.arg(gradients.values()).arg(&out).arg(&shape);
    gpu.run(call, a_thread_per(count))
}

/// ρ of every point by its h.
///
/// # Errors
/// As [`draw`].
pub(crate) fn ivon_rho(gpu: Gpu, hessian: &Array, [lambda, delta]: [f64; 2]) -> Result<Array> {
    let count = hessian.len();
    let mut rho = gpu.empty(count)?;
    let kernel = gpu.kernel(FILE, "ivon_rho")?;
    let mut call = gpu.call(&kernel);
    call.arg(hessian.values()).arg(&mut rho).arg(&count);
    call.arg(&lambda).arg(&delta);
    gpu.run(call, a_thread_per(count))?;
    Ok(Array::of_kernel(gpu, rho, &[count]))
}

/// One update of the adapter's values, of ḡ and of h, unless the tally forbids it.
///
/// # Errors
/// As [`draw`].
pub(crate) fn ivon(
    tally: &Tally,
    (of, constants): (Drawing, Ivon),
    [w, momentum, hessian]: [&mut Array; 3],
    [drawn, gradients]: [&Array; 2],
) -> Result<()> {
    let (gpu, count) = (tally.gpu(), of.members * of.points);
    let shape = of.shape(count);
    let constants = gpu.numbers(&constants.numbers())?;
    let [w, momentum, hessian] = [
        w.address_mut(0)?,
        momentum.address_mut(0)?,
        hessian.address_mut(0)?,
    ];
    let kernel = gpu.kernel(FILE, "ivon")?;
    let mut call = gpu.call(&kernel);
    call.arg(&w).arg(&momentum).arg(&hessian);
    call.arg(drawn.values()).arg(gradients.values());
    call.arg(tally.scales()).arg(&shape).arg(&*constants);
    gpu.run(call, a_thread_per(count))
}
