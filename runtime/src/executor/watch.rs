//! The host's reasons to end a run: its wall clock, and a caller who went away.
//!
//! Invariant: looked at only between slices, and never a part of a bill: a run that ends here has no
//! receipt.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::clock::Deadline;

/// Why the host ended a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum HostStop {
    /// The wall-clock limit of this node has passed.
    #[error("the node's wall-clock limit has passed")]
    Deadline,
    /// The caller of a free run is gone, or the node is stopping.
    #[error("cancelled")]
    Cancelled,
}

/// What the host looks at between two slices.
#[derive(Debug)]
pub(super) struct Watch {
    deadline: Deadline,
    cancelled: AtomicBool,
}

impl Watch {
    /// A run that may take this long from now on.
    pub(super) fn new(limit: Duration) -> Self {
        Self { deadline: Deadline::after(limit), cancelled: AtomicBool::new(false) }
    }

    /// Ends the run at its next slice.
    pub(super) fn cancel(&self) {
        // Relaxed: nothing else is published with it, and seeing it a slice later is fine.
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether the run may have another slice.
    pub(super) fn check(&self) -> Result<(), HostStop> {
        if self.cancelled.load(Ordering::Relaxed) {
            Err(HostStop::Cancelled)
        } else if self.deadline.passed() {
            Err(HostStop::Deadline)
        } else {
            Ok(())
        }
    }
}
