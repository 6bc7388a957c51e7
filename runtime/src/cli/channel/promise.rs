//! Signing vouchers and handing them to the host.
//!
//! Invariant: a voucher says what this wallet's own tally says, and the tally counts only receipts that were
//! verified and are kept as witnesses. A voucher that does not arrive costs nothing: the next one says more.

use bytes::Bytes;
use http::{Method, StatusCode, header};
use serde_json::Value;
use talea_ledger::sign::seal_document;
use talea_ledger::{
    Bundle, ChannelId, Document as _, Domain, NetworkId, Receipt, Sequence, Tal, Voucher,
};

use super::hand::Hand;
use super::live::number;
use crate::cli::client::{Client, request};
use crate::cli::exit::{Exit, Failure, OrExit as _};
use crate::cli::wallet::runs::RunBook;
use crate::cli::wallet::witness::Contradiction;
use talea_runtime::purse::Tally;

/// What a host says when a voucher counts more functions than one redeem lists.
const TOO_MANY_PARTS: &str = "voucher_parts";

/// What became of a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Given {
    /// The host has a voucher for all that was seen.
    Whole,
    /// It has one for so much. The rest can be promised when that is redeemed.
    Part(Tal),
    /// It had that voucher already.
    Before,
}

/// What a host makes of a voucher.
enum Answered {
    Taken,
    /// Only so much can be promised at once.
    AtMost(Tal, Sequence),
}

/// Keeps a verified receipt. One that contradicts another is the host's fraud, and an error that says so.
pub(in crate::cli) fn witnessed(book: &RunBook, bundle: &Bundle) -> Result<(), Failure> {
    let found = book.witness(bundle);
    match found.or_exit(Exit::Failed, || "the receipt cannot be kept")? {
        Some(found) => Err(cheated(&found)),
        None => Ok(()),
    }
}

/// Keeps a verified receipt and counts it.
pub(in crate::cli) fn count(book: &RunBook, bundle: &Bundle) -> Result<(), Failure> {
    witnessed(book, bundle)?;
    let receipt = Receipt::decode(&bundle.receipt);
    let receipt = receipt.or_exit(Exit::Data, || "the receipt cannot be read")?;
    let Some(payment) = &receipt.payment else { return Ok(()) };
    let counted = book
        .change_tally(|tally| tally.count(payment.sequence, receipt.bill, payment.owed))
        .or_exit(Exit::Failed, || "the tally of the channel cannot be kept")?;
    let Err(overlap) = counted else { return Ok(()) };
    let found = book.contradicted(bundle);
    let found = found.or_exit(Exit::Failed, || "the kept receipts cannot be read")?;
    Err(match found {
        Some(found) => cheated(&found),
        None => Failure::new(Exit::Mismatch, overlap).coded("host_fraud").advise(
            "the host has cheated; the receipt that proves it with this one is no longer kept here",
        ),
    })
}

/// What is said when a host has cheated.
pub(in crate::cli) fn cheated(found: &Contradiction) -> Failure {
    let [first, second] = found.files.each_ref().map(|path| path.display().to_string());
    let what = match found.fraud.kind {
        talea_ledger::FraudKind::Sequence => "one sequence has two receipts",
        talea_ledger::FraudKind::Owed => "two bills count the same money",
    };
    let sentence = format!("the host has cheated: {what}");
    Failure::said(Exit::Mismatch, sentence)
        .coded("host_fraud")
        .advise(format!("talea receipt fraud {first} {second} --report"))
}

/// Signs a voucher over all that was seen, or over as much of it as one redeem lists, and gives it to the host.
pub(in crate::cli) async fn give(
    client: &Client,
    hand: &Hand<'_>,
    network: NetworkId,
    channel: ChannelId,
    book: &RunBook,
) -> Result<Given, Failure> {
    let tally = book.tally().or_exit(Exit::Failed, || "the tally of the channel cannot be read")?;
    let (owed, settled) = tally.promise();
    if owed <= tally.vouched() {
        return Ok(Given::Before);
    }
    let whole = Voucher { network, channel, owed, settled };
    let (least, upto) = match offer(client, hand, whole).await? {
        Answered::Taken => {
            vouched(book, owed)?;
            return Ok(Given::Whole);
        }
        Answered::AtMost(owed, settled) => (owed, settled),
    };
    // The host may ask for less than was seen, never for more.
    if least > owed || upto > settled {
        let sentence = "the host asks for a voucher over more than it billed";
        return Err(Failure::said(Exit::Mismatch, sentence));
    }
    if least > tally.vouched() {
        send(client, hand, Voucher { owed: least, settled: upto, ..whole }).await?;
        vouched(book, least)?;
    }
    Ok(Given::Part(least))
}

fn vouched(book: &RunBook, owed: Tal) -> Result<(), Failure> {
    let vouch = |tally: &mut Tally| {
        tally.vouch(owed);
        Ok::<(), std::convert::Infallible>(())
    };
    let noted = book.change_tally(vouch);
    noted
        .or_exit(Exit::Failed, || "the tally of the channel cannot be kept")?
        .unwrap_or_else(|never| match never {});
    Ok(())
}

/// Signs and sends one voucher, which must be taken.
pub(in crate::cli) async fn send(
    client: &Client,
    hand: &Hand<'_>,
    voucher: Voucher,
) -> Result<(), Failure> {
    match offer(client, hand, voucher).await? {
        Answered::Taken => Ok(()),
        Answered::AtMost(..) => Err(Failure::said(
            Exit::Denied,
            "the host must redeem what it was promised before it takes another voucher",
        )
        .coded(TOO_MANY_PARTS)),
    }
}

async fn offer(client: &Client, hand: &Hand<'_>, voucher: Voucher) -> Result<Answered, Failure> {
    let mut request = request(client, Method::POST, "/vouchers")
        .header(header::CONTENT_TYPE, Domain::Voucher.media_type());
    if let Some(session) = hand.session_header() {
        request = request.header("talea-session", session);
    }
    let request = request
        .body(Bytes::from(seal_document(hand.key(), &voucher).encode()))
        .or_exit(Exit::Failed, || "the request cannot be written")?;
    let answer = client.send(request).await?;
    match at_most(&answer.body).filter(|_| answer.status == StatusCode::CONFLICT) {
        Some((owed, settled)) => Ok(Answered::AtMost(owed, settled)),
        None => answer.successful().map(|_| Answered::Taken).map_err(Failure::from),
    }
}

/// How far a voucher may go, when the host says that one redeem lists no more.
fn at_most(body: &[u8]) -> Option<(Tal, Sequence)> {
    let view: Value = serde_json::from_slice(body).ok()?;
    let error = view.get("error").filter(|error| error["code"] == TOO_MANY_PARTS)?;
    let detail = error.get("detail")?;
    Some((Tal(number(detail, "owed")?), Sequence(number(detail, "settled")?)))
}
