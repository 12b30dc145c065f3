//! How ranks meet: rank 0 listens, the others come, and only those of one run are let in.
//!
//! ```text
//! rank 0 → caller    magic (8) · nonce (8)
//! caller → rank 0    magic (8) · nonce (8) · ranks (4) · rank (4) · run (64)
//! rank 0 → caller    verdict (4) · ranks (4)                                     0: welcome
//! ```
//!
//! What is no rank is dropped, and the door stays open: a port that others can reach is knocked at.
//! Nothing is encrypted, and nothing keeps out who knows the run: the network must be one's own.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::connection::{Connection, is_wait};
use crate::abort::Abort;
use crate::{Error, Result};

/// Changes with whatever ranks send each other.
pub(super) const MAGIC: [u8; 8] = *b"bpeftrk1";

/// Bytes of what says which run it is: a SHA-256, in hexadecimal digits.
pub(super) const RUN_DIGEST: usize = 64;

pub(super) const GREETING: usize = 16;
pub(super) const CALL: usize = 24 + RUN_DIGEST;
const VERDICT: usize = 8;

/// How long a caller may take to say who it is.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Between two tries.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// Most ranks; each is a connection of rank 0.
const MOST_RANKS: usize = 1024;

/// Who meets, and where.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Meeting {
    /// This one, from 0.
    pub rank: usize,
    /// How many there are.
    pub size: usize,
    /// Where rank 0 is, as the others reach it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What must be the same on all: 64 hexadecimal digits.
    pub run: String,
    /// How long ranks wait for each other at the start.
    pub meet_seconds: f64,
    /// How long a rank may be silent later.
    pub silence_seconds: f64,
}

/// What rank 0 says to who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Welcome = 0,
    OtherSize = 1,
    NotARank = 2,
    OtherRun = 3,
}

