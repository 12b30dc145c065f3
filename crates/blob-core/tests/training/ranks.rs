//! Ranks that share the rows of every update make the run of one process.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::net::TcpListener;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::thread;

use blob_core::abort::Abort;
use blob_core::adapter::{Adapter, LoraConfig, Module};
use blob_core::batch::Batch;
use blob_core::buffer::Buffer;
use blob_core::collective::{Collective, Meeting, Ranks, Star};
use blob_core::kernels::cpu::gemm::Precision;
use blob_core::train::{Share, StepReport, TrainConfig, Trainer};
use blob_core::{Error, Result};

use crate::conformance::{Case, apart, each, values};
use crate::support::small_model::{backbone, batch_of, config, lora, prompts, trained, training};

const UPDATES: usize = 3;

/// What the ranks of these rows have after some updates of two micro-batches each, of which the
/// second has the first rows alone; rank 0 begins with what `first` makes of the adapter.
fn together(
    case: &Case<'_>,
    shares: &[Range<usize>],
    first: impl Fn(&mut Adapter) + Sync,
) -> Vec<Result<(Vec<StepReport>, Vec<u32>)>> {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let (rows, short) = (apart(&case.world.batch), SHORT.min(case.world.batch.len()));
    let work = |rank: usize| -> Result<(Vec<StepReport>, Vec<u32>)> {
        let meeting = Meeting {
            rank,
            size: shares.len(),
            host: "127.0.0.1".into(),
            port,
            run: "0".repeat(64),
            meet_seconds: 60.0,
            silence_seconds: 60.0,
        };
        let abort = Abort::default();
        let ranks = Ranks::new(Star::meet(&meeting, &abort)?);
        let mut adapter = case.fresh();
        let method = case.method.clone();
        let mut trainer = Trainer::new(TrainConfig { seed: 3, method }, &adapter)?
            .with_collective(Box::new(ranks));
        if rank == 0 {
            first(&mut adapter);
        }
        trainer.take_state_of_first(&mut adapter, &abort)?;
        let mut batches = Vec::new();
        for end in [rows.len(), short] {
            let own = shares[rank].start.min(end)..shares[rank].end.min(end);
            if !own.is_empty() {
                let batch = Batch::joined(&rows[own]).into_owned();
                batches.extend(vec![batch; case.members]);
            }
        }
        let share = Share {
            batches: &batches,
            rows: Some(rows.len() + short),
        };
        let mut reports = Vec::new();
        for _ in 0..UPDATES {
            let backbone = &case.world.backbone;
            reports.push(trainer.step_of_share(backbone, &mut adapter, &share, &abort)?);
        }
        trainer.compare_parameters(&adapter, &abort)?;
        Ok((reports, values(&adapter)))
    };
    thread::scope(|scope| {
        let work = &work;
        let ranks: Vec<_> = (0..shares.len())
            .map(|rank| scope.spawn(move || work(rank)))
            .collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

/// Rows of the second micro-batch.
const SHORT: usize = 2;

fn alone(case: &Case<'_>) -> (Vec<StepReport>, Vec<u32>) {
    let rows = apart(&case.world.batch);
    let short = Batch::joined(&rows[..SHORT]).into_owned();
    let mut batches = vec![case.world.batch.clone(); case.members];
    batches.extend(vec![short; case.members]);
    let mut adapter = case.fresh();
    let method = case.method.clone();
    let mut trainer = Trainer::new(TrainConfig { seed: 3, method }, &adapter).unwrap();
    let step = |_| {
        let (backbone, abort) = (&case.world.backbone, Abort::default());
        trainer
            .step(backbone, &mut adapter, &batches, &abort)
            .unwrap()
    };
    let reports = (0..UPDATES).map(step).collect();
    (reports, values(&adapter))
}

/// Two ranks, the first with one row more than half.
fn halves(case: &Case<'_>) -> [Range<usize>; 2] {
    let (rows, half) = (case.world.batch.len(), case.world.batch.len() / 2 + 1);
    [0..half, half..rows]
}

#[test]
fn two_ranks_make_the_updates_of_one_process_by_every_method() {
    each(|case| {
        let (expected, parameters) = alone(case);
        let ranks = together(case, &halves(case), |_| ());
        let ranks: Vec<_> = ranks.into_iter().map(Result::unwrap).collect();
        assert_eq!(ranks[0], ranks[1], "{}: ranks differ", case.name);
        let (reports, found) = &ranks[0];
        for (report, expected) in reports.iter().zip(&expected) {
            let name = &case.name;
            assert_eq!(
                (report.step, report.rows, report.tokens),
                (expected.step, expected.rows, expected.tokens),
                "{name}"
            );
            // Rows are summed in another order, and AdamW divides what is near 0 by its size.
            for (found, expected) in [
                (report.nll, expected.nll),
                (report.update.grad_norm, expected.update.grad_norm),
                (
                    report.update.kl.unwrap_or(0.0),
                    expected.update.kl.unwrap_or(0.0),
                ),
            ] {
                let difference = (found - expected).abs();
                assert!(
                    difference <= 1e-4 * expected.abs(),
                    "{name}: {found} {expected}"
                );
            }
        }
        for (found, expected) in found.iter().zip(&parameters) {
            let [found, expected] = [found, expected].map(|bits| f32::from_bits(*bits));
            let difference = (found - expected).abs();
            assert!(difference <= 5e-4, "{}: {found} {expected}", case.name);
        }
    });
}

#[test]
fn ranks_without_rows_take_part_and_a_run_repeats_to_the_bit() {
    let mut seen = false;
    each(|case| {
        if seen || case.over.is_none() {
            return;
        }
        seen = true;
        let rows = case.world.batch.len();
        let shares: Vec<_> = (0..=rows)
            .map(|rank| rank.min(rows)..(rank + 1).min(rows))
            .collect();
        let of_rank_0 = |ranks: Vec<Result<_>>| ranks.into_iter().next().unwrap().unwrap();
        let first = of_rank_0(together(case, &shares, |_| ()));
        assert_eq!(first, of_rank_0(together(case, &shares, |_| ())));
        let (expected, _) = alone(case);
        let (found, expected) = (first.0[UPDATES - 1].nll, expected[UPDATES - 1].nll);
        assert!((found - expected).abs() < 1e-4, "{found} {expected}");
    });
}

#[test]
fn all_begin_with_what_rank_0_has() {
    let mut seen = false;
    each(|case| {
        if seen {
            return;
        }
        seen = true;
        let moved = |adapter: &mut Adapter| {
            for value in adapter.parameters_mut().member_mut(0) {
                *value += 0.125;
            }
        };
        let [first, second] = [moved as fn(&mut Adapter), |_| ()].map(|first| {
            let ranks = together(case, &halves(case), first);
            let ranks: Vec<_> = ranks.into_iter().map(Result::unwrap).collect();
            assert_eq!(ranks[0], ranks[1]);
            ranks[0].1.clone()
        });
        assert_ne!(first, second);
    });
}

#[test]
fn a_loss_that_is_not_finite_on_one_rank_stops_all_and_names_it() {
    let mut seen = false;
    each(|case| {
        if seen {
            return;
        }
        seen = true;
        let poisoned = |adapter: &mut Adapter| adapter.parameters_mut().member_mut(0)[0] = f32::NAN;
        for (rank, end) in together(case, &halves(case), poisoned)
            .into_iter()
            .enumerate()
        {
            let error: Error = end.unwrap_err();
            assert_eq!(error.code(), "BPEFT_NOT_FINITE", "rank {rank}: {error}");
            assert!(
                error.to_string().contains("step 1: loss is not finite"),
                "{error}"
            );
        }
    });
}

/// The counts that a rank gave last, and whether it stopped the other.
type Told = Arc<Mutex<(Vec<f64>, bool)>>;

/// The second of two ranks, or the first, beside one that has nothing but counts.
struct Beside {
    rank: usize,
    counts: Vec<f64>,
    told: Told,
}

impl Beside {
    fn new(rank: usize, counts: &[f64]) -> (Box<Self>, Told) {
        let told = Told::default();
        let beside = Self {
            rank,
            counts: counts.to_vec(),
            told: Arc::clone(&told),
        };
        (Box::new(beside), told)
    }
}

impl Collective for Beside {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        2
    }

    fn sum(&mut self, _values: &mut Buffer, counts: &mut [f64], _abort: &Abort) -> Result<()> {
        self.told.lock().unwrap().0 = counts.to_vec();
        for (count, other) in counts.iter_mut().zip(&self.counts) {
            *count += other;
        }
        Ok(())
    }

    fn broadcast(&mut self, _values: &mut Buffer, _abort: &Abort) -> Result<()> {
        Ok(())
    }

    fn stop(&mut self, _error: &Error) {
        self.told.lock().unwrap().1 = true;
    }
}

fn two_members() -> Adapter {
    let lora = LoraConfig {
        members: 2,
        posterior: None,
        ..lora(&[Module::Q])
    };
    trained(lora, &config())
}

/// A trainer of the adapter beside another rank, and what was told to that one.
fn beside(adapter: &Adapter, rank: usize, counts: &[f64]) -> (Trainer, Told) {
    let (collective, told) = Beside::new(rank, counts);
    let trainer = Trainer::new(training(None), adapter).unwrap();
    (trainer.with_collective(collective), told)
}

#[test]
fn one_bit_or_two_exchanged_values_are_other_parameters() {
    let adapter = two_members();
    let hash = |of: &Adapter| {
        let (mut trainer, told) = beside(of, 1, &[0.0, 0.0]);
        let _ = trainer.compare_parameters(of, &Abort::default());
        told.lock().unwrap().0[1]
    };
    let compare = |of: &Adapter| {
        let (mut trainer, told) = beside(&adapter, 0, &[0.0, hash(of)]);
        let compared = trainer.compare_parameters(&adapter, &Abort::default());
        let stopped = told.lock().unwrap().1;
        assert_eq!(compared.is_err(), stopped);
        compared
    };
    compare(&adapter).unwrap();
    let changed = |change: &dyn Fn(&mut [f32])| {
        let mut other = adapter.clone();
        change(other.parameters_mut().member_mut(1));
        let error = compare(&other).unwrap_err();
        assert_eq!(error.code(), "BPEFT_RANKS");
        assert!(error.to_string().contains("rank 1 has others"), "{error}");
    };
    for place in 0..16 {
        for bit in [0, 15, 22, 31] {
            changed(&|values| {
                let value = &mut values[3 * place];
                *value = f32::from_bits(value.to_bits() ^ (1 << bit));
            });
        }
        changed(&|values| values.swap(place, place + 1));
    }
}

#[test]
fn the_updates_of_rank_0_count_and_a_share_must_have_the_rows_of_its_update() {
    let backbone = backbone(&config(), Precision::F32);
    let batch = batch_of(&prompts());
    let rows = batch.len();
    let batches = vec![batch; 2];
    let step = |rank: usize, counts: &[f64], rows: usize| {
        let mut adapter = two_members();
        let (mut trainer, told) = beside(&adapter, rank, counts);
        let share = Share {
            batches: &batches,
            rows: Some(rows),
        };
        let abort = Abort::default();
        let report = trainer.step_of_share(&backbone, &mut adapter, &share, &abort)?;
        Ok::<_, Error>((report, trainer, adapter, told))
    };
    // NLL, hits, rows and tokens of the other rank.
    let other = [0.0, 0.0, 10.0, 100.0];
    let tokens = 2 * batches[0].ids().len();
    let (report, ..) = step(1, &other, rows + 5).unwrap();
    assert_eq!((report.rows, report.tokens), (2 * rows + 10, tokens + 100));
    for wrong in [rows, rows + 4, rows + 6, 2 * rows + 10] {
        let error = step(1, &other, wrong).err().unwrap();
        let expected = format!("must hold the {} rows of the update", 2 * wrong);
        assert!(error.to_string().contains(&expected), "{error}");
    }
    for (rank, given, counted) in [(0, 1.0, 1), (1, 0.0, 7)] {
        let none = [0.0; 4];
        let (_, mut trainer, mut adapter, told) = step(rank, &none, rows).unwrap();
        assert_eq!(trainer.step_count(), 1);
        // The other rank gives its own count if it is the first.
        let (collective, told_now) = Beside::new(rank, &[if rank == 1 { 7.0 } else { 0.0 }]);
        trainer = trainer.with_collective(collective);
        let abort = Abort::default();
        trainer.take_state_of_first(&mut adapter, &abort).unwrap();
        assert_eq!(told_now.lock().unwrap().0, [given]);
        assert_eq!(trainer.step_count(), counted);
        assert!(!told.lock().unwrap().1);
    }
}
