//! Functions this node holds: their bytes, their registrations, and the names that lead to them.
//!
//! Format: the bytes in `<folder>/<function CID>.wasm`; registrations and names in redb:
//!
//! ```text
//! functions   function digest (32)     -> serial u64 LE, wasm length u64 LE, sealed registration
//! order       serial u64               -> function digest
//! names       name                     -> function digest, owner key (32), time of the registration u64 LE
//! pins        function digest          -> nothing: it stays here, whoever brought it
//! uses        function digest          -> noted last use u64 LE, noted last paid use u64 LE, of a brought one
//! ```
//! Durability: bytes, registration and name are on the disk when `put` returns `Ok`; the bytes first, so that
//! what is registered can be run. A function that is dropped loses its record first, then its bytes.
//! Invariants: a function and a name belong to the key that registered them first; of two registrations the
//! later one holds, and an earlier one is refused however often it is sent. Bytes handed out have the hash
//! that was asked for.
//! Absent: checking of signatures (a `Verified` is what comes in) and of wasm.

mod keeping;

use std::io;
use std::path::Path;
use std::sync::Arc;

use redb::{
    Database, ReadableDatabase as _, ReadableTable as _, Table, TableDefinition, WriteTransaction,
};
use talea_ledger::{
    DecodeError, Digest, Document as _, FunctionId, PublicKey, Registration, Sealed, UnixNanos,
    Verified,
};
use thiserror::Error;

use super::disk::{Disk, put_whole, read_whole};

const FUNCTIONS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("functions");
const ORDER: TableDefinition<'_, u64, &[u8; 32]> = TableDefinition::new("order");
const NAMES: TableDefinition<'_, &str, &[u8; NAME_LEN]> = TableDefinition::new("names");
const PINS: TableDefinition<'_, &[u8; 32], ()> = TableDefinition::new("pins");
const USES: TableDefinition<'_, &[u8; 32], &[u8; USE_LEN]> = TableDefinition::new("uses");
const NAME_LEN: usize = 32 + 32 + 8;
const USE_LEN: usize = 8 + 8;
const HEAD_LEN: usize = 16;
/// Set in a record's length when the function was brought from another node: whoever deploys it here owns it here.
const BROUGHT: u64 = 1 << 63;
/// Pages redb keeps in memory. Registrations are under 4 KiB; 4,000 of them stay at hand.
const CACHE_LEN: usize = 16 << 20;

/// Why the shelf did not do what was asked.
#[derive(Debug, Error)]
pub enum ShelfError {
    /// The database did not answer. After a failed commit it takes no more writes until it is opened again.
    #[error("the function index could not be used")]
    Database(#[source] Box<redb::Error>),
    /// The disk did not answer.
    #[error("the bytes of a function could not be used")]
    Io(#[from] io::Error),
    /// The file or the record of a function holds something else than was put there.
    #[error("function {0} is damaged on the disk")]
    Damaged(FunctionId),
    /// Somebody else registered the function first.
    #[error("function {function} belongs to {owner}")]
    FunctionTaken {
        /// The function.
        function: FunctionId,
        /// Who registered it.
        owner: PublicKey,
    },
    /// Somebody else registered the name first.
    #[error("the name {name} belongs to {owner}")]
    NameTaken {
        /// The name.
        name: String,
        /// Who registered it.
        owner: PublicKey,
    },
    /// A later registration is there already.
    #[error("a later registration is there already, of {0} ns since 1970")]
    Outdated(UnixNanos),
}

/// What a registration changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// The function was not here before.
    New,
    /// The owner changed its registration.
    Changed,
    /// The same registration was here already.
    Same,
}

/// A function as it lies on the shelf.
#[derive(Debug, Clone)]
pub struct ShelvedFunction {
    /// Number of the function in the order of first registration: the cursor of lists.
    pub serial: u64,
    /// What its owner says of it.
    pub registration: Registration,
    /// The same, as it was signed.
    pub sealed: Sealed,
    /// Bytes of its module.
    pub wasm_len: u64,
    /// Whether it came from another node, and nobody has deployed it here.
    pub is_brought: bool,
}

/// How a function on the shelf is to be kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keeping {
    /// Whether it stays here though it was brought.
    pub is_pinned: bool,
    /// When it was last used, as far as was noted.
    pub used: UnixNanos,
    /// When somebody last paid for a run of it, as far as was noted.
    pub paid: UnixNanos,
}

