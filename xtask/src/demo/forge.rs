//! A host that lies: the same papers with one field changed, everything else made to fit, and sealed again.
//!
//! The host signs with its own real key, because that is the case that matters: nobody else's signature would do,
//! and its own makes the forged receipt genuine. What it cannot change is what the payer signed (the run) and what
//! the run does when anyone executes it. Absent: this from any program that is shipped.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use talea_ledger::batch::{Batch, BatchHead, seal_batch};
use talea_ledger::merkle::LeafIndex;
use talea_ledger::price::bill;
use talea_ledger::{BodyId, Bundle, Document as _, Fuel, Output, Receipt, Run, SecretKey, Tal};

/// Reads a bundle.
pub(super) fn read(path: &Path) -> Result<Bundle> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Bundle::decode(&bytes).with_context(|| format!("{} is not a bundle", path.display()))
}

/// Writes a bundle.
pub(super) fn write(path: &Path, bundle: &Bundle) -> Result<()> {
    std::fs::write(path, bundle.encode())
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The host's secret key: 64 hex digits.
pub(super) fn host_key(path: &Path) -> Result<SecretKey> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let digits = text.trim().as_bytes();
    let mut secret = [0_u8; 32];
    ensure!(digits.len() == 64, "{} does not hold 64 hex digits", path.display());
    for (byte, pair) in secret.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair)?, 16)?;
    }
    Ok(SecretKey::from_bytes(&secret))
}

/// The same receipt with its fuel raised by one and the bill that follows from it.
pub(super) fn one_more_fuel(honest: &Bundle, key: &SecretKey) -> Result<Bundle> {
    let mut receipt = Receipt::decode(&honest.receipt)?;
    receipt.fuel = receipt.fuel.checked_add(Fuel(1)).context("the fuel is at its end")?;
    seal(honest.clone(), receipt, key)
}

/// The same receipt for an output whose first byte is another, with that output among the papers.
pub(super) fn another_output(honest: &Bundle, key: &SecretKey) -> Result<Bundle> {
    let mut receipt = Receipt::decode(&honest.receipt)?;
    let mut forged = honest.clone();
    let (Some(output), Some(body)) = (&honest.output, &honest.output_body) else {
        bail!("the output was not kept")
    };
    let mut output = Output::decode(output)?;
    let mut body = body.to_vec();
    *body.first_mut().context("the output is empty")? ^= 1;
    output.body = BodyId::of(&body);
    receipt.output = output.id();
    forged.output = Some(output.encode().try_into()?);
    forged.output_body = Some(body.try_into()?);
    seal(forged, receipt, key)
}

/// Makes the bill fit what the receipt now says, and signs it as a batch of one.
fn seal(mut papers: Bundle, mut receipt: Receipt, key: &SecretKey) -> Result<Bundle> {
    ensure!(receipt.host == key.public(), "the key is not the host's");
    let run = Run::decode(papers.run.payload())?;
    let due = bill(&receipt.price, receipt.fuel, receipt.body_bytes(), run.cap());
    if let Some(payment) = &mut receipt.payment {
        let others = payment.owed.saturating_sub(receipt.bill);
        payment.owed = Tal(others.0.saturating_add(due.0));
    }
    receipt.bill = due;
    let told = Batch::decode(papers.proof.batch.payload())?;
    let head = BatchHead { network: receipt.network, number: told.number, at: told.at };
    let payload = receipt.encode();
    papers.proof = seal_batch(key, head, &[&payload])?.proof(LeafIndex::new(0))?;
    papers.receipt = payload.try_into()?;
    papers.check().context("the forgery should hold together")?;
    Ok(papers)
}

/// The first bytes of base64 text, in hex: enough to know a file's kind.
pub(super) fn head_of_base64(text: &str) -> String {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut hex = String::new();
    for four in text.as_bytes().chunks_exact(4).take(4) {
        let bits = four.iter().fold(0_u32, |bits, byte| bits << 6 | u32::from(digit(*byte)));
        hex.push_str(&format!("{bits:06x}"));
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_an_answer_is_read() {
        // The signature of PNG, as base64 has it.
        assert!(head_of_base64("iVBORw0KGgoAAAANSUhEUg==").starts_with("89504e470d0a1a0a"));
        assert_eq!(head_of_base64(""), "");
    }
}
