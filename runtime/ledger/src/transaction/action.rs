//! What a transaction can order, and the resource each order is about.

use crate::batch::{Batch, Proof};
use crate::bundle::{InputPayload, ReceiptPayload};
use crate::codec::{self, Blob, DecodeError, Field, List, choice, record};
use crate::fraud::Fraud;
use crate::id::{
    ChannelId, Digest, FunctionId, NetworkId, ProfileId, PublicKey, SessionId, TransactionId,
};
use crate::merkle::{LeafCount, LeafIndex, Path};
use crate::message::{Endpoint, FunctionName, HeaderName, Method, Namespace};
use crate::price::Price;
use crate::registration::{HEADER_NAMES_MAX, Kind, Limits};
use crate::sign::Sealed;
use crate::units::{BatchNumber, Ppm, Sequence, Slot, Tal};

use super::CarriedError;

/// Most methods of one grant: HTTP registers about 40, of which a service uses a handful.
pub const METHODS_MAX: usize = 16;
/// Most profiles and endpoints of an offer.
pub const OFFER_LIST_MAX: usize = 8;
/// Most functions that share one payment.
pub const PARTS_MAX: usize = 64;
/// Most bills of one redeem by batch; about 40 typical ones fill a transaction.
pub const BILLS_MAX: usize = 64;
/// Most batches that bills of one redeem lie in.
pub const BATCHES_MAX: usize = 32;
/// Most session grants of one redeem by batch.
pub const GRANTS_MAX: usize = 8;
/// Longest body that an answer carries along. A longer one the payer made itself and the host serves.
pub const ANSWER_BODY_MAX: usize = 32 * 1024;
/// Longest content of an action that the rules refuse for now.
pub const DEFERRED_LEN_MAX: usize = 1024;

choice! {
    /// What is to be done.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Action {
        /// Money to another account.
        "transfer" => Transfer(Transfer),
        /// A new function, owned by the sender.
        "function" => RegisterFunction(RegisterFunction),
        /// New terms of a function.
        "function-update" => UpdateFunction(UpdateFunction),
        /// A new name, in a namespace that is free or the sender's.
        "name" => RegisterName(RegisterName),
        /// A new version or new terms of a name.
        "name-update" => UpdateName(UpdateName),
        /// Lets a key call a private name.
        "grant" => Grant(Grant),
        /// Takes that back.
        "revoke" => Revoke(Revoke),
        /// What the sender, a host, asks for and where it is.
        "offer" => AnnounceOffer(AnnounceOffer),
        /// Escrow towards a host.
        "open" => OpenChannel(OpenChannel),
        /// More escrow, more time.
        "topup" => TopUp(TopUp),
        /// The payer begins the closing window; the host closes at once.
        "close" => CloseChannel(CloseChannel),
        /// The payer ends a session in one channel.
        "revoke-session" => RevokeSession(RevokeSession),
        /// Pays out what a lock holds when its time has passed.
        "settle" => Settle(Settle),
        /// A payment by voucher.
        "redeem" => Redeem(Box<Redeem>),
        /// A payment by runs and receipts, credited after the dispute window.
        "redeem-batch" => RedeemBatch(Box<RedeemBatch>),
        /// Calls for the input of one bill of a redeem by batch.
        "challenge" => Challenge(Challenge),
        /// Gives it.
        "answer" => Answer(Box<Answer>),
        /// Locks money as a stake.
        "stake" => Stake(Stake),
        /// Begins to unlock it.
        "unstake" => Unstake(Unstake),
        /// The root over a host's batches of one interval.
        "anchor" => Anchor(Anchor),
        /// Two receipts that cannot both be honest.
        "fraud" => ReportFraud(Box<ReportFraud>),
        /// A trigger. Refused for now.
        "trigger" => RegisterTrigger(Deferred),
        /// A claim that an audit failed. Refused for now.
        "audit" => AuditClaim(Deferred),
        /// The verdict over a claim. Refused for now.
        "verdict" => AuditVerdict(Deferred),
        /// Other authorities. Refused for now.
        "authority" => RotateAuthority(Deferred),
        /// Money from another ledger. Refused for now.
        "deposit" => Deposit(Deferred),
        /// Money to another ledger. Refused for now.
        "withdraw" => Withdraw(Deferred),
    }
}

