//! An update whose rows several ranks share.
//!
//! ```text
//! g = Σ_ranks gᵣ,    gᵣ = 1/R · Σ_{rows of r} ∇(−ln p(y | x))          R rows of all ranks
//! ```
//!
//! Each rank weights its rows by those of all, so that the sum is the gradient of the mean whatever
//! share each has. What follows, clipping, decay and the divergence to the prior, every rank does
//! by itself on that sum, once, and so with the same bits. The noise goes by rows and updates,
//! never by ranks: draws of whole factors are the same on all, and signs are those that one process
//! would give each row.

#[cfg(feature = "cuda")]
use super::sums::Sums;
use super::{Gradients, StepReport, Trainer};
use crate::abort::Abort;
use crate::adapter::Adapter;
use crate::backbone::Backbone;
use crate::batch::Batch;
use crate::collective::Collective;
#[cfg(feature = "cuda")]
use crate::collective::OnGpus;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::Gpu;
use crate::{Error, Result};

/// What one rank has of an update.
pub struct Share<'a> {
    /// Of each micro-batch a batch per member, without the last micro-batches if it has no row of
    /// these.
    pub batches: &'a [Batch],
    /// Rows of each member over all ranks; `None`: those of the batches.
    pub rows: Option<usize>,
}

impl Share<'_> {
    /// Rows of each member, over all micro-batches and ranks.
    pub(super) fn rows_of_members(&self, members: usize) -> Vec<usize> {
        if let Some(rows) = self.rows {
            return vec![rows; members];
        }
        let mut rows = vec![0; members];
        for (index, batch) in self.batches.iter().enumerate() {
            rows[index % members] += batch.len();
        }
        rows
    }
}

/// Of an update, over all members.
#[derive(Clone, Copy)]
pub(super) struct Counts {
    pub(super) rows: usize,
    pub(super) tokens: usize,
}

impl Counts {
    fn of(share: &Share<'_>) -> Self {
        Self {
            rows: share.batches.iter().map(Batch::len).sum(),
            tokens: share.batches.iter().map(|batch| batch.ids().len()).sum(),
        }
    }
}

impl Trainer {
    /// Trains together with other ranks, by [`Self::step_of_share`].
    #[must_use]
    pub fn with_collective(mut self, collective: Box<dyn Collective>) -> Self {
        self.collective = Some(collective);
        self
    }

    /// [`Self::step`] over what this rank has of an update that all ranks make; the report is of
    /// all their rows.
    ///
    /// # Errors
    /// As [`Self::step`], and as [`Collective`]: what stops one rank stops all of them, and none
    /// has made the update.
    pub fn step_of_share(
        &mut self,
        backbone: &Backbone,
        adapter: &mut Adapter,
        share: &Share<'_>,
        abort: &Abort,
    ) -> Result<StepReport> {
        let done = self.update(backbone, adapter, share, abort);
        if let (Err(error), Some(collective)) = (&done, &mut self.collective) {
            collective.stop(error);
        }
        done
    }

    /// Takes parameters, statistics and the number of updates of rank 0, which may have read them.
    ///
    /// # Errors
    /// As [`Collective`].
    pub fn take_state_of_first(&mut self, adapter: &mut Adapter, abort: &Abort) -> Result<()> {
        let Some(collective) = &mut self.collective else {
            return Ok(());
        };
        let is_first = collective.rank() == 0;
        let mut step = [if is_first { self.step as f64 } else { 0.0 }];
        collective.sum(&mut Vec::new().into(), &mut step, abort)?;
        collective.broadcast(adapter.parameters_mut().values_mut(), abort)?;
        for statistic in self.method.statistics() {
            collective.broadcast(statistic.values, abort)?;
        }
        self.step = count_of(step[0]) as u64;
        Ok(())
    }

