//! What the machine itself can do: processor, file descriptors, compiler target, clock.

use std::path::Path;

use super::Finding;
use crate::cli::guest;

/// Files a node wants open at once: a socket per connection (1,024 by default), the journal's segments, blobs
/// being read and the state, with room to spare.
const OPEN_FILES_WANTED: u64 = 4096;

/// 2026-01-01T00:00:00Z in seconds: no talea is older, so no right clock is before it.
const CLOCK_EARLIEST_S: u64 = 1_767_225_600;

/// The processor features compiled functions may use; without them artefacts would not load.
pub(super) fn processor() -> Finding {
    #[cfg(target_arch = "x86_64")]
    {
        let wanted = [
            ("sse3", std::is_x86_feature_detected!("sse3")),
            ("ssse3", std::is_x86_feature_detected!("ssse3")),
            ("sse4.1", std::is_x86_feature_detected!("sse4.1")),
            ("sse4.2", std::is_x86_feature_detected!("sse4.2")),
            ("popcnt", std::is_x86_feature_detected!("popcnt")),
        ];
        let missing: Vec<&str> =
            wanted.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect();
        if !missing.is_empty() {
            let found = format!("x86_64 without {}", missing.join(", "));
            return Finding::fail(
                "processor",
                found,
                "a node needs x86-64-v2, any server since about 2010",
            );
        }
        Finding::pass("processor", "x86_64 with SSE4.2")
    }
    #[cfg(target_arch = "aarch64")]
    {
        Finding::pass("processor", "aarch64")
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        Finding::fail(
            "processor",
            std::env::consts::ARCH,
            "functions are compiled for x86_64 and aarch64 only",
        )
    }
}

/// How many files may be open at once.
#[cfg(unix)]
pub(super) fn open_files() -> Finding {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    match limit.current {
        Some(files) if files < OPEN_FILES_WANTED => Finding::warn(
            "open files",
            format!("{files} at once"),
            format!("ulimit -n {OPEN_FILES_WANTED}, or LimitNOFILE= in the service's unit"),
        ),
        Some(files) => Finding::pass("open files", format!("{files} at once")),
        None => Finding::pass("open files", "no limit"),
    }
}

#[cfg(not(unix))]
pub(super) fn open_files() -> Finding {
    Finding::pass("open files", "not limited by this system")
}

/// Whether functions in Rust can be built here.
pub(super) fn guest_target() -> Finding {
    match guest::target_is_installed(Path::new(".")) {
        Some(true) => Finding::pass("guest target", guest::TARGET),
        Some(false) => Finding::warn(
            "guest target",
            format!("{} is not installed", guest::TARGET),
            format!("rustup target add {} (only needed to build functions here)", guest::TARGET),
        ),
        None => Finding::warn(
            "guest target",
            "there is no Rust compiler",
            "install Rust from https://rustup.rs (only needed to build functions here)",
        ),
    }
}

/// Whether the clock can be right: a run carries its time, and a host refuses one that is far off.
pub(super) fn clock() -> Finding {
    judge_clock(crate::cli::now().0 / 1_000_000_000)
}

fn judge_clock(now_s: u64) -> Finding {
    if now_s < CLOCK_EARLIEST_S {
        Finding::fail(
            "clock",
            format!("{now_s} s since 1970 is before 2026"),
            "set the clock, or start NTP",
        )
    } else {
        Finding::pass("clock", crate::cli::moment::rfc3339(now_s.saturating_mul(1_000_000_000)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;

    #[test]
    fn a_clock_before_this_program_is_wrong() {
        assert_eq!(judge_clock(0).grade, Grade::Fail);
        assert_eq!(judge_clock(CLOCK_EARLIEST_S).grade, Grade::Pass);
    }

    #[test]
    fn a_machine_that_runs_these_tests_has_a_processor_that_will_do() {
        assert_eq!(processor().grade, Grade::Pass);
    }
}
