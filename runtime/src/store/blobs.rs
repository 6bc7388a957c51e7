//! Bodies too large to lie beside their receipts: files named by the hash of what they hold.
//!
//! Each body lies in the folder of an [`Epoch`], the segment of the journal in use when it was stored; when
//! the journal drops a segment, whole epochs go with it. A body that is named in two epochs is kept twice.
//!
//! Durability: a body is on the disk, under its name, when `put` returns `Ok`.
//! Invariant: what `get` returns has the hash that was asked for; anything else is an error, never bytes.
//! Absent: references. Which receipts name a body is the journal's knowledge.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use talea_ledger::BodyId;
use thiserror::Error;

use super::disk::{Disk, put_whole, read_whole};

/// Bodies go with the segments of the journal that name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016}", self.0)
    }
}

/// Why a body was not read.
#[derive(Debug, Error)]
pub enum BlobError {
    /// The disk did not answer.
    #[error("a body could not be read")]
    Io(#[from] io::Error),
    /// The file holds something else than its name says.
    #[error("the file of body {0} holds other bytes")]
    Damaged(BodyId),
}

/// The store of large bodies; clones share the disk.
#[derive(Debug, Clone)]
pub struct BlobStore {
    disk: Arc<dyn Disk>,
    folder: Arc<str>,
}

impl BlobStore {
    /// A store in a folder of the disk.
    pub fn open(disk: Arc<dyn Disk>, folder: &str) -> io::Result<Self> {
        disk.create_folder(folder)?;
        Ok(Self { disk, folder: folder.into() })
    }

    /// Keeps a body. Durable when it returns `Ok`; cheap if the epoch has it.
    pub fn put(&self, epoch: Epoch, id: BodyId, body: &[u8]) -> io::Result<()> {
        debug_assert_eq!(BodyId::of(body), id);
        let folder = self.epoch_folder(epoch);
        let name = id.to_string();
        // A file gets its name only when it is whole and synced, so a name of that length is enough.
        if let Some(file) = self.disk.open(&format!("{folder}/{name}"))?
            && file.len()? == body.len() as u64
        {
            return Ok(());
        }
        self.disk.create_folder(&folder)?;
        put_whole(&*self.disk, &folder, &name, body)
    }

    /// A body of at most `len_max` bytes, if it is kept.
    pub fn get(&self, epoch: Epoch, id: BodyId, len_max: u64) -> Result<Option<Bytes>, BlobError> {
        let name = format!("{}/{id}", self.epoch_folder(epoch));
        let Some(file) = self.disk.open(&name)? else { return Ok(None) };
        let bytes = read_whole(&*file, len_max)?;
        if BodyId::of(&bytes) != id {
            return Err(BlobError::Damaged(id));
        }
        Ok(Some(bytes.into()))
    }

    /// Removes the bodies of all epochs before this one.
    pub fn drop_before(&self, epoch: Epoch) -> io::Result<()> {
        for name in self.disk.folders(&self.folder)? {
            if name.parse().is_ok_and(|number| Epoch(number) < epoch) {
                let folder = format!("{}/{name}", self.folder);
                for body in self.disk.list(&folder)? {
                    self.disk.remove(&format!("{folder}/{body}"))?;
                }
                self.disk.remove_folder(&folder)?;
            }
        }
        Ok(())
    }

    fn epoch_folder(&self, epoch: Epoch) -> String {
        format!("{}/{epoch}", self.folder)
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::simulated::{Dice, Faults, SimulatedDisk};
    use super::*;

    const EPOCH: Epoch = Epoch(3);

    #[test]
    fn a_body_reads_back_and_a_changed_one_is_refused() {
        let disk = SimulatedDisk::new();
        let blobs = BlobStore::open(Arc::new(disk.clone()), "blobs").unwrap();
        let id = BodyId::of(b"body");
        assert!(blobs.get(EPOCH, id, 9).unwrap().is_none());
        blobs.put(EPOCH, id, b"body").unwrap();
        let before = disk.operations();
        blobs.put(EPOCH, id, b"body").unwrap();
        assert_eq!(disk.operations(), before, "a body that is there is not written again");
        assert_eq!(blobs.get(EPOCH, id, 9).unwrap().unwrap(), &b"body"[..]);
        disk.damage(&format!("blobs/{EPOCH}/{id}"), |bytes| bytes[0] ^= 1);
        assert!(matches!(blobs.get(EPOCH, id, 9), Err(BlobError::Damaged(_))));
        blobs.drop_before(EPOCH).unwrap();
        assert!(blobs.get(EPOCH, id, 9).is_err(), "its own epoch stays");
        blobs.drop_before(Epoch(EPOCH.0 + 1)).unwrap();
        assert!(blobs.get(EPOCH, id, 9).unwrap().is_none());
    }

    #[test]
    fn whatever_happens_there_is_all_of_a_body_or_none() {
        let id = BodyId::of(&[7; 2000]);
        for cut_at in 0..8 {
            let disk = SimulatedDisk::new();
            let blobs = BlobStore::open(Arc::new(disk.clone()), "blobs").unwrap();
            disk.set_faults(Faults { cut_at: Some(cut_at), ..Faults::default() });
            let put = blobs.put(EPOCH, id, &[7; 2000]);
            for seed in 0..16 {
                let after = disk.after_cut(&mut Dice(seed));
                let blobs = BlobStore::open(Arc::new(after), "blobs").unwrap();
                let found = blobs.get(EPOCH, id, 4000).unwrap();
                assert!(found.is_some() || put.is_err(), "cut at {cut_at}, seed {seed}");
                blobs.put(EPOCH, id, &[7; 2000]).unwrap();
            }
        }
    }

    #[test]
    fn a_full_disk_refuses_and_frees_what_it_took() {
        let disk = SimulatedDisk::new();
        let blobs = BlobStore::open(Arc::new(disk.clone()), "blobs").unwrap();
        disk.set_faults(Faults { capacity: Some(100), ..Faults::default() });
        let error = blobs.put(EPOCH, BodyId::of(&[7; 200]), &[7; 200]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        blobs.put(EPOCH, BodyId::of(&[7; 90]), &[7; 90]).unwrap();
    }
}
