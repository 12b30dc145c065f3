//! Attention over ragged segments; equations in `attention.cu`.

use cudarc::driver::{CudaSlice, CudaView, DeviceRepr, LaunchConfig, PushKernelArg};

use super::{Array, Gpu};
use crate::Result;

/// Widest head that the kernels hold.
pub const WIDEST: usize = 256;

const FILE: &str = "attention";

/// Warps of a block; a warp is 32 threads.
const WARPS: usize = 4;

/// Heads, who sees whom, and where segments lie.
#[derive(Clone, Copy)]
pub struct Problem<'a> {
    /// Query heads, H.
    pub heads: usize,
    /// Key and value heads, G.
    pub kv_heads: usize,
    /// Width of a head, c; at most [`WIDEST`].
    pub width: usize,
    /// Whether a position sees none behind it.
    pub is_causal: bool,
    /// How many of the last positions it sees; 0 = all.
    pub window: usize,
    /// Factor of the scores, κ.
    pub scale: f32,
    /// What no score exceeds.
    pub soft_cap: Option<f32>,
    /// First rows of the segments, and the end of the last.
    pub offsets: &'a [u32],
    /// Whether only the last position of each segment asks; m is then their number, else n.
    pub asks_last: bool,
}

/// As the kernels take it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Shape {
    n: u32,
    asking: u32,
    heads: u32,
    kv_heads: u32,
    width: u32,
    is_causal: u32,
    window: u32,
    scale: f32,
    cap: f32,
}

// SAFETY: plain words, laid out as in attention.cu.
unsafe impl DeviceRepr for Shape {}

impl Problem<'_> {
    fn shape(&self, n: usize) -> Shape {
        Shape {
            n: n as u32,
            asking: self.asking(n) as u32,
            heads: self.heads as u32,
            kv_heads: self.kv_heads as u32,
            width: self.width as u32,
            is_causal: u32::from(self.is_causal),
            window: self.window as u32,
            scale: self.scale,
            cap: self.soft_cap.unwrap_or(0.0),
        }
    }

    /// m
    fn asking(&self, n: usize) -> usize {
        if self.asks_last {
            self.offsets.len() - 1
        } else {
            n
        }
    }

    /// The segment of each row, and where segments begin, in one copy.
    fn segments(&self, gpu: Gpu) -> Result<Segments> {
        let mut words = Vec::new();
        for (segment, ends) in self.offsets.windows(2).enumerate() {
            let length = (ends[1] - ends[0]) as usize;
            words.extend(std::iter::repeat_n(segment as u32, length));
        }
        let rows = words.len();
        words.extend(self.offsets);
        let words = gpu.upload(&words)?;
        Ok(Segments { words, rows })
    }
}

struct Segments {
    words: CudaSlice<u32>,
    rows: usize,
}

impl Segments {
    fn parts(&self) -> [CudaView<'_, u32>; 2] {
        [self.words.slice(..self.rows), self.words.slice(self.rows..)]
    }
}

/// o (m, H·c) and ln Σ exp (m, H) of q (m, H·c), k and v (n, G·c).
///
/// # Errors
/// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`.
pub fn forward(gpu: Gpu, problem: Problem<'_>, [q, k, v]: [&Array; 3]) -> Result<[Array; 2]> {
    let (n, _) = k.matrix();
    let (m, placed) = (problem.asking(n), problem.segments(gpu)?);
    let [segments, offsets] = placed.parts();
    let (mut o, mut sums) = (gpu.empty(q.len())?, gpu.empty(m * problem.heads)?);
    let (kernel, shape) = (gpu.kernel(FILE, "attention_f32")?, problem.shape(n));
    let mut call = gpu.call(&kernel);
    call.arg(q.values()).arg(k.values()).arg(v.values());
    call.arg(&segments).arg(&offsets);
    call.arg(&mut o).arg(&mut sums).arg(&shape);
    gpu.run(call, a_warp_per(m * problem.heads))?;
    Ok([
        Array::of_kernel(gpu, o, q.dims()),
        Array::of_kernel(gpu, sums, &[m, problem.heads]),
    ])
}

/// What the forward pass left, and dL/do.
#[derive(Clone, Copy)]
pub struct Saved<'a> {
    /// o, (m, H·c)
    pub o: &'a Array,
    /// ln Σ exp, (m, H)
    pub log_sum_exp: &'a Array,
    /// dL/do, (m, H·c)
    pub d_o: &'a Array,
}

/// dq, dk and dv.
///
/// # Errors
/// As [`forward`].
pub fn backward(
    gpu: Gpu,
    problem: Problem<'_>,
    [q, k, v]: [&Array; 3],
    saved: Saved<'_>,
) -> Result<[Array; 3]> {
    let (n, _) = k.matrix();
    let (m, placed) = (problem.asking(n), problem.segments(gpu)?);
    let [segments, offsets] = placed.parts();
    let [mut dq, mut dk, mut dv] = [
        gpu.empty(q.len())?,
        gpu.empty(k.len())?,
        gpu.empty(v.len())?,
    ];
    let shape = problem.shape(n);
    let kernel = gpu.kernel(FILE, "attention_queries_f32")?;
    let mut call = gpu.call(&kernel);
    call.arg(q.values()).arg(k.values()).arg(v.values());
    call.arg(saved.o.values()).arg(saved.d_o.values());
    call.arg(saved.log_sum_exp.values());
    call.arg(&segments).arg(&offsets);
    call.arg(&mut dq).arg(&shape);
    gpu.run(call, a_warp_per(m * problem.heads))?;
    let kernel = gpu.kernel(FILE, "attention_keys_f32")?;
    let mut call = gpu.call(&kernel);
    call.arg(q.values()).arg(k.values()).arg(v.values());
    call.arg(saved.o.values()).arg(saved.d_o.values());
    call.arg(saved.log_sum_exp.values());
    call.arg(&segments).arg(&offsets);
    call.arg(&mut dk).arg(&mut dv).arg(&shape);
    gpu.run(call, a_warp_per(n * problem.kv_heads))?;
    Ok([
        Array::of_kernel(gpu, dq, q.dims()),
        Array::of_kernel(gpu, dk, k.dims()),
        Array::of_kernel(gpu, dv, v.dims()),
    ])
}

fn a_warp_per(count: usize) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (count.div_ceil(WARPS) as u32, 1, 1),
        block_dim: (32 * WARPS as u32, 1, 1),
        shared_mem_bytes: 0,
    }
}
