//! Money for a wallet on a development network, from the key that its genesis funds and everybody knows.
//!
//! Invariant: nothing is taken from anybody: on a network whose genesis does not fund the published key this is
//! refused before anything is sent. Absent: money of any worth.

use std::time::Duration;

use talea_ledger::transaction::Transfer;
use talea_ledger::{Action, PublicKey, Tal};
use talea_runtime::ledger::development_key;

use crate::cli::client::Client;
use crate::cli::exit::{Exit, Failure};
use crate::cli::ledger::teller::{Standing, chain_of, send};

/// Others may take from the same key at the same moment: then its next number is another.
const ATTEMPTS: usize = 8;

/// Through which node, and how long.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Purse<'c> {
    /// The node.
    pub(in crate::cli) client: &'c Client,
    /// How long to wait for the block.
    pub(in crate::cli) time_max: Duration,
}

/// Gives `to` so much, and waits until it is final.
pub(in crate::cli) async fn fund(
    purse: &Purse<'_>,
    to: PublicKey,
    amount: Tal,
) -> Result<Standing, Failure> {
    let Purse { client, time_max } = *purse;
    let key = development_key();
    let chain = chain_of(client).await?;
    let is_development = chain.params().balances.iter().any(|balance| balance.key == key.public());
    if !is_development {
        let sentence = format!("network {} is no development network", chain.id());
        return Err(Failure::said(Exit::Denied, sentence)
            .advise("ask somebody who has money there for a transfer"));
    }
    let action = Action::Transfer(Transfer { to, amount });
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        match send(client, &chain, &key, action.clone(), time_max).await {
            Ok(_) => return Ok(Standing::of(client, &to).await?),
            Err(failure) if left > 0 && failure.sentence().contains("nonce-") => {
                // A slot of a development network is a quarter of a second.
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Gives `to` what it lacks for `needed`, if this is a development network; otherwise leaves it as it is.
pub(in crate::cli) async fn fund_if_needed(
    purse: &Purse<'_>,
    to: PublicKey,
    needed: Tal,
) -> Result<Standing, Failure> {
    let standing = Standing::of(purse.client, &to).await?;
    if standing.balance >= needed {
        return Ok(standing);
    }
    let chain = chain_of(purse.client).await?;
    let key = development_key().public();
    if !chain.params().balances.iter().any(|balance| balance.key == key) {
        return Ok(standing);
    }
    fund(purse, to, Tal(needed.0.saturating_sub(standing.balance.0))).await
}