    /// Looks whether all ranks have the same parameters, to the bit.
    ///
    /// # Errors
    /// As [`Collective`]; `BPEFT_RANKS` naming the first that has others than rank 0.
    pub fn compare_parameters(&mut self, adapter: &Adapter, abort: &Abort) -> Result<()> {
        let Some(collective) = &mut self.collective else {
            return Ok(());
        };
        adapter.parameters().fetch()?;
        let mut hashes = vec![0.0; collective.size()];
        hashes[collective.rank()] = hash(adapter.parameters().values().host());
        collective.sum(&mut Vec::new().into(), &mut hashes, abort)?;
        let other = hashes.iter().position(|hash| *hash != hashes[0]);
        let Some(rank) = other else {
            return Ok(());
        };
        let error = Error::Ranks(
            format!(
                "after step {} all ranks must have the same parameters, rank {rank} has others \
                 than rank 0",
                self.step
            ),
            "give all ranks machines of one kind, then start again with --resume",
        );
        collective.stop(&error);
        Err(error)
    }

    /// Adds up what the ranks have, and the rows and tokens of all.
    pub(super) fn add_up(
        &mut self,
        gradients: &mut Gradients,
        share: &Share<'_>,
        abort: &Abort,
    ) -> Result<Counts> {
        let counts = Counts::of(share);
        let Some(collective) = &mut self.collective else {
            return Ok(counts);
        };
        let mut sums = [
            gradients.nll_sum,
            gradients.correct as f64,
            counts.rows as f64,
            counts.tokens as f64,
        ];
        collective.sum(gradients.parameters.values_mut(), &mut sums, abort)?;
        let [nll_sum, correct, rows, tokens] = sums;
        gradients.nll_sum = nll_sum;
        gradients.correct = count_of(correct);
        self.counted([rows, tokens], share)
    }

    /// Whether what a GPU has summed can go on there: nobody else has a part, or NCCL adds it up.
    #[cfg(feature = "cuda")]
    pub(super) fn adds_on(&mut self, gpu: Gpu) -> bool {
        self.collective.is_none() || self.on_gpus().is_some_and(|it| it.gpu() == gpu)
    }

    #[cfg(feature = "cuda")]
    pub(super) fn on_gpus(&mut self) -> Option<&mut OnGpus> {
        self.collective.as_mut()?.on_gpus()
    }

    /// [`Self::add_up`] on the GPU. It waits for the sum: of one that a missing rank has spoilt no
    /// update may be made.
    #[cfg(feature = "cuda")]
    pub(super) fn add_up_on(
        &mut self,
        gpu: Gpu,
        sums: &mut Sums,
        share: &Share<'_>,
        abort: &Abort,
    ) -> Result<Counts> {
        let counts = Counts::of(share);
        let Some(on_gpus) = self.on_gpus() else {
            return Ok(counts);
        };
        let mut tally = sums.take_tally(gpu)?;
        let gradients = sums.parameters.change_on(gpu)?;
        let mut of_hosts = [counts.rows as f64, counts.tokens as f64];
        on_gpus.sum_step(gradients, &mut tally, &mut of_hosts, abort)?;
        sums.tally = Some(tally);
        let counts = self.counted(of_hosts, share)?;
        sums.added = Some(counts);
        Ok(counts)
    }

    /// # Errors
    /// `BPEFT_INVALID_INPUT` when the shares are not those of one update.
    fn counted(&self, [rows, tokens]: [f64; 2], share: &Share<'_>) -> Result<Counts> {
        match share.rows.map(|rows| rows * self.members) {
            Some(expected) if expected as f64 != rows => Err(Error::InvalidInput(format!(
                "the shares of all ranks must hold the {expected} rows of the update, got {rows}"
            ))),
            _ => Ok(Counts {
                rows: count_of(rows),
                tokens: count_of(tokens),
            }),
        }
    }
}

/// A count that was added up in f64, exactly.
#[expect(clippy::cast_sign_loss, reason = "it counts")]
fn count_of(count: f64) -> usize {
    count as usize
}

/// 52 bits, which f64 holds, of values to the bit: FNV-1a by words.
fn hash(values: &[f32]) -> f64 {
    let mixed = values.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, value| {
        (hash ^ u64::from(value.to_bits())).wrapping_mul(0x0100_0000_01b3)
    });
    (mixed >> 12) as f64
}
