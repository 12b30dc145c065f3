//! The rows of the head that can be answers, their term and their loss; equations in `head.cu`.

use std::ops::Range;

use cudarc::driver::{DeviceRepr, LaunchConfig};

use super::blocks::Table;
use super::low_rank::{Group, Hidden, Term};
use super::memory::{Memory, View};
use super::pointwise::a_thread_per;
use super::tally::Tally;
use super::{Array, Gpu, Words};
use crate::Result;

const FILE: &str = "head";

/// Threads of the block that adds losses up.
const ADDING: u32 = 256;

/// The row of x and the token of each logit, in a GPU's memory; rows never fall.
pub struct Classes {
    gpu: Gpu,
    /// All below, in one copy.
    words: Words,
    /// Logits, L.
    logits: usize,
    /// Rows of x, n.
    rows: usize,
    /// Tokens that differ, in order.
    distinct: Vec<u32>,
    /// First logit of each row, and the end of the last; (n + 1).
    offsets: Vec<u32>,
}

impl Classes {
    /// Copies of rows (below n) and tokens, (L) each.
    ///
    /// # Errors
    /// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`; the same of all functions here.
    pub fn new(gpu: Gpu, n: usize, rows: &[usize], tokens: &[u32]) -> Result<Self> {
        let mut distinct = tokens.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let which = |token: &u32| distinct.partition_point(|other| other < token) as u32;
        let first = |row: usize| rows.partition_point(|other| *other < row) as u32;
        let offsets: Vec<u32> = (0..=n).map(first).collect();
        let mut words: Vec<u32> = rows.iter().map(|row| *row as u32).collect();
        words.extend(tokens);
        words.extend(tokens.iter().map(which));
        words.extend(&offsets);
        words.extend(&distinct);
        Ok(Self {
            gpu,
            words: gpu.words(&words)?,
            logits: tokens.len(),
            rows: n,
            distinct,
            offsets,
        })
    }

    fn part(&self, from: usize, len: usize) -> View<'_, u32> {
        self.words.slice(from..from + len)
    }

    /// The row of each logit.
    fn prompts(&self) -> View<'_, u32> {
        self.part(0, self.logits)
    }

    /// The token of each logit.
    fn tokens(&self) -> View<'_, u32> {
        self.part(self.logits, self.logits)
    }

    /// Its place among those that differ.
    fn which(&self) -> View<'_, u32> {
        self.part(2 * self.logits, self.logits)
    }

    fn offsets(&self) -> View<'_, u32> {
        self.part(3 * self.logits, self.rows + 1)
    }

    fn distinct(&self) -> View<'_, u32> {
        self.part(3 * self.logits + self.rows + 1, self.distinct.len())
    }

    fn of(&self, group: &Group) -> GroupArguments {
        let first = self.offsets[group.rows.start];
        GroupArguments {
            row: group.rows.start as u32,
            rows: group.rows.len() as u32,
            first,
            count: self.offsets[group.rows.end] - first,
        }
    }
}

/// A group's rows and logits, as kernels take it.
#[repr(C)]
#[derive(Clone, Copy)]
struct GroupArguments {
    row: u32,
    rows: u32,
    first: u32,
    count: u32,
}

// SAFETY: plain words, laid out as in head.cu.
unsafe impl DeviceRepr for GroupArguments {}

/// The logits (L) of x (n, d).
///
/// # Errors
/// As [`Classes::new`].
pub(crate) fn forward(
    table: &Table,
    x: &Array,
    classes: &Classes,
    term: Option<&Term<'_>>,
) -> Result<Array> {
    let (gpu, (_, d)) = (classes.gpu, x.matrix());
    let w = table.rows(&classes.distinct, 1.0)?;
    let mut z = gpu.empty(classes.logits)?;
    let sizes = [classes.logits, d].map(|size| size as u32);
    let kernel = gpu.kernel(FILE, "answer_logits_f32")?;
    let mut call = gpu.call(&kernel);
    let (which, prompts) = (classes.which(), classes.prompts());
    call.arg(x.values()).arg(w.values());
    call.arg(&which).arg(&prompts).arg(&mut z);
    call.arg(&sizes[0]).arg(&sizes[1]);
    gpu.run(call, a_thread_per(32 * classes.logits))?;
    let mut z = z.written();
    if let Some(term) = term {
        for group in term.groups {
            add_term(term, group, (x, classes), &mut z)?;
        }
    }
    Ok(Array::of_kernel(gpu, z, &[classes.logits]))
}

