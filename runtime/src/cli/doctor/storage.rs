//! What lies on disk: the wallet's key, a node's data folder, the space and speed beneath it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use super::Finding;
use crate::cli::Context;
use crate::cli::exit::Exit;
use crate::cli::wallet::{Home, Wallet};

/// Below this a node is near the end of its disk: a few segments of the journal and an artefact or two.
const FREE_LEAST: u64 = 256 * 1024 * 1024;
/// Below this it is time to look: a busy node writes a gigabyte of receipts and bodies in hours, not minutes.
const FREE_WANTED: u64 = 2 * 1024 * 1024 * 1024;

/// A group commit of this size is what a busy node writes and syncs.
const COMMIT_LEN: usize = 16 * 1024;
/// Enough for a median, short enough to wait for: 3 s on the slowest disk that is worth a warning.
const COMMITS: usize = 33;
/// An idle node's call waits for one sync, so above this a caller notices; disks that lie answer in microseconds.
const SYNC_SLOW: Duration = Duration::from_millis(10);

/// The wallet's key: absent is fine, readable by others is not.
pub(super) fn wallet(context: &Context) -> Finding {
    let home = match Home::of(&context.around) {
        Ok(home) => home,
        Err(failure) => {
            return Finding::warn(
                "wallet",
                failure.sentence(),
                "set TALEA_HOME to a folder of yours",
            );
        }
    };
    if !home.key_path().exists() {
        return Finding::pass(
            "wallet",
            format!("none yet; made on first use in {}", home.path().display()),
        );
    }
    match Wallet::open(&home) {
        Ok(wallet) => Finding::pass("wallet", wallet.public().to_string()),
        Err(failure) if failure.exit() == Exit::Denied => {
            let advice = failure.advice().unwrap_or("chmod 600 the key").to_owned();
            Finding::fail("wallet", failure.sentence(), advice)
        }
        Err(failure) => Finding::fail(
            "wallet",
            failure.sentence(),
            "put the key back from a copy, or move the file away to make a new one",
        ),
    }
}

/// A node's data folder: rights, space, speed.
pub(super) fn data_folder(data: &Path) -> Vec<Finding> {
    let facts = match fs::metadata(data) {
        Ok(facts) if facts.is_dir() => facts,
        Ok(_) => {
            return vec![Finding::fail(
                "data folder",
                format!("{} is a file", data.display()),
                "name a folder",
            )];
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let found = format!("{} is not there", data.display());
            return vec![Finding::warn(
                "data folder",
                found,
                "`talea node` makes it on first start",
            )];
        }
        Err(error) => {
            let found = format!("{}: {error}", data.display());
            return vec![Finding::fail(
                "data folder",
                found,
                "run this as the user the node runs as",
            )];
        }
    };
    let mut findings = vec![folder_rights(data, &facts)];
    findings.extend(key_rights(&data.join("key")));
    findings.extend(free_space(data));
    findings.push(sync_speed(data));
    findings
}

#[cfg(unix)]
fn mode(facts: &fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    Some(facts.permissions().mode() & 0o777)
}

#[cfg(not(unix))]
fn mode(_: &fs::Metadata) -> Option<u32> {
    None
}

fn folder_rights(data: &Path, facts: &fs::Metadata) -> Finding {
    match mode(facts) {
        Some(mode) if mode & 0o022 != 0 => Finding::fail(
            "data folder",
            format!("others can write to {} (mode {mode:03o})", data.display()),
            format!("chmod 700 {}", data.display()),
        ),
        Some(mode) if mode & 0o055 != 0 => Finding::warn(
            "data folder",
            format!("others can look into {} (mode {mode:03o})", data.display()),
            format!("chmod 700 {}", data.display()),
        ),
        _ => Finding::pass("data folder", data.display().to_string()),
    }
}

fn key_rights(key: &Path) -> Option<Finding> {
    let facts = fs::metadata(key).ok()?;
    Some(match mode(&facts) {
        Some(mode) if mode & 0o077 != 0 => Finding::fail(
            "node key",
            format!("others can read {} (mode {mode:03o})", key.display()),
            format!("chmod 600 {}", key.display()),
        ),
        _ => Finding::pass("node key", "private"),
    })
}

#[cfg(unix)]
fn free_space(data: &Path) -> Option<Finding> {
    let facts = rustix::fs::statvfs(data).ok()?;
    Some(judge_space(facts.f_bavail.saturating_mul(facts.f_frsize)))
}

#[cfg(not(unix))]
fn free_space(_: &Path) -> Option<Finding> {
    None
}

fn judge_space(free: u64) -> Finding {
    let found = format!("{} MiB free", free / (1024 * 1024));
    if free < FREE_LEAST {
        Finding::fail("disk space", found, "make room: a node that cannot write stops answering")
    } else if free < FREE_WANTED {
        Finding::warn("disk space", found, "make room before the node has to stop answering")
    } else {
        Finding::pass("disk space", found)
    }
}

fn sync_speed(data: &Path) -> Finding {
    match median_sync(data) {
        Ok(median) if median > SYNC_SLOW => Finding::warn(
            "disk sync",
            format!("{} for a commit of 16 KiB", milliseconds(median)),
            "each answer waits for one: put the data folder on a local SSD",
        ),
        Ok(median) => {
            Finding::pass("disk sync", format!("{} for a commit of 16 KiB", milliseconds(median)))
        }
        Err(error) => Finding::fail(
            "disk sync",
            format!("cannot write to {}: {error}", data.display()),
            "run this as the user the node runs as, and see that the disk is not full",
        ),
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

/// The median time of writing one commit to the end of a file and syncing it.
fn median_sync(data: &Path) -> io::Result<Duration> {
    let path = data.join(format!(".doctor.{}", std::process::id()));
    let measured = measure_syncs(&path);
    let removed = fs::remove_file(&path);
    let mut times = measured?;
    removed?;
    times.sort_unstable();
    Ok(times.get(times.len() / 2).copied().unwrap_or_default())
}

fn measure_syncs(path: &Path) -> io::Result<Vec<Duration>> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let commit = vec![0xA5_u8; COMMIT_LEN];
    let mut times = Vec::with_capacity(COMMITS);
    for _ in 0..COMMITS {
        let started = tokio::time::Instant::now();
        file.write_all(&commit)?;
        file.sync_data()?;
        times.push(started.elapsed());
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;

    #[test]
    fn space_is_judged_before_it_is_gone() {
        for (free, grade) in
            [(0, Grade::Fail), (FREE_LEAST, Grade::Warn), (FREE_WANTED, Grade::Pass)]
        {
            assert_eq!(judge_space(free).grade, grade, "{free}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_data_folder_that_others_can_change_fails_and_nothing_is_left_in_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let grade = |path: &Path, mode: u32| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            match path.is_dir() {
                true => folder_rights(path, &fs::metadata(path).unwrap()).grade,
                false => key_rights(path).unwrap().grade,
            }
        };
        for (mode, expected) in [(0o777, Grade::Fail), (0o750, Grade::Warn), (0o700, Grade::Pass)] {
            assert_eq!(grade(folder.path(), mode), expected, "{mode:o}");
        }
        let key = folder.path().join("key");
        assert!(key_rights(&key).is_none(), "there is no key yet");
        fs::write(&key, "x").unwrap();
        assert_eq!((grade(&key, 0o644), grade(&key, 0o600)), (Grade::Fail, Grade::Pass));
        let checks: Vec<_> =
            data_folder(folder.path()).iter().map(|finding| finding.check).collect();
        assert_eq!(checks, ["data folder", "node key", "disk space", "disk sync"]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the scratch file is gone");
    }
}
