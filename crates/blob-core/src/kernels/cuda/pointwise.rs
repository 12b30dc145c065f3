//! Operations on each value alone; equations in `pointwise.cu`.

use cudarc::driver::LaunchConfig;

use super::memory::Memory;
use super::{Array, Gpu, Rounded};
use crate::Result;
use crate::kernels::cpu::activation::Activation;

const FILE: &str = "pointwise";

/// In the place of an operand that is not there.
pub(super) const NOTHING: u64 = 0;

/// Threads of a block.
const THREADS: u32 = 256;

/// One thread for each of `count` values.
pub(super) fn a_thread_per(count: usize) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (count.div_ceil(THREADS as usize) as u32, 1, 1),
        block_dim: (THREADS, 1, 1),
        shared_mem_bytes: 0,
    }
}

/// As kernels count activations.
fn kind_of(activation: Activation) -> u32 {
    match activation {
        Activation::Gelu => 0,
        Activation::GeluTanh => 1,
        Activation::Silu => 2,
    }
}

/// φ(x), of any shape.
///
/// # Errors
/// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`; the same of all functions here.
pub fn activation(gpu: Gpu, activation: Activation, x: &Array) -> Result<Array> {
    let (count, kind) = (x.len(), kind_of(activation));
    let mut y = gpu.empty(count)?;
    let kernel = gpu.kernel(FILE, "activation_f32")?;
    let mut call = gpu.call(&kernel);
    call.arg(x.values()).arg(&mut y).arg(&count).arg(&kind);
    gpu.run(call, a_thread_per(count))?;
    Ok(Array::of_kernel(gpu, y, x.dims()))
}

/// dx of x and dy, of one shape.
///
/// # Errors
/// As [`activation`].
pub fn activation_backward(
    gpu: Gpu,
    activation: Activation,
    [x, dy]: [&Array; 2],
) -> Result<Array> {
    let (count, kind) = (x.len(), kind_of(activation));
    let mut dx = gpu.empty(count)?;
    let kernel = gpu.kernel(FILE, "activation_backward_f32")?;
    let mut call = gpu.call(&kernel);
    call.arg(x.values()).arg(dy.values()).arg(&mut dx);
    call.arg(&count).arg(&kind);
    gpu.run(call, a_thread_per(count))?;
    Ok(Array::of_kernel(gpu, dx, x.dims()))
}

/// φ(gate) ∘ up, of (n, f) each.
///
/// # Errors
/// As [`activation`].
pub fn gated(gpu: Gpu, activation: Activation, [gate, up]: [&Array; 2]) -> Result<Array> {
    let (count, kind) = (gate.len(), kind_of(activation));
    let mut y = gpu.empty(count)?;
    let kernel = gpu.kernel(FILE, "gated_f32")?;
    let mut call = gpu.call(&kernel);
    call.arg(gate.values()).arg(up.values()).arg(&mut y);
    call.arg(&count).arg(&kind);
    gpu.run(call, a_thread_per(count))?;
    Ok(Array::of_kernel(gpu, y, gate.dims()))
}

/// dgate and dup of gate, up and dy, (n, f) each.
///
/// # Errors
/// As [`activation`].
pub fn gated_backward(
    gpu: Gpu,
    activation: Activation,
    [gate, up, dy]: [&Array; 3],
) -> Result<[Array; 2]> {
    let (count, kind) = (gate.len(), kind_of(activation));
    let (mut d_gate, mut d_up) = (gpu.empty(count)?, gpu.empty(count)?);
    let kernel = gpu.kernel(FILE, "gated_backward_f32")?;
    let mut call = gpu.call(&kernel);
    call.arg(gate.values()).arg(up.values()).arg(dy.values());
    call.arg(&mut d_gate).arg(&mut d_up);
    call.arg(&count).arg(&kind);
    gpu.run(call, a_thread_per(count))?;
    Ok([d_gate, d_up].map(|values| Array::of_kernel(gpu, values, gate.dims())))
}

/// φ(gate) ∘ up, of (n, f) each, as a product in bf16 reads it; and where the backward pass needs
/// them, `keep`, gate and up rounded alike.
///
/// # Errors
/// As [`activation`].
pub fn gated_rounded(
    gpu: Gpu,
    activation: Activation,
    [gate, up]: [&Array; 2],
    keep: bool,
) -> Result<(Rounded, Option<[Rounded; 2]>)> {
    let (count, kind, (n, f)) = (gate.len(), kind_of(activation), gate.matrix());
    let mut y = gpu.empty(count)?;
    let mut kept = if keep {
        Some([gpu.empty(count)?, gpu.empty(count)?])
    } else {
        None
    };
    let kernel = gpu.kernel(FILE, "gated_rounded")?;
    let mut call = gpu.call(&kernel);
    call.arg(gate.values()).arg(up.values()).arg(&mut y);
    match &mut kept {
        Some([gate, up]) => call.arg(gate).arg(up),
        None => call.arg(&NOTHING).arg(&NOTHING),
    };
    call.arg(&count).arg(&kind);
    gpu.run(call, a_thread_per(count))?;
    let of = |values| Rounded::of_kernel(gpu, values, [n, f]);
    Ok((of(y), kept.map(|kept| kept.map(of))))
}

