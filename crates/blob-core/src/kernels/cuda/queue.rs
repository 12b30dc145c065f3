//! What a GPU is asked, in order: at once, or put off until somebody waits, where it may repeat.
//!
//! From one wait to the next a step's code asks for a list of nodes. With graphs
//! ([`super::graphs`]) it is put off: the list is compared with those that came before, and is
//! launched as one graph where one of them is equal to it. So nothing has to foresee what a step
//! will do. What may differ between two equal lists lies in memory: all that the host writes in a
//! list is gathered in one place, the stage, and is copied before any of its nodes runs.
//!
//! How a list begins tells whether it may repeat: one that begins like none before runs at once, so
//! that the GPU does not wait for its end.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::Gpu;
use super::graphs::Graphs;
use super::memory::{Memory, Source};
use super::node::Node;
use crate::{Error, Result};

/// Nodes that a list begins with; shorter ones are no graphs.
const BEGINNING: usize = 32;

/// Words of a stage at first, and at most.
const WORDS: usize = 1 << 13;
const MOST_WORDS: usize = 1 << 21;

/// A list that is being asked for.
#[derive(Default)]
pub(super) struct Queue {
    /// What was put off.
    nodes: Vec<Node>,
    /// Of all nodes of the list.
    hasher: DefaultHasher,
    /// The hash of its first [`BEGINNING`] ones, once there are as many.
    beginning: Option<u64>,
    /// Whether it runs at once from here on.
    is_issued: bool,
    stage: Option<Stage>,
    /// Words of the next stage.
    words: usize,
    graphs: Graphs,
    /// What nobody has been told yet.
    failure: Option<Error>,
}

/// What the host writes in a list.
pub(super) struct Stage {
    memory: Arc<Memory<u64>>,
    words: Vec<u64>,
    /// How many of them have been copied.
    copied: usize,
}

impl Stage {
    /// Copies what has not been.
    fn copy(&mut self, gpu: Gpu) -> Result<()> {
        let rest = &self.words[self.copied..];
        if rest.is_empty() {
            return Ok(());
        }
        let to = self.memory.address() + (self.copied * size_of::<u64>()) as u64;
        // SAFETY: a stage takes no more words than it has room for, and a word is read by nodes
        // that are asked after its copy alone.
        unsafe { gpu.copy_to(to, rest) }?;
        self.copied = self.words.len();
        Ok(())
    }
}

impl Queue {
    /// # Safety
    /// As for [`Gpu::ask`].
    unsafe fn push(&mut self, gpu: Gpu, node: Node) -> Result<()> {
        node.hash(&mut self.hasher);
        if self.is_issued {
            gpu.bind()?;
            // SAFETY: the caller's promise.
            return unsafe { node.issue(gpu) };
        }
        self.nodes.push(node);
        if self.nodes.len() == BEGINNING {
            let beginning = self.hasher.finish();
            self.beginning = Some(beginning);
            if !self.graphs.know_beginning(beginning) {
                self.is_issued = true;
                return self.issue(gpu, |_| Ok(false));
            }
        }
        Ok(())
    }

    /// Asks for all that was put off: one by one, unless `at_once` does it.
    fn issue(
        &mut self,
        gpu: Gpu,
        at_once: impl FnOnce((&mut Graphs, &[Node])) -> Result<bool>,
    ) -> Result<()> {
        let nodes = mem::take(&mut self.nodes);
        gpu.bind()?;
        if let Some(stage) = &mut self.stage {
            stage.copy(gpu)?;
        }
        if at_once((&mut self.graphs, &nodes))? {
            return Ok(());
        }
        for node in &nodes {
            // SAFETY: `push` was promised so for each of them.
            unsafe { node.issue(gpu) }?;
        }
        Ok(())
    }

    /// Ends the list.
    fn end(&mut self, gpu: Gpu) -> Result<()> {
        let hash = mem::take(&mut self.hasher).finish();
        let is_issued = mem::take(&mut self.is_issued);
        let beginning = self.beginning.take();
        let is_graph = !is_issued && beginning.is_some();
        let issued = self.issue(gpu, |(graphs, nodes)| {
            // SAFETY: `push` was promised so for each of them.
            Ok(is_graph && unsafe { graphs.run(gpu, hash, nodes) }?)
        });
        if let Some(beginning) = beginning {
            self.graphs.note(beginning, hash);
        }
        issued
    }
}

