//! Changes of a function's sources, one word for many.
//!
//! An editor writes a file in several steps and a build writes hundreds; a change is told once the folder has been
//! quiet for [`QUIET`]. Invariants: what the build itself makes is no change (`target`, hidden files, modules beside
//! a Makefile); one change waiting is enough, more are dropped. Absent: what has changed; everything is rebuilt by
//! a tool that knows.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use crate::cli::exit::{Exit, Failure, OrExit as _};
use crate::cli::guest::Source;

/// Editors finish a save well within this; a person does not notice it.
const QUIET: Duration = Duration::from_millis(150);

/// Watches for as long as it lives.
#[derive(Debug)]
pub(super) struct Watch {
    _watcher: RecommendedWatcher,
    settling: tokio::task::JoinHandle<()>,
}

// === impl Watch ===

impl Watch {
    /// Begins to watch the folder of a crate or Makefile, or one module; needs a runtime.
    pub(super) fn begin(source: &Source, tell: mpsc::Sender<()>) -> Result<Self, Failure> {
        let (root, wanted) = match source {
            Source::Crate(folder) | Source::Make(folder) => (folder.clone(), None),
            // A module is replaced rather than written, so its folder is watched.
            Source::Module(path) => (folder_of(path), path.file_name().map(OsStr::to_owned)),
        };
        let root = root
            .canonicalize()
            .or_exit(Exit::NoInput, || format!("cannot read {}", root.display()))?;
        let (raw, settle) = mpsc::channel(1);
        let below = root.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let is_change = event.is_ok_and(|event| {
                !event.kind.is_access()
                    && event.paths.iter().any(|path| match &wanted {
                        Some(name) => path.file_name() == Some(name),
                        None => is_source(path.strip_prefix(&below).unwrap_or(path)),
                    })
            });
            if is_change {
                // Full means that a change is being waited out already.
                let _ = raw.try_send(());
            }
        })
        .or_exit(Exit::Failed, || "the system cannot watch files")?;
        let mode = if source.folder().is_some() {
            RecursiveMode::Recursive
        } else {
            RecursiveMode::NonRecursive
        };
        watcher
            .watch(&root, mode)
            .or_exit(Exit::Failed, || format!("cannot watch {}", root.display()))?;
        Ok(Self { _watcher: watcher, settling: tokio::spawn(settled(settle, tell)) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.settling.abort();
    }
}

/// Passes a change on once nothing more has come for a while.
async fn settled(mut raw: mpsc::Receiver<()>, tell: mpsc::Sender<()>) {
    while raw.recv().await.is_some() {
        while let Ok(Some(())) = tokio::time::timeout(QUIET, raw.recv()).await {}
        // Full means that a rebuild is due already, which will see this change too.
        let _ = tell.try_send(());
    }
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// Whether a path below the watched folder is something a build reads.
fn is_source(path: &Path) -> bool {
    let mut parts = path.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
    let made = ["wasm", "o", "lock", "swp", "tmp"];
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or("");
    !made.contains(&extension)
        && !path.to_string_lossy().ends_with('~')
        && parts.all(|part| !part.starts_with('.') && part != "target" && part != "node_modules")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_build_makes_is_no_change() {
        for (path, source) in [
            ("src/lib.rs", true),
            ("Cargo.toml", true),
            ("main.c", true),
            ("templates/page.html", true),
            ("Cargo.lock", false),
            ("target/wasm32-wasip1/release/f.wasm", false),
            ("f.wasm", false),
            (".git/index", false),
            ("src/.lib.rs.swp", false),
            ("src/lib.rs~", false),
        ] {
            assert_eq!(is_source(Path::new(path)), source, "{path}");
        }
    }

    #[tokio::test]
    async fn many_writes_are_one_change() {
        let (raw, settle) = mpsc::channel(1);
        let (tell, mut told) = mpsc::channel(1);
        let task = tokio::spawn(settled(settle, tell));
        for _ in 0..20 {
            raw.send(()).await.unwrap();
        }
        assert_eq!(told.recv().await, Some(()));
        assert!(told.try_recv().is_err(), "one word for all");
        raw.send(()).await.unwrap();
        assert_eq!(told.recv().await, Some(()), "and the next change is told again");
        task.abort();
    }

    #[tokio::test]
    async fn a_saved_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("Makefile"), "").unwrap();
        let (tell, mut told) = mpsc::channel(1);
        let source = Source::find(folder.path()).unwrap();
        let _watch = Watch::begin(&source, tell).unwrap();
        std::fs::write(folder.path().join("main.c"), "int main() {}").unwrap();
        let told = tokio::time::timeout(Duration::from_secs(20), told.recv()).await;
        assert_eq!(told, Ok(Some(())));
    }
}
