//! Norms of rows; equations in `norm.cu`.

use cudarc::driver::LaunchConfig;

use super::{Array, Gpu};
use crate::Result;

/// Threads of a row's block.
const THREADS: u32 = 256;

/// y (n, d) of x (n, d) and w (d).
///
/// # Errors
/// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`.
pub fn rms(gpu: Gpu, x: &Array, w: &Array, eps: f32) -> Result<Array> {
    let (n, d) = x.matrix();
    let mut y = gpu.empty(x.len())?;
    let (kernel, width) = (gpu.kernel("norm", "rms_norm_f32")?, d as u32);
    let mut call = gpu.call(&kernel);
    call.arg(x.values()).arg(w.values()).arg(&mut y);
    call.arg(&width).arg(&eps);
    gpu.run(call, a_block_per(n))?;
    Ok(Array::of_kernel(gpu, y, x.dims()))
}

/// dx (n, d) of x (n, d), w (d) and dy (n, d), plus `addend` (n, d).
///
/// # Errors
/// As [`rms`].
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

/// y (n, d) of x (n, d), w (d) and b (d).
///
/// # Errors
/// As [`rms`].
pub fn layer(gpu: Gpu, x: &Array, [w, b]: [&Array; 2], eps: f32) -> Result<Array> {
    let (n, d) = x.matrix();
    let mut y = gpu.empty(x.len())?;
    let (kernel, width) = (gpu.kernel("norm", "layer_norm_f32")?, d as u32);
    let mut call = gpu.call(&kernel);
    call.arg(x.values()).arg(w.values()).arg(b.values());
    call.arg(&mut y).arg(&width).arg(&eps);
    gpu.run(call, a_block_per(n))?;
    Ok(Array::of_kernel(gpu, y, x.dims()))
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
