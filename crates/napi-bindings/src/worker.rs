//! One thread per model: requests run one after another, in the order they came.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use blob_core::{Error, Result};
use napi::tokio::sync::{oneshot, watch};

use crate::engine;

type Job<State> = Box<dyn FnOnce(&mut State) + Send>;

/// The thread that owns a model.
pub(crate) struct Worker<State> {
    jobs: Mutex<Option<mpsc::Sender<Job<State>>>>,
    finished: watch::Receiver<bool>,
}

impl<State: Send + 'static> Worker<State> {
    /// Starts the thread; resolves once `build` has made the state on it.
    pub(crate) async fn start(
        build: impl FnOnce() -> Result<State> + Send + 'static,
    ) -> Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job<State>>();
        let (ready, built) = oneshot::channel();
        let (done, finished) = watch::channel(false);
        thread::Builder::new()
            .name("bpeft-model".into())
            .spawn(move || {
                run(build, &queue, ready);
                // A receiver that is gone has nobody left to tell.
                let _ = done.send(true);
            })
            .map_err(|error| Error::WorkerStopped(error.to_string()))?;
        built.await.unwrap_or_else(|_| Err(stopped()))?;
        Ok(Self {
            jobs: Mutex::new(Some(jobs)),
            finished,
        })
    }

    /// Queues `work`; a panic in it ends the worker and rejects this and all later requests.
    pub(crate) fn submit<T, Work>(
        &self,
        work: Work,
    ) -> impl Future<Output = Result<T>> + Send + use<T, Work, State>
    where
        T: Send + 'static,
        Work: FnOnce(&mut State) -> Result<T> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job<State> = Box::new(move |state| {
            // A caller that no longer waits needs no answer.
            let _ = answer.send(work(state));
        });
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let queued = jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        async move {
            if !queued {
                return Err(Error::WorkerStopped(
                    "it was disposed or had panicked".into(),
                ));
            }
            answered.await.unwrap_or_else(|_| Err(stopped()))
        }
    }

    /// Lets queued work finish, frees the state, and waits for both.
    pub(crate) fn dispose(&self) -> impl Future<Output = Result<()>> + Send + use<State> {
        self.jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let mut finished = self.finished.clone();
        async move {
            // An error means that the thread is gone already.
            let _ = finished.wait_for(|finished| *finished).await;
            Ok(())
        }
    }
}

fn run<State>(
    build: impl FnOnce() -> Result<State> + Send,
    queue: &mpsc::Receiver<Job<State>>,
    ready: oneshot::Sender<Result<()>>,
) where
    State: Send + 'static,
{
    let outcome = catch_unwind(AssertUnwindSafe(|| engine::install(build)));
    let mut state = match outcome {
        Ok(Ok(state)) => {
            let _ = ready.send(Ok(()));
            state
        }
        Ok(Err(error)) => {
            let _ = ready.send(Err(error));
            return;
        }
        Err(_) => return, // dropping `ready` tells the caller
    };
    while let Ok(job) = queue.recv() {
        if catch_unwind(AssertUnwindSafe(|| engine::install(|| job(&mut state)))).is_err() {
            break;
        }
    }
}

fn stopped() -> Error {
    Error::WorkerStopped("it panicked; this is a bug in bpeft".into())
}
