//! Signing vouchers and handing them to the host.
//!
//! Invariant: a voucher says what this wallet's own tally says, and the tally counts only receipts that were
//! verified. A voucher that does not arrive costs nothing: the next one says more.

use bytes::Bytes;
use http::{Method, header};
use talea_ledger::sign::seal_document;
use talea_ledger::{ChannelId, Domain, NetworkId, Receipt, Sequence, Tal, Voucher};

use super::hand::Hand;
use crate::cli::client::{Client, request};
use crate::cli::exit::{Exit, Failure, OrExit as _};
use crate::cli::wallet::runs::RunBook;
use crate::cli::wallet::tally::Tally;

/// What the host has been promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Promised {
    pub(in crate::cli) owed: Tal,
    pub(in crate::cli) settled: Sequence,
}

/// Counts a verified receipt.
pub(in crate::cli) fn count(book: &RunBook, receipt: &Receipt) -> Result<(), Failure> {
    let Some(payment) = &receipt.payment else { return Ok(()) };
    let counted = book
        .change_tally(|tally| tally.count(payment.sequence, receipt.bill, payment.owed))
        .or_exit(Exit::Failed, || "the tally of the channel cannot be kept")?;
    counted
        .map_err(|overlap| {
            Failure::new(Exit::Mismatch, overlap).advise(
                "the host has cheated, and its receipts prove it: `talea receipt save` both, then `talea receipt fraud`",
            )
        })
        .map(drop)
}

/// Signs a voucher over all that was seen and gives it to the host. `None` when it has it already.
pub(in crate::cli) async fn give(
    client: &Client,
    hand: &Hand<'_>,
    network: NetworkId,
    channel: ChannelId,
    book: &RunBook,
) -> Result<Option<Promised>, Failure> {
    let kept = || "the tally of the channel cannot be read";
    let tally = book.tally().or_exit(Exit::Failed, kept)?;
    let (owed, settled) = tally.promise();
    if owed <= tally.vouched() {
        return Ok(None);
    }
    send(client, hand, Voucher { network, channel, owed, settled }).await?;
    let vouch = |tally: &mut Tally| {
        tally.vouch(owed);
        Ok::<(), std::convert::Infallible>(())
    };
    let noted = book.change_tally(vouch).or_exit(Exit::Failed, kept)?;
    noted.unwrap_or_else(|never| match never {});
    Ok(Some(Promised { owed, settled }))
}

/// Signs and sends one voucher.
pub(in crate::cli) async fn send(
    client: &Client,
    hand: &Hand<'_>,
    voucher: Voucher,
) -> Result<(), Failure> {
    let mut request = request(client, Method::POST, "/vouchers")
        .header(header::CONTENT_TYPE, Domain::Voucher.media_type());
    if let Some(session) = hand.session_header() {
        request = request.header("talea-session", session);
    }
    let request = request
        .body(Bytes::from(seal_document(hand.key(), &voucher).encode()))
        .or_exit(Exit::Failed, || "the request cannot be written")?;
    client.expect(request).await?;
    Ok(())
}
