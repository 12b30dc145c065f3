//! Ranks with a GPU each, whose gradients NCCL sums where they lie.
//!
//! By TCP all ranks first say that they have come this far, with what their hosts count: a rank
//! that was stopped or has failed is heard of there, since a sum of NCCL in which one is missing
//! never ends. The sum itself is asked of the GPU's stream, and waited for before the update.

use super::{Collective, Ranks};
use crate::abort::Abort;
use crate::buffer::Buffer;
use crate::kernels::cuda::{Array, Communicator, Gpu, Tally, UNIQUE_ID};
use crate::{Error, Result};

/// A [`Ranks`] whose ranks have a GPU each.
pub struct OnGpus {
    ranks: Ranks,
    communicator: Communicator,
}

impl OnGpus {
    /// The ranks with NCCL, once all ranks have it and a GPU.
    ///
    /// # Errors
    /// As [`Collective`]; `BPEFT_DEVICE` when NCCL fails.
    pub(super) fn of(mut ranks: Ranks, gpu: Gpu, abort: &Abort) -> Result<Self> {
        let made = Self::joined(&mut ranks, gpu, abort);
        made.inspect_err(|error| ranks.stop(error))
    }

    fn joined(ranks: &mut Ranks, gpu: Gpu, abort: &Abort) -> Result<Self> {
        let (rank, size) = (ranks.rank(), ranks.size());
        let mut id = [0; UNIQUE_ID];
        if rank == 0 {
            id = Communicator::unique_id(gpu)?;
        }
        let hex = |id: [u8; UNIQUE_ID]| id.map(|byte| format!("{byte:02x}")).concat();
        let told = ranks.star().told_by_first(&hex(id), abort)?;
        for (at, byte) in id.iter_mut().enumerate() {
            let digits = told.get(2 * at..2 * at + 2).unwrap_or_default();
            *byte = u8::from_str_radix(digits, 16).map_err(|_| {
                Error::Ranks(
                    "rank 0 must name its communicator, got something else".into(),
                    "start all ranks with the same version of bpeft",
                )
            })?;
        }
        ranks.barrier(abort)?; // all are about to join: who is missing there is waited for forever
        Ok(Self {
            communicator: Communicator::join(gpu, id, (rank, size))?,
            ranks: ranks.clone(),
        })
    }

    /// Sums gradients and losses on the GPU, and the hosts' counts, and waits for them.
    ///
    /// # Errors
    /// As [`Collective`]; `BPEFT_DEVICE`.
    pub(crate) fn sum_step(
        &mut self,
        gradients: &mut Array,
        tally: &mut Tally,
        counts: &mut [f64],
        abort: &Abort,
    ) -> Result<()> {
        self.ranks.sum(&mut Buffer::zeros(0), counts, abort)?;
        self.communicator.sum(gradients)?;
        self.communicator.sum_losses(tally)?;
        let done = self.communicator.wait(|| self.ranks.star().check());
        // Where a rank is gone, its connection says more than NCCL.
        done.map_err(|error| self.ranks.star().check().err().unwrap_or(error))
    }

    /// The GPU whose arrays are summed.
    pub(crate) fn gpu(&self) -> Gpu {
        self.communicator.gpu()
    }
}

impl Collective for OnGpus {
    fn rank(&self) -> usize {
        self.ranks.rank()
    }

    fn size(&self) -> usize {
        self.ranks.size()
    }

    fn means(&self) -> &'static str {
        "nccl"
    }

    fn sum(&mut self, values: &mut Buffer, counts: &mut [f64], abort: &Abort) -> Result<()> {
        self.ranks.sum(values, counts, abort)
    }

    fn broadcast(&mut self, values: &mut Buffer, abort: &Abort) -> Result<()> {
        self.ranks.broadcast(values, abort)
    }

    fn stop(&mut self, error: &Error) {
        self.ranks.stop(error);
    }

    fn on_gpus(&mut self) -> Option<&mut OnGpus> {
        Some(self)
    }
}
