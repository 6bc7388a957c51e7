//! What payers promised and what is not paid out yet: vouchers, session grants, redeems by batch under way, and
//! evidence against hosts that is not on the ledger yet.
//!
//! Format, in redb:
//!
//! ```text
//! vouchers    channel (32), u8 0 payer's | 1 session's   -> u32 LE length of the voucher, sealed voucher, sealed grant
//! grants      session (32)                               -> sealed grant
//! claims      transaction (32)                           -> channel (32)
//! evidence    channel (32), host (32)                    -> both receipts with their proofs
//! ```
//! Durability: a change is on the disk when its method returns `Ok`. A voucher is nowhere else: this file is not
//! made again from the journal or the blocks.
//! Invariants: bytes that are read back were written whole; a record that cannot be read is an error that names
//! it, never skipped. Absent: judgement. What is put here was verified by the till.

use std::path::Path;

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use talea_ledger::rules::record::FraudKey;
use talea_ledger::transaction::ReportFraud;
use talea_ledger::{ChannelId, Sealed, SessionId, TransactionId};
use thiserror::Error;

const VOUCHERS: TableDefinition<'_, &[u8; 33], &[u8]> = TableDefinition::new("vouchers");
const GRANTS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("grants");
const CLAIMS: TableDefinition<'_, &[u8; 32], &[u8; 32]> = TableDefinition::new("claims");
const EVIDENCE: TableDefinition<'_, &[u8; 64], &[u8]> = TableDefinition::new("evidence");
/// Pages redb keeps in memory. All is read once at the start and only written afterwards.
const CACHE_LEN: usize = 4 << 20;

/// Why the shelf did not do what was asked.
#[derive(Debug, Error)]
pub enum PaymentsError {
    /// The database did not answer. After a failed commit it takes no more writes until it is opened again.
    #[error("the vouchers could not be read or written")]
    Database(#[source] Box<redb::Error>),
    /// A record holds something else than was put there.
    #[error("a record of `{0}` in the file of vouchers is damaged")]
    Damaged(&'static str),
}

/// Who signed a voucher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VoucherBy {
    /// The payer.
    Payer,
    /// A session key.
    Session,
}

/// A voucher as it was carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptVoucher {
    /// The voucher.
    pub voucher: Sealed,
    /// The grant of the session key that signed it.
    pub grant: Option<Sealed>,
}

/// Everything on the shelf.
#[derive(Debug, Default)]
pub struct Payments {
    /// The latest voucher of each kind and channel.
    pub vouchers: Vec<(ChannelId, VoucherBy, KeptVoucher)>,
    /// Grants under which runs were taken.
    pub grants: Vec<Sealed>,
    /// Redeems by batch that are not paid out yet.
    pub claims: Vec<(TransactionId, ChannelId)>,
    /// What proves that a host cheated.
    pub evidence: Vec<ReportFraud>,
}

/// The file of one node.
#[derive(Debug)]
pub struct PaymentShelf {
    database: Database,
}

pub(super) fn database(error: impl Into<redb::Error>) -> PaymentsError {
    PaymentsError::Database(Box::new(error.into()))
}

impl PaymentShelf {
    /// Opens the file, making it if it is missing.
    pub fn open(path: &Path) -> Result<Self, PaymentsError> {
        let database =
            Database::builder().set_cache_size(CACHE_LEN).create(path).map_err(self::database)?;
        let shelf = Self { database };
        // A read finds the tables from the first call on.
        shelf.write(|write| {
            write.open_table(VOUCHERS).map_err(self::database)?;
            write.open_table(GRANTS).map_err(self::database)?;
            write.open_table(CLAIMS).map_err(self::database)?;
            write.open_table(EVIDENCE).map_err(self::database)?;
            Ok(())
        })?;
        Ok(shelf)
    }

    /// All of it.
    pub fn all(&self) -> Result<Payments, PaymentsError> {
        let read = self.database.begin_read().map_err(database)?;
        let mut all = Payments::default();
        for entry in read.open_table(VOUCHERS).map_err(database)?.iter().map_err(database)? {
            let (key, value) = entry.map_err(database)?;
            all.vouchers.push(
                decode(key.value(), value.value()).ok_or(PaymentsError::Damaged("vouchers"))?,
            );
        }
        for entry in read.open_table(GRANTS).map_err(database)?.iter().map_err(database)? {
            let (_, value) = entry.map_err(database)?;
            let grant = Sealed::decode(value.value());
            all.grants.push(grant.map_err(|_| PaymentsError::Damaged("grants"))?);
        }
        for entry in read.open_table(CLAIMS).map_err(database)?.iter().map_err(database)? {
            let (key, value) = entry.map_err(database)?;
            let claim = TransactionId::new(*key.value());
            all.claims.push((claim, ChannelId::new(*value.value())));
        }
        for entry in read.open_table(EVIDENCE).map_err(database)?.iter().map_err(database)? {
            let (_, value) = entry.map_err(database)?;
            let report = ReportFraud::decode(value.value());
            all.evidence.push(report.map_err(|_| PaymentsError::Damaged("evidence"))?);
        }
        Ok(all)
    }

