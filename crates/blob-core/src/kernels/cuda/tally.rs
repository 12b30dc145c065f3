//! What a step leaves to be read at its end: sums in f64, and whether it may change anything.

use super::memory::Memory;
use super::unwritten::Unwritten;
use super::{Array, Gpu};
use crate::Result;

/// Blocks of a sum, at most.
const MOST_BLOCKS: usize = 256;

/// Threads of a block.
pub(super) const THREADS: usize = 256;

/// Places of sums. The first three are those of the losses, of rows that were right, and the mean
/// of the gradients' norms, which kernels find themselves.
#[derive(Clone, Copy)]
pub(super) enum TallySum {
    /// The divergence to the prior.
    Kl = 3,
    /// σ of all weights.
    Sigma = 4,
    /// Squares of all parameters.
    Squares = 5,
}

/// How many there are.
const SUMS: usize = 6;

/// Sums of one step; all memory that its update needs is taken when it is made.
pub struct Tally {
    gpu: Gpu,
    sums: Memory<f64>,
    /// What clipping leaves of each member's gradient; NaN: nothing is to be changed.
    scales: Array,
    /// What blocks sum before they are added up: of each member in two parts.
    pub(super) partials: Unwritten<f64>,
}

/// A [`Tally`] that was read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Read {
    /// Σ −ln p(y | x), in nats.
    pub nll_sum: f64,
    /// Rows whose most probable class is their label.
    pub correct: usize,
    /// Mean of the members' gradient norms; NaN where a gradient is not finite.
    pub grad_norm: f64,
    /// The divergence to the prior, in nats.
    pub kl: f64,
    /// Σ σ.
    pub sigma_sum: f64,
    /// Σ of the squares of all parameters.
    pub squares: f64,
}

impl Tally {
    /// How many of the first sums are of the losses.
    pub(super) const LOSSES: usize = 2;

    /// Zeros, for so many gradients: of each member, or of each of its draws.
    ///
    /// # Errors
    /// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`; the same of all functions here.
    pub(crate) fn new(gpu: Gpu, members: usize) -> Result<Self> {
        Ok(Self {
            gpu,
            sums: gpu.zeros(SUMS)?,
            scales: Array::zeros(gpu, members)?,
            partials: gpu.empty(2 * MOST_BLOCKS * members)?,
        })
    }

    /// Where it is.
    pub(crate) fn gpu(&self) -> Gpu {
        self.gpu
    }

    pub(super) fn sums_mut(&mut self) -> &mut Memory<f64> {
        &mut self.sums
    }

    /// A sum, the members' scales and the partial sums, for a kernel that changes them.
    pub(super) fn parts(&mut self) -> (&mut Memory<f64>, &mut Array, &mut Unwritten<f64>) {
        (&mut self.sums, &mut self.scales, &mut self.partials)
    }

    pub(super) fn scales(&self) -> &Memory<f32> {
        self.scales.values()
    }

    /// Waits for the step.
    pub(crate) fn read(&self) -> Result<Read> {
        let sums = self.gpu.download(&self.sums)?;
        let [nll_sum, correct, grad_norm, kl, sigma_sum, squares] = sums[..] else {
            return Ok(Read::default()); // there are as many as it was made with
        };
        #[expect(clippy::cast_sign_loss, reason = "it counts rows")]
        let correct = correct as usize;
        Ok(Read {
            nll_sum,
            correct,
            grad_norm,
            kl,
            sigma_sum,
            squares,
        })
    }
}

/// Blocks of a sum over so many values.
pub(super) fn blocks_of(count: usize) -> usize {
    count.div_ceil(THREADS).clamp(1, MOST_BLOCKS)
}
