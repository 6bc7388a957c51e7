//! Threads that bring functions from their artefact files.
//!
//! Owns: who loads, and a buffer for each of them, for a piece of a file. Invariant: a few threads, which are there
//! before the first call and end when their owner is gone. Absent: compiling, which takes seconds and a thread of the
//! runtime's own; what a file must be to be believed.
//!
//! One thread of the runtime for each function that is loaded would leave what it freed with each of them, and a first
//! call would wait for a thread to start.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

use super::bounds;

/// Loads one function by way of the buffer that it is handed.
pub(super) type Job = Box<dyn FnOnce(&mut [u8]) + Send>;

/// The threads, and the way to them.
pub(super) struct Loaders {
    jobs: SyncSender<Job>,
}

impl fmt::Debug for Loaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaders").finish_non_exhaustive()
    }
}

impl Loaders {
    /// Starts the threads.
    pub(super) fn start() -> io::Result<Self> {
        let (jobs, waiting) = sync_channel(bounds::BUILDS_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 0..bounds::LOADERS {
            let waiting = Arc::clone(&waiting);
            Builder::new().name(format!("talea-loader-{number}")).spawn(move || work(&waiting))?;
        }
        Ok(Self { jobs })
    }

    /// Hands a job to the next thread that has nothing to do. The caller has no more than [`bounds::BUILDS_MAX`] under
    /// way, so there is always room.
    pub(super) fn give(&self, job: Job) {
        // The threads end after the last sender only.
        let _ = self.jobs.send(job);
    }
}

fn work(waiting: &Mutex<Receiver<Job>>) {
    let mut piece = vec![0; bounds::LOADER_PIECE];
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // Whoever waits for a job that panicked hears so from the channel that it dropped.
        let _ = catch_unwind(AssertUnwindSafe(|| job(&mut piece)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_panics_takes_no_thread_with_it() {
        let loaders = Loaders::start().unwrap();
        for _ in 0..2 * bounds::LOADERS {
            loaders.give(Box::new(|_| std::panic::resume_unwind(Box::new(()))));
        }
        let (done, all) = sync_channel(bounds::LOADERS);
        for _ in 0..bounds::LOADERS {
            let done = done.clone();
            loaders.give(Box::new(move |piece| done.send(piece.len()).unwrap()));
        }
        drop(done);
        let pieces: Vec<usize> = all.iter().collect();
        assert_eq!(pieces, [bounds::LOADER_PIECE; bounds::LOADERS]);
    }
}
