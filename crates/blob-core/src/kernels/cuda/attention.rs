//! Attention over ragged segments; equations in `attention.cu`.

use cudarc::driver::{DeviceRepr, LaunchConfig};

use super::call::Call;
use super::memory::View;
use super::{Array, Gpu, Rounded, Words};
use crate::Result;

/// Widest head that the kernels hold.
pub const WIDEST: usize = 256;

/// A reach beyond the longest segment.
pub const EVERY: usize = 1 << 30;

const FILE: &str = "attention";

/// Columns that a block of `attention_keys` sums.
const PART: usize = 128;

/// Heads, who sees whom, and where segments lie.
#[derive(Clone, Copy)]
pub struct Problem<'a> {
    /// Query heads, H.
    pub heads: usize,
    /// Key and value heads, G.
    pub kv_heads: usize,
    /// Width of a head, c; at most [`WIDEST`].
    pub width: usize,
    /// How many positions before it a position sees; at most [`EVERY`].
    pub before: usize,
    /// How many behind it.
    pub after: usize,
    /// Factor of the scores, κ.
    pub scale: f32,
    /// What no score exceeds.
    pub soft_cap: Option<f32>,
    /// First rows of the segments, and the end of the last.
    pub offsets: &'a [u32],
    /// Whether only the last position of each segment is a query; m is then their number, else n.
    pub last_queries_only: bool,
}

/// q (m, H·c), k and v (n, G·c).
#[derive(Clone, Copy)]
pub struct Operands<'a> {
    /// Queries.
    pub q: &'a Array,
    /// Keys and values.
    pub keys: Keys<'a>,
}

/// k and v, of which the products' type is.
#[derive(Clone, Copy)]
pub enum Keys<'a> {
    /// Products are in f32.
    Exact([&'a Array; 2]),
    /// Products are in bf16, on tensor cores, and round what else they read.
    Rounded([&'a Rounded; 2]),
}

impl Keys<'_> {
    /// n and G·c
    fn dims(&self) -> [usize; 2] {
        match self {
            Self::Exact([k, _]) => k.matrix().into(),
            Self::Rounded([k, _]) => *k.dims(),
        }
    }

    fn add_to(self, call: &mut Call) {
        match self {
            Self::Exact([k, v]) => call.arg(k.values()).arg(v.values()),
            Self::Rounded([k, v]) => call.arg(k.values()).arg(v.values()),
        };
    }

    fn tilings(self) -> &'static [Tiling; 3] {
        match self {
            Self::Exact(_) => &EXACT,
            Self::Rounded(_) => &ROUNDED,
        }
    }
}

/// As the kernels take it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Shape {
    heads: u32,
    kv_heads: u32,
    width: u32,
    before: u32,
    after: u32,
    last_queries_only: u32,
    scale: f32,
    cap: f32,
}

// SAFETY: plain words, laid out as in attention.cu.
unsafe impl DeviceRepr for Shape {}

