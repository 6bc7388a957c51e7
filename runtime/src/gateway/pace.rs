//! How long a client may take: one clock hand per connection instead of a timer per request.
//!
//! The connection's task wakes once per `TICK` and compares stamps that reading and writing left; a
//! request costs four relaxed stores and no timer. Precision is one tick, which is enough for bounds
//! that are there to free a slot and not to be exact.
//! Absent: the time for a body (`parse::body` has it) and for a run (the executor has it).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A quarter second: bounds are given in seconds, and 10,000 idle connections wake 40,000 times a second
/// for well under a percent of a core.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// No byte has come yet: a client that connects and says nothing has no more time than a head has.
const FRESH: u8 = 0;
const IDLE: u8 = 1;
const HEAD: u8 = 2;
const WORK: u8 = 3;

/// Where a connection stands. Shared by its task and its socket; nothing else is published through it,
/// so every access is relaxed.
#[derive(Debug, Default)]
pub(super) struct Pace {
    phase: AtomicU8,
    /// Ticks since the connection began.
    now: AtomicU32,
    /// The tick at which the phase began, or the last byte of an answer was taken.
    since: AtomicU32,
    /// One more than the tick at which a write found the client's window full; 0 if none waits.
    stalled: AtomicU32,
}

/// In ticks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    idle: u32,
    head: u32,
    write: u32,
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lapse {
    /// Nothing was asked for too long.
    Idle,
    /// A head began and did not end.
    Head,
    /// An answer was not taken.
    Write,
}

// === impl Bounds ===

impl Bounds {
    pub(super) fn new(idle: Duration, head: Duration, write: Duration) -> Self {
        let ticks = |wait: Duration| {
            u32::try_from(wait.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u32::MAX)
        };
        Self { idle: ticks(idle), head: ticks(head), write: ticks(write) }
    }
}

// === impl Pace ===

impl Pace {
    /// A head is complete: until `answered` the service is responsible.
    pub(super) fn working(&self) {
        self.phase.store(WORK, Relaxed);
    }

    /// The service has given its answer.
    pub(super) fn answered(&self) {
        self.since.store(self.now.load(Relaxed), Relaxed);
        self.phase.store(IDLE, Relaxed);
    }

    /// One tick has gone by. Says whether a bound was passed.
    pub(super) fn tick(&self, bounds: Bounds) -> Option<Lapse> {
        let now = self.now.load(Relaxed).saturating_add(1);
        self.now.store(now, Relaxed);
        let stalled = self.stalled.load(Relaxed);
        if stalled > 0 && now.saturating_sub(stalled - 1) > bounds.write {
            return Some(Lapse::Write);
        }
        let waited = now.saturating_sub(self.since.load(Relaxed));
        match self.phase.load(Relaxed) {
            FRESH if waited > bounds.head => Some(Lapse::Idle),
            IDLE if stalled == 0 && waited > bounds.idle => Some(Lapse::Idle),
            HEAD if waited > bounds.head => Some(Lapse::Head),
            _ => None,
        }
    }

    fn read(&self) {
        if self.phase.load(Relaxed) <= IDLE {
            self.since.store(self.now.load(Relaxed), Relaxed);
            self.phase.store(HEAD, Relaxed);
        }
    }

    fn wrote(&self) {
        self.stalled.store(0, Relaxed);
        if self.phase.load(Relaxed) == IDLE {
            self.since.store(self.now.load(Relaxed), Relaxed);
        }
    }

    fn stuck(&self) {
        if self.stalled.load(Relaxed) == 0 {
            self.stalled.store(self.now.load(Relaxed).saturating_add(1), Relaxed);
        }
    }
}

/// A socket that leaves stamps.
#[derive(Debug)]
pub(super) struct Paced<S> {
    socket: S,
    pace: Arc<Pace>,
}

impl<S> Paced<S> {
    pub(super) fn new(socket: S, pace: Arc<Pace>) -> Self {
        Self { socket, pace }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.pace.read();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Paced<S> {
    fn note<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &written {
            Poll::Pending => self.pace.stuck(),
            Poll::Ready(_) => self.pace.wrote(),
        }
        written
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { idle: 8, head: 2, write: 3 };

    /// Ticks until something lapses.
    fn lapse(pace: &Pace) -> Option<(u32, Lapse)> {
        (1..100).find_map(|ticks| pace.tick(BOUNDS).map(|lapse| (ticks, lapse)))
    }

    #[test]
    fn each_phase_has_its_own_bound() {
        assert_eq!(lapse(&Pace::default()), Some((3, Lapse::Idle)), "said nothing at all");

        let idle = Pace::default();
        idle.answered();
        assert_eq!(lapse(&idle), Some((9, Lapse::Idle)));

        let head = Pace::default();
        head.read();
        assert_eq!(lapse(&head), Some((3, Lapse::Head)));

        let slow_head = Pace::default();
        slow_head.read();
        assert_eq!(slow_head.tick(BOUNDS), None);
        slow_head.read();
        assert_eq!(lapse(&slow_head), Some((2, Lapse::Head)), "more bytes do not buy more time");

        let work = Pace::default();
        work.working();
        assert_eq!(lapse(&work), None, "the service has bounds of its own");
    }

    #[test]
    fn an_answer_must_be_taken_but_may_be_taken_slowly() {
        let stuck = Pace::default();
        stuck.working();
        stuck.stuck();
        assert_eq!(lapse(&stuck), Some((4, Lapse::Write)));

        let slow = Pace::default();
        slow.working();
        slow.answered();
        for _ in 0..50 {
            slow.stuck();
            assert_eq!(slow.tick(BOUNDS), None);
            slow.wrote();
        }
        assert_eq!(lapse(&slow), Some((9, Lapse::Idle)));
    }

    #[test]
    fn bounds_are_rounded_up() {
        let bounds = Bounds::new(TICK, TICK + Duration::from_millis(1), Duration::MAX);
        assert_eq!((bounds.idle, bounds.head, bounds.write), (1, 2, u32::MAX));
    }
}
