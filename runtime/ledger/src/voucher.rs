//! The voucher: a payer's cumulative promise to the host of a channel.
//!
//! Invariant: vouchers of one channel grow. A later one replaces an earlier one; losing one costs nothing as long
//! as a later one is kept. Signed by the payer, or by a session key whose grant travels with it.

use crate::codec::{Document, record};
use crate::id::{ChannelId, NetworkId};
use crate::sign::Domain;
use crate::units::{Sequence, Tal};

record! {
    /// "Of this channel I owe so much, for runs up to this one."
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Voucher {
        /// The network.
        "net" => pub network: NetworkId,
        /// The channel.
        "chan" => pub channel: ChannelId,
        /// The sum of all bills that the payer accepts.
        "owed" => pub owed: Tal,
        /// No run counted in the sum has a higher number. None at or below it will ever be paid apart.
        "settled" => pub settled: Sequence,
    }
}

impl Document for Voucher {
    const DOMAIN: Domain = Domain::Voucher;

    fn network(&self) -> Option<NetworkId> {
        Some(self.network)
    }
}
