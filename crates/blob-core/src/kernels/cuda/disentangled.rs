//! Attention over distances; equations in `disentangled.cu`.

use cudarc::driver::{DeviceRepr, LaunchConfig};

use super::call::Call;
use super::memory::View;
use super::{Array, Gpu, Words};
use crate::Result;

/// Widest head that the kernels hold.
pub(crate) const WIDEST: usize = 256;

const FILE: &str = "disentangled";

/// Warps of a block; a warp is 32 threads.
const WARPS: usize = 4;

/// Heads, segments, and the rows of their distances.
#[derive(Clone, Copy)]
pub(crate) struct Problem<'a> {
    /// H
    pub(crate) heads: usize,
    /// c, at most [`WIDEST`].
    pub(crate) head_dim: usize,
    /// κ
    pub(crate) scale: f32,
    /// First rows of the segments, and the end of the last.
    pub(crate) offsets: &'a [u32],
    /// Row of each distance in a share, from the lowest; not falling.
    pub(crate) places: &'a [u32],
    /// w
    pub(crate) width: usize,
    /// First row of each segment's share.
    pub(crate) shares: &'a [u32],
}

/// As the kernels take it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Shape {
    n: u32,
    segments: u32,
    heads: u32,
    width: u32,
    rows: u32,
    copy: u32,
    longest: u32,
    scale: f32,
}

// SAFETY: plain words, laid out as in disentangled.cu.
unsafe impl DeviceRepr for Shape {}

/// q, k, v (n, H·c), Q̂ and K̂ (C·w, H·c).
pub(crate) type Operands<'a> = [&'a Array; 5];

impl Problem<'_> {
    fn shape(&self, [q, _, _, queries, _]: Operands<'_>) -> Shape {
        Shape {
            n: q.matrix().0 as u32,
            segments: self.shares.len() as u32,
            heads: self.heads as u32,
            width: self.head_dim as u32,
            rows: queries.matrix().0 as u32,
            copy: self.width as u32,
            longest: self.places.len().div_ceil(2) as u32,
            scale: self.scale,
        }
    }

    /// The segment of each row, where segments begin, their shares, and the places, in one copy.
    fn placed(&self, gpu: Gpu) -> Result<Placed> {
        let mut words = Vec::new();
        for (segment, ends) in self.offsets.windows(2).enumerate() {
            let length = (ends[1] - ends[0]) as usize;
            words.extend(std::iter::repeat_n(segment as u32, length));
        }
        let mut ends = [words.len(), 0, 0];
        for (end, more) in [(1, self.offsets), (2, self.shares)] {
            words.extend(more);
            ends[end] = words.len();
        }
        words.extend(self.places);
        let words = gpu.words(&words)?;
        Ok(Placed { words, ends })
    }
}

struct Placed {
    words: Words,
    /// Of the segments, of the offsets and of the shares.
    ends: [usize; 3],
}

impl Placed {
    fn parts(&self) -> [View<'_, u32>; 4] {
        let [first, second, third] = self.ends;
        [
            self.words.slice(..first),
            self.words.slice(first..second),
            self.words.slice(second..third),
            self.words.slice(third..),
        ]
    }
}

/// o (n, H·c) and ln Σ exp (n, H).
///
/// # Errors
/// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`.
pub(crate) fn forward(gpu: Gpu, problem: Problem<'_>, of: Operands<'_>) -> Result<[Array; 2]> {
    let [q, ..] = of;
    let (n, _) = q.matrix();
    let placed = problem.placed(gpu)?;
    let (mut o, mut sums) = (gpu.empty(q.len())?, gpu.empty(n * problem.heads)?);
    let (kernel, shape) = (gpu.kernel(FILE, "distances_f32")?, problem.shape(of));
    let parts = placed.parts();
    let mut call = gpu.call(&kernel);
    push(&mut call, of, &[]);
    for part in &parts {
        call.arg(part);
    }
    call.arg(&mut o).arg(&mut sums).arg(&shape);
    gpu.run(call, a_warp_per(n * problem.heads))?;
    Ok([
        Array::of_kernel(gpu, o, q.dims()),
        Array::of_kernel(gpu, sums, &[n, problem.heads]),
    ])
}

/// dq, dk, dv, dQ̂ and dK̂, of o, ln Σ exp and dL/do.
///
/// # Errors
/// As [`forward`].
pub(crate) fn backward(
    gpu: Gpu,
    problem: Problem<'_>,
    of: Operands<'_>,
    [o, log_sum_exp, d_o]: [&Array; 3],
) -> Result<[Array; 5]> {
    let (placed, shape) = (problem.placed(gpu)?, problem.shape(of));
    let parts = placed.parts();
    let [segments, tables @ ..] = &parts;
    let (n, rows) = (shape.n as usize, shape.rows as usize);
    let empty = |x: &Array| gpu.empty(x.len());
    let [q, k, v, queries, keys] = of;
    let [mut dq, mut dk, mut dv] = [empty(q)?, empty(k)?, empty(v)?];
    let [mut d_queries, mut d_keys] = [empty(queries)?, empty(keys)?];
    let [by_query, by_key, by_row] = [
        gpu.kernel(FILE, "distances_queries_f32")?,
        gpu.kernel(FILE, "distances_keys_f32")?,
        gpu.kernel(FILE, "distances_tables_f32")?,
    ];
    let saved = [o, d_o, log_sum_exp];
    let mut call = gpu.call(&by_query);
    push(&mut call, of, &saved);
    call.arg(segments);
    for table in tables {
        call.arg(table);
    }
    call.arg(&mut dq).arg(&shape);
    gpu.run(call, a_warp_per(n * problem.heads))?;
    let mut call = gpu.call(&by_key);
    push(&mut call, of, &saved);
    call.arg(segments);
    for table in tables {
        call.arg(table);
    }
    call.arg(&mut dk).arg(&mut dv).arg(&shape);
    gpu.run(call, a_warp_per(n * problem.heads))?;
    let mut call = gpu.call(&by_row);
    push(&mut call, of, &saved);
    for table in tables {
        call.arg(table);
    }
    call.arg(&mut d_queries).arg(&mut d_keys).arg(&shape);
    gpu.run(call, a_warp_per(rows * problem.heads))?;
    Ok([
        Array::of_kernel(gpu, dq, q.dims()),
        Array::of_kernel(gpu, dk, k.dims()),
        Array::of_kernel(gpu, dv, v.dims()),
        Array::of_kernel(gpu, d_queries, queries.dims()),
        Array::of_kernel(gpu, d_keys, keys.dims()),
    ])
}

fn push(call: &mut Call, of: Operands<'_>, saved: &[&Array]) {
    for array in of.iter().chain(saved) {
        call.arg(array.values());
    }
}

fn a_warp_per(count: usize) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (count.div_ceil(WARPS) as u32, 1, 1),
        block_dim: (32 * WARPS as u32, 1, 1),
        shared_mem_bytes: 0,
    }
}
