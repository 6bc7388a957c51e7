//! What is pinned, when functions were last used, and the one way off the shelf.
//!
//! Invariant: only a function that was brought and is not pinned can be dropped; both are looked at in the transaction
//! that drops it. Times only rise.

use redb::{ReadableDatabase as _, ReadableTable as _};
use talea_ledger::{FunctionId, UnixNanos};

use super::{
    FUNCTIONS, FunctionShelf, Keeping, ORDER, PINS, ShelfError, USE_LEN, USES, database, decode,
};

fn encode_use(used: UnixNanos, paid: UnixNanos) -> [u8; USE_LEN] {
    let mut bytes = [0; USE_LEN];
    bytes[..8].copy_from_slice(&used.0.to_le_bytes());
    bytes[8..].copy_from_slice(&paid.0.to_le_bytes());
    bytes
}

fn decode_use(bytes: &[u8; USE_LEN]) -> (UnixNanos, UnixNanos) {
    let number = |at: usize| {
        let mut number = [0; 8];
        number.copy_from_slice(&bytes[at..at + 8]);
        UnixNanos(u64::from_le_bytes(number))
    };
    (number(0), number(8))
}

impl FunctionShelf {
    /// Makes the tables, so that a read finds them.
    pub(super) fn open_keeping(&self) -> Result<(), ShelfError> {
        self.commit(|write| {
            write.open_table(PINS).map_err(database)?;
            write.open_table(USES).map_err(database)?;
            Ok(())
        })
    }

    /// How a function is kept.
    pub fn keeping(&self, function: FunctionId) -> Result<Keeping, ShelfError> {
        let key = function.digest().to_bytes();
        let read = self.database.begin_read().map_err(database)?;
        let pins = read.open_table(PINS).map_err(database)?;
        let uses = read.open_table(USES).map_err(database)?;
        let is_pinned = pins.get(&key).map_err(database)?.is_some();
        let noted = uses.get(&key).map_err(database)?;
        let (used, paid) = noted.map(|bytes| decode_use(bytes.value())).unwrap_or_default();
        Ok(Keeping { is_pinned, used, paid })
    }

    /// Pins a function that is here, or lets it go. False when it is not here.
    pub fn pin(&self, function: FunctionId, is_pinned: bool) -> Result<bool, ShelfError> {
        let key = function.digest().to_bytes();
        self.commit(|write| {
            let functions = write.open_table(FUNCTIONS).map_err(database)?;
            if functions.get(&key).map_err(database)?.is_none() {
                return Ok(false);
            }
            let mut pins = write.open_table(PINS).map_err(database)?;
            match is_pinned {
                true => drop(pins.insert(&key, ()).map_err(database)?),
                false => drop(pins.remove(&key).map_err(database)?),
            }
            Ok(true)
        })
    }

    /// Notes when a function was used, and whether somebody pays for that.
    pub fn note_use(
        &self,
        function: FunctionId,
        at: UnixNanos,
        is_paid: bool,
    ) -> Result<(), ShelfError> {
        let key = function.digest().to_bytes();
        self.commit(|write| {
            let mut uses = write.open_table(USES).map_err(database)?;
            let noted = uses.get(&key).map_err(database)?.map(|bytes| decode_use(bytes.value()));
            let (used, paid) = noted.unwrap_or_default();
            let paid = if is_paid { paid.max(at) } else { paid };
            uses.insert(&key, &encode_use(used.max(at), paid)).map_err(database)?;
            Ok(())
        })
    }

    /// Takes a function off the shelf, if it was brought and is not pinned. Whether it did.
    pub fn drop_brought(&self, function: FunctionId) -> Result<bool, ShelfError> {
        let key = function.digest().to_bytes();
        let is_dropped = self.commit(|write| {
            let mut functions = write.open_table(FUNCTIONS).map_err(database)?;
            let pins = write.open_table(PINS).map_err(database)?;
            let found = functions.get(&key).map_err(database)?;
            let found = found.map(|bytes| decode(function, bytes.value())).transpose()?;
            let Some(shelved) = found.filter(|shelved| shelved.is_brought) else {
                return Ok(false);
            };
            if pins.get(&key).map_err(database)?.is_some() {
                return Ok(false);
            }
            functions.remove(&key).map_err(database)?;
            write.open_table(ORDER).map_err(database)?.remove(shelved.serial).map_err(database)?;
            write.open_table(USES).map_err(database)?.remove(&key).map_err(database)?;
            Ok(true)
        })?;
        if is_dropped {
            // Without a record nobody asks for the bytes; a file that a crash leaves is taken up by the next `bring`.
            self.disk.remove(&self.file(function))?;
        }
        Ok(is_dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Deployed, deploy, open, put};
    use super::*;

    fn bring(shelf: &FunctionShelf, deployed: &Deployed) -> FunctionId {
        shelf.bring(&deployed.verified, &deployed.sealed, &deployed.wasm).unwrap();
        deployed.verified.document().function
    }

    #[test]
    fn what_was_brought_goes_and_comes_back_unless_it_is_pinned() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = open(folder.path());
        let deployed = deploy(1, b"one", Some("a/b"), 5);
        let function = bring(&shelf, &deployed);
        assert!(shelf.pin(function, true).unwrap());
        assert!(!shelf.drop_brought(function).unwrap());
        drop(shelf);
        let shelf = open(folder.path());
        assert!(shelf.keeping(function).unwrap().is_pinned, "pins outlive the process");
        assert!(shelf.pin(function, false).unwrap());
        assert!(shelf.drop_brought(function).unwrap());
        assert!(shelf.get(function).unwrap().is_none() && shelf.wasm(function).unwrap().is_none());
        assert!(shelf.list(None, 9).unwrap().functions.is_empty());
        assert!(!shelf.drop_brought(function).unwrap() && !shelf.pin(function, true).unwrap());
        bring(&shelf, &deployed);
        assert_eq!(shelf.wasm(function).unwrap().unwrap(), b"one");
    }

    #[test]
    fn what_was_deployed_here_stays_even_if_it_came_from_elsewhere_first() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = open(folder.path());
        let deployed = deploy(1, b"one", None, 5);
        let function = bring(&shelf, &deployed);
        put(&shelf, &deployed).unwrap();
        assert!(!shelf.drop_brought(function).unwrap());
        assert_eq!(shelf.wasm(function).unwrap().unwrap(), b"one");
    }

    #[test]
    fn uses_are_noted_and_only_rise() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = open(folder.path());
        let function = bring(&shelf, &deploy(1, b"one", None, 5));
        assert_eq!(shelf.keeping(function).unwrap(), Keeping::default());
        for (at, is_paid, expected) in [(7, false, (7, 0)), (9, true, (9, 9)), (8, true, (9, 9))] {
            shelf.note_use(function, UnixNanos(at), is_paid).unwrap();
            let kept = shelf.keeping(function).unwrap();
            assert_eq!((kept.used.0, kept.paid.0), expected);
        }
        shelf.drop_brought(function).unwrap();
        assert_eq!(shelf.keeping(function).unwrap(), Keeping::default(), "forgotten with it");
    }
}
