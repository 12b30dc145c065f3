//! One connection between two ranks: frames of known lengths, and how long the other may be silent.
//!
//! ```text
//! frame = kind (1) · 0 (3) · round (4) · bytes of what follows (8)       little-endian
//! ```
//!
//! Both ends know what comes next, so no length of the other's is ever allocated. A rank that
//! computes sends a frame now and then that says it is alive; who waits goes by these, and not by
//! how long a step takes.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::abort::Abort;
use crate::{Error, Result};

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The sender reads now, as many bytes as the frame says.
    Ready = 1,
    /// Values follow.
    Data = 2,
    /// The sender was stopped, and why.
    Stop = 3,
    /// The sender lives.
    Alive = 4,
}

/// Bytes of a frame's head.
const HEAD: usize = 16;

/// What is said of what follows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    kind: Kind,
    /// Which of the sums and broadcasts it is of.
    round: u32,
    bytes: usize,
}

impl Kind {
    /// A frame of this kind.
    pub(super) fn of(self, round: u32, bytes: usize) -> Frame {
        let kind = self;
        Frame { kind, round, bytes }
    }
}

impl Frame {
    fn head(self) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[0] = self.kind as u8;
        head[4..8].copy_from_slice(&self.round.to_le_bytes());
        head[8..].copy_from_slice(&(self.bytes as u64).to_le_bytes());
        head
    }
}

/// Bytes that are read or written at once.
pub(super) const CHUNK: usize = 1 << 16;

/// Most bytes of what a rank says that stops.
const MOST_REASON: usize = 4096;

/// How often who waits looks at the clock and the caller's flag.
const LOOK: Duration = Duration::from_millis(100);

/// A connection to another rank.
pub(super) struct Connection {
    peer: usize,
    reader: TcpStream,
    writer: Arc<Mutex<TcpStream>>,
    silence: Duration,
}

impl Connection {
    /// Of a connection whose ends know each other.
    pub(super) fn new(peer: usize, stream: TcpStream, silence: Duration) -> Result<Self> {
        let prepared = || -> std::io::Result<TcpStream> {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(LOOK))?;
            stream.set_write_timeout(Some(silence))?;
            stream.try_clone()
        };
        let writer = prepared().map_err(|error| lost(peer, error.to_string()))?;
        Ok(Self {
            peer,
            reader: stream,
            writer: Arc::new(Mutex::new(writer)),
            silence,
        })
    }

    /// What says now and then that this rank lives.
    pub(super) fn pulse(&self) -> Pulse {
        Pulse(Arc::clone(&self.writer))
    }

    /// Sends a frame and what `write` makes follow it, which are `bytes`.
    pub(super) fn send(
        &self,
        frame: Frame,
        write: impl FnOnce(&mut dyn FnMut(&[u8]) -> std::io::Result<()>) -> std::io::Result<()>,
    ) -> Result<()> {
        let mut writer = locked(&self.writer);
        let sent = writer
            .write_all(&frame.head())
            .and_then(|()| write(&mut |part| writer.write_all(part)));
        sent.map_err(|error| lost(self.peer, told(&error)))
    }

    /// Tells why this rank stops.
    pub(super) fn send_reason(&self, round: u32, reason: &Reason) -> Result<()> {
        let text = reason.to_bytes();
        self.send(Kind::Stop.of(round, text.len()), |write| write(&text))
    }

    /// Waits for a frame of this kind, round and length.
    ///
    /// # Errors
    /// `BPEFT_RANK_LOST`; what stopped the other; `BPEFT_RANKS` for another frame; `BPEFT_ABORTED`
    /// once the flag is raised, before any of it has come.
    pub(super) fn expect(&mut self, frame: Frame, abort: Option<&Abort>) -> Result<()> {
        loop {
            let mut found = [0; HEAD];
            self.read(&mut found, abort)?;
            if found == Kind::Alive.of(0, 0).head() {
                continue;
            }
            if found == frame.head() {
                return Ok(());
            }
            if found[0] == Kind::Stop as u8 && found[1..4] == [0; 3] {
                return Err(self.read_reason(&found)?);
            }
            return Err(Error::Ranks(
                format!(
                    "rank {} must send {:?} {} of {} bytes, got {found:02x?}",
                    self.peer, frame.kind, frame.round, frame.bytes
                ),
                "start all ranks with the same command and the same version of bpeft",
            ));
        }
    }

    fn read_reason(&mut self, head: &[u8; HEAD]) -> Result<Error> {
        let [.., l0, l1, l2, l3, l4, l5, l6, l7] = *head;
        let length = u64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7]);
        if length > MOST_REASON as u64 {
            return Err(lost(self.peer, "it sent no frame".into()));
        }
        let mut text = vec![0; length as usize];
        self.read(&mut text, None)?;
        Ok(Reason::of_bytes(&text).error())
    }

    /// Fills `out`; aborted only before its first byte.
    pub(super) fn read(&mut self, out: &mut [u8], abort: Option<&Abort>) -> Result<()> {
        let (mut done, mut heard) = (0, Instant::now());
        while done < out.len() {
            match self.reader.read(&mut out[done..]) {
                Ok(0) => return Err(lost(self.peer, "its connection is closed".into())),
                Ok(bytes) => (done, heard) = (done + bytes, Instant::now()),
                Err(error) if is_wait(&error) => {
                    if let (0, Some(abort)) = (done, abort) {
                        abort.check()?;
                    }
                    if heard.elapsed() > self.silence {
                        let seconds = self.silence.as_secs_f64();
                        return Err(lost(
                            self.peer,
                            format!("nothing was heard of it for {seconds} s"),
                        ));
                    }
                }
                Err(error) => return Err(lost(self.peer, told(&error))),
            }
        }
        Ok(())
    }

    /// Reads `bytes` in parts.
    pub(super) fn read_parts(&mut self, bytes: usize, mut part: impl FnMut(&[u8])) -> Result<()> {
        let mut room = vec![0; CHUNK.min(bytes)];
        let mut left = bytes;
        while left > 0 {
            let now = left.min(room.len());
            self.read(&mut room[..now], None)?;
            part(&room[..now]);
            left -= now;
        }
        Ok(())
    }

    /// Takes beats that have come, and what says that the other has ended; waits for nothing long.
    pub(super) fn look(&mut self) -> Result<()> {
        loop {
            let mut found = [0; HEAD];
            match self.reader.peek(&mut found) {
                Ok(0) => return Err(lost(self.peer, "its connection is closed".into())),
                Ok(HEAD) if found == Kind::Alive.of(0, 0).head() => self.read(&mut found, None)?,
                Ok(HEAD) if found[0] == Kind::Stop as u8 => {
                    self.read(&mut found, None)?;
                    return Err(self.read_reason(&found)?);
                }
                Ok(_) => return Ok(()),
                Err(error) if is_wait(&error) => return Ok(()),
                Err(error) => return Err(lost(self.peer, told(&error))),
            }
        }
    }
}

