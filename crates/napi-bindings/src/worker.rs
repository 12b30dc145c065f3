//! One thread per model: requests run one after another, in the order they came.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use napi::bindgen_prelude::{Env, PromiseRaw, ToNapiValue};

use crate::engine::Pool;
use crate::error::{Failure, Result};
use crate::promise::{Answer, promise, stopped};

/// Requests that may wait for a model: what waits holds memory, and whoever asks faster than the
/// model answers must hear of it.
const MOST_WAITING: usize = 1024;

/// Returns whether the thread may go on.
type Job<State> = Box<dyn FnOnce(&mut State) -> bool + Send>;

/// The thread that owns a model.
pub(crate) struct Worker<State> {
    jobs: Mutex<Option<mpsc::Sender<Job<State>>>>,
    waiting: Arc<AtomicUsize>,
    end: Arc<Mutex<End>>,
}

/// Whether the thread has ended, and who wants to hear of it.
#[derive(Default)]
struct End {
    is_over: bool,
    waiting: Vec<Answer<()>>,
}

impl<State: Send + 'static> Worker<State> {
    /// Starts the thread, which makes the state by `build`, and of it what the promise resolves to.
    pub(crate) fn start<T>(
        threads: Option<usize>,
        build: impl FnOnce() -> Result<State> + Send + 'static,
        open: impl FnOnce(Arc<Self>, &State) -> T + Send + 'static,
        answer: Answer<T>,
    ) where
        T: ToNapiValue + Send + 'static,
    {
        let (jobs, queue) = mpsc::channel::<Job<State>>();
        let end = Arc::new(Mutex::new(End::default()));
        let worker = Arc::new(Self {
            jobs: Mutex::new(Some(jobs)),
            waiting: Arc::default(),
            end: Arc::clone(&end),
        });
        // The thread may be refused, and then both are needed here.
        let opening = Arc::new(Mutex::new(Some((worker, answer))));
        let taken = Arc::clone(&opening);
        let take = |opening: &Mutex<Option<_>>| {
            opening
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()
        };
        let spawned = thread::Builder::new()
            .name("bpeft-model".into())
            .spawn(move || {
                if let Some((worker, answer)) = take(&taken) {
                    run(threads, build, |state| open(worker, state), answer, &queue);
                }
                // Whatever still waits for the thread is rejected before its end is told.
                drop(queue);
                over(&end);
            });
        if let Err(error) = spawned
            && let Some((_, answer)) = take(&opening)
        {
            answer.settle(Err(Failure::ThreadsRefused {
                asked: 1,
                granted: 0,
                reason: error.to_string(),
            }));
        }
    }

    /// The promise of `work`; a panic in it ends the worker and rejects this and every later one.
    pub(crate) fn submit<'env, T, Work>(
        &self,
        env: &'env Env,
        work: Work,
    ) -> napi::Result<PromiseRaw<'env, T>>
    where
        T: ToNapiValue + Send + 'static,
        Work: FnOnce(&mut State) -> Result<T> + Send + 'static,
    {
        let (answer, promised) = promise(env)?;
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed);
        if waiting >= MOST_WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            answer.settle(Err(Failure::Busy(waiting)));
            return Ok(promised);
        }
        let waiting = Arc::clone(&self.waiting);
        self.send(Box::new(move |state| {
            waiting.fetch_sub(1, Ordering::Relaxed);
            let outcome = catch_unwind(AssertUnwindSafe(|| work(state)));
            let is_sound = outcome.is_ok();
            let bug = |_| Err(stopped("it panicked; this is a bug in bpeft"));
            answer.settle(outcome.unwrap_or_else(bug));
            is_sound
        }));
        Ok(promised)
    }

    /// Runs `work` after all that is queued, unless the worker stops before: nobody waits for it.
    pub(crate) fn later(&self, work: impl FnOnce(&mut State) + Send + 'static) {
        self.send(Box::new(move |state| {
            catch_unwind(AssertUnwindSafe(|| work(state))).is_ok()
        }));
    }

    /// A worker that has stopped drops the job, and with it the job's answer.
    fn send(&self, job: Job<State>) {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = jobs.as_ref().map(|jobs| jobs.send(job));
    }

    /// Lets queued work finish, frees the state, and waits for both.
    pub(crate) fn dispose<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, ()>> {
        let jobs = || self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs().take();
        let (answer, promised) = promise(env)?;
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if end.is_over {
            answer.settle(Ok(()));
        } else {
            end.waiting.push(answer);
        }
        Ok(promised)
    }
}

/// The life of the thread: the state and the share in the pool are gone when it returns.
fn run<State: Send, T: ToNapiValue + Send>(
    threads: Option<usize>,
    build: impl FnOnce() -> Result<State> + Send,
    open: impl FnOnce(&State) -> T + Send,
    answer: Answer<T>,
    queue: &mpsc::Receiver<Job<State>>,
) {
    let built = Pool::start(threads).and_then(|pool| {
        let built = catch_unwind(AssertUnwindSafe(|| pool.install(build)));
        let state =
            built.unwrap_or_else(|_| Err(stopped("it panicked; this is a bug in bpeft")))?;
        Ok((pool, state))
    });
    match built {
        Err(failure) => answer.settle(Err(failure)),
        Ok((pool, mut state)) => {
            let opened = &mut state;
            answer.settle(Ok(pool.install(move || open(opened))));
            while let Some(job) = next(queue) {
                if !pool.install(|| job(&mut state)) {
                    break;
                }
            }
        }
    }
}

/// The next job, `None` after the last. A model that has had nothing to do for a while gives freed
/// memory back.
fn next<State>(queue: &mpsc::Receiver<Job<State>>) -> Option<Job<State>> {
    match queue.recv_timeout(kept_blocks::KEEP) {
        Ok(job) => Some(job),
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => {
            kept_blocks::release(kept_blocks::KEEP / 2);
            queue.recv().ok()
        }
    }
}

fn over(end: &Mutex<End>) {
    kept_blocks::release(Duration::ZERO);
    let mut end = end.lock().unwrap_or_else(PoisonError::into_inner);
    end.is_over = true;
    for answer in end.waiting.drain(..) {
        answer.settle(Ok(()));
    }
}
