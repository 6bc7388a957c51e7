//! A disk in memory with two images: `live`, what a running process sees, and `durable`, what a power
//! cut is sure to leave.
//!
//! A cut keeps every synced byte and, of the unsynced writes, an arbitrary choice: each may be lost,
//! kept, or torn at a sector. Of the names changed since a folder was synced, a prefix is kept.
//! Faults are set by the number of the operation: fail it once (a failed sync loses what was unsynced
//! for ever, as on a real kernel), or cut the power there (every later operation fails).
//! Everything follows from one seed, so that a failing test can be run again.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Disk, DiskFile};

/// Power cuts tear writes here: the unit a drive writes as a whole.
const SECTOR: usize = 512;

/// What happens at which operation. Operations are counted from 0; only those that change something count.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// From this operation on, the machine is off.
    pub(crate) cut_at: Option<u64>,
    /// This operation fails, and only this one.
    pub(crate) fail_at: Option<u64>,
    /// Bytes that fit on the disk.
    pub(crate) capacity: Option<u64>,
}

#[derive(Debug, Clone)]
enum NameChange {
    Created(String, u64),
    Renamed(String, String),
    Removed(String),
}

/// What was done to a file and not synced.
#[derive(Debug, Clone)]
enum Unsynced {
    Written(u64, Vec<u8>),
    Resized(usize),
}

#[derive(Debug, Clone, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Unsynced>,
}

#[derive(Debug, Default)]
struct Image {
    inodes: BTreeMap<u64, Inode>,
    live: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
    changes: Vec<NameChange>,
    next: u64,
    operations: u64,
    faults: Faults,
    is_off: bool,
}

/// A handle to one simulated disk; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct SimulatedDisk(Arc<Mutex<Image>>);

/// A small generator for the choices of a power cut (splitmix64: any seed is a good seed).
#[derive(Debug, Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.roll() % end.max(1)
    }
}

impl SimulatedDisk {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.image().faults = faults;
    }

    /// Operations so far that changed something.
    pub(crate) fn operations(&self) -> u64 {
        self.image().operations
    }

    /// The disk as a new process finds it after a power cut.
    pub(crate) fn after_cut(&self, dice: &mut Dice) -> SimulatedDisk {
        let image = self.image();
        let mut names = image.durable.clone();
        let kept = dice.below(image.changes.len() as u64 + 1) as usize;
        for change in &image.changes[..kept] {
            apply(&mut names, change);
        }
        let mut inodes = BTreeMap::new();
        for (&number, inode) in &image.inodes {
            if !names.values().any(|&n| n == number) {
                continue;
            }
            let mut bytes = inode.durable.clone();
            for change in &inode.pending {
                match (dice.below(3), change) {
                    (0, _) => {}
                    (1, Unsynced::Written(at, written)) => put(&mut bytes, *at, written),
                    (_, Unsynced::Written(at, written)) => tear(&mut bytes, *at, written, dice),
                    (_, Unsynced::Resized(len)) => bytes.resize(*len, 0),
                }
            }
            let inode = Inode { live: bytes.clone(), durable: bytes, pending: Vec::new() };
            inodes.insert(number, inode);
        }
        let image = Image {
            inodes,
            live: names.clone(),
            durable: names,
            next: image.next,
            ..Image::default()
        };
        SimulatedDisk(Arc::new(Mutex::new(image)))
    }

    /// The disk as a new process finds it when only the process died: nothing written is lost.
    pub(crate) fn after_kill(&self) -> SimulatedDisk {
        let image = self.image();
        let mut inodes = image.inodes.clone();
        for inode in inodes.values_mut() {
            inode.durable = inode.live.clone();
            inode.pending.clear();
        }
        let image = Image {
            inodes,
            live: image.live.clone(),
            durable: image.live.clone(),
            next: image.next,
            ..Image::default()
        };
        SimulatedDisk(Arc::new(Mutex::new(image)))
    }

    /// Changes bytes of a file behind everybody's back.
    pub(crate) fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut image = self.image();
        let number = image.live[name];
        let inode = image.inodes.get_mut(&number).unwrap();
        change(&mut inode.live);
        inode.durable = inode.live.clone();
    }

    /// Bytes of a file as a running process sees them.
    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        let image = self.image();
        image.inodes[&image.live[name]].live.clone()
    }

    fn image(&self) -> MutexGuard<'_, Image> {
        self.0.lock().unwrap()
    }
}

