//! One wallet at one host: what every command about a channel begins with.

use std::time::Duration;

use talea_ledger::{ChannelId, Network};

use super::hand::Hand;
use super::opening::{Bank, network_of};
use crate::cli::client::Client;
use crate::cli::exit::{Exit, Failure};
use crate::cli::terms::Terms;
use crate::cli::wallet::Wallet;
use crate::cli::wallet::channels::Pair;
use crate::cli::{Context, NodeArgs, SignerArgs};

/// Both sides, and the network between them.
#[derive(Debug)]
pub(super) struct Counter {
    pub(super) client: Client,
    pub(super) wallet: Wallet,
    pub(super) network: Network,
    terms: Terms,
    time_max: Duration,
}

// === impl Counter ===

impl Counter {
    /// Opens the wallet and asks the node who it is.
    pub(super) async fn of(
        signer: &SignerArgs,
        node: &NodeArgs,
        context: &Context,
    ) -> Result<Self, Failure> {
        let (client, wallet) = (node.client(), signer.wallet(context)?);
        let terms = Terms::of(&client).await?;
        let network = network_of(&client, terms.network).await?;
        Ok(Self { client, wallet, network, terms, time_max: node.timeout })
    }

    /// The wallet as who signs.
    pub(super) fn hand(&self) -> Result<Hand<'_>, Failure> {
        Hand::new(&self.wallet, None)
    }

    /// Where channels to the host are opened and changed.
    pub(super) fn bank<'a>(&'a self, hand: &'a Hand<'a>) -> Bank<'a> {
        Bank {
            client: &self.client,
            network: &self.network,
            host: self.terms.host,
            hand,
            time_max: self.time_max,
        }
    }

    /// The channel that is meant: the one given, or the one that was opened from here.
    pub(super) fn channel(&self, given: Option<ChannelId>) -> Result<ChannelId, Failure> {
        if let Some(channel) = given {
            return Ok(channel);
        }
        let (payer, host) = (self.wallet.public(), self.terms.host);
        let opened = Pair { payer, host, network: self.network.id() }.opened(self.wallet.home())?;
        opened.map(|opened| opened.channel).ok_or_else(|| {
            Failure::said(Exit::Usage, "this wallet has opened no channel to this host")
                .advise("talea channel open")
        })
    }
}