    /// Keeps a voucher in place of the one before it.
    pub fn put_voucher(
        &self,
        channel: &ChannelId,
        by: VoucherBy,
        kept: &KeptVoucher,
    ) -> Result<(), PaymentsError> {
        self.write(|write| {
            let mut vouchers = write.open_table(VOUCHERS).map_err(database)?;
            vouchers.insert(&key(channel, by), encode(kept).as_slice()).map_err(database)?;
            Ok(())
        })
    }

    /// Lets go of a voucher that can bring nothing any more.
    pub fn remove_voucher(&self, channel: &ChannelId, by: VoucherBy) -> Result<(), PaymentsError> {
        self.write(|write| {
            let mut vouchers = write.open_table(VOUCHERS).map_err(database)?;
            vouchers.remove(&key(channel, by)).map_err(database)?;
            Ok(())
        })
    }

    /// Keeps a grant.
    pub fn put_grant(&self, id: &SessionId, grant: &Sealed) -> Result<(), PaymentsError> {
        self.write(|write| {
            let mut grants = write.open_table(GRANTS).map_err(database)?;
            grants.insert(id.digest().as_bytes(), grant.encode().as_slice()).map_err(database)?;
            Ok(())
        })
    }

    /// Lets go of a grant.
    pub fn remove_grant(&self, id: &SessionId) -> Result<(), PaymentsError> {
        self.write(|write| {
            let mut grants = write.open_table(GRANTS).map_err(database)?;
            grants.remove(id.digest().as_bytes()).map_err(database)?;
            Ok(())
        })
    }

    /// Notes a redeem by batch that is under way.
    pub fn put_claim(&self, id: &TransactionId, channel: &ChannelId) -> Result<(), PaymentsError> {
        self.write(|write| {
            let mut claims = write.open_table(CLAIMS).map_err(database)?;
            claims.insert(id.as_bytes(), channel.as_bytes()).map_err(database)?;
            Ok(())
        })
    }

    /// Forgets one that is paid out or was never taken.
    pub fn remove_claim(&self, id: &TransactionId) -> Result<(), PaymentsError> {
        self.write(|write| {
            let mut claims = write.open_table(CLAIMS).map_err(database)?;
            claims.remove(id.as_bytes()).map_err(database)?;
            Ok(())
        })
    }

    /// Keeps evidence against a host.
    pub fn put_evidence(&self, key: &FraudKey, report: &ReportFraud) -> Result<(), PaymentsError> {
        self.write(|write| {
            let mut evidence = write.open_table(EVIDENCE).map_err(database)?;
            evidence.insert(&evidence_key(key), report.encode().as_slice()).map_err(database)?;
            Ok(())
        })
    }

    /// Lets go of it.
    pub fn remove_evidence(&self, key: &FraudKey) -> Result<(), PaymentsError> {
        self.write(|write| {
            let mut evidence = write.open_table(EVIDENCE).map_err(database)?;
            evidence.remove(&evidence_key(key)).map_err(database)?;
            Ok(())
        })
    }

    /// One durable transaction. Two-phase commit and quick repair: a crash costs neither a commit nor a walk
    /// over the whole file at open.
    fn write(
        &self,
        change: impl FnOnce(&redb::WriteTransaction) -> Result<(), PaymentsError>,
    ) -> Result<(), PaymentsError> {
        let mut write = self.database.begin_write().map_err(database)?;
        write.set_two_phase_commit(true);
        write.set_quick_repair(true);
        match change(&write) {
            Ok(()) => write.commit().map_err(database),
            Err(error) => {
                write.abort().map_err(database)?;
                Err(error)
            }
        }
    }
}

fn key(channel: &ChannelId, by: VoucherBy) -> [u8; 33] {
    let mut key = [0; 33];
    key[..32].copy_from_slice(channel.as_bytes());
    key[32] = match by {
        VoucherBy::Payer => 0,
        VoucherBy::Session => 1,
    };
    key
}

