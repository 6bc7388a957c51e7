//! Threads for runs that outlive their first slice.
//!
//! Owns: the turns of long runs. Invariants: every run gets one slice a turn, first come first
//! served, so that endless guests delay each other and nobody else; there are at most so many of
//! them; the threads have a low priority and end with their owner. Absent: any effect on a bill.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::{self, Builder, JoinHandle};

use tokio::sync::oneshot;

use super::attempt::Verdict;
use super::watch::Watch;
use super::{ExecuteError, turns};

/// A run at work: pending at the end of a slice, ready when it has ended.
pub(super) type Work = Pin<Box<dyn Future<Output = Ended> + Send>>;
/// How a run ended.
pub(super) type Ended = Result<Verdict, ExecuteError>;

/// One turn of a run. A panic of the host inside it is an ending like any other.
pub(super) fn turn(work: &mut Work) -> Poll<Ended> {
    let mut context = Context::from_waker(Waker::noop());
    catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(&mut context)))
        .unwrap_or(Poll::Ready(Err(ExecuteError::Panicked)))
}

struct Job {
    work: Work,
    watch: Arc<Watch>,
    done: oneshot::Sender<Ended>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    /// Jobs waiting or having their turn.
    live: usize,
    closing: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    max: usize,
}

/// The threads and their queue. Dropping it cancels what is left and waits for the threads.
pub(super) struct LongRuns {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl fmt::Debug for LongRuns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LongRuns").field("live", &self.live()).finish_non_exhaustive()
    }
}

impl Shared {
    /// A panic inside a turn is caught, so the queue behind a poisoned lock is whole.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.waiting.pop_front() {
                if queue.closing {
                    job.watch.cancel();
                }
                return Some(job);
            }
            if queue.closing {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn drive(&self) {
        while let Some(mut job) = self.next() {
            match turn(&mut job.work) {
                Poll::Pending => {
                    self.lock().waiting.push_back(job);
                    // Whoever waits for this core has it now, and not at the next tick of the system's clock, which
                    // may be 4 ms away. If nobody does, this returns at once.
                    thread::yield_now();
                }
                Poll::Ready(ended) => {
                    // The instance's slot is free before anybody hears of the end.
                    drop(job.work);
                    self.lock().live -= 1;
                    // A caller who went away does not want to know.
                    let _ = job.done.send(ended);
                }
            }
        }
    }
}

impl LongRuns {
    /// Starts the threads.
    pub(super) fn start(threads: usize, max: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new(), max });
        let mut runs = Self { shared, threads: Vec::with_capacity(threads) };
        for number in 0..threads {
            let shared = Arc::clone(&runs.shared);
            let thread = Builder::new().name(format!("talea-long-{number}")).spawn(move || {
                turns::give_way();
                shared.drive();
            })?;
            runs.threads.push(thread);
        }
        Ok(runs)
    }

    /// Puts a run that has used its first slice in the queue, and hands back where its end is told.
    /// Refused when the queue is full or closing; the run is then over.
    pub(super) fn submit(
        &self,
        work: Work,
        watch: Arc<Watch>,
    ) -> Result<oneshot::Receiver<Ended>, ExecuteError> {
        let (done, end) = oneshot::channel();
        let mut queue = self.shared.lock();
        if queue.closing || queue.live >= self.shared.max {
            drop(queue);
            return Err(ExecuteError::Saturated);
        }
        queue.live += 1;
        queue.waiting.push_back(Job { work, watch, done });
        drop(queue);
        self.shared.changed.notify_one();
        Ok(end)
    }

    /// Runs that are past their first slice and not yet ended.
    pub(super) fn live(&self) -> usize {
        self.shared.lock().live
    }
}

impl Drop for LongRuns {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A thread catches what its runs throw; if one is gone all the same, it is gone.
            let _ = thread.join();
        }
    }
}
