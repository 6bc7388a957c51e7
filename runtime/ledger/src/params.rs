//! The parameters of a network: its genesis, its rules' windows and its bounds.
//!
//! Invariants: every node of a network has the same bytes here, and their hash is the network's id, which stands
//! in every signed document: nodes with other rules cannot talk past each other. A [`Network`] holds parameters
//! that were checked, and only [`Network::new`] makes one.
//!
//! Absent: what a node decides for itself (prices, queues, addresses), and execution profiles, which are named in
//! offers and runs.

use std::collections::BTreeSet;

use crate::codec::{Document, List, record};
use crate::id::{BlockId, Digest, NetworkId, PublicKey};
use crate::message::NetworkName;
use crate::sign::Domain;
use crate::units::{Nanos, Slot, Slots, Tal, UnixNanos};

/// Most authorities: votes of all of them pass between all of them at each round of finality.
pub const AUTHORITIES_MAX: usize = 64;

/// Most accounts that a genesis funds.
pub const BALANCES_MAX: usize = 1024;

/// Most transactions of a block: as many as a Merkle tree has leaves.
pub const BLOCK_TRANSACTIONS_MAX: u32 = crate::merkle::LEAVES_MAX;

/// Longest block body: what one transfer between peers carries without pages.
pub const BLOCK_LEN_MAX: u32 = 4 * 1024 * 1024;

/// Sequences above the settled one that a channel keeps apart. A host takes calls in any order within them, and
/// the ledger keeps one bit for each: 128 bytes for a channel.
pub const SEQUENCE_WINDOW: u64 = 1024;

/// Bytes that one fee pays for.
const FEE_UNIT: u64 = 1024;

record! {
    /// All that nodes of one network agree on beforehand.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct NetworkParams {
        /// What a transaction costs, per KiB of it that is begun. Taken out of circulation.
        "fee" => pub fee: Tal,
        /// What people call it.
        "name" => pub name: NetworkName,
        /// Length of a slot.
        "slot" => pub slot_len: Nanos,
        /// From a payer's wish to close a channel until it is closed.
        "close" => pub close_window: Slots,
        /// When slot 0 begins. Slot 0 is the genesis' own.
        "start" => pub start: UnixNanos,
        /// From a challenge until its answer is due.
        "answer" => pub answer_window: Slots,
        /// A host takes no run for a channel this near to its deadline.
        "margin" => pub redeem_margin: Slots,
        /// From a redeem by batch until its bills are paid.
        "dispute" => pub dispute_window: Slots,
        /// From the wish to withdraw a stake until it is free.
        "unstake" => pub unstake_window: Slots,
        /// Accounts that begin with money.
        "balances" => pub balances: List<Balance, BALANCES_MAX>,
        /// Longest body of a block, in bytes.
        "blocklen" => pub block_len_max: u32,
        /// Most transactions of a block.
        "blocktxs" => pub block_count_max: u32,
        /// How many finalised blocks a node can tell what became of a transaction.
        "retention" => pub retention: u64,
        /// Who authors blocks and votes; slot s belongs to number s mod n.
        "authorities" => pub authorities: List<PublicKey, AUTHORITIES_MAX>,
    }
}

record! {
    /// What an account begins with.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Balance {
        /// Whose.
        "key" => pub key: PublicKey,
        /// How much.
        "amount" => pub amount: Tal,
    }
}

/// Why parameters make no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// Nobody could author a block.
    #[error("a network has at least one authority")]
    NoAuthority,
    /// A key stands twice among the authorities or the balances.
    #[error("{0} is named twice")]
    Twice(PublicKey),
    /// The balances are together more than can be written.
    #[error("the balances overflow")]
    Supply,
    /// A bound or window that is zero or above what the rules can hold.
    #[error("{0} is out of its range")]
    Range(&'static str),
}

/// A network: parameters that were checked, with their name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    params: NetworkParams,
    id: NetworkId,
    supply: Tal,
}

impl Document for NetworkParams {
    const DOMAIN: Domain = Domain::Params;
}

impl NetworkParams {
    /// The name of the network.
    pub fn id(&self) -> NetworkId {
        NetworkId::new(Digest::of(&self.encode()).to_bytes())
    }

