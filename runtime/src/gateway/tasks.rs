//! Paid runs under way: tasks that outlive the connection that asked for them, but not the node.
//!
//! A client that goes away ends a free call with its connection. A paid run is finished and recorded, so
//! what is left of it then becomes a task here; as long as the client waits, it is the connection's own work and costs
//! no task. Invariant: every task is counted and owned; `drain` waits for all, dropping ends all.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// Paid runs that nobody waits for any more.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    set: Mutex<JoinSet<()>>,
}

/// Work that ends whether or not whoever waits for it goes on waiting.
pub(super) struct Outlasting<T: 'static> {
    tasks: Arc<Tasks>,
    /// None once it has ended.
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
}

impl Tasks {
    /// Work that becomes a task when its future is dropped unfinished. It is bounded by the in-flight permit that the
    /// caller moves into it.
    pub(super) fn outlast<T: 'static>(
        self: &Arc<Self>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Outlasting<T> {
        Outlasting { tasks: Arc::clone(self), work: Some(Box::pin(work)) }
    }

    /// Starts a task that nobody waits for.
    pub(super) fn start(&self, task: impl Future<Output = ()> + Send + 'static) {
        // Without a runtime the node is gone, and the work with it.
        let Ok(runtime) = Handle::try_current() else { return };
        let mut set = self.lock();
        while set.try_join_next().is_some() {}
        set.spawn_on(task, &runtime);
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

impl<T: 'static> Future for Outlasting<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Some(work) = &mut self.work else { return Poll::Pending };
        let polled = work.as_mut().poll(cx);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

impl<T: 'static> Drop for Outlasting<T> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.tasks.start(async move {
                // Nobody is there to be told.
                drop(work.await);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_is_waited_for_to_its_end_never_becomes_a_task() {
        let tasks = Arc::new(Tasks::default());
        assert_eq!(tasks.outlast(async { 7 }).await, 7);
        assert!(tasks.lock().is_empty());
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_ends_and_is_drained() {
        let tasks = Arc::new(Tasks::default());
        let ended = Arc::new(AtomicUsize::new(0));
        let (go, wait) = oneshot::channel::<()>();
        let counted = ended.clone();
        let mut left = tasks.outlast(async move {
            wait.await.ok();
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let polled = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut left).poll(cx))).await;
        assert!(polled.is_pending(), "it has begun");
        drop(left);
        let counted = ended.clone();
        drop(tasks.outlast(async move {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(go);
        }));
        assert_eq!(tasks.lock().len(), 2);
        tasks.drain().await;
        assert_eq!(ended.load(Ordering::SeqCst), 2);
    }
}
