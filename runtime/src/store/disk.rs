//! The edge to the disk: what the store asks of files and folders, and nothing else.
//!
//! Owns the traits [`Disk`] and [`DiskFile`] and their real form [`RealDisk`]. The simulated form, with
//! one image of what was written and one of what would survive a power cut, is part of the tests.
//!
//! Invariants every form keeps:
//! - what `write_all_at` took is durable once `sync` of that file has answered, not before;
//! - a created, renamed or removed name is durable once `sync_folder` has answered, not before;
//! - names are relative to the disk's root and never leave it.
//!
//! Absent: buffering, retries and any idea of what the bytes mean. A failed call is the caller's to
//! latch: after a failed sync nobody can say what is on the disk.

mod real;
#[cfg(test)]
pub(crate) mod simulated;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use real::RealDisk;

/// A folder tree that can be told to be durable.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Creates an empty file for reading and writing; fails if the name is taken.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file for reading and writing; `None` if there is none of that name.
    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn DiskFile>>>;
    /// Names of the files directly in a folder, sorted; none if the folder is missing.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    /// Names of the folders directly in a folder, sorted; none if the folder is missing.
    fn folders(&self, folder: &str) -> io::Result<Vec<String>>;
    /// Makes a folder and its parents, if they are missing.
    fn create_folder(&self, folder: &str) -> io::Result<()>;
    /// Moves a file, replacing what had the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Removes an empty folder.
    fn remove_folder(&self, folder: &str) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;
}

/// One open file. All positions are explicit, so that readers and the writer share it.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Bytes in the file.
    fn len(&self) -> io::Result<u64>;
    /// Fills `into` from `at`; `UnexpectedEof` if the file ends before.
    fn read_exact_at(&self, into: &mut [u8], at: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `at`, growing the file if needed.
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Cuts the file, or lengthens it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes everything written so far durable, the length included.
    fn sync(&self) -> io::Result<()>;
    /// Whether the file holds no byte.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Reads a whole file of at most `len_max` bytes; a longer one is `InvalidData`.
pub fn read_whole(file: &dyn DiskFile, len_max: u64) -> io::Result<Vec<u8>> {
    let len = file.len()?;
    let len = usize::try_from(len)
        .ok()
        .filter(|_| len <= len_max)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the file is too long"))?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Puts a file that is named by its content in place, whole and durable when it returns.
///
/// Two calls may store the same bytes at once: each writes its own draft, and the last rename wins.
pub fn put_whole(disk: &dyn Disk, folder: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    static DRAFT: AtomicU64 = AtomicU64::new(0);
    // Relaxed: only distinctness within this process matters.
    let draft = format!("{folder}/draft-{}", DRAFT.fetch_add(1, Ordering::Relaxed));
    put(disk, folder, &draft, &format!("{folder}/{name}"), bytes)
}

/// Puts a file in place as a whole: under `name` there is either what was there before or all of
/// `bytes`, whatever happens. Durable when it returns. One caller at a time per name.
pub fn replace(disk: &dyn Disk, folder: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let target = format!("{folder}/{name}");
    put(disk, folder, &format!("{target}.new"), &target, bytes)
}

fn put(disk: &dyn Disk, folder: &str, draft: &str, target: &str, bytes: &[u8]) -> io::Result<()> {
    if disk.open(draft)?.is_some() {
        // Left by a process that died while it wrote.
        disk.remove(draft)?;
    }
    let file = disk.create(draft)?;
    if let Err(error) = file.write_all_at(bytes, 0).and_then(|()| file.sync()) {
        // Room taken for nothing would keep a full disk full; if this fails too, the next call tries.
        let _ = disk.remove(draft);
        return Err(error);
    }
    disk.rename(draft, target)?;
    disk.sync_folder(folder)
}