    /// A network for one machine: one authority, short windows, and an equal fund for each of these keys.
    /// Of more than [`BALANCES_MAX`] keys the last ones get nothing, and neither does a repeated one.
    pub fn development(funded: &[PublicKey], authority: PublicKey) -> Self {
        let mut seen = BTreeSet::new();
        let balances: Vec<Balance> = funded
            .iter()
            .filter(|key| seen.insert(**key))
            .take(BALANCES_MAX)
            .map(|key| Balance { key: *key, amount: DEVELOPMENT_FUND })
            .collect();
        Self {
            fee: Tal(10),
            name: NetworkName::try_from("development").expect("a label of 11 letters"),
            slot_len: Nanos(250_000_000),
            close_window: Slots(240),
            // 2026-01-01: a fixed time, so that the same keys give the same network.
            start: UnixNanos(1_767_225_600_000_000_000),
            answer_window: Slots(240),
            redeem_margin: Slots(120),
            dispute_window: Slots(240),
            unstake_window: Slots(240),
            balances: List::try_from(balances).unwrap_or_default(),
            block_len_max: 1024 * 1024,
            block_count_max: BLOCK_TRANSACTIONS_MAX,
            retention: 10_000,
            authorities: List::try_from(vec![authority]).unwrap_or_default(),
        }
    }
}

/// What a funded key of a development network begins with: a million calls at a million tal each. 1,024 of them
/// are 2^50, far from an overflow.
const DEVELOPMENT_FUND: Tal = Tal(1_000_000_000_000);

// === impl Network ===

impl Network {
    /// Checks parameters.
    pub fn new(params: NetworkParams) -> Result<Self, ParamsError> {
        if params.authorities.is_empty() {
            return Err(ParamsError::NoAuthority);
        }
        let mut seen = BTreeSet::new();
        if let Some(key) = params.authorities.iter().find(|key| !seen.insert(**key)) {
            return Err(ParamsError::Twice(*key));
        }
        let mut seen = BTreeSet::new();
        let mut supply = Tal::ZERO;
        for balance in params.balances.iter() {
            if !seen.insert(balance.key) {
                return Err(ParamsError::Twice(balance.key));
            }
            supply = supply.checked_add(balance.amount).ok_or(ParamsError::Supply)?;
        }
        let ranges = [
            ("slot", params.slot_len > Nanos::ZERO),
            ("close", params.close_window > params.redeem_margin),
            ("answer", params.answer_window > Slots::ZERO),
            ("dispute", params.dispute_window > Slots::ZERO),
            ("unstake", params.unstake_window > Slots::ZERO),
            ("blocklen", (LEAST_BLOCK_LEN..=BLOCK_LEN_MAX).contains(&params.block_len_max)),
            ("blocktxs", (1..=BLOCK_TRANSACTIONS_MAX).contains(&params.block_count_max)),
            ("retention", params.retention > 0),
        ];
        if let Some((name, _)) = ranges.iter().find(|(_, holds)| !holds) {
            return Err(ParamsError::Range(name));
        }
        let id = params.id();
        Ok(Self { params, id, supply })
    }

    /// The parameters.
    pub fn params(&self) -> &NetworkParams {
        &self.params
    }

    /// The network's name.
    pub fn id(&self) -> NetworkId {
        self.id
    }

    /// The parent of its first block.
    pub fn genesis(&self) -> BlockId {
        BlockId::genesis(&self.id)
    }

    /// All the money there is.
    pub fn supply(&self) -> Tal {
        self.supply
    }

    /// Who authors in a slot.
    pub fn author(&self, slot: Slot) -> PublicKey {
        let count = self.params.authorities.len() as u64;
        // There is at least one authority, and the remainder is below their number.
        let at = slot.0.checked_rem(count).unwrap_or_default();
        self.params.authorities[at as usize]
    }

    /// When a slot begins, or the last time there is.
    pub fn slot_start(&self, slot: Slot) -> UnixNanos {
        let passed = slot.0.saturating_mul(self.params.slot_len.0);
        UnixNanos(self.params.start.0.saturating_add(passed))
    }

    /// The slot in which a time lies; before the start, slot 0.
    pub fn slot_at(&self, time: UnixNanos) -> Slot {
        let passed = time.0.saturating_sub(self.params.start.0);
        Slot(passed.checked_div(self.params.slot_len.0).unwrap_or_default())
    }

    /// What a transaction whose payload has this length costs.
    pub fn fee(&self, payload_len: usize) -> Tal {
        let units = (payload_len as u64).div_ceil(FEE_UNIT);
        Tal(self.params.fee.0.saturating_mul(units))
    }
}

/// A block must hold the longest transaction.
const LEAST_BLOCK_LEN: u32 = 64 * 1024;
