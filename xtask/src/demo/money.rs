//! The money of the demonstration: what is owed, promised and paid, and a proof of it that needs no node.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Talea;
use crate::shell;

/// What the ledger said at the end, to be shown again without a node.
pub(super) struct Paid {
    host: String,
    network: String,
    balance: u64,
}

/// Shows the channel that the calls were paid from, has its voucher redeemed, and keeps a proof of the balance.
pub(super) fn redeem(talea: &Talea, data: &Path, billed: u64, proof: &Path) -> Result<Paid> {
    let channel = talea.json(&["channel", "show"])?;
    let id = text(&channel["id"])?;
    let (payer, host) = (text(&channel["payer"])?, text(&channel["host"])?);
    let account = &channel["account"];
    let (owed, vouched) = (number(&account["owed"])?, number(&account["vouched"])?);
    println!("   channel   {id}");
    println!(
        "             the wallet opened it by itself and locked {} tal",
        number(&channel["escrow"])?
    );
    println!("   owed      {owed} tal, the sum of all bills");
    println!("   voucher   {vouched} tal, promised by {payer}");
    ensure!(owed == billed, "the bills add up to {billed}, the host says {owed}");
    ensure!(vouched == owed, "a voucher of {vouched} for {owed} owed");

    let before = balance(talea, &host)?;
    let key = data.join("key").display().to_string();
    let redeemed = talea.json(&["channel", "redeem", &id, "--key", &key])?;
    let (transaction, block) = (text(&redeemed["transaction"])?, text(&redeemed["block"])?);
    let after = balance(talea, &host)?;
    println!("   redeem    transaction {transaction}");
    println!("   block     {block} at height {}", text(&redeemed["height"])?);
    println!("   host      {before} tal before, {after} tal after: {owed} less the fee");
    let fee = (before + owed).checked_sub(after).context("the host has more than it was paid")?;
    ensure!(fee > 0 && fee < 1_000, "a redeem costs a fee of some ten tal, this one took {fee}");
    let paid = number(&talea.json(&["channel", "show"])?["redeemed"])?;
    ensure!(paid == owed, "the ledger paid {paid} of {owed}");

    let path = proof.display().to_string();
    talea.ask(&["ledger", "prove", &host, "--save", &path])?;
    let network = text(&talea.json(&["ledger", "verify", &path])?["network"])?;
    println!("   proof     of the host's balance, kept in a file for later");

    let closed = talea.json(&["channel", "close"])?;
    let returned = number(&closed["returned"])?;
    println!("   closed    {returned} tal that were not used are back");
    Ok(Paid { host, network, balance: after })
}

/// The host's balance once more, from a file.
pub(super) fn verify(talea: &Talea, proof: &Path, paid: &Paid) -> Result<()> {
    let path = proof.display().to_string();
    let shown = talea.json(&["ledger", "verify", &path, "--network", &paid.network])?;
    ensure!(shown["verdict"] == "shown", "the proof is not shown: {shown}");
    let said = shown["shown"].to_string();
    ensure!(said.contains(&paid.host), "the proof is of another account: {said}");
    ensure!(
        said.contains(&format!("\"{}\"", paid.balance)),
        "the proof is of another balance than {}: {said}",
        paid.balance
    );
    println!(
        "   {:<30} {:<26} {} tal, final by {} of {} authorities",
        "the host's balance",
        shell::good("shown"),
        paid.balance,
        shown["votes"],
        shown["authorities"]
    );
    Ok(())
}

/// What an account finally has.
pub(super) fn balance(talea: &Talea, key: &str) -> Result<u64> {
    number(&talea.json(&["ledger", "balance", key])?["final_balance"])
}

fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).with_context(|| format!("no text: {value}"))
}

fn number(value: &Value) -> Result<u64> {
    let text = value.as_str().with_context(|| format!("no number: {value}"))?;
    text.parse().with_context(|| format!("no number: {text}"))
}