impl Meeting {
    /// Checks every rule that the rest relies on.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG`.
    pub fn check(&self) -> Result<()> {
        let invalid = |field, rule, value: String| Err(Error::InvalidConfig { field, rule, value });
        if !(2..=MOST_RANKS).contains(&self.size) {
            return invalid(
                "world_size",
                "must be between 2 and 1024",
                self.size.to_string(),
            );
        }
        if self.rank >= self.size {
            return invalid(
                "rank",
                "must be below the world size",
                self.rank.to_string(),
            );
        }
        if self.run.len() != RUN_DIGEST || !self.run.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return invalid("run", "must be 64 hexadecimal digits", self.run.clone());
        }
        for (field, seconds) in [
            ("meet_seconds", self.meet_seconds),
            ("silence_seconds", self.silence_seconds),
        ] {
            if !(0.1..=1e6).contains(&seconds) {
                return invalid(
                    field,
                    "must be between 0.1 and 1000000",
                    seconds.to_string(),
                );
            }
        }
        Ok(())
    }

    pub(super) fn silence(&self) -> Duration {
        Duration::from_secs_f64(self.silence_seconds)
    }

    /// The connections of this rank: to all others for rank 0, for the others to rank 0.
    ///
    /// # Errors
    /// `BPEFT_RANKS` when not all have come in time, when rank 0 takes no such rank, or when the
    /// port is taken; `BPEFT_ABORTED`.
    pub(super) fn connections(&self, abort: &Abort) -> Result<Vec<Connection>> {
        self.check()?;
        let until = Instant::now() + Duration::from_secs_f64(self.meet_seconds);
        if self.rank == 0 {
            return self.receive_all(until, abort);
        }
        Ok(vec![self.call(until, abort)?])
    }

    fn receive_all(&self, until: Instant, abort: &Abort) -> Result<Vec<Connection>> {
        let listener = self.listen()?;
        let mut connections: Vec<Option<Connection>> = (1..self.size).map(|_| None).collect();
        let mut refused = None;
        while connections.iter().any(Option::is_none) {
            abort.check()?;
            match listener.accept() {
                Ok((stream, from)) => match self.receive(stream, &connections) {
                    Ok((rank, stream)) => {
                        connections[rank - 1] =
                            Some(Connection::new(rank, stream, self.silence())?);
                    }
                    Err(why) => refused = Some(format!("; {from} was turned away: {why}")),
                },
                Err(error) if is_wait(&error) => thread::sleep(PAUSE),
                Err(error) => return Err(self.failed(&error)),
            }
            if Instant::now() > until {
                let missing = connections
                    .iter()
                    .enumerate()
                    .filter(|(_, connection)| connection.is_none());
                let missing: Vec<_> = missing.map(|(at, _)| (at + 1).to_string()).collect();
                return Err(Error::Ranks(
                    format!(
                        "all {} ranks must come to {}:{} within {} s, missing: {}{}",
                        self.size,
                        self.host,
                        self.port,
                        self.meet_seconds,
                        missing.join(", "),
                        refused.unwrap_or_default()
                    ),
                    "see what those processes wrote, and whether they can reach MASTER_ADDR",
                ));
            }
        }
        Ok(connections.into_iter().flatten().collect())
    }

    /// Where ranks on other machines may come, the door is open on every address.
    fn listen(&self) -> Result<TcpListener> {
        let port = self.port;
        let named: Vec<SocketAddr> = self.resolved().unwrap_or_default();
        let is_local = !named.is_empty() && named.iter().all(|at| at.ip().is_loopback());
        let everywhere = [
            SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port),
            SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port),
        ];
        let places = if is_local { &named[..] } else { &everywhere };
        let mut failure = None;
        for place in places {
            match TcpListener::bind(place)
                .and_then(|door| door.set_nonblocking(true).map(|()| door))
            {
                Ok(door) => return Ok(door),
                Err(error) if error.kind() == ErrorKind::AddrInUse => {
                    return Err(self.failed(&error));
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(self.failed(&failure.unwrap_or_else(|| ErrorKind::AddrNotAvailable.into())))
    }

    /// Lets a caller in, or says why not.
    fn receive(
        &self,
        mut stream: TcpStream,
        connections: &[Option<Connection>],
    ) -> std::result::Result<(usize, TcpStream), String> {
        let failed = |error: std::io::Error| format!("it did not say who it is ({error})");
        let mut greeting = [0; GREETING];
        greeting[..8].copy_from_slice(&MAGIC);
        greeting[8..].copy_from_slice(&nonce().to_le_bytes());
        let mut call = [0; CALL];
        prepared(&stream)
            .and_then(|()| stream.write_all(&greeting))
            .and_then(|()| read_within(&mut stream, &mut call))
            .map_err(failed)?;
        if call[..GREETING] != greeting {
            return Err("it is no rank of this version of bpeft".into());
        }
        let number = |at: usize| {
            let word = call[at..at + 4].try_into().unwrap_or_default();
            u32::from_le_bytes(word) as usize
        };
        let (size, rank) = (number(16), number(20));
        let is_expected = (1..self.size).contains(&rank) && connections[rank - 1].is_none();
        let verdict = if size != self.size {
            Verdict::OtherSize
        } else if !is_expected {
            Verdict::NotARank
        } else if call[24..] != *self.run.as_bytes() {
            Verdict::OtherRun
        } else {
            Verdict::Welcome
        };
        let mut answer = [0; VERDICT];
        answer[..4].copy_from_slice(&(verdict as u32).to_le_bytes());
        answer[4..].copy_from_slice(&(self.size as u32).to_le_bytes());
        stream.write_all(&answer).map_err(failed)?;
        match verdict {
            Verdict::Welcome => Ok((rank, stream)),
            other => Err(told(other, (rank, size), self.size)),
        }
    }

    /// Calls rank 0 until it is there.
    fn call(&self, until: Instant, abort: &Abort) -> Result<Connection> {
        let mut last = String::from("nobody listens");
        while Instant::now() < until {
            abort.check()?;
            match self.connect() {
                Ok(stream) => match self.introduce(stream) {
                    Ok(connection) => return connection,
                    Err(error) => last = format!("it does not answer ({error})"),
                },
                Err(error) => last = error.to_string(),
            }
            thread::sleep(PAUSE);
        }
        Err(Error::Ranks(
            format!(
                "rank {} must find rank 0 at {}:{} within {} s: {last}",
                self.rank, self.host, self.port, self.meet_seconds
            ),
            "see what rank 0 wrote, and whether MASTER_ADDR and MASTER_PORT lead to it",
        ))
    }

    fn connect(&self) -> std::io::Result<TcpStream> {
        let mut failure = std::io::Error::from(ErrorKind::AddrNotAvailable);
        for place in self.resolved()? {
            match TcpStream::connect_timeout(&place, HANDSHAKE) {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn resolved(&self) -> std::io::Result<Vec<SocketAddr>> {
        Ok((self.host.as_str(), self.port).to_socket_addrs()?.collect())
    }

    /// Says who this is. The outer error is worth another try: rank 0 may be busy with another.
    fn introduce(&self, mut stream: TcpStream) -> std::io::Result<Result<Connection>> {
        let mut greeting = [0; GREETING];
        prepared(&stream)?;
        read_within(&mut stream, &mut greeting)?;
        if greeting[..8] != MAGIC {
            return Ok(Err(Error::Ranks(
                format!(
                    "rank 0 must listen at {}:{}, got something else that answers there",
                    self.host, self.port
                ),
                "set MASTER_PORT to a port that is free on the machine of rank 0",
            )));
        }
        let mut call = Vec::with_capacity(CALL);
        call.extend(greeting);
        call.extend((self.size as u32).to_le_bytes());
        call.extend((self.rank as u32).to_le_bytes());
        call.extend(self.run.as_bytes());
        stream.write_all(&call)?;
        let mut answer = [0; VERDICT];
        read_within(&mut stream, &mut answer)?;
        let [v0, v1, v2, v3, s0, s1, s2, s3] = answer;
        let size = u32::from_le_bytes([s0, s1, s2, s3]) as usize;
        let verdict = match u32::from_le_bytes([v0, v1, v2, v3]) {
            0 => return Ok(Connection::new(0, stream, self.silence())),
            1 => Verdict::OtherSize,
            2 => Verdict::NotARank,
            _ => Verdict::OtherRun,
        };
        Ok(Err(Error::Ranks(
            format!(
                "rank 0 turned rank {} away: {}",
                self.rank,
                told(verdict, (self.rank, self.size), size)
            ),
            "start all ranks with the same command, WORLD_SIZE and version, each with its own RANK",
        )))
    }

    fn failed(&self, error: &std::io::Error) -> Error {
        Error::Ranks(
            format!("rank 0 cannot listen at port {}: {error}", self.port),
            "set MASTER_PORT to a port that is free on this machine",
        )
    }
}

/// A verdict in words, on a rank of so many, for rank 0 of `size`.
fn told(verdict: Verdict, (rank, of): (usize, usize), size: usize) -> String {
    match verdict {
        Verdict::Welcome => "it is welcome".into(),
        Verdict::OtherSize => format!("it is of {of} ranks, not of {size}"),
        Verdict::NotARank => format!("rank {rank} is there already, or is none of {size}"),
        Verdict::OtherRun => format!("rank {rank} is of another run: options or version differ"),
    }
}

fn prepared(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(HANDSHAKE))
}

/// Fills `out` in time, however slowly its bytes come.
fn read_within(stream: &mut TcpStream, out: &mut [u8]) -> std::io::Result<()> {
    let until = Instant::now() + HANDSHAKE;
    let mut done = 0;
    while done < out.len() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut out[done..])? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            bytes => done += bytes,
        }
    }
    Ok(())
}

/// A number that no earlier meeting had, so that nothing recorded is let in.
fn nonce() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}
