//! Paid runs under way: tasks that outlive the connection that asked for them, but not the node.
//!
//! A client that goes away ends a free call with its connection. A paid run is finished and recorded, so
//! it runs here. Invariant: every task is counted and owned; `drain` waits for all, dropping ends all.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::task::{AbortHandle, JoinSet};

/// Paid runs under way.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    set: Mutex<JoinSet<()>>,
}

impl Tasks {
    /// Starts a task. It is bounded by the in-flight permit that the caller moves into it.
    pub(super) fn start(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut set = self.lock();
        while set.try_join_next().is_some() {}
        set.spawn(task)
    }

    /// Waits until all have ended.
    pub(super) async fn drain(&self) {
        let mut set = std::mem::take(&mut *self.lock());
        while set.join_next().await.is_some() {}
    }

    /// A poisoned lock only says that a thread panicked between two statements on the set, which is
    /// whole after each.
    fn lock(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn draining_waits_for_every_task() {
        let tasks = Tasks::default();
        let ended = Arc::new(AtomicUsize::new(0));
        let (go, wait) = oneshot::channel::<()>();
        let counted = ended.clone();
        tasks.start(async move {
            wait.await.ok();
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let counted = ended.clone();
        tasks.start(async move {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(go);
        });
        tasks.drain().await;
        assert_eq!(ended.load(Ordering::SeqCst), 2);
    }
}
