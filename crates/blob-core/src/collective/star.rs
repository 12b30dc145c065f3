//! Sums and broadcasts by TCP, through rank 0: it takes one part after another, and adds each as it
//! comes.
//!
//! ```text
//! rank 0 → r   Ready, n bytes
//! r → rank 0   Data, its n bytes          rank 0: x ← x + xᵣ, r = 1, 2, …
//! rank 0 → all Data, n bytes of the sum
//! ```
//!
//! A part is sent only when rank 0 reads it, however long it was busy. Nobody has the sum before
//! every part is there, and whoever was told to stop instead sends no part.

use std::io::Result as IoResult;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::Meeting;
use super::connection::{CHUNK, Connection, Kind, Pulse, Reason, lost};
use crate::abort::Abort;
use crate::{Error, Result};

/// Longest text that rank 0 may tell.
const MOST_TEXT: usize = 1 << 24;

/// Ranks around rank 0.
pub struct Star {
    rank: usize,
    size: usize,
    connections: Vec<Connection>,
    round: u32,
    pub(super) beats: Beats,
    ended: Option<Reason>,
}

impl Star {
    /// Meets the others.
    ///
    /// # Errors
    /// `BPEFT_RANKS` when they do not come or are not of this run; `BPEFT_INVALID_CONFIG`;
    /// `BPEFT_ABORTED`.
    pub fn meet(meeting: &Meeting, abort: &Abort) -> Result<Self> {
        let connections = meeting.connections(abort)?;
        let pulses = connections.iter().map(Connection::pulse).collect();
        Ok(Self {
            rank: meeting.rank,
            size: meeting.size,
            beats: Beats::start(pulses, meeting.silence() / 6)?,
            connections,
            round: 0,
            ended: None,
        })
    }

    /// Which of the ranks this one is.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many there are.
    pub fn size(&self) -> usize {
        self.size
    }

    /// [`super::Collective::sum`] of the host's values.
    ///
    /// # Errors
    /// As [`super::Collective`].
    pub fn sum(&mut self, values: &mut [f32], counts: &mut [f64], abort: &Abort) -> Result<()> {
        self.together(abort, |star| {
            let bytes = size_of_val(values) + size_of_val(counts);
            if star.rank != 0 {
                let (connection, round) = (&mut star.connections[0], star.round);
                connection.expect(Kind::Ready.of(round, bytes), Some(abort))?;
                connection.send(Kind::Data.of(round, bytes), |write| {
                    write_values(values, write)?;
                    write_values(counts, write)
                })?;
                connection.expect(Kind::Data.of(round, bytes), None)?;
                read_values(connection, values, |value, new| *value = new)?;
                return read_values(connection, counts, |value, new| *value = new);
            }
            for connection in &mut star.connections {
                connection.send(Kind::Ready.of(star.round, bytes), |_| Ok(()))?;
                connection.expect(Kind::Data.of(star.round, bytes), Some(abort))?;
                read_values(connection, values, |value, part| *value += part)?;
                read_values(connection, counts, |value, part| *value += part)?;
            }
            for connection in &star.connections {
                connection.send(Kind::Data.of(star.round, bytes), |write| {
                    write_values(values, write)?;
                    write_values(counts, write)
                })?;
            }
            Ok(())
        })
    }

    /// [`super::Collective::broadcast`] of the host's values.
    ///
    /// # Errors
    /// As [`super::Collective`].
    pub fn broadcast(&mut self, values: &mut [f32], abort: &Abort) -> Result<()> {
        self.hand_out(values, abort)
    }

    /// A text of rank 0, for all; the others' are not looked at.
    ///
    /// # Errors
    /// As [`super::Collective`]; `BPEFT_INVALID_INPUT` for one of more than 16 MiB.
    pub fn told_by_first(&mut self, text: &str, abort: &Abort) -> Result<String> {
        let mut length = [text.len() as u64];
        self.hand_out(&mut length, abort)?;
        if length[0] > MOST_TEXT as u64 {
            let got = length[0];
            return Err(Error::InvalidInput(format!(
                "a text for all ranks must have at most {MOST_TEXT} bytes, got {got}"
            )));
        }
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(length[0] as usize, 0);
        self.hand_out(&mut bytes, abort)?;
        String::from_utf8(bytes).map_err(|_| lost(0, "it sent no text".into()))
    }

    fn hand_out<T: Number>(&mut self, values: &mut [T], abort: &Abort) -> Result<()> {
        self.together(abort, |star| {
            let bytes = size_of_val(values);
            if star.rank != 0 {
                let (connection, round) = (&mut star.connections[0], star.round);
                connection.send(Kind::Ready.of(round, bytes), |_| Ok(()))?;
                connection.expect(Kind::Data.of(round, bytes), Some(abort))?;
                return read_values(connection, values, |value, new| *value = new);
            }
            for connection in &mut star.connections {
                connection.expect(Kind::Ready.of(star.round, bytes), Some(abort))?;
                connection.send(Kind::Data.of(star.round, bytes), |write| {
                    write_values(values, write)
                })?;
            }
            Ok(())
        })
    }