fn add_term(
    term: &Term<'_>,
    group: &Group,
    (x, classes): (&Array, &Classes),
    z: &mut Memory<f32>,
) -> Result<()> {
    let gpu = term.gpu;
    let Hidden { h, .. } = term.down(group, &term.draw(group, x)?, x)?;
    let (part, r) = (classes.of(group), term.rank as u32);
    let (b, tokens, prompts) = (term.b(group), classes.tokens(), classes.prompts());
    let kernel = gpu.kernel(FILE, "answer_term")?;
    let mut call = gpu.call(&kernel);
    call.arg(&h).arg(&b).arg(&tokens).arg(&prompts).arg(z);
    call.arg(&part).arg(&r).arg(&term.scaling);
    gpu.run(call, a_thread_per(part.count as usize))
}

/// dL/dx (n, d) of x and dL/dlogits (L); adds the gradients of the term to `sums`.
///
/// # Errors
/// As [`Classes::new`].
pub(crate) fn backward(
    table: &Table,
    (x, classes): (&Array, &Classes),
    dz: &Array,
    term: Option<(&Term<'_>, &mut Array)>,
) -> Result<Array> {
    let (gpu, (n, d)) = (classes.gpu, x.matrix());
    let w = table.rows(&classes.distinct, 1.0)?;
    let (mut dx, width) = (gpu.empty(n * d)?, d as u32);
    let (which, offsets) = (classes.which(), classes.offsets());
    let kernel = gpu.kernel(FILE, "answer_input_f32")?;
    let mut call = gpu.call(&kernel);
    call.arg(dz.values()).arg(w.values());
    call.arg(&which).arg(&offsets).arg(&mut dx).arg(&width);
    gpu.run(call, blocks(n))?;
    let mut dx = dx.written();
    if let Some((term, sums)) = term {
        for group in term.groups {
            term_backward(term, group, (x, classes, dz), &mut dx, sums)?;
        }
    }
    Ok(Array::of_kernel(gpu, dx, x.dims()))
}

fn term_backward(
    term: &Term<'_>,
    group: &Group,
    (x, classes, dz): (&Array, &Classes, &Array),
    dx: &mut Memory<f32>,
    sums: &mut Array,
) -> Result<()> {
    let (gpu, r, part) = (term.gpu, term.rank as u32, classes.of(group));
    let drawn = term.draw(group, x)?;
    let hidden = term.down(group, &drawn, x)?;
    let (b, tokens, offsets) = (term.b(group), classes.tokens(), classes.offsets());
    let count = group.rows.len() * term.rank;
    let mut p = gpu.empty(count)?;
    let kernel = gpu.kernel(FILE, "answer_back")?;
    let mut call = gpu.call(&kernel);
    call.arg(dz.values()).arg(&b).arg(&tokens).arg(&offsets);
    call.arg(&mut p).arg(&part).arg(&r).arg(&term.scaling);
    gpu.run(call, a_thread_per(count))?;
    let p = p.written();

    let (which, prompts, distinct) = (classes.which(), classes.prompts(), classes.distinct());
    let db = sums.address_mut(term.members[group.member].b)?;
    let tokens = classes.distinct.len() as u32;
    let kernel = gpu.kernel(FILE, "answer_b")?;
    let mut call = gpu.call(&kernel);
    call.arg(dz.values()).arg(&hidden.h);
    call.arg(&which).arg(&prompts).arg(&distinct).arg(&db);
    call.arg(&part).arg(&tokens).arg(&r).arg(&term.scaling);
    gpu.run(call, a_thread_per(classes.distinct.len() * term.rank))?;

    term.down_backward(group, (&drawn, &hidden), (x, &p), Some(dx), sums)
}

/// a·tanh(z/a), (L).
///
/// # Errors
/// As [`Classes::new`].
pub(crate) fn soft_cap(gpu: Gpu, cap: f32, z: &Array) -> Result<Array> {
    let (count, mut y) = (z.len() as u32, gpu.empty(z.len())?);
    let kernel = gpu.kernel(FILE, "soft_cap")?;
    let mut call = gpu.call(&kernel);
    call.arg(z.values()).arg(&mut y).arg(&count).arg(&cap);
    gpu.run(call, a_thread_per(z.len()))?;
    Ok(Array::of_kernel(gpu, y, z.dims()))
}

/// dz of y and dy, (L) each.
///
/// # Errors
/// As [`Classes::new`].
pub(crate) fn soft_cap_backward(gpu: Gpu, cap: f32, [y, dy]: [&Array; 2]) -> Result<Array> {
    let (count, mut dz) = (y.len() as u32, gpu.empty(y.len())?);
    let kernel = gpu.kernel(FILE, "soft_cap_backward")?;
    let mut call = gpu.call(&kernel);
    call.arg(y.values()).arg(dy.values()).arg(&mut dz);
    call.arg(&count).arg(&cap);
    gpu.run(call, a_thread_per(y.len()))?;
    Ok(Array::of_kernel(gpu, dz, y.dims()))
}

/// Rows of logits, their labels, and what their losses count.
#[derive(Clone, Copy)]
pub struct Labelled<'a> {
    /// First class of each row, and the end of the last; (B + 1).
    pub offsets: &'a [u32],
    /// Below the row's number of classes, (B).
    pub labels: &'a [i32],
    /// Of each row, in the gradient.
    pub weight: f32,
    /// Runs of logits.
    pub samples: usize,
    /// Whether the loss is that of the mean logits, not the mean of the samples' losses.
    pub is_of_mean: bool,
}

