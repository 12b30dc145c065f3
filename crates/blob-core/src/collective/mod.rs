//! Processes that train one adapter together: ranks 0 … n−1, each with its rows of every batch.
//!
//! ```text
//! Σ: x ← x₀ + x₁ + … + x₍ₙ₋₁₎       in this order, each sum rounded to its type
//! ```
//!
//! The result has the same bits everywhere.
//!
//! A rank that ends, fails or is stopped ends the others: instead of its part of the next sum it
//! sends why, and nobody has that sum. So the updates of all ranks are those of whole sums, and
//! states differ nowhere (docs/adr/0041).
//!
//! | file | what is in it |
//! |---|---|
//! | `meeting` | how ranks find rank 0, and whom it lets in |
//! | `connection` | between two ranks: frames, silence, lengths |
//! | `star` | sums and broadcasts by TCP, through rank 0 |
//! | `on_gpus` | sums by NCCL, beside it |

mod connection;
mod meeting;
#[cfg(feature = "cuda")]
mod on_gpus;
mod star;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use meeting::Meeting;
#[cfg(feature = "cuda")]
pub use on_gpus::OnGpus;
pub use star::Star;

use crate::abort::Abort;
use crate::buffer::Buffer;
use crate::ops::Device;
use crate::{Error, Result};

/// What ranks do together: each of them calls the same functions in the same order, with values of
/// the same lengths.
///
/// Every function fails with `BPEFT_RANK_LOST` when a rank has ended or is silent, with
/// `BPEFT_ABORTED` when one was stopped, with the code of what made another fail, and with
/// `BPEFT_RANKS` when two of them do different things. After a failure it fails the same way again.
pub trait Collective: Send {
    /// Which of the ranks this one is.
    fn rank(&self) -> usize;

    /// How many there are.
    fn size(&self) -> usize;

    /// What it adds up by: `tcp` or `nccl`.
    fn means(&self) -> &'static str {
        "tcp"
    }

    /// Replaces values and counts by their sums over all ranks.
    fn sum(&mut self, values: &mut Buffer, counts: &mut [f64], abort: &Abort) -> Result<()>;

    /// Replaces values by those of rank 0.
    fn broadcast(&mut self, values: &mut Buffer, abort: &Abort) -> Result<()>;

    /// Waits for all ranks.
    fn barrier(&mut self, abort: &Abort) -> Result<()> {
        self.sum(&mut Buffer::zeros(0), &mut [], abort)
    }

    /// Tells the others what has stopped this rank; they fail by it. Does nothing after a failure
    /// of the ranks themselves.
    fn stop(&mut self, error: &Error);

    /// The same ranks, where NCCL sums what lies on their GPUs.
    #[cfg(feature = "cuda")]
    fn on_gpus(&mut self) -> Option<&mut OnGpus> {
        None
    }
}

/// The means by which these ranks add up what they compute on this device: NCCL where every rank
/// has a GPU and the library, else the ranks itself.
///
/// # Errors
/// As [`Collective`]; `BPEFT_DEVICE` when NCCL fails.
pub fn fitting(mut ranks: Ranks, device: Device, abort: &Abort) -> Result<Box<dyn Collective>> {
    let mut lacking = [if has_nccl(device) { 0.0 } else { 1.0 }];
    ranks.sum(&mut Buffer::zeros(0), &mut lacking, abort)?;
    #[cfg(feature = "cuda")]
    if let (Device::Cuda(gpu), [0.0]) = (device, lacking) {
        return Ok(Box::new(OnGpus::of(ranks, gpu, abort)?));
    }
    Ok(Box::new(ranks))
}

#[cfg(feature = "cuda")]
fn has_nccl(device: Device) -> bool {
    matches!(device, Device::Cuda(_)) && crate::kernels::cuda::Communicator::is_there()
}

#[cfg(not(feature = "cuda"))]
fn has_nccl(_device: Device) -> bool {
    false
}

/// A [`Star`] with several owners.
#[derive(Clone)]
pub struct Ranks(Arc<Mutex<Star>>);

impl Ranks {
    /// Of a star.
    #[must_use]
    pub fn new(star: Star) -> Self {
        Self(Arc::new(Mutex::new(star)))
    }

    /// Its star, for one owner at a time.
    pub fn star(&self) -> MutexGuard<'_, Star> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collective for Ranks {
    fn rank(&self) -> usize {
        self.star().rank()
    }

    fn size(&self) -> usize {
        self.star().size()
    }

    fn sum(&mut self, values: &mut Buffer, counts: &mut [f64], abort: &Abort) -> Result<()> {
        values.fetch()?;
        self.star().sum(values.host_mut(), counts, abort)
    }

    fn broadcast(&mut self, values: &mut Buffer, abort: &Abort) -> Result<()> {
        values.fetch()?;
        self.star().broadcast(values.host_mut(), abort)
    }

    fn stop(&mut self, error: &Error) {
        self.star().stop(error);
    }
}
