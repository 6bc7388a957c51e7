//! What this node has promised as a payer of other hosts: its own channels, which of their numbers are given out, and
//! the last voucher of each.
//!
//! Format, in redb:
//!
//! ```text
//! purse    channel (32)   -> host (32), u64 LE numbers given out, u64 LE slot in which it ends, sealed voucher or nothing
//! ```
//! Durability: a change is on the disk when its method returns `Ok`. A number is never given out twice, which is why it
//! lies here before a run is signed with it.
//! Absent: what a channel holds, which the ledger says.

use std::path::Path;

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use talea_ledger::{ChannelId, PublicKey, Sealed, Sequence, Slot};

use super::payments::{PaymentsError, database};

const PURSE: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("purse");
/// Pages redb keeps in memory: a record has some 300 bytes, and there is one per host that is paid.
const CACHE_LEN: usize = 1 << 20;
const HEAD_LEN: usize = 32 + 8 + 8;

/// One channel that this node pays from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnChannel {
    /// Who is paid.
    pub host: PublicKey,
    /// Numbers up to this one may have been used.
    pub given_out: Sequence,
    /// When it ends, as far as was known.
    pub ends: Slot,
    /// The last voucher that the host has.
    pub voucher: Option<Sealed>,
}

/// The file of one node.
#[derive(Debug)]
pub struct PurseShelf {
    database: Database,
}

impl PurseShelf {
    /// Opens the file, making it if it is missing.
    pub fn open(path: &Path) -> Result<Self, PaymentsError> {
        let database =
            Database::builder().set_cache_size(CACHE_LEN).create(path).map_err(database)?;
        let shelf = Self { database };
        // A read finds the table from the first call on.
        shelf.write(|_| Ok(()))?;
        Ok(shelf)
    }

    /// All of it.
    pub fn all(&self) -> Result<Vec<(ChannelId, OwnChannel)>, PaymentsError> {
        let read = self.database.begin_read().map_err(database)?;
        let table = read.open_table(PURSE).map_err(database)?;
        let mut all = Vec::new();
        for entry in table.iter().map_err(database)? {
            let (key, value) = entry.map_err(database)?;
            let own = OwnChannel::decode(value.value()).ok_or(PaymentsError::Damaged("purse"))?;
            all.push((ChannelId::new(*key.value()), own));
        }
        Ok(all)
    }

    /// Keeps what is known of a channel in place of what was.
    pub fn put(&self, channel: &ChannelId, own: &OwnChannel) -> Result<(), PaymentsError> {
        self.write(|table| {
            table.insert(channel.as_bytes(), own.encode().as_slice()).map(drop).map_err(database)
        })
    }

    /// Forgets a channel.
    pub fn remove(&self, channel: &ChannelId) -> Result<(), PaymentsError> {
        self.write(|table| table.remove(channel.as_bytes()).map(drop).map_err(database))
    }

    /// One durable transaction, as safe against a crash as the file of vouchers.
    fn write(
        &self,
        change: impl FnOnce(&mut redb::Table<'_, &[u8; 32], &[u8]>) -> Result<(), PaymentsError>,
    ) -> Result<(), PaymentsError> {
        let mut write = self.database.begin_write().map_err(database)?;
        write.set_two_phase_commit(true);
        write.set_quick_repair(true);
        {
            let mut table = write.open_table(PURSE).map_err(database)?;
            change(&mut table)?;
        }
        write.commit().map_err(database)
    }
}

impl OwnChannel {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_LEN + 300);
        bytes.extend_from_slice(self.host.as_bytes());
        bytes.extend_from_slice(&self.given_out.0.to_le_bytes());
        bytes.extend_from_slice(&self.ends.0.to_le_bytes());
        if let Some(voucher) = &self.voucher {
            bytes.extend_from_slice(&voucher.encode());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (host, rest) = bytes.split_first_chunk::<32>()?;
        let (given_out, rest) = rest.split_first_chunk::<8>()?;
        let (ends, voucher) = rest.split_first_chunk::<8>()?;
        let voucher = match voucher {
            [] => None,
            bytes => Some(Sealed::decode(bytes).ok()?),
        };
        Some(Self {
            host: PublicKey::from_bytes(host).ok()?,
            given_out: Sequence(u64::from_le_bytes(*given_out)),
            ends: Slot(u64::from_le_bytes(*ends)),
            voucher,
        })
    }
}

#[cfg(test)]
mod tests {
    use talea_ledger::sign::seal_document;
    use talea_ledger::{NetworkId, SecretKey, Tal, Voucher};

    use super::*;

    #[test]
    fn what_was_put_is_there_after_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("purse.redb");
        let key = SecretKey::from_bytes(&[1; 32]);
        let (channel, network) = (ChannelId::new([3; 32]), NetworkId::DEVELOPMENT);
        let voucher = Voucher { network, channel, owed: Tal(7), settled: Sequence(2) };
        let bare = OwnChannel {
            host: key.public(),
            given_out: Sequence(64),
            ends: Slot(9),
            voucher: None,
        };
        let whole = OwnChannel { voucher: Some(seal_document(&key, &voucher)), ..bare.clone() };
        {
            let shelf = PurseShelf::open(&path).unwrap();
            assert_eq!(shelf.all().unwrap(), []);
            shelf.put(&channel, &bare).unwrap();
            shelf.put(&channel, &whole).unwrap();
            shelf.put(&ChannelId::new([4; 32]), &bare).unwrap();
        }
        let shelf = PurseShelf::open(&path).unwrap();
        assert_eq!(
            shelf.all().unwrap(),
            [(channel, whole.clone()), (ChannelId::new([4; 32]), bare)]
        );
        shelf.remove(&channel).unwrap();
        assert_eq!(shelf.all().unwrap().len(), 1);
        let bytes = whole.encode();
        for len in 0..bytes.len() {
            let is_bare = len == HEAD_LEN;
            assert_eq!(OwnChannel::decode(&bytes[..len]).is_some(), is_bare, "{len} bytes");
        }
    }
}
