//! What the kernel is told of this process' threads: who goes on at once, and who can wait.
//!
//! Invariant: nothing here is needed for correctness; what a kernel does not know it ignores. Absent: real-time
//! priorities, which would need a privilege and could stop a machine.

use super::bounds;

/// Has this thread, and those that it starts from now on, go on as soon as they have something to do: they ask for
/// short turns, and Linux from 6.12 on lets a thread of shorter turns go before one that is in the middle of a longer
/// turn. Shares of the processor stay what they are. Without it a guest that is under way keeps the processor for a
/// whole turn, some milliseconds, each time the threads of the gateway have waited for the disk.
pub fn ask_for_short_turns() {
    #[cfg(target_os = "linux")]
    if let Err(error) = linux::turns(0, bounds::PROMPT_TURN_NANOS) {
        tracing::debug!(%error, "the kernel gives turns of one length only");
    }
}

/// Lets every other thread of the process go first. On Linux a thread has a niceness of its own.
pub(super) fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = linux::turns(bounds::LONG_NICENESS, 0) {
        tracing::warn!(%error, "long runs keep the priority of short ones");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = bounds::LONG_NICENESS;
}

/// Has this thread work in turns of the usual length, at the share it has.
pub(super) fn work_steadily() {
    #[cfg(target_os = "linux")]
    if let Err(error) = linux::turns(0, 0) {
        tracing::debug!(%error, "a compilation works in short turns");
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;

    use rustix::process::getpriority_process;

    /// The greatest niceness (`sched(7)`).
    const NICENESS_MAX: i32 = 19;

    /// `struct sched_attr` of `sched_setattr(2)`, in its first form, which every kernel takes.
    #[repr(C)]
    struct SchedAttr {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        /// Of a normal thread: the length of its turns, or 0 for the kernel's own.
        runtime: u64,
        deadline: u64,
        period: u64,
    }

    /// Bytes of the first form.
    const SIZE: u32 = 48;
    const _: () = assert!(size_of::<SchedAttr>() == SIZE as usize);

    /// Makes this thread, and those it starts, nicer by so much, and sets the length of their turns.
    #[allow(
        unsafe_code,
        reason = "no crate has this system call for threads that are not real-time"
    )]
    pub(super) fn turns(nicer: i32, nanos: u64) -> io::Result<()> {
        // Whoever starts a nice node wants all of it nice.
        let nice = getpriority_process(None)?.saturating_add(nicer).min(NICENESS_MAX);
        let attr = SchedAttr {
            size: SIZE,
            policy: libc::SCHED_OTHER as u32,
            flags: 0,
            nice,
            priority: 0,
            runtime: nanos,
            deadline: 0,
            period: 0,
        };
        // SAFETY: the kernel reads as many bytes as `size` says, which is the structure's length, and writes none; 0 is
        // the calling thread.
        let done = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// What the kernel says of this thread.
        #[allow(unsafe_code, reason = "reads what the function above has set")]
        fn told() -> SchedAttr {
            let mut attr = SchedAttr {
                size: SIZE,
                policy: 9,
                flags: 0,
                nice: 0,
                priority: 0,
                runtime: 0,
                deadline: 0,
                period: 0,
            };
            // SAFETY: the kernel writes at most as many bytes as it is told the structure has.
            let done = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attr, SIZE, 0) };
            assert_eq!(done, 0, "{}", io::Error::last_os_error());
            attr
        }

        #[test]
        fn a_thread_and_those_it_starts_have_what_was_asked_for() {
            let before = told();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    turns(0, 200_000).unwrap();
                    let own = told();
                    assert_eq!((own.policy, own.nice), (libc::SCHED_OTHER as u32, before.nice));
                    let inherited = std::thread::scope(|scope| scope.spawn(told).join().unwrap());
                    assert_eq!(inherited.runtime, own.runtime);
                    turns(3, 0).unwrap();
                    assert_eq!(told().nice, before.nice + 3);
                });
            });
            assert_eq!(told().nice, before.nice, "other threads are as they were");
        }
    }
}
