//! What the state holds: one record under each key.
//!
//! A record's bytes are canonical like every document's; a key's path in the tree is the hash of its bytes.

use crate::codec::{
    self, DecodeError, DecodeReason, Decoder, Document, Encoder, Field, List, choice, record,
};
use crate::fraud::FraudKind;
use crate::id::{
    ChannelId, Digest, FunctionId, ProfileId, PublicKey, ReceiptId, SessionId, TransactionId,
};
use crate::merkle::LeafCount;
use crate::message::{Endpoint, FunctionName, HeaderName, Method, Namespace};
use crate::params::SEQUENCE_WINDOW;
use crate::price::Price;
use crate::registration::{HEADER_NAMES_MAX, Kind, Limits};
use crate::sign::Domain;
use crate::transaction::{BILLS_MAX, METHODS_MAX, OFFER_LIST_MAX};
use crate::units::{BatchNumber, Nonce, Ppm, Sequence, Slot, Tal};

/// Versions of a name that the state keeps; older ones are in the chain.
pub const VERSIONS_MAX: usize = 32;

/// Bytes of a channel's bitmap.
const WINDOW_LEN: usize = (SEQUENCE_WINDOW / 8) as usize;

choice! {
    /// Where a record lies.
    #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum Key {
        /// The sums over all.
        "totals" => Totals(()),
        /// An account.
        "account" => Account(PublicKey),
        /// A function.
        "function" => Function(FunctionId),
        /// A namespace.
        "namespace" => Namespace(Namespace),
        /// A name.
        "name" => Name(FunctionName),
        /// What a key may call.
        "grant" => Grant(GrantKey),
        /// A host's offer.
        "offer" => Offer(PublicKey),
        /// A channel.
        "channel" => Channel(ChannelId),
        /// The bills of a redeem by batch.
        "claim" => Claim(TransactionId),
        /// What a session has spent of a channel.
        "session" => Session(SessionKey),
        /// A stake.
        "stake" => Stake(PublicKey),
        /// A host's last anchor.
        "anchor" => Anchor(PublicKey),
        /// What is known against a host.
        "fraud" => Fraud(FraudKey),
    }
}

record! {
    /// A name and who may call it.
    #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct GrantKey {
        /// Who may call.
        "key" => pub key: PublicKey,
        /// What.
        "name" => pub name: FunctionName,
    }
}

record! {
    /// A session and a channel it spends from.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct SessionKey {
        /// The channel.
        "chan" => pub channel: ChannelId,
        /// The grant.
        "session" => pub session: SessionId,
    }
}

record! {
    /// A host and the channel it cheated in.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct FraudKey {
        /// The channel.
        "chan" => pub channel: ChannelId,
        /// The host.
        "host" => pub host: PublicKey,
    }
}

choice! {
    /// What lies there.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Record {
        /// The sums over all.
        "totals" => Totals(Totals),
        /// An account.
        "account" => Account(Account),
        /// A function.
        "function" => Function(Box<FunctionRecord>),
        /// A namespace.
        "namespace" => Namespace(NamespaceRecord),
        /// A name.
        "name" => Name(Box<NameRecord>),
        /// What a key may call.
        "grant" => Grant(GrantRecord),
        /// A host's offer.
        "offer" => Offer(Box<OfferRecord>),
        /// A channel.
        "channel" => Channel(Box<Channel>),
        /// The bills of a redeem by batch.
        "claim" => Claim(Box<Claim>),
        /// What a session has spent of a channel.
        "session" => Session(SessionRecord),
        /// A stake.
        "stake" => Stake(StakeRecord),
        /// A host's last anchor.
        "anchor" => Anchor(Box<AnchorRecord>),
        /// What is known against a host.
        "fraud" => Fraud(Box<FraudRecord>),
    }
}

record! {
    /// Where money comes from and where it goes, in sum.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Totals {
        /// Fees, taken out of circulation.
        "fees" => pub fees: Tal,
        /// Stakes of proven fraud, taken out of circulation.
        "burned" => pub burned: Tal,
        /// What the genesis gave.
        "genesis" => pub genesis: Tal,
        /// What came from outside.
        "deposits" => pub deposits: Tal,
        /// What went outside.
        "withdrawn" => pub withdrawn: Tal,
    }
}

record! {
    /// An account. A key that never had money or sent a transaction has none.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Account {
        /// The last transaction it sent.
        "last" => pub last: Option<TransactionId>,
        /// How many it sent.
        "nonce" => pub nonce: Nonce,
        /// Its money.
        "balance" => pub balance: Tal,
    }
}

record! {
    /// A function.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct FunctionRecord {
        /// Whether a command's header block is honoured.
        "cgi" => pub cgi: bool,
        /// The most a caller may ask for.
        "max" => pub limits: Limits,
        /// How it is entered.
        "kind" => pub kind: Kind,
        /// The last transaction on it.
        "last" => pub last: TransactionId,
        /// The profile it runs under unless the caller says otherwise.
        "prof" => pub profile: ProfileId,
        /// Its author, who gets the royalty.
        "owner" => pub owner: PublicKey,
        /// The request headers the guest sees.
        "headers" => pub headers: List<HeaderName, HEADER_NAMES_MAX>,
    }
}