/// Functions in the order of first registration.
#[derive(Debug, Clone, Default)]
pub struct FunctionPage {
    /// The functions.
    pub functions: Vec<ShelvedFunction>,
    /// Where to go on, if there are more.
    pub next: Option<u64>,
}

/// The functions of one node.
#[derive(Debug)]
pub struct FunctionShelf {
    database: Database,
    disk: Arc<dyn Disk>,
    folder: String,
}

fn database(error: impl Into<redb::Error>) -> ShelfError {
    ShelfError::Database(Box::new(error.into()))
}

impl FunctionShelf {
    /// Opens the index at `state`, with the bytes in a folder of the disk.
    pub fn open(state: &Path, disk: Arc<dyn Disk>, folder: &str) -> Result<Self, ShelfError> {
        disk.create_folder(folder)?;
        let database =
            Database::builder().set_cache_size(CACHE_LEN).create(state).map_err(self::database)?;
        let shelf = Self { database, disk, folder: folder.into() };
        // A read finds the tables from the first call on.
        shelf.write(|functions, order, names| {
            let _ = (functions, order, names);
            Ok(())
        })?;
        shelf.open_keeping()?;
        Ok(shelf)
    }

    /// Registers a function. `wasm` may be left out when the bytes are here already.
    pub fn put(
        &self,
        registration: &Verified<Registration>,
        sealed: &Sealed,
        wasm: &[u8],
    ) -> Result<Placed, ShelfError> {
        self.place(registration, sealed, wasm, false)
    }

    /// Shelves a function that came from another node. It gives no name here, changes nothing that was deployed
    /// here, and gives way to whoever deploys it here.
    pub fn bring(
        &self,
        registration: &Verified<Registration>,
        sealed: &Sealed,
        wasm: &[u8],
    ) -> Result<Placed, ShelfError> {
        self.place(registration, sealed, wasm, true)
    }

    fn place(
        &self,
        registration: &Verified<Registration>,
        sealed: &Sealed,
        wasm: &[u8],
        is_brought: bool,
    ) -> Result<Placed, ShelfError> {
        let document = registration.document();
        let (function, owner) = (document.function, *registration.signer());
        debug_assert_eq!(FunctionId::of(wasm), function);
        self.keep_bytes(function, wasm)?;
        self.write(|functions, order, names| {
            let key = function.digest().to_bytes();
            let before = functions.get(&key).map_err(database)?;
            let before = before.map(|bytes| decode(function, bytes.value())).transpose()?;
            let (serial, placed) = match &before {
                None => (next_serial(order)?, Placed::New),
                Some(_) if is_brought => return Ok(Placed::Same),
                Some(old) if old.is_brought => (old.serial, Placed::New),
                Some(old) if old.registration.owner != owner => {
                    let owner = old.registration.owner;
                    return Err(ShelfError::FunctionTaken { function, owner });
                }
                Some(old) if old.sealed.payload() == registration.payload() => {
                    return Ok(Placed::Same);
                }
                Some(old) if old.registration.at >= document.at => {
                    return Err(ShelfError::Outdated(old.registration.at));
                }
                Some(old) => (old.serial, Placed::Changed),
            };
            if let Some(name) = document.name.as_ref().filter(|_| !is_brought) {
                put_name(names, name.as_str(), function, owner, document.at)?;
            }
            let mark = if is_brought { BROUGHT } else { 0 };
            let record = encode(serial, wasm.len() as u64 | mark, sealed);
            functions.insert(&key, record.as_slice()).map_err(database)?;
            order.insert(serial, &key).map_err(database)?;
            Ok(placed)
        })
    }