/// The kernels of a width and a way to multiply, and their tiles.
struct Tiling {
    /// Widest head of them.
    columns: usize,
    /// Rows of a block's own tile, and of those that it runs over.
    own: usize,
    other: usize,
    /// Bytes of a value in them.
    bytes: usize,
    /// forward, queries, keys
    names: [&'static str; 3],
}

macro_rules! names {
    ($kind:literal) => {
        [
            concat!("attention_", $kind),
            concat!("attention_queries_", $kind),
            concat!("attention_keys_", $kind),
        ]
    };
}

/// As `Tiling` of attention.cu; narrowest first.
const EXACT: [Tiling; 3] = [
    tiling(64, [64, 32], 4, names!("64_f32")),
    tiling(128, [32, 32], 4, names!("128_f32")),
    tiling(256, [32, 16], 4, names!("256_f32")),
];
const ROUNDED: [Tiling; 3] = [
    tiling(64, [128, 64], 2, names!("64_rounded")),
    tiling(128, [128, 32], 2, names!("128_rounded")),
    tiling(256, [64, 16], 2, names!("256_rounded")),
];
const _: () = assert!(EXACT[2].columns == WIDEST && ROUNDED[2].columns == WIDEST);

const fn tiling(
    columns: usize,
    [own, other]: [usize; 2],
    bytes: usize,
    names: [&'static str; 3],
) -> Tiling {
    Tiling {
        columns,
        own,
        other,
        bytes,
        names,
    }
}

impl Tiling {
    /// Bytes of so many rows; a row ends in 16 bytes of nothing.
    const fn rows(&self, rows: usize) -> usize {
        rows * (self.columns * self.bytes + 16)
    }

    fn launch(&self, tiles: usize, (heads, parts): (usize, usize), bytes: usize) -> LaunchConfig {
        LaunchConfig {
            grid_dim: (tiles as u32, heads as u32, parts as u32),
            block_dim: (2 * self.own as u32, 1, 1),
            shared_mem_bytes: bytes as u32,
        }
    }
}

impl Problem<'_> {
    fn shape(&self) -> Shape {
        Shape {
            heads: self.heads as u32,
            kv_heads: self.kv_heads as u32,
            width: self.width as u32,
            before: self.before as u32,
            after: self.after as u32,
            last_queries_only: u32::from(self.last_queries_only),
            scale: self.scale,
            cap: self.soft_cap.unwrap_or(0.0),
        }
    }

    fn tiling(&self, keys: Keys<'_>) -> &'static Tiling {
        let [narrow, middle, wide] = keys.tilings();
        match self.width {
            width if width <= narrow.columns => narrow,
            width if width <= middle.columns => middle,
            _ => wide,
        }
    }

    /// m
    fn query_rows(&self, n: usize) -> usize {
        if self.last_queries_only {
            self.offsets.len() - 1
        } else {
            n
        }
    }

    /// The tiles of the keys, those of the queries, and where segments begin, in one copy.
    fn place(&self, gpu: Gpu, tiling: &Tiling) -> Result<Placed> {
        let mut words = Vec::new();
        for (segment, ends) in self.offsets.windows(2).enumerate() {
            for first in (0..ends[1] - ends[0]).step_by(tiling.own) {
                words.extend([segment as u32, first]);
            }
        }
        let of_keys = words.len();
        if self.last_queries_only {
            let segments = 0..self.offsets.len() as u32 - 1;
            words.extend(segments.flat_map(|segment| [segment, 0]));
        }
        let of_queries = if self.last_queries_only { of_keys } else { 0 }..words.len();
        words.extend(self.offsets);
        Ok(Placed {
            words: gpu.words(&words)?,
            of_keys: 0..of_keys,
            of_queries,
        })
    }
}

struct Placed {
    words: Words,
    of_keys: std::ops::Range<usize>,
    of_queries: std::ops::Range<usize>,
}

impl Placed {
    fn keys(&self) -> (usize, View<'_, u32>) {
        (
            self.of_keys.len() / 2,
            self.words.slice(self.of_keys.clone()),
        )
    }

    fn queries(&self) -> (usize, View<'_, u32>) {
        let range = self.of_queries.clone();
        (range.len() / 2, self.words.slice(range))
    }

    fn offsets(&self) -> View<'_, u32> {
        self.words.slice(self.of_queries.end..)
    }
}

/// o (m, H·c) and ln Σ exp (m, H) of q (m, H·c), k and v (n, G·c).
///
/// # Errors
/// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`.
pub fn forward(
    gpu: Gpu,
    problem: Problem<'_>,
    Operands { q, keys }: Operands<'_>,
) -> Result<[Array; 2]> {
    let ([n, _], tiling) = (keys.dims(), problem.tiling(keys));
    let (m, placed) = (problem.query_rows(n), problem.place(gpu, tiling)?);
    let (mut o, mut sums) = (gpu.empty(q.len())?, gpu.empty(m * problem.heads)?);
    let ((tiles, of), offsets, shape) = (placed.queries(), placed.offsets(), problem.shape());
    let bytes = tiling.rows(tiling.own + 2 * tiling.other);
    let kernel = gpu.kernel_with(FILE, tiling.names[0], bytes)?;
    let mut call = gpu.call(&kernel);
    call.arg(q.values());
    keys.add_to(&mut call);
    call.arg(&of).arg(&offsets);
    call.arg(&mut o).arg(&mut sums).arg(&shape);
    gpu.run(call, tiling.launch(tiles, (problem.heads, 1), bytes))?;
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
    Operands { q, keys }: Operands<'_>,
    saved: Saved<'_>,
) -> Result<[Array; 3]> {
    let ([n, width], tiling) = (keys.dims(), problem.tiling(keys));
    let (m, placed) = (problem.query_rows(n), problem.place(gpu, tiling)?);
    let [mut dq, mut dk, mut dv, mut delta] = [
        gpu.empty(q.len())?,
        gpu.empty(n * width)?,
        gpu.empty(n * width)?,
        gpu.empty(m * problem.heads)?,
    ];
    let (offsets, shape) = (placed.offsets(), problem.shape());
    let bytes = tiling.rows(2 * tiling.own + 2 * tiling.other);
    let kernel = gpu.kernel_with(FILE, tiling.names[1], bytes)?;
    let mut call = gpu.call(&kernel);
    let (tiles, of) = placed.queries();
    call.arg(q.values());
    keys.add_to(&mut call);
    call.arg(saved.o.values()).arg(saved.d_o.values());
    call.arg(saved.log_sum_exp.values());
    call.arg(&of).arg(&offsets);
    call.arg(&mut dq).arg(&mut delta).arg(&shape);
    gpu.run(call, tiling.launch(tiles, (problem.heads, 1), bytes))?;
    let delta = delta.written();
    let bytes = bytes + 2 * tiling.other * size_of::<f32>();
    let kernel = gpu.kernel_with(FILE, tiling.names[2], bytes)?;
    let mut call = gpu.call(&kernel);
    let (tiles, of) = placed.keys();
    call.arg(q.values());
    keys.add_to(&mut call);
    call.arg(saved.d_o.values());
    call.arg(saved.log_sum_exp.values()).arg(&delta);
    call.arg(&of).arg(&offsets);
    call.arg(&mut dk).arg(&mut dv).arg(&shape);
    let blocks = (problem.kv_heads, problem.width.div_ceil(PART));
    gpu.run(call, tiling.launch(tiles, blocks, bytes))?;
    Ok([
        Array::of_kernel(gpu, dq, q.dims()),
        Array::of_kernel(gpu, dk, &[n, width]),
        Array::of_kernel(gpu, dv, &[n, width]),
    ])
}
