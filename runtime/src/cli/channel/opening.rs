//! Finding the channel to pay from, and making one where there is none.
//!
//! Invariants: the opening is signed and kept before it is sent, and sent again when the ledger does not know it; a
//! channel that is closing, near its end or too small is not used. On a development network the wallet is given
//! what it lacks first. Absent: opening in the name of somebody who only granted a session.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, header};
use talea_ledger::transaction::{OpenChannel, TopUp};
use talea_ledger::{
    Action, ChannelId, Domain, Network, PublicKey, Sealed, Slot, Tal, Transaction, TransactionId,
};

use super::hand::Hand;
use super::live::Live;
use crate::cli::client::{Client, ClientError, request};
use crate::cli::exit::{Exit, Failure};
use crate::cli::ledger::teller::{self, Standing};
use crate::cli::wallet::channels::{Opened, Pair};
use crate::cli::wallet::fund::{Purse, fund_if_needed};

/// Fees of the transactions that a channel's life takes; what is not needed stays in the wallet.
const FEES: Tal = Tal(1_000);
/// Escrow of a channel that nobody measured: twenty such calls, and at least this.
const ESCROW_LEAST: u64 = 1_000_000;
/// Calls that a new channel pays for.
const CALLS: u64 = 20;
/// How long a channel stands when nobody says.
pub(in crate::cli) const TERM: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a channel is to be.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::cli) struct Wish {
    pub(in crate::cli) escrow: Option<Tal>,
    pub(in crate::cli) term: Option<Duration>,
    pub(in crate::cli) batch_cap: Option<Tal>,
    pub(in crate::cli) watermark: Option<Tal>,
}

/// Whose channels, through which node.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Bank<'a> {
    pub(in crate::cli) client: &'a Client,
    pub(in crate::cli) network: &'a Network,
    pub(in crate::cli) host: PublicKey,
    pub(in crate::cli) hand: &'a Hand<'a>,
    pub(in crate::cli) time_max: Duration,
}

// === impl Bank ===