    /// A function's registration.
    pub fn get(&self, function: FunctionId) -> Result<Option<ShelvedFunction>, ShelfError> {
        let read = self.database.begin_read().map_err(database)?;
        let functions = read.open_table(FUNCTIONS).map_err(database)?;
        let found = functions.get(&function.digest().to_bytes()).map_err(database)?;
        found.map(|bytes| decode(function, bytes.value())).transpose()
    }

    /// The bytes of a function, as they were deployed.
    pub fn wasm(&self, function: FunctionId) -> Result<Option<Vec<u8>>, ShelfError> {
        let Some(file) = self.disk.open(&self.file(function))? else { return Ok(None) };
        let bytes = read_whole(&*file, u64::from(u32::MAX))?;
        if FunctionId::of(&bytes) != function {
            return Err(ShelfError::Damaged(function));
        }
        Ok(Some(bytes))
    }

    /// The function that a name leads to.
    pub fn by_name(&self, name: &str) -> Result<Option<FunctionId>, ShelfError> {
        let read = self.database.begin_read().map_err(database)?;
        let names = read.open_table(NAMES).map_err(database)?;
        let found = names.get(name).map_err(database)?;
        Ok(found.map(|holder| NameHolder::decode(holder.value()).0))
    }

    /// Functions registered first after the one with this serial.
    pub fn list(&self, after: Option<u64>, limit: usize) -> Result<FunctionPage, ShelfError> {
        let read = self.database.begin_read().map_err(database)?;
        let order = read.open_table(ORDER).map_err(database)?;
        let functions = read.open_table(FUNCTIONS).map_err(database)?;
        let mut page = FunctionPage::default();
        let start = after.map_or(0, |after| after.saturating_add(1));
        for entry in order.range(start..).map_err(database)? {
            let (serial, digest) = entry.map_err(database)?;
            if page.functions.len() == limit {
                page.next = Some(serial.value().saturating_sub(1));
                break;
            }
            let function = FunctionId::from_digest(Digest::new(*digest.value()));
            let bytes = functions.get(digest.value()).map_err(database)?;
            let bytes = bytes.ok_or(ShelfError::Damaged(function))?;
            page.functions.push(decode(function, bytes.value())?);
        }
        Ok(page)
    }

    fn keep_bytes(&self, function: FunctionId, wasm: &[u8]) -> Result<(), ShelfError> {
        // A file gets its name only when it is whole and synced. A damaged one is replaced.
        match self.wasm(function) {
            Ok(Some(_)) => Ok(()),
            Ok(None) | Err(ShelfError::Damaged(_)) => {
                Ok(put_whole(&*self.disk, &self.folder, &file_name(function), wasm)?)
            }
            Err(error) => Err(error),
        }
    }

    fn file(&self, function: FunctionId) -> String {
        format!("{}/{}", self.folder, file_name(function))
    }