/// Adds the losses of a part of the logits to `tally`, and writes their gradient into `dz`.
///
/// # Errors
/// As [`Classes::new`].
pub(crate) fn cross_entropy(
    (z, part): (&Array, Range<usize>),
    rows: Labelled<'_>,
    dz: &mut Array,
    tally: &mut Tally,
) -> Result<()> {
    let (gpu, prompts) = (z.gpu(), rows.labels.len());
    let mut words = rows.offsets.to_vec();
    words.extend(rows.labels.iter().map(|label| label.cast_unsigned()));
    let words = gpu.words(&words)?;
    let (offsets, labels) = (words.slice(..=prompts), words.slice(prompts + 1..));
    let mut losses = gpu.empty::<f64>(2 * prompts)?;
    let [samples, is_of_mean, count] =
        [rows.samples, usize::from(rows.is_of_mean), prompts].map(|value| value as u32);
    let z = z.values().slice(part.clone());
    let mut dz = dz.values_mut()?.slice_mut(part);
    let kernel = gpu.kernel(FILE, "cross_entropy")?;
    let mut call = gpu.call(&kernel);
    call.arg(&z).arg(&offsets).arg(&labels).arg(&rows.weight);
    call.arg(&samples).arg(&is_of_mean);
    call.arg(&mut losses).arg(&mut dz).arg(&count);
    gpu.run(call, a_thread_per(prompts))?;
    let losses = losses.written();
    let kernel = gpu.kernel(FILE, "add_losses")?;
    let mut call = gpu.call(&kernel);
    call.arg(&losses).arg(&count).arg(tally.sums_mut());
    gpu.run(
        call,
        LaunchConfig {
            block_dim: (ADDING, 1, 1),
            ..blocks(1)
        },
    )
}

fn blocks(count: usize) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (count as u32, 1, 1),
        block_dim: (128, 1, 1),
        shared_mem_bytes: 0,
    }
}