fn evidence_key(of: &FraudKey) -> [u8; 64] {
    let mut key = [0; 64];
    key[..32].copy_from_slice(of.channel.as_bytes());
    key[32..].copy_from_slice(of.host.as_bytes());
    key
}

fn encode(kept: &KeptVoucher) -> Vec<u8> {
    let voucher = kept.voucher.encode();
    // A sealed voucher has some 250 bytes.
    let len = u32::try_from(voucher.len()).unwrap_or(u32::MAX);
    let mut bytes = len.to_le_bytes().to_vec();
    bytes.extend_from_slice(&voucher);
    if let Some(grant) = &kept.grant {
        bytes.extend_from_slice(&grant.encode());
    }
    bytes
}

fn decode(key: &[u8; 33], bytes: &[u8]) -> Option<(ChannelId, VoucherBy, KeptVoucher)> {
    let (channel, by) = key.split_first_chunk::<32>()?;
    let by = match by {
        [0] => VoucherBy::Payer,
        [1] => VoucherBy::Session,
        _ => return None,
    };
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (voucher, grant) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    let voucher = Sealed::decode(voucher).ok()?;
    let grant = match grant {
        [] => None,
        bytes => Some(Sealed::decode(bytes).ok()?),
    };
    Some((ChannelId::new(*channel), by, KeptVoucher { voucher, grant }))
}

#[cfg(test)]
mod tests {
    use talea_ledger::sign::seal_document;
    use talea_ledger::{NetworkId, SecretKey, Sequence, Session, Tal, UnixNanos, Voucher};

    use super::*;

    fn voucher(owed: u64) -> Sealed {
        let voucher = Voucher {
            network: NetworkId::DEVELOPMENT,
            channel: ChannelId::new([3; 32]),
            owed: Tal(owed),
            settled: Sequence(1),
        };
        seal_document(&SecretKey::from_bytes(&[1; 32]), &voucher)
    }

    fn grant() -> (SessionId, Sealed) {
        let key = SecretKey::from_bytes(&[1; 32]);
        let session = Session {
            key: SecretKey::from_bytes(&[2; 32]).public(),
            network: NetworkId::DEVELOPMENT,
            hosts: None,
            payer: key.public(),
            total: Tal(9),
            expires: UnixNanos(9),
            functions: None,
        };
        (session.id(), seal_document(&key, &session))
    }

    #[test]
    fn what_was_put_is_there_after_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("payments.redb");
        let channel = ChannelId::new([3; 32]);
        let (session, grant) = grant();
        let claim = TransactionId::of(b"claim");
        let kept = |owed, grant| KeptVoucher { voucher: voucher(owed), grant };
        {
            let shelf = PaymentShelf::open(&path).unwrap();
            shelf.put_voucher(&channel, VoucherBy::Payer, &kept(1, None)).unwrap();
            shelf.put_voucher(&channel, VoucherBy::Payer, &kept(2, None)).unwrap();
            let session_voucher = kept(3, Some(grant.clone()));
            shelf.put_voucher(&channel, VoucherBy::Session, &session_voucher).unwrap();
            shelf.put_grant(&session, &grant).unwrap();
            shelf.put_claim(&claim, &channel).unwrap();
        }
        let shelf = PaymentShelf::open(&path).unwrap();
        let all = shelf.all().unwrap();
        let expected = vec![
            (channel, VoucherBy::Payer, kept(2, None)),
            (channel, VoucherBy::Session, kept(3, Some(grant.clone()))),
        ];
        assert_eq!(all.vouchers, expected, "the latest of each kind");
        assert_eq!((all.grants, all.claims), (vec![grant], vec![(claim, channel)]));
        shelf.remove_voucher(&channel, VoucherBy::Payer).unwrap();
        shelf.remove_grant(&session).unwrap();
        shelf.remove_claim(&claim).unwrap();
        let all = shelf.all().unwrap();
        assert_eq!((all.vouchers.len(), all.grants.len(), all.claims.len()), (1, 0, 0));
    }

    #[test]
    fn a_damaged_record_is_an_error() {
        let (key, whole) = (key(&ChannelId::new([3; 32]), VoucherBy::Payer), voucher(1));
        let whole = encode(&KeptVoucher { voucher: whole, grant: None });
        assert!(decode(&key, &whole).is_some());
        for len in 0..whole.len() {
            assert!(decode(&key, &whole[..len]).is_none(), "{len} bytes of {}", whole.len());
        }
    }
}