    /// Tells the others what has stopped this rank, unless the ranks have ended already.
    pub fn stop(&mut self, error: &Error) {
        if self.ended.is_none() {
            self.end(Reason::new(self.rank, error));
        }
    }

    /// What has ended the ranks meanwhile, while something else is waited for.
    ///
    /// # Errors
    /// As [`super::Collective`].
    pub fn check(&mut self) -> Result<()> {
        if let Some(why) = &self.ended {
            return Err(why.error());
        }
        let looked = self.connections.iter_mut().try_for_each(Connection::look);
        looked.inspect_err(|error| self.end(Reason::new(self.rank, error)))
    }

    /// One more thing that all do; a failure of it is everybody's.
    fn together(
        &mut self,
        abort: &Abort,
        work: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        if let Some(why) = &self.ended {
            return Err(why.error());
        }
        self.round = self.round.wrapping_add(1);
        // Rank 0 may be busy elsewhere, and what it does not read would pile up.
        self.beats.are_paused(self.rank != 0);
        let done = abort.check().and_then(|()| work(self));
        self.beats.are_paused(false);
        done.inspect_err(|error| self.end(Reason::new(self.rank, error)))
    }

    /// Ends the ranks, and tells who can still hear it.
    fn end(&mut self, reason: Reason) {
        for connection in &self.connections {
            let _ = connection.send_reason(self.round, &reason); // it is gone, or ends by this
        }
        self.ended = Some(reason);
    }
}

/// What travels, little-endian.
trait Number: Copy {
    fn put(self, to: &mut Vec<u8>);
    fn of(bytes: &[u8]) -> Self;
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Number for $type {
            fn put(self, to: &mut Vec<u8>) {
                to.extend(self.to_le_bytes());
            }
            fn of(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().unwrap_or_default())
            }
        }
    )*};
}
number!(u8, u64, f32, f64);

fn write_values<T: Number>(
    values: &[T],
    write: &mut dyn FnMut(&[u8]) -> IoResult<()>,
) -> IoResult<()> {
    let mut part = Vec::with_capacity(CHUNK);
    for chunk in values.chunks(CHUNK / size_of::<T>()) {
        part.clear();
        for value in chunk {
            value.put(&mut part);
        }
        write(&part)?;
    }
    Ok(())
}

fn read_values<T: Number>(
    connection: &mut Connection,
    values: &mut [T],
    mut take: impl FnMut(&mut T, T),
) -> Result<()> {
    let mut to = values.iter_mut();
    connection.read_parts(size_of::<T>() * to.len(), |part| {
        // In this order: a value that is taken without bytes would be lost.
        for (bytes, value) in part.chunks_exact(size_of::<T>()).zip(to.by_ref()) {
            take(value, T::of(bytes));
        }
    })
}

/// The thread that says now and then that this rank lives.
pub(super) struct Beats {
    state: Arc<BeatState>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct BeatState {
    is_over: Mutex<bool>,
    over: Condvar,
    is_paused: AtomicBool,
}

impl Beats {
    fn start(pulses: Vec<Pulse>, every: Duration) -> Result<Self> {
        let state = Arc::new(BeatState::default());
        let shared = Arc::clone(&state);
        let beat = move || {
            let mut is_over = shared
                .is_over
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            while !*is_over {
                let waited = shared.over.wait_timeout(is_over, every);
                is_over = waited.unwrap_or_else(PoisonError::into_inner).0;
                if !*is_over && !shared.is_paused.load(Ordering::Relaxed) {
                    pulses.iter().for_each(Pulse::beat);
                }
            }
        };
        let thread = thread::Builder::new()
            .name("bpeft-ranks".into())
            .spawn(beat);
        let thread = thread.map_err(|error| {
            let hint = "raise the limit of processes (ulimit -u, --pids-limit, TasksMax)";
            Error::Ranks(
                format!("no thread can be had for the other ranks: {error}"),
                hint,
            )
        })?;
        Ok(Self {
            state,
            thread: Some(thread),
        })
    }

    pub(super) fn are_paused(&self, is_paused: bool) {
        self.state.is_paused.store(is_paused, Ordering::Relaxed);
    }
}

impl Drop for Beats {
    fn drop(&mut self) {
        let over = &self.state.is_over;
        *over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.state.over.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it cannot panic, and nothing would be lost by it
        }
    }
}
