//! The machine's file system below one folder.
//!
//! Invariant: `sync` is `fdatasync`, which carries the length but not the times: in a file that was
//! zeroed before, a commit costs no write of the file system's own journal. Measured on ext4 over a
//! virtual disk, 16 KiB per write: 102 us in a zeroed file, 157 us in one that was only allocated,
//! 164 us in one that grows; `O_DSYNC` does the same work (97 us).
//! Absent: `O_DIRECT`, which saves a further 20 us but needs aligned buffers and pads every commit to
//! 4 KiB; the commit of an idle node is one receipt.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Disk, DiskFile};

/// Only the node's own user reads or writes what the node keeps.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// The real disk, rooted at a folder.
#[derive(Debug, Clone)]
pub struct RealDisk {
    root: PathBuf,
}

impl RealDisk {
    /// A disk whose names lie below `root`, which must exist.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder that the names are relative to.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, name: &str) -> PathBuf {
        debug_assert!(!name.starts_with('/') && !name.split('/').any(|part| part == ".."));
        self.root.join(name)
    }

    fn names(&self, folder: &str, is_it: fn(&fs::FileType) -> bool) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            // A name that is not UTF-8 is not ours: every name the store makes is ASCII.
            if let (true, Ok(name)) = (is_it(&entry.file_type()?), entry.file_name().into_string())
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}

// === impl Disk ===

impl Disk for RealDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(self.path(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn DiskFile>>> {
        match OpenOptions::new().read(true).write(true).open(self.path(name)) {
            Ok(file) => Ok(Some(Arc::new(RealFile(file)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.names(folder, fs::FileType::is_file)
    }

    fn folders(&self, folder: &str) -> io::Result<Vec<String>> {
        self.names(folder, fs::FileType::is_dir)
    }

    fn create_folder(&self, folder: &str) -> io::Result<()> {
        let path = self.path(folder);
        if path.is_dir() {
            return Ok(());
        }
        fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&path)?;
        // The new folder's own name must outlive a power cut as much as what is put into it.
        path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn remove_folder(&self, folder: &str) -> io::Result<()> {
        match fs::remove_dir(self.path(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        File::open(self.path(folder))?.sync_all()
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_exact_at(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        self.0.read_exact_at(into, at)
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{read_whole, replace};
    use super::*;

    #[test]
    fn a_replaced_file_is_whole_and_leaves_no_draft() {
        let folder = tempfile::tempdir().unwrap();
        let disk = RealDisk::at(folder.path());
        disk.create_folder("a/b").unwrap();
        replace(&disk, "a/b", "x", b"first").unwrap();
        replace(&disk, "a/b", "x", b"second").unwrap();
        let file = disk.open("a/b/x").unwrap().unwrap();
        assert_eq!(read_whole(&*file, 6).unwrap(), b"second");
        assert_eq!(read_whole(&*file, 5).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(disk.list("a/b").unwrap(), ["x"]);
        assert!(disk.list("missing").unwrap().is_empty());
        assert!(disk.open("a/y").unwrap().is_none());
    }

    #[test]
    fn what_the_node_keeps_is_for_its_own_user() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let disk = RealDisk::at(folder.path());
        disk.create_folder("f").unwrap();
        disk.create("f/x").unwrap();
        let mode = |name: &str| {
            fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777
        };
        assert_eq!((mode("f"), mode("f/x")), (0o700, 0o600));
        assert_eq!(disk.create("f/x").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}
