//! What a transaction carries beside its own signature: vouchers, grants, runs, receipts, batches. Checked once,
//! without any state; the rules then compare the outcome with the state.

use crate::audit;
use crate::batch::{self, Batch};
use crate::codec::{DecodeError, Document as _};
use crate::fraud::{self, Fraud};
use crate::id::{
    BodyId, ChannelId, FunctionId, InputId, NetworkId, PublicKey, ReceiptId, SessionId,
};
use crate::input::Input;
use crate::receipt::Receipt;
use crate::run::Run;
use crate::session::Session;
use crate::sign::{Sealed, Verified, VerifyError};
use crate::units::{Ppm, Sequence, Tal, UnixNanos};
use crate::voucher::Voucher;

use super::{
    ANSWER_BODY_MAX, Action, Answer, Bill, ProvenReceipt, Redeem, RedeemBatch, ReportFraud,
    Transaction,
};

/// What was found to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carried {
    /// The action carries nothing.
    None,
    /// A voucher and who signed it.
    Voucher(Voucher, Signer),
    /// Bills of one host and channel.
    Bills(Bills),
    /// The receipt whose input was given.
    Answer(ReceiptId),
    /// What two receipts prove.
    Fraud(Fraud),
}

/// Who signed a voucher or run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signer {
    /// The payer.
    Payer(PublicKey),
    /// A session key, with the payer's grant.
    Session(SessionId, Box<Session>),
}

/// The bills of a redeem by batch: of one host and channel, each proven, none twice, none overlapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bills {
    items: Vec<ProvenBill>,
    /// The grants that are used, by their place in [`ProvenBill::grant`].
    grants: Vec<(SessionId, Session)>,
}

/// One bill with its run's and receipt's say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProvenBill {
    /// The run's number.
    pub sequence: Sequence,
    /// What it costs, by the rule of the price and below the run's cap.
    pub amount: Tal,
    /// The function.
    pub function: FunctionId,
    /// The author's share.
    pub royalty: Ppm,
    /// Who signed the run.
    pub signer: PublicKey,
    /// Which of the grants covers the signer, if it is a session key.
    pub grant: Option<usize>,
    /// The receipt.
    pub receipt: ReceiptId,
}