/// The content of an action that has no form yet.
pub type Deferred = Blob<DEFERRED_LEN_MAX>;

record! {
    /// Money to another account.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Transfer {
        /// To whom.
        "to" => pub to: PublicKey,
        /// How much.
        "amount" => pub amount: Tal,
    }
}

record! {
    /// A new function.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct RegisterFunction {
        /// The hash of its bytes.
        "fn" => pub function: FunctionId,
        /// Whether a command's header block is honoured.
        "cgi" => pub cgi: bool,
        /// The most a caller may ask for.
        "max" => pub limits: Limits,
        /// How it is entered.
        "kind" => pub kind: Kind,
        /// The profile it runs under unless the caller says otherwise.
        "prof" => pub profile: ProfileId,
        /// The request headers the guest sees.
        "headers" => pub headers: List<HeaderName, HEADER_NAMES_MAX>,
    }
}

record! {
    /// New terms of a function; what is absent stays.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct UpdateFunction {
        /// Which.
        "fn" => pub function: FunctionId,
        /// Whether a command's header block is honoured.
        "cgi" => pub cgi: Option<bool>,
        /// The most a caller may ask for.
        "max" => pub limits: Option<Limits>,
        /// The profile.
        "prof" => pub profile: Option<ProfileId>,
        /// Whose it is from now on.
        "owner" => pub owner: Option<PublicKey>,
        /// The request headers the guest sees.
        "headers" => pub headers: Option<List<HeaderName, HEADER_NAMES_MAX>>,
    }
}

record! {
    /// A new name.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct RegisterName {
        /// The function it leads to, which must be registered.
        "fn" => pub function: FunctionId,
        /// The price of the name: its author's share of each bill, which a caller puts into its runs.
        "ppm" => pub royalty: Ppm,
        /// The name.
        "name" => pub name: FunctionName,
        /// Whether only keys with a grant may call it.
        "private" => pub private: bool,
    }
}

record! {
    /// New terms of a name; what is absent stays.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct UpdateName {
        /// The function it leads to from now on.
        "fn" => pub function: Option<FunctionId>,
        /// The author's share of each bill.
        "ppm" => pub royalty: Option<Ppm>,
        /// Which.
        "name" => pub name: FunctionName,
        /// Whose it is from now on. The namespace keeps its owner.
        "owner" => pub owner: Option<PublicKey>,
        /// Whether only keys with a grant may call it.
        "private" => pub private: Option<bool>,
    }
}

record! {
    /// Lets a key call a private name. A second grant replaces the first.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Grant {
        /// Who may call.
        "key" => pub key: PublicKey,
        /// What.
        "name" => pub name: FunctionName,
        /// By which methods; by any when absent.
        "methods" => pub methods: Option<List<Method, METHODS_MAX>>,
    }
}

record! {
    /// Takes a grant back.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Revoke {
        /// Whose.
        "key" => pub key: PublicKey,
        /// Of which name.
        "name" => pub name: FunctionName,
    }
}

record! {
    /// What a host asks for and where it is. A second offer replaces the first.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct AnnounceOffer {
        /// What work costs.
        "price" => pub price: Price,
        /// Until when the offer stands.
        "until" => pub until: Slot,
        /// Under which profiles it runs functions.
        "profiles" => pub profiles: List<ProfileId, OFFER_LIST_MAX>,
        /// Where it is reached.
        "endpoints" => pub endpoints: List<Endpoint, OFFER_LIST_MAX>,
    }
}

record! {
    /// Escrow towards a host. The sender is the payer; the channel is named after this transaction.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct OpenChannel {
        /// Who is paid.
        "host" => pub host: PublicKey,
        /// How much is locked.
        "escrow" => pub escrow: Tal,
        /// The slot from which on nothing is redeemed and the rest goes back.
        "expires" => pub expires: Slot,
        /// The most that may be redeemed by batch, without a voucher, in sum.
        "batchcap" => pub batch_cap: Tal,
        /// The most work without a voucher that the payer lets arise.
        "watermark" => pub watermark: Tal,
    }
}