    /// One durable transaction. Two-phase commit and quick repair: a crash costs neither a commit nor a walk
    /// over the whole file at open.
    fn write<T>(
        &self,
        change: impl FnOnce(&mut Functions<'_>, &mut Order<'_>, &mut Names<'_>) -> Result<T, ShelfError>,
    ) -> Result<T, ShelfError> {
        self.commit(|write| {
            let mut functions = write.open_table(FUNCTIONS).map_err(database)?;
            let mut order = write.open_table(ORDER).map_err(database)?;
            let mut names = write.open_table(NAMES).map_err(database)?;
            change(&mut functions, &mut order, &mut names)
        })
    }

    fn commit<T>(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<T, ShelfError>,
    ) -> Result<T, ShelfError> {
        let mut write = self.database.begin_write().map_err(database)?;
        write.set_two_phase_commit(true);
        write.set_quick_repair(true);
        let result = change(&write);
        match result {
            Ok(result) => {
                write.commit().map_err(database)?;
                Ok(result)
            }
            Err(error) => {
                write.abort().map_err(database)?;
                Err(error)
            }
        }
    }
}

type Functions<'a> = Table<'a, &'static [u8; 32], &'static [u8]>;
type Order<'a> = Table<'a, u64, &'static [u8; 32]>;
type Names<'a> = Table<'a, &'static str, &'static [u8; NAME_LEN]>;

fn file_name(function: FunctionId) -> String {
    format!("{function}.wasm")
}

fn next_serial(order: &Order<'_>) -> Result<u64, ShelfError> {
    let last = order.last().map_err(database)?;
    Ok(last.map_or(1, |(serial, _)| serial.value().saturating_add(1)))
}

/// A name moves to the owner's later registration, never back and never to somebody else.
fn put_name(
    names: &mut Names<'_>,
    name: &str,
    function: FunctionId,
    owner: PublicKey,
    at: UnixNanos,
) -> Result<(), ShelfError> {
    let before =
        names.get(name).map_err(database)?.map(|holder| NameHolder::decode(holder.value()));
    match before {
        Some(NameHolder(_, holder, _)) if holder != *owner.as_bytes() => {
            let owner =
                PublicKey::from_bytes(&holder).map_err(|_| ShelfError::Damaged(function))?;
            return Err(ShelfError::NameTaken { name: name.into(), owner });
        }
        Some(NameHolder(held, _, since)) if since >= at && held != function => {
            return Err(ShelfError::Outdated(since));
        }
        _ => {}
    }
    let mut holder = [0; NAME_LEN];
    holder[..32].copy_from_slice(function.digest().as_bytes());
    holder[32..64].copy_from_slice(owner.as_bytes());
    holder[64..].copy_from_slice(&at.0.to_le_bytes());
    names.insert(name, &holder).map_err(database)?;
    Ok(())
}

/// Function, owner's key and time of the registration that gave a name.
struct NameHolder(FunctionId, [u8; 32], UnixNanos);

impl NameHolder {
    fn decode(bytes: &[u8; NAME_LEN]) -> Self {
        let (mut digest, mut owner, mut at) = ([0; 32], [0; 32], [0; 8]);
        digest.copy_from_slice(&bytes[..32]);
        owner.copy_from_slice(&bytes[32..64]);
        at.copy_from_slice(&bytes[64..]);
        let function = FunctionId::from_digest(Digest::new(digest));
        Self(function, owner, UnixNanos(u64::from_le_bytes(at)))
    }
}

fn encode(serial: u64, wasm_len: u64, sealed: &Sealed) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&serial.to_le_bytes());
    bytes.extend_from_slice(&wasm_len.to_le_bytes());
    bytes.extend_from_slice(&sealed.encode());
    bytes
}

fn decode(function: FunctionId, bytes: &[u8]) -> Result<ShelvedFunction, ShelfError> {
    let damaged = || ShelfError::Damaged(function);
    let (head, rest) = bytes.split_first_chunk::<HEAD_LEN>().ok_or_else(damaged)?;
    let number = |at: usize| {
        let mut number = [0; 8];
        number.copy_from_slice(&head[at..at + 8]);
        u64::from_le_bytes(number)
    };
    let sealed = Sealed::decode(rest).map_err(|_: DecodeError| damaged())?;
    let registration = Registration::decode(sealed.payload()).map_err(|_| damaged())?;
    let (serial, len) = (number(0), number(8));
    let (wasm_len, is_brought) = (len & !BROUGHT, len & BROUGHT != 0);
    Ok(ShelvedFunction { serial, registration, sealed, wasm_len, is_brought })
}

#[cfg(test)]
mod tests {
    use talea_ledger::registration::{Kind, Limits};
    use talea_ledger::{Fuel, NetworkId, Pages, SecretKey, sign};

    use super::super::disk::RealDisk;
    use super::*;

    pub(super) struct Deployed {
        pub(super) verified: Verified<Registration>,
        pub(super) sealed: Sealed,
        pub(super) wasm: Vec<u8>,
    }

    pub(super) fn deploy(owner: u8, wasm: &[u8], name: Option<&str>, at: u64) -> Deployed {
        let key = SecretKey::from_bytes(&[owner; 32]);
        let limits = Limits { log: 1, memory: Pages(1), output: 1, fuel: Fuel(1) };
        let registration = Registration {
            at: UnixNanos(at),
            function: FunctionId::of(wasm),
            cgi: false,
            limits,
            network: NetworkId::DEVELOPMENT,
            kind: Kind::Command,
            name: name.map(|name| name.parse().unwrap()),
            owner: key.public(),
            headers: Vec::new().try_into().unwrap(),
        };
        let sealed = sign::seal_document(&key, &registration);
        Deployed { verified: sealed.verify().unwrap(), sealed, wasm: wasm.to_vec() }
    }