/// Why what a transaction carries does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CarriedError {
    /// A signature or proof.
    #[error("{part}: {source}")]
    Verify {
        /// Of what.
        part: &'static str,
        /// Why.
        #[source]
        source: VerifyError,
    },
    /// A part that is no document.
    #[error("{part}: {source}")]
    Malformed {
        /// Which.
        part: &'static str,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// The grant is for another key, or does not cover what was signed under it.
    #[error("the session does not cover this: {0}")]
    Session(&'static str),
    /// No bills, or bills that are not in order of their sequences.
    #[error("bills stand in ascending order of their sequences, each once, at least one")]
    BillOrder,
    /// A batch or grant that no bill needs.
    #[error("a {0} that no bill needs")]
    Unused(&'static str),
    /// A bill names a batch that is not there.
    #[error("bill {0} lies in no batch of the transaction")]
    BatchMissing(Sequence),
    /// The receipt says otherwise than its run.
    #[error("the receipt of sequence {sequence} differs from its run in {field}")]
    Differs {
        /// Whose.
        sequence: Sequence,
        /// In what.
        field: audit::Field,
    },
    /// A run without payment, or of another channel.
    #[error("a bill is not of this channel")]
    Channel,
    /// A receipt or batch of another host than the sender.
    #[error("a receipt is of another host than the sender")]
    Host,
    /// Two bills overlap in what is owed.
    #[error("two bills count the same money")]
    Overlap,
    /// The answer is not what the receipt names.
    #[error("{0} is not the one that the receipt names")]
    Answer(&'static str),
    /// The receipts contradict nothing.
    #[error("the receipts prove no fraud")]
    NoFraud,
}

impl CarriedError {
    /// The stable text for callers.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Verify { source: VerifyError::Signature(_), .. } => "bad-signature",
            Self::Verify { source: VerifyError::Network { .. }, .. } => "wrong-network",
            Self::Verify { source: VerifyError::Proof(_), .. } => "bad-proof",
            Self::Verify { .. } | Self::Malformed { .. } => "malformed-part",
            Self::Session(_) => "session-scope",
            Self::BillOrder => "bill-order",
            Self::Unused(_) => "unused-part",
            Self::BatchMissing(_) => "bad-proof",
            Self::Differs { .. } => "receipt-differs",
            Self::Channel => "wrong-channel",
            Self::Host => "wrong-host",
            Self::Overlap => "bills-overlap",
            Self::Answer(_) => "wrong-answer",
            Self::NoFraud => "no-fraud",
        }
    }
}

/// Checks everything that an action carries.
pub(super) fn check(transaction: &Transaction) -> Result<Carried, CarriedError> {
    let network = &transaction.network;
    match &transaction.action {
        Action::Redeem(action) => voucher(action, &transaction.sender, network),
        Action::RedeemBatch(action) => bills(action, &transaction.sender, network),
        Action::Answer(action) => answer(action),
        Action::ReportFraud(action) => fraud(action, network).map(Carried::Fraud),
        _ => Ok(Carried::None),
    }
}

/// What two receipts prove.
pub(super) fn fraud(action: &ReportFraud, network: &NetworkId) -> Result<Fraud, CarriedError> {
    let first = proven("first receipt", &action.first, network)?;
    let second = proven("second receipt", &action.second, network)?;
    fraud::check(&first, &second).ok_or(CarriedError::NoFraud)
}

fn failed(part: &'static str) -> impl Fn(VerifyError) -> CarriedError {
    move |source| CarriedError::Verify { part, source }
}

fn malformed(part: &'static str) -> impl Fn(DecodeError) -> CarriedError {
    move |source| CarriedError::Malformed { part, source }
}

fn grant(sealed: &Sealed, network: &NetworkId) -> Result<(SessionId, Session), CarriedError> {
    let verified = sealed
        .verify::<Session>()
        .and_then(|session| session.on(network))
        .map_err(failed("grant"))?;
    let (session, payload, _) = verified.into_parts();
    Ok((SessionId::of(&payload), session))
}

fn voucher(
    action: &Redeem,
    host: &PublicKey,
    network: &NetworkId,
) -> Result<Carried, CarriedError> {
    let verified = action
        .voucher
        .verify::<Voucher>()
        .and_then(|voucher| voucher.on(network))
        .map_err(failed("voucher"))?;
    let signer = match &action.grant {
        None => Signer::Payer(*verified.signer()),
        Some(sealed) => {
            let (id, session) = grant(sealed, network)?;
            if session.key != *verified.signer() {
                return Err(CarriedError::Session("another key signed"));
            }
            if !session.has_host(host) {
                return Err(CarriedError::Session("not for this host"));
            }
            if !action.split.iter().all(|part| session.has_function(&part.function)) {
                return Err(CarriedError::Session("not for this function"));
            }
            Signer::Session(id, Box::new(session))
        }
    };
    Ok(Carried::Voucher(*verified.document(), signer))
}

fn bills(
    action: &RedeemBatch,
    host: &PublicKey,
    network: &NetworkId,
) -> Result<Carried, CarriedError> {
    let grants: Vec<(SessionId, Session)> =
        action.grants.iter().map(|sealed| grant(sealed, network)).collect::<Result<_, _>>()?;
    let batches: Vec<Verified<Batch>> = action
        .batches
        .iter()
        .map(|sealed| {
            let batch = sealed.verify::<Batch>().and_then(|batch| batch.on(network));
            let batch = batch.map_err(failed("batch"))?;
            if batch.signer() == host { Ok(batch) } else { Err(CarriedError::Host) }
        })
        .collect::<Result<_, _>>()?;
    let mut items: Vec<ProvenBill> = Vec::with_capacity(action.bills.len());
    let mut intervals = Vec::with_capacity(action.bills.len());
    for listed in action.bills.iter() {
        let (bill, owed) = bill(listed, &action.channel, &batches, &grants, network)?;
        if items.last().is_some_and(|last| last.sequence >= bill.sequence) {
            return Err(CarriedError::BillOrder);
        }
        intervals.push((owed.saturating_sub(bill.amount), owed));
        items.push(bill);
    }
    if items.is_empty() {
        return Err(CarriedError::BillOrder);
    }
    let is_needed = |at: usize| action.bills.iter().any(|bill| bill.batch as usize == at);
    if !(0..batches.len()).all(is_needed) {
        return Err(CarriedError::Unused("batch"));
    }
    if !(0..grants.len()).all(|at| items.iter().any(|bill| bill.grant == Some(at))) {
        return Err(CarriedError::Unused("grant"));
    }
    intervals.sort_unstable();
    if intervals.windows(2).any(|pair| matches!(pair, [(_, end), (start, _)] if start < end)) {
        return Err(CarriedError::Overlap);
    }
    Ok(Carried::Bills(Bills { items, grants }))
}

/// Checks one bill: signatures, proof, that run and receipt agree, that the session covers it.
fn bill(
    listed: &Bill,
    channel: &ChannelId,
    batches: &[Verified<Batch>],
    grants: &[(SessionId, Session)],
    network: &NetworkId,
) -> Result<(ProvenBill, Tal), CarriedError> {
    let run = listed.run.verify::<Run>().and_then(|run| run.on(network)).map_err(failed("run"))?;
    let signer = *run.signer();
    let Some(payment) = run.document().payment.as_ref().filter(|pay| pay.channel == *channel)
    else {
        return Err(CarriedError::Channel);
    };
    let sequence = payment.sequence;
    let batch = batches.get(listed.batch as usize).ok_or(CarriedError::BatchMissing(sequence))?;
    let receipt = batch::verify_in(&listed.receipt, listed.index, &listed.path, batch)
        .map_err(failed("receipt"))?;
    let said = receipt.document();
    if let Some(difference) = audit::against_run(said, run.document()) {
        return Err(CarriedError::Differs { sequence, field: difference.field });
    }
    let paid = said.payment.as_ref().ok_or(CarriedError::Channel)?;
    if paid.payer != signer {
        return Err(CarriedError::Differs { sequence, field: audit::Field::Payment });
    }
    let grant = grants.iter().position(|(_, session)| session.key == signer);
    if let Some((_, session)) = grant.and_then(|at| grants.get(at)) {
        within(session, &said.host, &said.function, payment.expires)?;
    }
    let bill = ProvenBill {
        sequence,
        amount: said.bill,
        function: said.function,
        royalty: payment.royalty_ppm,
        signer,
        grant,
        receipt: ReceiptId::of(&listed.receipt),
    };
    Ok((bill, paid.owed))
}

/// Whether a run is within its session.
fn within(
    session: &Session,
    host: &PublicKey,
    function: &FunctionId,
    expires: UnixNanos,
) -> Result<(), CarriedError> {
    if !session.has_host(host) {
        return Err(CarriedError::Session("not for this host"));
    }
    if !session.has_function(function) {
        return Err(CarriedError::Session("not for this function"));
    }
    if expires > session.expires {
        return Err(CarriedError::Session("the run outlives it"));
    }
    Ok(())
}

fn answer(action: &Answer) -> Result<Carried, CarriedError> {
    let receipt = Receipt::decode(&action.receipt).map_err(malformed("receipt"))?;
    let input = Input::decode(&action.input).map_err(malformed("input"))?;
    if InputId::of(&action.input) != receipt.input || input.body_len != receipt.input_len {
        return Err(CarriedError::Answer("the input"));
    }
    match &action.body {
        Some(body) if BodyId::of(body) != input.body || body.len() as u64 != input.body_len => {
            Err(CarriedError::Answer("the body"))
        }
        None if input.body_len <= ANSWER_BODY_MAX as u64 => {
            Err(CarriedError::Answer("a missing body"))
        }
        _ => Ok(Carried::Answer(ReceiptId::of(&action.receipt))),
    }
}

fn proven(
    part: &'static str,
    proven: &ProvenReceipt,
    network: &NetworkId,
) -> Result<Receipt, CarriedError> {
    batch::verify_receipt(&proven.receipt, &proven.proof)
        .and_then(|receipt| receipt.on(network))
        .map(|receipt| receipt.into_parts().0)
        .map_err(failed(part))
}

// === impl Signer ===

impl Signer {
    /// Whose money it is.
    pub fn payer(&self) -> PublicKey {
        match self {
            Self::Payer(key) => *key,
            Self::Session(_, session) => session.payer,
        }
    }
}

// === impl Bills ===

impl Bills {
    /// The bills, by ascending sequence; at least one.
    pub fn items(&self) -> &[ProvenBill] {
        &self.items
    }

    /// The grants that session keys signed under.
    pub fn grants(&self) -> &[(SessionId, Session)] {
        &self.grants
    }

    /// The payer of a bill: who signed its run, or who granted that key its session.
    pub fn payer(&self, bill: &ProvenBill) -> PublicKey {
        bill.grant
            .and_then(|at| self.grants.get(at))
            .map_or(bill.signer, |(_, session)| session.payer)
    }
}
