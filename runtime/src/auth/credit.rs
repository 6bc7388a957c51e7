//! Channels before there is a ledger: one per pair of payer and host, with the host's credit as cover.

use talea_ledger::{ChannelId, NetworkId, PublicKey};

/// The channel of a payer towards a host.
pub(super) fn channel_of(payer: PublicKey, host: PublicKey, network: NetworkId) -> ChannelId {
    ChannelId::local(&payer, &host, &network)
}
