//! Graphs of what repeats: which are made, and which stay.
//!
//! A list of nodes that was seen once runs as it is; the second time it is captured, while it is
//! asked for, and from the third on it is one launch. Where there are [`MOST`], the one that was
//! seen least goes for a list that was seen more often.

use std::collections::{BTreeMap, BTreeSet};

use cudarc::driver::{result, sys};

use super::Gpu;
use super::node::Node;
use crate::Result;

/// Graphs that stay.
const MOST: usize = 8;

/// Lists of which is known how often they were seen.
const MOST_SEEN: usize = 4096;

/// The lists that a GPU was asked for.
#[derive(Default)]
pub(super) struct Graphs {
    captured: Vec<Captured>,
    /// How often each list was seen, by its hash.
    seen: BTreeMap<u64, usize>,
    /// How lists began that were seen.
    beginnings: BTreeSet<u64>,
    /// Lists that cannot be captured.
    refused: BTreeSet<u64>,
}

struct Captured {
    hash: u64,
    nodes: Vec<Node>,
    graph: Executable,
}

/// A graph that can be launched.
struct Executable(sys::CUgraphExec);

// SAFETY: the driver takes the handle from any thread, one at a time.
unsafe impl Send for Executable {}

impl Drop for Executable {
    fn drop(&mut self) {
        // SAFETY: it is this one's own; what runs of it goes on.
        let _ = unsafe { result::graph::exec_destroy(self.0) };
    }
}

impl Graphs {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.captured.len()
    }

    /// Whether a list began like this.
    pub(super) fn know_beginning(&self, hash: u64) -> bool {
        self.beginnings.contains(&hash)
    }

    /// Counts a list.
    pub(super) fn note(&mut self, beginning: u64, hash: u64) {
        if self.seen.len() >= MOST_SEEN {
            self.seen.retain(|_, count| *count > 1);
            self.beginnings.clear();
        }
        self.beginnings.insert(beginning);
        *self.seen.entry(hash).or_default() += 1;
    }

    /// Runs a list by its graph, made now if it is worth one; whether it did.
    ///
    /// # Safety
    /// As for [`Gpu::ask`], of each node.
    ///
    /// # Errors
    /// `BPEFT_DEVICE`.
    pub(super) unsafe fn run(&mut self, gpu: Gpu, hash: u64, nodes: &[Node]) -> Result<bool> {
        let found = self
            .captured
            .iter()
            .position(|captured| captured.hash == hash);
        let at = match found {
            Some(at) if self.captured[at].nodes == nodes => at,
            Some(_) => return Ok(false), // another list of that hash
            None if !self.is_worth_one(hash) => return Ok(false),
            None => {
                // SAFETY: the caller's promise.
                let Ok(graph) = (unsafe { captured(gpu, nodes) }) else {
                    self.refused.insert(hash);
                    return Ok(false);
                };
                self.captured.push(Captured {
                    hash,
                    nodes: nodes.to_vec(),
                    graph,
                });
                self.captured.len() - 1
            }
        };
        let mut traffic = gpu.counted();
        traffic.calls += 1;
        traffic.graphs += 1;
        drop(traffic);
        // SAFETY: the graph was made of that stream's work, and of nodes that equal these.
        let launched =
            unsafe { result::graph::launch(self.captured[at].graph.0, gpu.stream().cu_stream()) };
        launched.map_err(|error| gpu.failed(error))?;
        Ok(true)
    }

    /// Whether a list was seen, and more often than a graph that then goes.
    fn is_worth_one(&mut self, hash: u64) -> bool {
        let count = |hash| self.seen.get(&hash).copied().unwrap_or(0);
        let own = count(hash);
        if own == 0 || self.refused.contains(&hash) {
            return false;
        }
        if self.captured.len() < MOST {
            return true;
        }
        let least = (0..self.captured.len()).min_by_key(|&at| count(self.captured[at].hash));
        match least {
            Some(at) if count(self.captured[at].hash) < own => {
                self.captured.swap_remove(at);
                true
            }
            _ => false,
        }
    }
}

/// A graph of a list, none of which runs.
///
/// # Safety
/// As for [`Gpu::ask`], of each node.
unsafe fn captured(gpu: Gpu, nodes: &[Node]) -> Result<Executable> {
    let of = |error| gpu.failed(error);
    let stream = gpu.stream().cu_stream();
    let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    // SAFETY: the stream is the GPU's, and what is asked of it until the end is these nodes.
    unsafe { result::stream::begin_capture(stream, mode) }.map_err(of)?;
    // SAFETY: the caller's promise.
    let asked = nodes.iter().try_for_each(|node| unsafe { node.issue(gpu) });
    // SAFETY: it was begun.
    let graph = unsafe { result::stream::end_capture(stream) }.map_err(of)?;
    let flags = sys::CUgraphInstantiate_flags_enum(0);
    // SAFETY: the driver gave it.
    let made = asked.and_then(|()| unsafe { result::graph::instantiate(graph, flags) }.map_err(of));
    // SAFETY: the same; nobody has it any more.
    let _ = unsafe { result::graph::destroy(graph) };
    gpu.counted().captures += 1;
    Ok(Executable(made?))
}
