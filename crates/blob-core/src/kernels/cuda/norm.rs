//! Norms of rows; equations in `norm.cu`.

use cudarc::driver::LaunchConfig;

use super::memory::{Memory, Number};
use super::{Array, Gpu, Rounded};
use crate::Result;

/// Threads of a row's block.
const THREADS: u32 = 256;

/// x (n, d), with what its norm takes.
#[derive(Clone, Copy)]
pub struct Problem<'a> {
    /// x, (n, d)
    pub x: &'a Array,
    /// w, (d)
    pub weight: &'a Array,
    /// b, (d), of a layer norm; without, the norm is RMS.
    pub bias: Option<&'a Array>,
    /// ε
    pub eps: f32,
}

/// y, (n, d).
///
/// # Errors
/// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`; the same of all functions here.
pub fn forward(gpu: Gpu, problem: Problem<'_>) -> Result<Array> {
    let y = launched(gpu, problem, ["rms_norm_f32", "layer_norm_f32"])?;
    Ok(Array::of_kernel(gpu, y, problem.x.dims()))
}

/// y, (n, d), as products in bf16 read it.
///
/// # Errors
/// As [`forward`].
pub fn rounded(gpu: Gpu, problem: Problem<'_>) -> Result<Rounded> {
    let y = launched(gpu, problem, ["rms_norm_rounded", "layer_norm_rounded"])?;
    let (n, d) = problem.x.matrix();
    Ok(Rounded::of_kernel(gpu, y, [n, d]))
}

/// By the kernel of the norm's kind: RMS, layer.
fn launched<T: Number>(
    gpu: Gpu,
    Problem {
        x,
        weight,
        bias,
        eps,
    }: Problem<'_>,
    [rms, layer]: [&'static str; 2],
) -> Result<Memory<T>> {
    let (n, d) = x.matrix();
    let mut y = gpu.empty(x.len())?;
    let name = if bias.is_some() { layer } else { rms };
    let (kernel, width) = (gpu.kernel("norm", name)?, d as u32);
    let mut call = gpu.call(&kernel);
    call.arg(x.values()).arg(weight.values());
    if let Some(bias) = bias {
        call.arg(bias.values());
    }
    call.arg(&mut y).arg(&width).arg(&eps);
    gpu.run(call, a_block_per(n))?;
    Ok(y.written())
}

/// dx (n, d) of x (n, d), w (d) and dy (n, d), plus `addend` (n, d).
///
/// # Errors
/// As [`forward`].
pub fn backward(
    gpu: Gpu,
    kind: Kind,
    [x, w, dy]: [&Array; 3],
    addend: Option<&Array>,
    eps: f32,
) -> Result<Array> {
    let (n, d) = x.matrix();
    let mut dx = gpu.empty(x.len())?;
    let name = match kind {
        Kind::Rms => "rms_norm_backward_f32",
        Kind::Layer => "layer_norm_backward_f32",
    };
    let (kernel, width) = (gpu.kernel("norm", name)?, d as u32);
    let mut call = gpu.call(&kernel);
    call.arg(x.values()).arg(w.values()).arg(dy.values());
    match addend {
        Some(addend) => call.arg(addend.values()),
        None => call.arg(&super::pointwise::NOTHING),
    };
    call.arg(&mut dx).arg(&width).arg(&eps);
    gpu.run(call, a_block_per(n))?;
    Ok(Array::of_kernel(gpu, dx, x.dims()))
}

/// Of which norm x is the input, for [`backward`].
#[derive(Clone, Copy)]
pub enum Kind {
    /// Of its size.
    Rms,
    /// Of mean and size.
    Layer,
}

fn a_block_per(rows: usize) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (rows as u32, 1, 1),
        block_dim: (THREADS, 1, 1),
        shared_mem_bytes: 0,
    }
}