impl Bank<'_> {
    /// Who pays whom.
    pub(in crate::cli) fn pair(&self) -> Pair {
        Pair { payer: self.hand.payer(), host: self.host, network: self.network.id() }
    }

    /// A channel that pays for `cap` beyond what it owes: the known one, topped up if need be, or a new one.
    pub(in crate::cli) async fn usable(
        &self,
        owed: impl Fn(ChannelId) -> Result<Tal, Failure>,
        cap: Tal,
        wish: Wish,
    ) -> Result<ChannelId, Failure> {
        let home = self.hand.wallet.home();
        if let Some(opened) = self.pair().opened(home)? {
            if let Some(live) = self.found(&opened).await?
                && !self.ends(&live)
            {
                let needed = owed(opened.channel)?.saturating_add(cap);
                if needed > live.sum() && self.hand.is_payer() {
                    let lacks = needed.saturating_sub(live.sum());
                    self.top_up(opened.channel, lacks.max(escrow(cap, wish)), None).await?;
                } else if needed > live.covered {
                    self.until_final(opened.channel, needed).await?;
                }
                return Ok(opened.channel);
            }
            self.pair().forget(home)?;
        }
        if !self.hand.is_payer() {
            let sentence = "no channel of the session's payer to this host is known here";
            return Err(Failure::said(Exit::Denied, sentence)
                .advise("name it with --channel; `talea channel show` of the payer prints it"));
        }
        self.open(Wish { escrow: Some(escrow(cap, wish)), ..wish }).await
    }

    /// Opens a channel and waits until it is final.
    pub(in crate::cli) async fn open(&self, wish: Wish) -> Result<ChannelId, Failure> {
        let escrow = wish.escrow.unwrap_or(Tal(ESCROW_LEAST));
        let standing = self.funded(escrow).await?;
        let action = Action::OpenChannel(OpenChannel {
            host: self.host,
            escrow,
            expires: self.expiry(wish.term.unwrap_or(TERM)),
            // What the host may claim with receipts alone: a tenth, since a claim can be challenged but costs time.
            batch_cap: wish.batch_cap.unwrap_or(Tal(escrow.0 / 10)),
            watermark: wish.watermark.unwrap_or(escrow),
        });
        let transaction = Transaction {
            action,
            network: self.network.id(),
            sender: self.hand.wallet.public(),
            nonce: standing.next,
            builds_on: None,
        };
        let opened = Opened::by(self.pair(), transaction.seal(self.hand.key()));
        opened.keep(self.hand.wallet.home())?;
        self.hand_in(&opened.opening).await?;
        let id = TransactionId::of(opened.opening.payload());
        teller::settled(self.client, id, self.time_max).await?;
        Ok(opened.channel)
    }

    /// Puts more into a channel, or prolongs it.
    pub(in crate::cli) async fn top_up(
        &self,
        channel: ChannelId,
        amount: Tal,
        term: Option<Duration>,
    ) -> Result<TransactionId, Failure> {
        self.funded(amount).await?;
        let expires = term.map(|term| self.expiry(term));
        self.send(Action::TopUp(TopUp { channel, amount, expires })).await
    }

    /// Sends a transaction of the payer and waits until it is final.
    pub(in crate::cli) async fn send(&self, action: Action) -> Result<TransactionId, Failure> {
        let settled =
            teller::send(self.client, self.network, self.hand.key(), action, self.time_max).await?;
        Ok(settled.id)
    }

    /// The channel on the ledger. One that it does not know is handed in once more: perhaps it never arrived.
    async fn found(&self, opened: &Opened) -> Result<Option<Live>, Failure> {
        if let Some(live) = Live::of(self.client, opened.channel).await? {
            return Ok(Some(live));
        }
        let id = TransactionId::of(opened.opening.payload());
        match self.hand_in(&opened.opening).await {
            Ok(()) => {}
            // Its number was used since: by itself, when the channel has come and gone, or by another.
            Err(ClientError::Refused { status, .. }) if status.is_client_error() => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        }
        match teller::settled(self.client, id, self.time_max).await {
            Ok(_) => Live::of(self.client, opened.channel).await,
            Err(failure) if failure.exit() == Exit::Denied => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn hand_in(&self, envelope: &Sealed) -> Result<(), ClientError> {
        let request = request(self.client, Method::POST, "/transactions")
            .header(header::CONTENT_TYPE, Domain::Transaction.media_type())
            .body(Bytes::from(envelope.encode()))?;
        self.client.expect(request).await.map(drop)
    }

    /// Waits until the finalised state covers so much.
    async fn until_final(&self, channel: ChannelId, needed: Tal) -> Result<(), Failure> {
        let wait = async {
            loop {
                match Live::of(self.client, channel).await? {
                    Some(live) if live.covered < needed && live.sum() >= needed => {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    _ => return Ok(()),
                }
            }
        };
        // The host decides in the end; what is not final by then it refuses.
        tokio::time::timeout(self.time_max, wait).await.unwrap_or(Ok(()))
    }

    /// The wallet's account, with what it lacks on a development network.
    async fn funded(&self, amount: Tal) -> Result<Standing, Failure> {
        let purse = Purse { client: self.client, time_max: self.time_max };
        let needed = amount.saturating_add(FEES);
        fund_if_needed(&purse, self.hand.wallet.public(), needed).await
    }

    /// Whether it is no use to pay from it any more.
    fn ends(&self, live: &Live) -> bool {
        let margin = self.network.params().redeem_margin;
        live.is_closing || self.slot().after(margin).after(margin) >= live.deadline
    }

    fn slot(&self) -> Slot {
        self.network.slot_at(crate::cli::now())
    }

    fn expiry(&self, term: Duration) -> Slot {
        let term = u64::try_from(term.as_nanos()).unwrap_or(u64::MAX);
        let end = talea_ledger::UnixNanos(crate::cli::now().0.saturating_add(term));
        self.network.slot_at(end).max(Slot(self.slot().0.saturating_add(1)))
    }
}

fn escrow(cap: Tal, wish: Wish) -> Tal {
    wish.escrow.unwrap_or(Tal(cap.0.saturating_mul(CALLS).max(ESCROW_LEAST))).max(cap)
}

/// The network of a node, held against what the node calls it.
pub(in crate::cli) async fn network_of(
    client: &Client,
    named: talea_ledger::NetworkId,
) -> Result<Network, Failure> {
    let network = teller::chain_of(client).await?;
    if network.id() == named {
        return Ok(network);
    }
    let sentence = format!("the host is of network {named}, its ledger of {}", network.id());
    Err(Failure::said(Exit::Mismatch, sentence))
}
