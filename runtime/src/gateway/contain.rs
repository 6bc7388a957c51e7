//! A panic while a request is served is that request's end, not its connection's or the node's.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// What a future panicked with, as text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Panicked(pub(super) String);

/// Runs `inner` and turns a panic into a value. The future is not polled again after one.
pub(super) async fn contained<F: Future>(inner: F) -> Result<F::Output, Panicked> {
    let mut inner = pin!(inner);
    poll_fn(|cx| {
        // Unwind safety: after a panic the future is dropped without being looked at, and what it
        // shares with others (doors behind locks) recovers from poisoning by itself.
        match catch_unwind(AssertUnwindSafe(|| inner.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(Panicked(text(&*panic)))),
        }
    })
    .await
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_value() {
        assert_eq!(contained(async { 7 }).await, Ok(7));
        let panicked = contained(async { panic!("no {}", 1) }).await;
        assert_eq!(panicked, Err::<(), _>(Panicked("no 1".to_owned())));
    }
}