record! {
    /// A namespace.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct NamespaceRecord {
        /// The last transaction on any name below it.
        "last" => pub last: TransactionId,
        /// Who may register names below it.
        "owner" => pub owner: PublicKey,
    }
}

record! {
    /// A name.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct NameRecord {
        /// The author's share of each bill.
        "ppm" => pub royalty: Ppm,
        /// How many versions it ever had.
        "count" => pub count: u64,
        /// Whose it is.
        "owner" => pub owner: PublicKey,
        /// Whether only keys with a grant may call it.
        "private" => pub private: bool,
        /// The functions it led to, the current one last.
        "versions" => pub versions: List<FunctionId, VERSIONS_MAX>,
    }
}

record! {
    /// What a key may call.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct GrantRecord {
        /// By which methods; by any when absent.
        "methods" => pub methods: Option<List<Method, METHODS_MAX>>,
    }
}

record! {
    /// A host's offer.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct OfferRecord {
        /// The transaction that announced it.
        "last" => pub last: TransactionId,
        /// What work costs.
        "price" => pub price: Price,
        /// Until when it stands.
        "until" => pub until: Slot,
        /// Under which profiles it runs functions.
        "profiles" => pub profiles: List<ProfileId, OFFER_LIST_MAX>,
        /// Where it is reached.
        "endpoints" => pub endpoints: List<Endpoint, OFFER_LIST_MAX>,
    }
}

record! {
    /// A channel. It is gone when it has been settled.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Channel {
        /// Who is paid.
        "host" => pub host: PublicKey,
        /// The last transaction on it.
        "last" => pub last: TransactionId,
        /// Which sequences above the settled one are paid.
        "used" => pub used: Window,
        /// Who pays.
        "payer" => pub payer: PublicKey,
        /// Money that is locked and not yet paid or claimed.
        "escrow" => pub escrow: Tal,
        /// When it was opened.
        "opened" => pub opened: Slot,
        /// Claimed by batch in sum, void bills taken off again.
        "batched" => pub batched: Tal,
        /// When it closes, if the payer has asked for it.
        "closing" => pub closing: Option<Slot>,
        /// When it ends in any case.
        "expires" => pub expires: Slot,
        /// Sequences up to here are paid by voucher or never.
        "settled" => pub settled: Sequence,
        /// What the last voucher owed.
        "vouched" => pub vouched: Tal,
        /// The most that may be claimed by batch.
        "batchcap" => pub batch_cap: Tal,
        /// Paid and claimed in sum.
        "redeemed" => pub redeemed: Tal,
        /// The most work without a voucher that the payer lets arise.
        "watermark" => pub watermark: Tal,
    }
}

record! {
    /// The bills of a redeem by batch. It is gone when it has been settled.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Claim {
        /// From when on they are paid.
        "due" => pub due: Slot,
        /// The channel.
        "chan" => pub channel: ChannelId,
        /// Who is paid.
        "host" => pub host: PublicKey,
        /// The last transaction on it.
        "last" => pub last: TransactionId,
        /// The bills, by ascending sequence.
        "bills" => pub bills: List<ClaimedBill, BILLS_MAX>,
        /// Who pays.
        "payer" => pub payer: PublicKey,
    }
}

record! {
    /// One bill of a claim.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct ClaimedBill {
        /// The function.
        "fn" => pub function: FunctionId,
        /// The author's share.
        "ppm" => pub royalty: Ppm,
        /// The run's number.
        "seq" => pub sequence: Sequence,
        /// The session it counts towards.
        "grant" => pub grant: Option<SessionId>,
        /// Challenged: void from then on, unless it is answered before.
        "until" => pub until: Option<Slot>,
        /// What it costs.
        "amount" => pub amount: Tal,
        /// The receipt.
        "receipt" => pub receipt: ReceiptId,
        /// Whether a challenge was answered.
        "answered" => pub answered: bool,
    }
}

record! {
    /// What a session has spent of a channel, and when the payer has ended it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct SessionRecord {
        /// In sum.
        "spent" => pub spent: Tal,
        /// Revoked: from this slot on nothing counts that its key signed.
        "until" => pub until: Option<Slot>,
    }
}

record! {
    /// A stake.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct StakeRecord {
        /// The last transaction on it.
        "last" => pub last: TransactionId,
        /// When the leaving part is free.
        "until" => pub until: Slot,
        /// What is staked.
        "amount" => pub amount: Tal,
        /// What is being withdrawn and still liable.
        "leaving" => pub leaving: Tal,
    }
}

record! {
    /// A host's last anchor. Earlier ones are in the chain.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct AnchorRecord {
        /// The transaction.
        "tx" => pub transaction: TransactionId,
        /// Number of the last batch.
        "last" => pub last: BatchNumber,
        /// The root over the payloads of the batches.
        "root" => pub root: Digest,
        /// When it was anchored.
        "slot" => pub slot: Slot,
        /// How many batches there are.
        "count" => pub count: LeafCount,
        /// Number of the first batch.
        "first" => pub first: BatchNumber,
    }
}