    pub(super) fn open(folder: &Path) -> FunctionShelf {
        let disk = Arc::new(RealDisk::at(folder));
        FunctionShelf::open(&folder.join("state.redb"), disk, "functions").unwrap()
    }

    pub(super) fn put(shelf: &FunctionShelf, deployed: &Deployed) -> Result<Placed, ShelfError> {
        shelf.put(&deployed.verified, &deployed.sealed, &deployed.wasm)
    }

    #[test]
    fn a_function_and_its_name_outlive_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let deployed = deploy(1, b"one", Some("a/b"), 5);
        let function = deployed.verified.document().function;
        assert_eq!(put(&open(folder.path()), &deployed).unwrap(), Placed::New);
        let shelf = open(folder.path());
        assert_eq!(put(&shelf, &deployed).unwrap(), Placed::Same);
        assert_eq!(shelf.by_name("a/b").unwrap(), Some(function));
        assert_eq!(shelf.by_name("a/c").unwrap(), None);
        assert_eq!(shelf.wasm(function).unwrap().unwrap(), b"one");
        assert_eq!(shelf.get(function).unwrap().unwrap().sealed, deployed.sealed);
        assert!(shelf.get(FunctionId::of(b"other")).unwrap().is_none());
    }

    #[test]
    fn functions_and_names_stay_with_their_first_owner() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = open(folder.path());
        put(&shelf, &deploy(1, b"one", Some("a/b"), 5)).unwrap();
        let taken = put(&shelf, &deploy(2, b"one", None, 9));
        assert!(matches!(taken, Err(ShelfError::FunctionTaken { .. })));
        let taken = put(&shelf, &deploy(2, b"two", Some("a/b"), 9));
        assert!(matches!(taken, Err(ShelfError::NameTaken { .. })));
        assert!(shelf.get(FunctionId::of(b"two")).unwrap().is_none(), "all or nothing");
    }

    #[test]
    fn the_later_registration_holds_and_an_old_one_cannot_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = open(folder.path());
        let (first, second) = (deploy(1, b"one", Some("a/b"), 5), deploy(1, b"one", None, 6));
        put(&shelf, &first).unwrap();
        assert_eq!(put(&shelf, &second).unwrap(), Placed::Changed);
        assert!(matches!(put(&shelf, &first), Err(ShelfError::Outdated(UnixNanos(6)))));
        put(&shelf, &deploy(1, b"two", Some("a/b"), 7)).unwrap();
        assert_eq!(shelf.by_name("a/b").unwrap(), Some(FunctionId::of(b"two")));
        let back = put(&shelf, &deploy(1, b"three", Some("a/b"), 6));
        assert!(matches!(back, Err(ShelfError::Outdated(UnixNanos(7)))));
    }

    #[test]
    fn pages_hold_every_function_once() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = open(folder.path());
        for at in 1..=7_u8 {
            put(&shelf, &deploy(1, &[at], None, at.into())).unwrap();
        }
        let (mut after, mut found) = (None, Vec::new());
        loop {
            let page = shelf.list(after, 3).unwrap();
            found.extend(page.functions.iter().map(|f| f.registration.at.0));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, [1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn changed_bytes_are_never_handed_out_and_deploying_again_heals() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = open(folder.path());
        let deployed = deploy(1, b"one", None, 5);
        let function = deployed.verified.document().function;
        put(&shelf, &deployed).unwrap();
        let file = folder.path().join("functions").join(file_name(function));
        std::fs::write(file, b"eno").unwrap();
        assert!(matches!(shelf.wasm(function), Err(ShelfError::Damaged(_))));
        put(&shelf, &deployed).unwrap();
        assert_eq!(shelf.wasm(function).unwrap().unwrap(), b"one");
    }
}
