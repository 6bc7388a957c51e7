//! Files of compiled artefacts, one per function, profile and variant, in a folder per engine.
//!
//! Owns: where such a file lies, who may read it, and that a reader sees a whole file or none.
//! Invariants: the folder is private to the node's user; a file appears by rename after its bytes
//! are synced; a file longer than its bound is not read. What the bytes mean, and whether they may
//! be believed, is decided by the executor, which authenticates them before use.
//!
//! Layout: `<root>/<engine id in hex>/<function digest in hex>-<profile digest, 16 hex>.<variant>`.
//! Folders of other engines are removed at open: nothing could load what they hold.

#![allow(clippy::disallowed_methods, reason = "store is the owner of files")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of one artefact. The largest module of the profile is 8 MiB; native code is 3 to 5 times
/// its wasm, with initial memory and tables on top.
pub const ARTEFACT_LEN_MAX: u64 = 128 << 20;

/// Suffix of a file that is still being written.
const PARTIAL: &str = "partial";

/// The folder of one engine's artefacts.
#[derive(Debug)]
pub struct ArtefactFolder {
    folder: PathBuf,
    /// Makes the names of partial files unique within this process.
    serial: AtomicU64,
}

impl ArtefactFolder {
    /// Opens the folder for `engine` (lower-case hex) below `root`, creating both, and removes what
    /// other engines and broken writes left behind.
    pub fn open(root: &Path, engine: &str) -> io::Result<Self> {
        create_private(root)?;
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            // Only what this module can have made: a misconfigured root must not cost a user files.
            let ours = name.len() == engine.len() && name.bytes().all(|b| b.is_ascii_hexdigit());
            if ours && name != engine {
                fs::remove_dir_all(entry.path())?;
            }
        }
        let folder = root.join(engine);
        create_private(&folder)?;
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == PARTIAL) {
                fs::remove_file(path)?;
            }
        }
        Ok(Self { folder, serial: AtomicU64::new(0) })
    }

    /// Where the artefact with this name lies, for messages.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The file, cut at the bound, or `None` if there is none. A file above the bound is an error.
    pub fn open_file(&self, name: &str) -> io::Result<Option<io::Take<File>>> {
        let file = match File::open(self.path(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if file.metadata()?.len() > ARTEFACT_LEN_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "artefact above its bound"));
        }
        Ok(Some(file.take(ARTEFACT_LEN_MAX)))
    }

    /// Puts a file in place as a whole: written beside, synced, renamed, the folder synced.
    pub fn write(&self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let partial = self.path(&format!("{name}.{}-{serial}.{PARTIAL}", std::process::id()));
        let written = write_synced(&partial, parts).and_then(|()| {
            fs::rename(&partial, self.path(name))?;
            File::open(&self.folder)?.sync_all()
        });
        if written.is_err() {
            // Best effort: what stays is removed at the next open.
            let _ = fs::remove_file(&partial);
        }
        written
    }

    /// Removes a file that must not be used again. A file already gone is fine.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn create_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
        builder.mode(0o700);
        builder.create(folder)?;
        // A folder that existed before may be wider: artefacts are code this process will run.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
    }
    #[cfg(not(unix))]
    builder.create(folder)
}

fn write_synced(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGINE: &str = "00ff";

    /// What is in the file, if there is one.
    fn read(folder: &ArtefactFolder, name: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        folder.open_file(name).unwrap()?.read_to_end(&mut bytes).unwrap();
        Some(bytes)
    }

    #[test]
    fn a_file_is_read_back_replaced_and_removed() {
        let root = tempfile::tempdir().unwrap();
        let folder = ArtefactFolder::open(root.path(), ENGINE).unwrap();
        assert_eq!(read(&folder, "a.fast"), None);
        folder.write("a.fast", &[b"one", b"two"]).unwrap();
        assert_eq!(read(&folder, "a.fast").unwrap(), b"onetwo");
        folder.write("a.fast", &[b"three"]).unwrap();
        assert_eq!(read(&folder, "a.fast").unwrap(), b"three");
        folder.remove("a.fast").unwrap();
        folder.remove("a.fast").unwrap();
        assert_eq!(read(&folder, "a.fast"), None);
    }

    #[test]
    fn open_removes_other_engines_and_partial_files_only() {
        let root = tempfile::tempdir().unwrap();
        let old = ArtefactFolder::open(root.path(), "aaaa").unwrap();
        old.write("a.fast", &[b"old"]).unwrap();
        fs::write(root.path().join("keep-me"), b"user file").unwrap();
        let folder = ArtefactFolder::open(root.path(), ENGINE).unwrap();
        fs::write(folder.path("b.fast.1-1.partial"), b"half").unwrap();
        folder.write("b.fast", &[b"whole"]).unwrap();
        let folder = ArtefactFolder::open(root.path(), ENGINE).unwrap();
        assert!(!root.path().join("aaaa").exists());
        assert!(root.path().join("keep-me").exists());
        assert!(!folder.path("b.fast.1-1.partial").exists());
        assert_eq!(read(&folder, "b.fast").unwrap(), b"whole");
    }

    #[cfg(unix)]
    #[test]
    fn the_folder_and_its_files_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let below = root.path().join("artefacts");
        fs::create_dir(&below).unwrap();
        fs::set_permissions(&below, fs::Permissions::from_mode(0o755)).unwrap();
        let folder = ArtefactFolder::open(&below, ENGINE).unwrap();
        folder.write("a.fast", &[b"x"]).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&below), 0o700);
        assert_eq!(mode(&below.join(ENGINE)), 0o700);
        assert_eq!(mode(&folder.path("a.fast")), 0o600);
    }
}