/// Says that this rank lives.
pub(super) struct Pulse(Arc<Mutex<TcpStream>>);

impl Pulse {
    /// Sends a beat, unless something else is on its way; a connection that is gone is told to who
    /// reads.
    pub(super) fn beat(&self) {
        if let Ok(mut writer) = self.0.try_lock() {
            let _ = writer.write_all(&Kind::Alive.of(0, 0).head());
        }
    }
}

/// Why a rank stops, as it travels: `code\nmessage`.
#[derive(Debug, Clone)]
pub(super) struct Reason {
    code: &'static str,
    message: String,
}

impl Reason {
    /// What rank `of` met.
    pub(super) fn new(of: usize, error: &Error) -> Self {
        let message = match error {
            Error::OfRank { message, .. } => message.clone(),
            Error::RankLost { .. } | Error::Ranks(..) => error.to_string(),
            other => format!("rank {of}: {other}"),
        };
        let code = error.code();
        Self { code, message }
    }

    /// What those who hear it fail with.
    pub(super) fn error(&self) -> Error {
        if self.code == Error::Aborted.code() {
            return Error::Aborted;
        }
        Error::OfRank {
            code: self.code,
            message: self.message.clone(),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let text = format!("{}\n{}", self.code, self.message);
        let mut end = text.len().min(MOST_REASON);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.as_bytes()[..end].to_vec()
    }

    fn of_bytes(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let (code, message) = text.split_once('\n').unwrap_or(("", &text));
        let known = Error::CODES.iter().find(|known| **known == code);
        Self {
            code: known.copied().unwrap_or("BPEFT_RANKS"),
            message: message.to_owned(),
        }
    }
}

pub(super) fn is_wait(error: &std::io::Error) -> bool {
    use ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

fn locked(writer: &Mutex<TcpStream>) -> MutexGuard<'_, TcpStream> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}

fn told(error: &std::io::Error) -> String {
    if is_wait(error) {
        return "it takes nothing more".into();
    }
    format!("its connection failed ({error})")
}

pub(super) fn lost(rank: usize, what: String) -> Error {
    Error::RankLost { rank, what }
}