impl Gpu {
    /// Asks for a node, behind all others.
    ///
    /// # Safety
    /// Its addresses are those of memory that its caller has now and, where it writes, alone, and
    /// that holds as many values as it reads and writes there. A launch's call is whole
    /// ([`super::call::Call::is_whole`]).
    pub(super) unsafe fn ask(self, node: Node) -> Result<()> {
        if !self.repeats() {
            self.settle()?;
            self.bind()?;
            // SAFETY: the caller's promise.
            return unsafe { node.issue(self) };
        }
        // SAFETY: the same.
        unsafe { self.staged()?.push(self, node) }
    }

    /// Asks for all that was put off: nothing is, when somebody waits or goes past the queue.
    pub(super) fn settle(self) -> Result<()> {
        let (ended, stage) = self.end_list();
        drop(stage);
        ended
    }

    /// The same for who holds the accounts: the stage's memory goes when these are free again.
    pub(super) fn end_list(self) -> (Result<()>, Option<Stage>) {
        let mut queue = self.queue();
        let before = queue.failure.take().map_or(Ok(()), Err);
        if queue.stage.is_none() {
            return (before, None); // no list has begun
        }
        let ended = queue.end(self);
        (before.and(ended), queue.stage.take())
    }

    /// The same for who cannot be told what fails: whoever asks next is.
    pub(super) fn end_list_silently(self) -> Option<Stage> {
        let (ended, stage) = self.end_list();
        if let Err(failure) = ended {
            self.queue().failure = Some(failure);
        }
        stage
    }

    /// Graphs that are kept.
    pub fn graphs(self) -> usize {
        self.queue().graphs.len()
    }

    /// Forgets all graphs: what they are about is gone.
    pub(super) fn forget_graphs(self) {
        let graphs = mem::take(&mut self.queue().graphs);
        drop(graphs);
    }

    /// Words on the list's stage; `None` where nothing is put off, or they are too many.
    pub(super) fn put_on_stage(self, words: &[u32]) -> Result<Option<Memory<u32>>> {
        let len = words.len().div_ceil(2).max(1);
        if !self.repeats() || len > MOST_WORDS {
            return Ok(None);
        }
        let mut queue = self.staged()?;
        let is_full = |stage: &Stage| stage.words.len() + len > stage.memory.len();
        if queue.stage.as_ref().is_some_and(is_full) {
            // The list ends here; the next one has room.
            queue.words = (2 * queue.words)
                .max(len.next_power_of_two())
                .min(MOST_WORDS);
            drop(queue);
            self.settle()?;
            queue = self.staged()?;
        }
        let is_issued = queue.is_issued;
        let Some(stage) = &mut queue.stage else {
            return Ok(None); // `staged` has seen to it
        };
        let from = stage.words.len();
        let pairs = words.chunks(2).map(|pair| {
            let high = pair.get(1).copied().unwrap_or(0);
            u64::from(pair[0]) | u64::from(high) << 32
        });
        stage.words.extend(pairs);
        stage.words.resize(from + len, 0);
        if is_issued {
            self.bind()?;
            stage.copy(self)?;
        }
        let address = stage.memory.address() + (from * size_of::<u64>()) as u64;
        let source = Source::Stage(Arc::clone(&stage.memory));
        // SAFETY: these words are no other's, and the stage's memory lives as long as they.
        Ok(Some(unsafe {
            Memory::given(self, address, words.len(), source)
        }))
    }

    /// The queue with a stage, which is taken before the first node of a list: no node writes
    /// there.
    fn staged(self) -> Result<MutexGuard<'static, Queue>> {
        loop {
            let mut queue = self.queue();
            if queue.stage.is_some() {
                return Ok(queue);
            }
            queue.words = queue.words.max(WORDS);
            let words = queue.words;
            drop(queue); // memory has accounts of its own
            let memory = Arc::new(self.taken(words)?); // a word is copied before it is read
            let mut queue = self.queue();
            if queue.stage.is_none() {
                queue.stage = Some(Stage {
                    memory,
                    words: Vec::with_capacity(words),
                    copied: 0,
                });
                return Ok(queue);
            }
            drop(queue); // another thread was faster
        }
    }

    fn queue(self) -> MutexGuard<'static, Queue> {
        let queue = self.queue_of_context();
        queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