record! {
    /// What is known against a host.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct FraudRecord {
        /// Who reported it.
        "by" => pub reporter: PublicKey,
        /// The transaction that carries both receipts.
        "tx" => pub transaction: TransactionId,
        /// Which rule was broken.
        "kind" => pub kind: FraudKind,
        /// When it was reported.
        "slot" => pub slot: Slot,
        /// The receipt with the lower id.
        "first" => pub first: ReceiptId,
        /// The other.
        "second" => pub second: ReceiptId,
        /// The stake that was taken.
        "slashed" => pub slashed: Tal,
    }
}

/// Which of the 1,024 sequences above the settled one are paid: bit 0 of byte 0 stands for the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window([u8; WINDOW_LEN]);

// === impl Key ===

impl Key {
    /// Its path in the tree.
    pub fn path(&self) -> Digest {
        Digest::of(&self.encode())
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::to_bytes(self, 64)
    }

    /// Reads a key that fills `bytes` to the last byte.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::from_bytes(bytes, <Self as Field>::LEN_MAX)
    }
}

// === impl Record ===

impl Document for Record {
    const DOMAIN: Domain = Domain::Record;
}

impl Record {
    /// The hash of its bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.encode())
    }

    /// The money it holds. Sums of u64 fit u128 for any number of records there can be.
    pub fn money(&self) -> u128 {
        match self {
            Self::Account(account) => u128::from(account.balance.0),
            Self::Channel(channel) => u128::from(channel.escrow.0),
            Self::Claim(claim) => claim
                .bills
                .iter()
                .fold(0, |sum, bill| u128::saturating_add(sum, u128::from(bill.amount.0))),
            Self::Stake(stake) => {
                u128::from(stake.amount.0).saturating_add(u128::from(stake.leaving.0))
            }
            Self::Totals(totals) => {
                u128::from(totals.fees.0).saturating_add(u128::from(totals.burned.0))
            }
            Self::Function(_)
            | Self::Namespace(_)
            | Self::Name(_)
            | Self::Grant(_)
            | Self::Offer(_)
            | Self::Session(_)
            | Self::Anchor(_)
            | Self::Fraud(_) => 0,
        }
    }
}

// === impl NameRecord ===

impl NameRecord {
    /// The function it leads to. A name has at least one version.
    pub fn function(&self) -> Option<FunctionId> {
        self.versions.last().copied()
    }
}

// === impl Channel ===

impl Channel {
    /// The slot from which on nothing is redeemed.
    pub fn deadline(&self) -> Slot {
        self.closing.map_or(self.expires, |closing| closing.min(self.expires))
    }

    /// Whether a sequence can still be paid apart: above the settled one, within the window, not paid.
    pub fn is_open(&self, sequence: Sequence) -> bool {
        self.place(sequence).is_some_and(|place| !self.used.has(place))
    }

    /// The place of a sequence in the window.
    pub fn place(&self, sequence: Sequence) -> Option<usize> {
        let above = sequence.0.checked_sub(self.settled.0)?.checked_sub(1)?;
        usize::try_from(above).ok().filter(|_| above < SEQUENCE_WINDOW)
    }
}

// === impl Window ===

impl Window {
    /// None is paid.
    pub const EMPTY: Self = Self([0; WINDOW_LEN]);

    /// Whether the sequence at a place is paid.
    pub fn has(&self, place: usize) -> bool {
        self.0.get(place / 8).is_some_and(|byte| byte.wrapping_shr((place % 8) as u32) & 1 == 1)
    }

    /// Marks it.
    pub fn set(&mut self, place: usize) {
        if let Some(byte) = self.0.get_mut(place / 8) {
            *byte |= 1_u8.wrapping_shl((place % 8) as u32);
        }
    }

    /// The window when the settled sequence has gone up by so many.
    #[must_use]
    pub fn moved(&self, by: u64) -> Self {
        let mut window = Self::EMPTY;
        let Ok(by) = usize::try_from(by) else { return window };
        for place in by..SEQUENCE_WINDOW as usize {
            if self.has(place) {
                window.set(place.saturating_sub(by));
            }
        }
        window
    }

    /// How many are paid.
    pub fn count(&self) -> u32 {
        self.0.iter().fold(0, |sum, byte| u32::saturating_add(sum, byte.count_ones()))
    }
}

impl Field for Window {
    const LEN_MAX: usize = <[u8; WINDOW_LEN] as Field>::LEN_MAX;

    fn put(&self, out: &mut Encoder) {
        self.0.put(out);
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Field::take(input).map(Self)
    }
}

impl Field for FraudKind {
    const LEN_MAX: usize = 1 + 8;

    fn put(&self, out: &mut Encoder) {
        out.text(self.text());
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let offset = input.offset();
        match input.text(8)? {
            "sequence" => Ok(Self::Sequence),
            "owed" => Ok(Self::Owed),
            _ => Err(DecodeError::new(offset, DecodeReason::Value("`sequence` or `owed`"))),
        }
    }
}