record! {
    /// More escrow, more time. Anyone may give; only the payer prolongs.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct TopUp {
        /// The channel.
        "chan" => pub channel: ChannelId,
        /// How much more.
        "amount" => pub amount: Tal,
        /// A later deadline.
        "expires" => pub expires: Option<Slot>,
    }
}

record! {
    /// Ends a channel.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct CloseChannel {
        /// The channel.
        "chan" => pub channel: ChannelId,
    }
}

record! {
    /// Ends a session in one channel. What its key has signed can be redeemed for the network's closing window, as
    /// when the channel closes: the host has done that work in good faith.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct RevokeSession {
        /// The channel.
        "chan" => pub channel: ChannelId,
        /// The grant's name.
        "session" => pub session: SessionId,
    }
}

record! {
    /// Pays out what a lock holds when its time has passed. Anyone may send it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Settle {
        /// The lock.
        "of" => pub lock: Lock,
    }
}

choice! {
    /// What holds money until a time.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Lock {
        /// The bills of a redeem by batch, named after its transaction.
        "claim" => Claim(TransactionId),
        /// The stake that this key withdraws.
        "stake" => Stake(PublicKey),
        /// A channel that is closing or expired.
        "channel" => Channel(ChannelId),
    }
}

record! {
    /// A payment by voucher. The sender is the channel's host.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Redeem {
        /// The payer's grant, when a session key signed the voucher.
        "grant" => pub grant: Option<Sealed>,
        /// What the payment is made of.
        "split" => pub split: List<Part, PARTS_MAX>,
        /// The voucher.
        "voucher" => pub voucher: Sealed,
    }
}

record! {
    /// What a payment owes to the runs of one function at one rate.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Part {
        /// The function.
        "fn" => pub function: FunctionId,
        /// The author's share, as the runs name it.
        "ppm" => pub royalty: Ppm,
        /// The sum of those bills.
        "amount" => pub amount: Tal,
    }
}

record! {
    /// A payment by runs and receipts. The sender is the channel's host.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct RedeemBatch {
        /// The channel.
        "chan" => pub channel: ChannelId,
        /// The runs, each with its receipt.
        "bills" => pub bills: List<Bill, BILLS_MAX>,
        /// The payer's grants to the session keys that signed some of the runs.
        "grants" => pub grants: List<Sealed, GRANTS_MAX>,
        /// The signed batches in which the receipts lie.
        "batches" => pub batches: List<Sealed, BATCHES_MAX>,
    }
}

record! {
    /// One run, its receipt, and the receipt's place in a batch.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Bill {
        /// The signed run.
        "run" => pub run: Sealed,
        /// The siblings of the receipt.
        "path" => pub path: Path,
        /// Which of the batches.
        "batch" => pub batch: u32,
        /// The place of the receipt in it.
        "index" => pub index: LeafIndex,
        /// The receipt.
        "receipt" => pub receipt: ReceiptPayload,
    }
}

record! {
    /// Calls for the input of one bill. The sender is the payer.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Challenge {
        /// The run's number.
        "seq" => pub sequence: Sequence,
        /// The redeem by batch.
        "claim" => pub claim: TransactionId,
    }
}

record! {
    /// Gives input and receipt of a challenged bill. The sender is the host.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Answer {
        /// The input document that the run names.
        "in" => pub input: InputPayload,
        /// The run's number.
        "seq" => pub sequence: Sequence,
        /// The input's body, when it is not longer than [`ANSWER_BODY_MAX`].
        "body" => pub body: Option<Blob<ANSWER_BODY_MAX>>,
        /// The redeem by batch.
        "claim" => pub claim: TransactionId,
        /// The receipt of the run.
        "receipt" => pub receipt: ReceiptPayload,
    }
}

record! {
    /// Locks money of the sender.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Stake {
        /// How much more.
        "amount" => pub amount: Tal,
    }
}

record! {
    /// Begins to unlock money of the sender. It stays liable until its window has passed.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Unstake {
        /// How much.
        "amount" => pub amount: Tal,
    }
}