/// dgate and dup of what [`gated_rounded`] kept and dy, (n, f) each, as products in bf16 read them.
///
/// # Errors
/// As [`activation`].
pub fn gated_rounded_backward(
    gpu: Gpu,
    activation: Activation,
    [gate, up]: [&Rounded; 2],
    dy: &Array,
) -> Result<[Rounded; 2]> {
    let (count, kind) = (dy.len(), kind_of(activation));
    let (mut d_gate, mut d_up) = (gpu.empty(count)?, gpu.empty(count)?);
    let kernel = gpu.kernel(FILE, "gated_rounded_backward")?;
    let mut call = gpu.call(&kernel);
    call.arg(gate.values()).arg(up.values()).arg(dy.values());
    call.arg(&mut d_gate).arg(&mut d_up);
    call.arg(&count).arg(&kind);
    gpu.run(call, a_thread_per(count))?;
    Ok([d_gate, d_up].map(|values| Rounded::of_kernel(gpu, values, *gate.dims())))
}

/// Cosines and sines, (positions, c/2) each.
#[derive(Clone, Copy)]
pub struct Angles<'a> {
    /// cos φ
    pub cos: &'a Array,
    /// sin φ
    pub sin: &'a Array,
    /// c/2
    pub pairs: usize,
}

/// x (n, heads·c) with each head turned to its row's position, or back where `direction` is −1.
///
/// # Errors
/// As [`activation`].
pub fn rotate(
    gpu: Gpu,
    x: &Array,
    positions: &[u32],
    angles: Angles<'_>,
    direction: f32,
) -> Result<Array> {
    let (n, width) = x.matrix();
    let (rows, half) = (n as u32, angles.pairs as u32);
    let heads = (width / (2 * angles.pairs)) as u32;
    let positions = gpu.words(positions)?;
    let mut y = gpu.empty(x.len())?;
    let kernel = gpu.kernel(FILE, "rope_f32")?;
    let mut call = gpu.call(&kernel);
    call.arg(x.values()).arg(&mut y).arg(&*positions);
    call.arg(angles.cos.values()).arg(angles.sin.values());
    call.arg(&rows).arg(&heads).arg(&half);
    call.arg(&direction);
    gpu.run(call, a_thread_per(x.len() / 2))?;
    Ok(Array::of_kernel(gpu, y, x.dims()))
}

/// The rows of x (n, d) that `rows` names, in its order.
///
/// # Errors
/// As [`activation`].
pub fn gather(gpu: Gpu, x: &Array, rows: &[u32]) -> Result<Array> {
    let (_, d) = x.matrix();
    let (count, width) = (rows.len() as u32, d as u32);
    let named = gpu.words(rows)?;
    let mut y = gpu.empty(rows.len() * d)?;
    let kernel = gpu.kernel(FILE, "gather_f32")?;
    let mut call = gpu.call(&kernel);
    call.arg(x.values()).arg(&*named).arg(&mut y);
    call.arg(&count).arg(&width);
    gpu.run(call, a_thread_per(rows.len() * d))?;
    Ok(Array::of_kernel(gpu, y, &[rows.len(), d]))
}

/// x (n, d) in the rows of a matrix (of, d) that `rows` names, each once; zero elsewhere.
///
/// # Errors
/// As [`activation`].
pub fn scatter(gpu: Gpu, x: &Array, rows: &[u32], of: usize) -> Result<Array> {
    let (n, d) = x.matrix();
    let (count, width) = (n as u32, d as u32);
    let named = gpu.words(rows)?;
    let mut y = gpu.zeros(of * d)?;
    let kernel = gpu.kernel(FILE, "scatter_f32")?;
    let mut call = gpu.call(&kernel);
    call.arg(x.values()).arg(&*named).arg(&mut y);
    call.arg(&count).arg(&width);
    gpu.run(call, a_thread_per(x.len()))?;
    Ok(Array::of_kernel(gpu, y, &[of, d]))
}

/// x + y, of one shape.
///
/// # Errors
/// As [`activation`].
pub fn sum(gpu: Gpu, x: &Array, y: &Array) -> Result<Array> {
    let count = x.len();
    let mut z = gpu.empty(count)?;
    let kernel = gpu.kernel(FILE, "sum_f32")?;
    let mut call = gpu.call(&kernel);
    call.arg(x.values()).arg(y.values()).arg(&mut z);
    call.arg(&count);
    gpu.run(call, a_thread_per(count))?;
    Ok(Array::of_kernel(gpu, z, x.dims()))
}

/// Adds b (d) to every row of y (n, d).
pub(super) fn add_to_rows(gpu: Gpu, y: &mut Memory<f32>, b: &Array, n: usize) -> Result<()> {
    let (count, width) = (n * b.len(), b.len() as u32);
    let kernel = gpu.kernel(FILE, "add_to_rows_f32")?;
    let mut call = gpu.call(&kernel);
    call.arg(y).arg(b.values()).arg(&count).arg(&width);
    gpu.run(call, a_thread_per(count))
}