fn apply(names: &mut BTreeMap<String, u64>, change: &NameChange) {
    match change {
        NameChange::Created(name, number) => {
            names.insert(name.clone(), *number);
        }
        NameChange::Renamed(from, to) => {
            if let Some(number) = names.remove(from) {
                names.insert(to.clone(), number);
            }
        }
        NameChange::Removed(name) => {
            names.remove(name);
        }
    }
}

fn put(bytes: &mut Vec<u8>, at: u64, written: &[u8]) {
    let at = at as usize;
    if bytes.len() < at + written.len() {
        bytes.resize(at + written.len(), 0);
    }
    bytes[at..at + written.len()].copy_from_slice(written);
}

/// Keeps an arbitrary choice of the sectors that a write touched, in no particular order.
fn tear(bytes: &mut Vec<u8>, at: u64, written: &[u8], dice: &mut Dice) {
    let mut from = 0;
    while from < written.len() {
        let to_boundary = SECTOR - (at as usize + from) % SECTOR;
        let to = (from + to_boundary).min(written.len());
        if dice.below(2) == 0 {
            put(bytes, at + from as u64, &written[from..to]);
        }
        from = to;
    }
}

impl Image {
    /// Counts one changing operation; `Err` if the machine is off or the operation is to fail.
    fn step(&mut self) -> io::Result<()> {
        let number = self.operations;
        self.operations += 1;
        if self.is_off || self.faults.cut_at.is_some_and(|at| number >= at) {
            self.is_off = true;
            return Err(io::Error::other("the machine is off"));
        }
        if self.faults.fail_at == Some(number) {
            return Err(io::Error::other("the drive says no"));
        }
        Ok(())
    }

    fn used(&self) -> u64 {
        self.live.values().map(|n| self.inodes[n].live.len() as u64).sum()
    }
}

// === impl Disk ===

impl SimulatedDisk {
    fn file(&self, number: u64) -> Arc<dyn DiskFile> {
        Arc::new(SimulatedFile { disk: self.clone(), number })
    }
}