record! {
    /// The root over the batches of one interval. The sender is the host.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Anchor {
        /// Number of the last batch.
        "last" => pub last: BatchNumber,
        /// The root over the payloads of the batches.
        "root" => pub root: Digest,
        /// How many batches there are.
        "count" => pub count: LeafCount,
        /// Number of the first batch.
        "first" => pub first: BatchNumber,
    }
}

record! {
    /// Two receipts that cannot both be honest. Anyone may send it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ReportFraud {
        /// One.
        "first" => pub first: ProvenReceipt,
        /// The other.
        "second" => pub second: ProvenReceipt,
    }
}

record! {
    /// A receipt with its proof.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ProvenReceipt {
        /// What leads it to a signature.
        "proof" => pub proof: Proof,
        /// The receipt.
        "receipt" => pub receipt: ReceiptPayload,
    }
}

impl ReportFraud {
    /// No evidence is longer.
    pub const LEN_MAX: usize = <Self as Field>::LEN_MAX;

    /// The evidence alone, as it is kept and handed on outside of a transaction.
    pub fn encode(&self) -> Vec<u8> {
        codec::to_bytes(self, 4096)
    }

    /// Reads evidence that fills `bytes` to the last byte.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::from_bytes(bytes, Self::LEN_MAX)
    }

    /// What it proves, once both receipts are signed by their host for this network.
    pub fn check(&self, network: &NetworkId) -> Result<Fraud, CarriedError> {
        super::carried::fraud(self, network)
    }
}

/// What an order is about. Each keeps the id of the last transaction on it, which another can name to build on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// The sender's own account.
    Account(PublicKey),
    /// A function.
    Function(FunctionId),
    /// A namespace with all its names and grants.
    Namespace(Namespace),
    /// A host's offer.
    Offer(PublicKey),
    /// A channel.
    Channel(ChannelId),
    /// A redeem by batch.
    Claim(TransactionId),
    /// A stake.
    Stake(PublicKey),
    /// A host's anchors.
    Anchors(PublicKey),
    /// What is known against a host in a channel.
    Fraud(PublicKey, ChannelId),
}

impl Action {
    /// The resource it is about, as far as the action itself shows it.
    pub(super) fn resource(&self, sender: PublicKey) -> Option<Resource> {
        Some(match self {
            Self::Transfer(_) => Resource::Account(sender),
            Self::RegisterFunction(action) => Resource::Function(action.function),
            Self::UpdateFunction(action) => Resource::Function(action.function),
            Self::RegisterName(action) => Resource::Namespace(action.name.namespace()),
            Self::UpdateName(action) => Resource::Namespace(action.name.namespace()),
            Self::Grant(action) => Resource::Namespace(action.name.namespace()),
            Self::Revoke(action) => Resource::Namespace(action.name.namespace()),
            Self::AnnounceOffer(_) => Resource::Offer(sender),
            Self::OpenChannel(_) => Resource::Account(sender),
            Self::TopUp(action) => Resource::Channel(action.channel),
            Self::CloseChannel(action) => Resource::Channel(action.channel),
            Self::RevokeSession(action) => Resource::Channel(action.channel),
            Self::Settle(action) => match action.lock {
                Lock::Claim(claim) => Resource::Claim(claim),
                Lock::Stake(key) => Resource::Stake(key),
                Lock::Channel(channel) => Resource::Channel(channel),
            },
            Self::RedeemBatch(action) => Resource::Channel(action.channel),
            Self::Challenge(action) => Resource::Claim(action.claim),
            Self::Answer(action) => Resource::Claim(action.claim),
            Self::Stake(_) | Self::Unstake(_) => Resource::Stake(sender),
            Self::Anchor(_) => Resource::Anchors(sender),
            Self::Redeem(_) | Self::ReportFraud(_) => return None,
            Self::RegisterTrigger(_)
            | Self::AuditClaim(_)
            | Self::AuditVerdict(_)
            | Self::RotateAuthority(_)
            | Self::Deposit(_)
            | Self::Withdraw(_) => return None,
        })
    }
}

// What a redeem by batch refers to is what a host signs.
const _: () = assert!(
    <Batch as crate::codec::Document>::LEN_MAX <= 256,
    "batches of a redeem stay a small part of it"
);