impl Disk for SimulatedDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut image = self.image();
        if image.live.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        image.step()?;
        let number = image.next;
        image.next += 1;
        image.inodes.insert(number, Inode::default());
        image.live.insert(name.into(), number);
        image.changes.push(NameChange::Created(name.into(), number));
        Ok(self.file(number))
    }

    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn DiskFile>>> {
        let image = self.image();
        Ok(image.live.get(name).map(|&number| self.file(number)))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let prefix = format!("{folder}/");
        let image = self.image();
        let below = image.live.keys().filter_map(|name| name.strip_prefix(&prefix));
        Ok(below.filter(|rest| !rest.contains('/')).map(String::from).collect())
    }

    fn folders(&self, folder: &str) -> io::Result<Vec<String>> {
        let prefix = format!("{folder}/");
        let image = self.image();
        let below =
            image.live.keys().filter_map(|name| name.strip_prefix(&prefix)?.split_once('/'));
        let mut folders: Vec<_> = below.map(|(folder, _)| folder.to_string()).collect();
        folders.dedup();
        Ok(folders)
    }

    fn create_folder(&self, _folder: &str) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut image = self.image();
        image.step()?;
        let change = NameChange::Renamed(from.into(), to.into());
        apply(&mut image.live, &change);
        image.changes.push(change);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut image = self.image();
        image.step()?;
        let change = NameChange::Removed(name.into());
        apply(&mut image.live, &change);
        image.changes.push(change);
        Ok(())
    }

    fn remove_folder(&self, _folder: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let mut image = self.image();
        image.step()?;
        let inside = |name: &String| name.starts_with(&format!("{folder}/"));
        let changes = std::mem::take(&mut image.changes);
        for change in changes {
            let here = match &change {
                NameChange::Created(name, _) | NameChange::Removed(name) => inside(name),
                NameChange::Renamed(_, to) => inside(to),
            };
            if here {
                apply(&mut image.durable, &change);
            } else {
                image.changes.push(change);
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    number: u64,
}

impl DiskFile for SimulatedFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.image().inodes[&self.number].live.len() as u64)
    }

    fn read_exact_at(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        let image = self.disk.image();
        let live = &image.inodes[&self.number].live;
        let at = usize::try_from(at).unwrap();
        let found = live.get(at..at + into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(found);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut image = self.disk.image();
        let verdict = image.step();
        let end = at + bytes.len() as u64;
        let grows = end.saturating_sub(image.inodes[&self.number].live.len() as u64);
        let is_full = image.faults.capacity.is_some_and(|room| image.used() + grows > room);
        if verdict.is_ok() && is_full && grows > 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let inode = image.inodes.get_mut(&self.number).unwrap();
        // A write that is cut off or fails may still have reached the drive in part.
        inode.pending.push(Unsynced::Written(at, bytes.to_vec()));
        if verdict.is_ok() {
            put(&mut inode.live, at, bytes);
        }
        verdict
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut image = self.disk.image();
        image.step()?;
        let grows = len.saturating_sub(image.inodes[&self.number].live.len() as u64);
        if image.faults.capacity.is_some_and(|room| image.used() + grows > room) && grows > 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let len = usize::try_from(len).unwrap();
        let inode = image.inodes.get_mut(&self.number).unwrap();
        inode.pending.push(Unsynced::Resized(len));
        inode.live.resize(len, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut image = self.disk.image();
        let is_off = image.is_off;
        let verdict = image.step();
        let was_cut = !is_off && image.is_off;
        let inode = image.inodes.get_mut(&self.number).unwrap();
        match &verdict {
            Ok(()) => {
                for change in std::mem::take(&mut inode.pending) {
                    match change {
                        Unsynced::Written(at, bytes) => put(&mut inode.durable, at, &bytes),
                        Unsynced::Resized(len) => inode.durable.resize(len, 0),
                    }
                }
            }
            // The kernel marks the pages clean after a failed sync: they never reach the drive.
            Err(_) if !is_off && !was_cut => inode.pending.clear(),
            Err(_) => {}
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_keeps_what_was_synced_and_only_that_for_sure() {
        let disk = SimulatedDisk::new();
        let file = disk.create("f/a").unwrap();
        file.write_all_at(b"kept", 0).unwrap();
        file.sync().unwrap();
        disk.sync_folder("f").unwrap();
        file.write_all_at(b"lost", 4).unwrap();
        disk.create("f/b").unwrap();
        let outcomes: std::collections::BTreeSet<_> = (0..64)
            .map(|seed| {
                let after = disk.after_cut(&mut Dice(seed));
                (after.bytes("f/a"), after.open("f/b").unwrap().is_some())
            })
            .collect();
        assert!(outcomes.iter().all(|(bytes, _)| bytes.starts_with(b"kept")));
        assert_eq!(outcomes.len(), 4, "with and without the write, with and without the name");
    }

    #[test]
    fn a_failed_sync_never_becomes_durable() {
        let disk = SimulatedDisk::new();
        let file = disk.create("f/a").unwrap();
        disk.sync_folder("f").unwrap();
        file.write_all_at(b"gone", 0).unwrap();
        disk.set_faults(Faults { fail_at: Some(disk.operations()), ..Faults::default() });
        file.sync().unwrap_err();
        file.sync().unwrap();
        assert!(disk.after_cut(&mut Dice(1)).bytes("f/a").is_empty());
        assert_eq!(disk.bytes("f/a"), b"gone");
    }
}
