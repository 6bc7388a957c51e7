//! Every error of every door as a status, a stable code and a message for the caller.
//!
//! This is the only file that decides it, without a `_` arm: a new kind of error does not compile until
//! someone has said here what a caller is told. The full chain of causes goes to the log and never to the
//! caller; what is our fault tells the caller its code and nothing of our insides.

mod code;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};

pub(crate) use self::code::Code;
use super::contain::Panicked;
use super::control::ControlError;
use super::forward::{ForwardError, HopError};
use super::offer;
use super::parse::BodyError;
use super::{ReplyBody, full};
use crate::auth::{AuthorizeError, Offer, RequestError};
use crate::call::CallError;
use crate::chain::RecordError;
use crate::chain::channels::ChannelError;
use crate::executor::{CompileError, ExecuteError, LoadError, PrepareError, Refusal};
use crate::ledger::{LedgerReadError, SubmitError};
use crate::purse::PurseError;
use crate::registry::{OrderError, ResolveError};
use crate::store::{ReadError, ShelfError};
use crate::supply::BringError;
use crate::till::{BillsError, CollectError, EvidenceError, VoucherError};
use talea_ledger::VerifyError;
use talea_ledger::cover::Refusal as Refused;
use talea_ledger::transaction::CarriedError;

/// An error of any door.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Authorize(#[from] AuthorizeError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Order(#[from] OrderError),
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What is kept beside a receipt could not be read, or does not hold together.
    #[error("what is kept of a receipt cannot be used")]
    Kept(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Submit(#[from] SubmitError),
    #[error(transparent)]
    Voucher(#[from] VoucherError),
    #[error(transparent)]
    Collect(#[from] CollectError),
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// More requests under way than the bound.
    #[error("too many requests are under way")]
    Overloaded,
    /// The node is being stopped.
    #[error("the node is stopping")]
    Stopping,
    #[error(transparent)]
    Bring(#[from] BringError),
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// The ledger has not caught up with its peers.
    #[error("the ledger is not yet as far as its peers'")]
    NotInStep,
    /// A write failed, and nothing can be recorded until a restart.
    #[error("the journal takes no more receipts")]
    NotWriting,
    /// A task that may wait for the disk ended badly.
    #[error("a task ended badly")]
    Task(#[from] tokio::task::JoinError),
    /// A view could not be made.
    #[error("a view could not be made: {0}")]
    View(String),
    /// A panic of ours.
    #[error("a panic: {0}")]
    Panicked(String),
}

impl From<Panicked> for Fault {
    fn from(panicked: Panicked) -> Self {
        Self::Panicked(panicked.0)
    }
}

impl Fault {
    /// A fault of what is kept beside a receipt.
    pub(super) fn kept(fault: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Kept(Box::new(fault))
    }
}

/// What a caller is told.
#[derive(Debug)]
struct Answer {
    code: Code,
    /// In place of the code's own text: why exactly a module was refused.
    reason: Option<&'static str>,
    /// Empty for faults of ours: the code's own sentence is all that leaves the node.
    message: Option<String>,
    offset: Option<usize>,
    detail: Map<String, Value>,
    retry_after_seconds: Option<u64>,
}

/// The answer to a fault. `resource` is what was asked for; an offer of payment names it.
pub(super) fn respond(fault: &Fault, terms: &Offer, resource: &str) -> Response<ReplyBody> {
    let answer = answer(fault);
    let status = answer.code.status();
    if status.is_server_error() {
        log(fault, answer.code);
    }
    let mut body = json!({ "error": {
        "code": answer.reason.unwrap_or(answer.code.text()),
        "message": answer.message.as_deref().unwrap_or(answer.code.sentence()),
    }});
    if !answer.detail.is_empty() {
        body["error"]["detail"] = Value::Object(answer.detail);
    }
    if let Some(offset) = answer.offset {
        body["error"]["offset"] = json!(offset);
    }
    let mut payment = None;
    if status == StatusCode::PAYMENT_REQUIRED {
        let required = offer::payment_required(terms, resource, answer.code.text(), needed(fault));
        payment = offer::as_header(&required);
        offer::merge(&mut body, required);
    }
    let mut response = json_response(status, &body);
    let headers = response.headers_mut();
    if let Some(payment) = payment {
        headers.insert(offer::HEADER, payment);
    }
    if let Some(seconds) = answer.retry_after_seconds.or(default_retry(status)) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Fault::Control(ControlError::MethodUnknown { allowed }) = fault {
        headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
    }
    response
}

/// A whole answer as text, for a connection that is refused before HTTP is spoken on it.
pub(super) fn raw_overloaded() -> String {
    raw(Code::Overloaded, "retry-after: 1\r\n")
}

/// A whole answer as text, for a client whose head did not come in time.
pub(super) fn raw_timeout() -> String {
    raw(Code::RequestTimeout, "")
}

fn raw(code: Code, more: &str) -> String {
    let body = json!({ "error": { "code": code.text(), "message": code.sentence() } }).to_string();
    format!(
        "HTTP/1.1 {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{more}connection: close\r\n\r\n{body}",
        code.status(),
        body.len(),
    )
}

/// A JSON document as an answer.
pub(super) fn json_response(status: StatusCode, body: &Value) -> Response<ReplyBody> {
    let mut response = Response::new(full(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn default_retry(status: StatusCode) -> Option<u64> {
    let is_passing =
        status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS;
    is_passing.then_some(1)
}

/// What a payer must be ready to pay, if the fault says it.
fn needed(fault: &Fault) -> Option<u64> {
    match fault {
        Fault::Authorize(
            AuthorizeError::CapLow { needed, .. }
            | AuthorizeError::NotCovered(Refused::CapLow { needed, .. }),
        ) => Some(needed.0),
        // What is owed and under way already is part of it: what lacks is what has to be added.
        Fault::Authorize(AuthorizeError::NotCovered(Refused::NotCovered { needed, covered })) => {
            Some(needed.0.saturating_sub(covered.0))
        }
        _ => None,
    }
}

/// The chain of causes, for the log alone.
fn log(fault: &Fault, code: Code) {
    let mut chain = fault.to_string();
    let mut cause = std::error::Error::source(fault);
    while let Some(next) = cause {
        chain.push_str(": ");
        chain.push_str(&next.to_string());
        cause = next.source();
    }
    if code.status() == StatusCode::SERVICE_UNAVAILABLE {
        tracing::warn!(code = code.text(), %chain, "a request could not be served now");
    } else {
        tracing::error!(code = code.text(), %chain, "a request failed by a fault of ours");
    }
}

// === impl Answer ===

impl Answer {
    fn ours(code: Code) -> Self {
        let detail = Map::new();
        Self { code, reason: None, message: None, offset: None, detail, retry_after_seconds: None }
    }

    fn theirs(code: Code, fault: &dyn std::fmt::Display) -> Self {
        Self { message: Some(fault.to_string()), ..Self::ours(code) }
    }

    fn with(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.detail.insert(key.to_owned(), Value::String(value.to_string()));
        self
    }
}

fn answer(fault: &Fault) -> Answer {
    match fault {
        Fault::Call(fault) => of_call(fault),
        Fault::Authorize(fault) => of_authorize(fault),
        Fault::Request(fault) => of_request(fault),
        Fault::Resolve(fault) => of_resolve(fault),
        Fault::Body(fault) => of_body(fault),
        Fault::Order(fault) => of_order(fault),
        Fault::Execute(fault) => of_execute(fault),
        Fault::Prepare(fault) => of_prepare(fault),
        Fault::Record(fault) => of_record(fault),
        Fault::Read(_) | Fault::Kept(_) => Answer::ours(Code::StorageUnavailable),
        Fault::Control(fault) => of_control(fault),
        Fault::Submit(fault) => of_submit(fault),
        Fault::Voucher(fault) => of_voucher(fault),
        Fault::Collect(fault) => of_collect(fault),
        Fault::Evidence(fault) => of_evidence(fault),
        Fault::Overloaded => Answer::ours(Code::Overloaded),
        Fault::Stopping => Answer::ours(Code::ShuttingDown),
        Fault::Bring(fault) => of_bring(fault),
        Fault::Forward(fault) => of_forward(fault),
        Fault::NotInStep => Answer::ours(Code::NotInStep),
        Fault::NotWriting => Answer::ours(Code::StorageUnavailable),
        Fault::View(_) | Fault::Task(_) | Fault::Panicked(_) => Answer::ours(Code::Internal),
    }
}

fn of_bring(fault: &BringError) -> Answer {
    match fault {
        BringError::Absent(_) | BringError::Off(_) => Answer::theirs(Code::FunctionUnknown, fault),
        BringError::Withheld { .. } => Answer::theirs(Code::FunctionUnreachable, fault),
        BringError::Busy => Answer::ours(Code::Overloaded),
        BringError::Full { .. } => Answer::ours(Code::StorageFull),
        BringError::Prepare(fault) => of_prepare(fault),
        BringError::Shelf(_) => Answer::ours(Code::StorageUnavailable),
        BringError::Task(_) => Answer::ours(Code::Internal),
    }
}

/// What became of a call that was to be passed on. The other host is named; what it said of itself is not.
fn of_forward(fault: &ForwardError) -> Answer {
    let theirs = |code| Answer::theirs(code, fault);
    match fault {
        ForwardError::Unpaid => theirs(Code::PaymentRequired),
        ForwardError::Twice => theirs(Code::ForwardedAlready),
        ForwardError::NoHost => theirs(Code::ForwardNoHost),
        ForwardError::Stale { .. } => theirs(Code::ForwardStale),
        ForwardError::Purse(
            PurseError::Budget { .. } | PurseError::Lock(_) | PurseError::Late(_),
        ) => Answer::ours(Code::ForwardUnfunded),
        ForwardError::Purse(PurseError::Shelf(_)) | ForwardError::Ledger(_) => {
            Answer::ours(Code::StorageUnavailable)
        }
        ForwardError::Purse(PurseError::Task(_)) | ForwardError::Task(_) => {
            Answer::ours(Code::Internal)
        }
        ForwardError::Hop { host, source } => {
            let code = match source {
                HopError::Late => Code::ForwardLate,
                HopError::Unreachable(_) | HopError::Broken(_) => Code::ForwardUnreachable,
                HopError::TooLong | HopError::Meaning(_) | HopError::Request(_) => {
                    Code::ForwardUnfit
                }
                HopError::Refused(..) => Code::ForwardRefused,
            };
            theirs(code).with("host", host)
        }
        ForwardError::Refused { host, code, .. } => {
            theirs(Code::ForwardRefused).with("host", host).with("reason", code)
        }
        ForwardError::Unfit { host, .. } => theirs(Code::ForwardUnfit).with("host", host),
    }
}

fn of_call(fault: &CallError) -> Answer {
    let code = match fault {
        CallError::TargetTooLong { .. } => Code::TargetTooLong,
        CallError::TargetUnreadable { .. } => Code::TargetInvalid,
        CallError::MethodRefused { .. } => Code::MethodNotAllowed,
        CallError::Header { .. } => Code::HeaderInvalid,
    };
    Answer::theirs(code, fault)
}

fn of_authorize(fault: &AuthorizeError) -> Answer {
    use AuthorizeError as E;
    let theirs = |code| Answer::theirs(code, fault);
    match fault {
        E::RunUnreadable(decode) => {
            Answer { offset: Some(decode.offset), ..theirs(Code::RunMalformed) }
        }
        E::RunUnverified(_) => theirs(Code::SignatureInvalid),
        E::NetworkForeign { .. } => theirs(Code::NetworkForeign),
        E::HostForeign { given, ours } => {
            theirs(Code::HostForeign).with("given", given).with("host", ours)
        }
        E::SessionUnreadable(decode) => {
            Answer { offset: Some(decode.offset), ..theirs(Code::SignatureMalformed) }
        }
        E::SessionUnverified(_) => theirs(Code::SignatureInvalid),
        E::ChannelUnknown(channel) => theirs(Code::ChannelUnknown).with("channel", channel),
        E::NotCovered(refusal) => of_cover(fault, refusal),
        E::Expired { .. } => theirs(Code::RunExpired),
        E::ClockFar { .. } => theirs(Code::RunClock),
        E::PaymentRequired | E::PaymentMissing => theirs(Code::PaymentRequired),
        E::PayerUnknown { .. } => theirs(Code::PayerUnknown),
        E::PriceLow { part, given, ours } => {
            theirs(Code::PriceLow).with("part", part).with("given", given).with("needed", ours)
        }
        E::LimitHigh { part, given, ours } => {
            theirs(Code::LimitHigh).with("part", part).with("given", given).with("allowed", ours)
        }
        E::ProfileUnknown { .. } => theirs(Code::ProfileUnknown),
        E::CapLow { given, needed } => {
            theirs(Code::CapLow).with("given", given.0).with("needed", needed.0)
        }
        E::CreditSpent { owed, reserved, cap, credit } => theirs(Code::CreditSpent)
            .with("owed", owed.0)
            .with("reserved", reserved.0)
            .with("cap", cap.0)
            .with("credit", credit.0),
        E::SequenceUsed { sequence, run: Some(run) } => {
            theirs(Code::SequenceUsed).with("sequence", sequence).with("run", run)
        }
        E::SequenceUsed { sequence, run: None } => {
            theirs(Code::SequenceUsed).with("sequence", sequence)
        }
        E::SequenceBeyond { most, .. } => theirs(Code::SequenceBeyond).with("most", most),
        E::RateLimited { retry_after } => {
            let seconds = retry_after.as_secs_f64().ceil() as u64;
            Answer { retry_after_seconds: Some(seconds.max(1)), ..theirs(Code::RateLimited) }
        }
        E::Channels(_) => Answer::ours(Code::StorageUnavailable),
    }
}

/// What the channel does not pay for, and what it would take.
fn of_cover(fault: &AuthorizeError, refusal: &Refused) -> Answer {
    use Refused as R;
    let theirs = |code| Answer::theirs(code, fault);
    match refusal {
        R::WrongNetwork { .. } => theirs(Code::NetworkForeign),
        R::Unpaid => theirs(Code::PaymentRequired),
        R::WrongChannel { .. } => theirs(Code::ChannelForeign),
        R::WrongHost { found } => theirs(Code::HostForeign).with("given", found),
        R::WrongPayer { payer, found } => {
            theirs(Code::PayerForeign).with("payer", payer).with("given", found)
        }
        R::Expired(_) => theirs(Code::RunExpired),
        R::SequenceUsed(sequence) => theirs(Code::SequenceUsed).with("sequence", sequence),
        R::SequenceWindow { first, last, .. } => {
            theirs(Code::SequenceBeyond).with("least", first).with("most", last)
        }
        R::PriceLow { part, found, least } => {
            theirs(Code::PriceLow).with("part", part).with("given", found).with("needed", least)
        }
        R::CapLow { cap, needed } => {
            theirs(Code::CapLow).with("given", cap.0).with("needed", needed.0)
        }
        R::NotCovered { needed, covered } => {
            theirs(Code::EscrowLow).with("needed", needed.0).with("covered", covered.0)
        }
        R::Watermark { unvouched, watermark } => theirs(Code::VoucherRequired)
            .with("unvouched", unvouched.0)
            .with("watermark", watermark.0),
        R::NearDeadline(slot) => theirs(Code::ChannelEnding).with("slot", slot),
        R::SessionScope(_) => theirs(Code::SessionScope),
        R::SessionExpired(expires) => theirs(Code::SessionExpired).with("expires", expires),
        R::SessionRevoked => theirs(Code::SessionRevoked),
        R::SessionTotal { total, needed } => {
            theirs(Code::SessionSpent).with("total", total.0).with("needed", needed.0)
        }
    }
}

fn of_request(fault: &RequestError) -> Answer {
    let theirs = |code| Answer::theirs(code, fault);
    match fault {
        RequestError::Header(fault) => of_call(fault),
        RequestError::Missing { .. } => theirs(Code::SignatureMissing),
        RequestError::Unreadable(decode) => {
            Answer { offset: Some(decode.offset), ..theirs(Code::SignatureMalformed) }
        }
        RequestError::Unverified(_) => theirs(Code::SignatureInvalid),
        RequestError::NetworkForeign { .. } => theirs(Code::NetworkForeign),
        RequestError::Differs { part } => theirs(Code::SignatureForeign).with("part", part),
        RequestError::Stale { .. } => theirs(Code::SignatureStale),
        RequestError::NotPermitted { .. } => theirs(Code::NotPermitted),
        RequestError::Registration(_) => theirs(Code::RegistrationInvalid),
    }
}

fn of_resolve(fault: &ResolveError) -> Answer {
    let theirs = |code| Answer::theirs(code, fault);
    match fault {
        ResolveError::FunctionUnknown(_) => theirs(Code::FunctionUnknown),
        ResolveError::NameUnknown(_) => theirs(Code::NameUnknown),
        ResolveError::NotGranted(_) => theirs(Code::NotPermitted),
        ResolveError::FunctionForeign { given, asked, .. } => {
            theirs(Code::FunctionForeign).with("given", given).with("asked", asked)
        }
        ResolveError::CgiDiffers { .. } => theirs(Code::RunMalformed),
        ResolveError::LimitHigh { part, given, ours } => {
            theirs(Code::LimitHigh).with("part", part).with("given", given).with("allowed", ours)
        }
        ResolveError::RoyaltyLow { given, needed } => {
            theirs(Code::RoyaltyLow).with("given", given).with("needed", needed)
        }
        ResolveError::Functions(_) => Answer::ours(Code::StorageUnavailable),
    }
}

fn of_body(fault: &BodyError) -> Answer {
    let theirs = |code| Answer::theirs(code, fault);
    match fault {
        BodyError::TooLarge { max } => theirs(Code::BodyTooLarge).with("max", max),
        BodyError::ModuleTooLarge { max } => theirs(Code::ModuleTooLarge).with("max", max),
        BodyError::TimedOut => theirs(Code::RequestTimeout),
        BodyError::Broken(_) => theirs(Code::BodyBroken),
        BodyError::NoRoom => Answer::ours(Code::Overloaded),
    }
}

fn of_order(fault: &OrderError) -> Answer {
    let theirs = |code| Answer::theirs(code, fault);
    match fault {
        OrderError::HeaderNotText { .. } => theirs(Code::HeaderInvalid),
        OrderError::Message(_) => theirs(Code::InputInvalid),
        OrderError::InputForeign { given, made } => {
            theirs(Code::InputForeign).with("given", given).with("made", made)
        }
        OrderError::LengthForeign { .. } => theirs(Code::InputForeign),
        OrderError::SaltUnknown => theirs(Code::HeaderInvalid),
    }
}

fn of_execute(fault: &ExecuteError) -> Answer {
    let theirs = |code| Answer::theirs(code, fault);
    match fault {
        ExecuteError::Saturated => Answer::ours(Code::Overloaded),
        ExecuteError::FunctionMissing(_) => theirs(Code::FunctionUnknown),
        ExecuteError::ProfileUnknown(_) => theirs(Code::ProfileUnknown),
        ExecuteError::Refused { refusal, .. } => of_refusal(refusal),
        ExecuteError::Load { error, .. } => of_load(error),
        ExecuteError::Deadline => Answer::ours(Code::WallTime),
        // A free caller that went away hears nothing; who hears this asked a node that is stopping.
        ExecuteError::Cancelled => Answer::ours(Code::ShuttingDown),
        ExecuteError::Disagreement { .. }
        | ExecuteError::NativeStack
        | ExecuteError::Engine { .. }
        | ExecuteError::Panicked => Answer::ours(Code::EngineFault),
    }
}

fn of_load(fault: &LoadError) -> Answer {
    match fault {
        LoadError::Missing => Answer::ours(Code::FunctionUnknown),
        LoadError::Refused(refusal) => of_refusal(refusal),
        LoadError::Compile(fault) => of_compile(fault),
        LoadError::Damaged | LoadError::Source(_) => Answer::ours(Code::StorageUnavailable),
        LoadError::Engine(_) | LoadError::Panicked => Answer::ours(Code::EngineFault),
    }
}

/// A module that a bounded compiler cannot compile is the module's fault, whatever run wanted it.
fn of_compile(fault: &CompileError) -> Answer {
    match fault {
        CompileError::TooSlow(_) | CompileError::Died | CompileError::Failed(_) => {
            Answer::theirs(Code::ModuleTooCostly, fault)
        }
        CompileError::Start(_) => Answer::ours(Code::EngineFault),
    }
}

fn of_prepare(fault: &PrepareError) -> Answer {
    match fault {
        PrepareError::Refused(refusal) => of_refusal(refusal),
        PrepareError::WrongFunction(_) => Answer::ours(Code::Internal),
        PrepareError::Execute(fault) => of_execute(fault),
    }
}

fn of_refusal(refusal: &Refusal) -> Answer {
    Answer {
        reason: Some(refusal.reason.code()),
        offset: refusal.offset,
        ..Answer::theirs(Code::ModuleRefused, refusal)
    }
}

fn of_record(fault: &RecordError) -> Answer {
    let theirs = |code| Answer::theirs(code, fault);
    match fault {
        RecordError::Busy => Answer::ours(Code::Overloaded),
        RecordError::Closed => Answer::ours(Code::ShuttingDown),
        RecordError::Latched(_) | RecordError::Store(_) => Answer::ours(Code::StorageUnavailable),
        RecordError::Full => Answer::ours(Code::StorageFull),
        RecordError::Conflict(Some(receipt)) => theirs(Code::SequenceUsed).with("receipt", receipt),
        RecordError::Conflict(None) => theirs(Code::SequenceUsed),
        RecordError::Channel(fault) => of_channel(fault),
    }
}

fn of_submit(fault: &SubmitError) -> Answer {
    let theirs = |code| Answer::theirs(code, fault);
    match fault {
        SubmitError::Busy => Answer::ours(Code::Overloaded),
        SubmitError::Closed => Answer::ours(Code::ShuttingDown),
        SubmitError::Latched(_) => Answer::ours(Code::StorageUnavailable),
        SubmitError::Refused(why) => {
            let code = match why.as_str() {
                // The pool's own bounds pass.
                "pool-full" | "pool-busy" => Code::Overloaded,
                "sender-full" => Code::RateLimited,
                "bad-signature" | "wrong-signer" => Code::SignatureInvalid,
                "wrong-network" => Code::NetworkForeign,
                _ => Code::TransactionRefused,
            };
            theirs(code).with("reason", why.as_str())
        }
    }
}

fn of_channel(fault: &ChannelError) -> Answer {
    let theirs = |code| Answer::theirs(code, fault);
    match fault {
        ChannelError::Used(_) => theirs(Code::SequenceUsed),
        ChannelError::Overflow => theirs(Code::CreditSpent),
        ChannelError::TooMany => Answer::ours(Code::StorageFull),
    }
}

fn of_control(fault: &ControlError) -> Answer {
    let theirs = |code| Answer::theirs(code, fault);
    match fault {
        ControlError::RouteUnknown => theirs(Code::RouteUnknown),
        ControlError::MethodUnknown { .. } => theirs(Code::MethodNotAllowed),
        ControlError::Query { .. } => theirs(Code::QueryInvalid),
        ControlError::ReceiptUnknown => theirs(Code::ReceiptUnknown),
        ControlError::FunctionUnreadable(_) => theirs(Code::TargetInvalid),
        ControlError::ChannelUnknown(channel) => {
            theirs(Code::ChannelNotFound).with("channel", channel)
        }
        ControlError::ProfileUnknown(_) => theirs(Code::ProfileNotFound),
        ControlError::OutputGone { receipt } => theirs(Code::OutputGone).with("receipt", receipt),
        ControlError::Unreadable { .. } => theirs(Code::TargetInvalid),
        ControlError::LedgerUnknown(what) => theirs(Code::LedgerUnknown).with("what", what),
        ControlError::NotProvable => theirs(Code::NotProvable),
        ControlError::Ledger(
            LedgerReadError::Lookup(_)
            | LedgerReadError::Log(_)
            | LedgerReadError::Damaged { .. }
            | LedgerReadError::Block(_),
        ) => Answer::ours(Code::StorageUnavailable),
        ControlError::NotReader { .. } => theirs(Code::NotPermitted),
        ControlError::Shelf(fault) => of_shelf(fault),
        ControlError::Logs(_) => Answer::ours(Code::StorageUnavailable),
    }
}

fn of_voucher(fault: &VoucherError) -> Answer {
    let theirs = |code| Answer::theirs(code, fault);
    match fault {
        VoucherError::Unreadable { source, .. } => {
            Answer { offset: Some(source.offset), ..theirs(Code::SignatureMalformed) }
        }
        VoucherError::Unverified { .. } => theirs(Code::SignatureInvalid),
        VoucherError::NetworkForeign { .. } => theirs(Code::NetworkForeign),
        VoucherError::ChannelUnknown(channel) => {
            theirs(Code::ChannelNotFound).with("channel", channel)
        }
        VoucherError::HostForeign(host) => theirs(Code::HostForeign).with("given", host),
        VoucherError::Ended(slot) => theirs(Code::ChannelEnded).with("slot", slot),
        VoucherError::PayerForeign { payer, found } => {
            theirs(Code::PayerForeign).with("payer", payer).with("given", found)
        }
        VoucherError::SessionScope(_) => theirs(Code::SessionScope),
        VoucherError::SessionExpired(expires) => {
            theirs(Code::SessionExpired).with("expires", expires)
        }
        VoucherError::SessionRevoked(until) => theirs(Code::SessionRevoked).with("slot", until),
        VoucherError::SessionSpent { total, needed } => {
            theirs(Code::SessionSpent).with("total", total.0).with("needed", needed.0)
        }
        VoucherError::Backwards { owed, settled } => {
            theirs(Code::VoucherBackwards).with("owed", owed.0).with("settled", settled)
        }
        VoucherError::Ahead { owed, .. } => theirs(Code::VoucherAhead).with("owed", owed.0),
        VoucherError::Settles { least, most, .. } => {
            theirs(Code::VoucherSettles).with("least", least).with("most", most)
        }
        VoucherError::Parts { owed, settled } => {
            theirs(Code::VoucherParts).with("owed", owed.0).with("settled", settled)
        }
        VoucherError::Bills(fault) => of_bills(fault),
        VoucherError::Shelf(_) => Answer::ours(Code::StorageUnavailable),
    }
}

fn of_bills(fault: &BillsError) -> Answer {
    match fault {
        BillsError::Parts(_) => Answer::theirs(Code::VoucherParts, fault),
        BillsError::Journal(_) | BillsError::Run(_) => Answer::ours(Code::StorageUnavailable),
    }
}

fn of_collect(fault: &CollectError) -> Answer {
    let theirs = |code| Answer::theirs(code, fault);
    match fault {
        CollectError::ChannelUnknown(channel) => {
            theirs(Code::ChannelNotFound).with("channel", channel)
        }
        CollectError::NothingOwed(_) => theirs(Code::NothingOwed),
        CollectError::Busy => Answer::ours(Code::Overloaded),
        CollectError::Refused(code) => theirs(Code::RedeemRefused).with("reason", code),
        CollectError::Bills(fault) => of_bills(fault),
        CollectError::Shelf(_) => Answer::ours(Code::StorageUnavailable),
        CollectError::Closed => Answer::ours(Code::ShuttingDown),
    }
}

fn of_evidence(fault: &EvidenceError) -> Answer {
    let theirs = |code| Answer::theirs(code, fault);
    match fault {
        EvidenceError::Unreadable(decode) => {
            Answer { offset: Some(decode.offset), ..theirs(Code::SignatureMalformed) }
        }
        EvidenceError::Unproven(fault) => {
            let code = match fault {
                CarriedError::NoFraud => Code::FraudUnproven,
                CarriedError::Verify { source: VerifyError::Network { .. }, .. } => {
                    Code::NetworkForeign
                }
                _ => Code::SignatureInvalid,
            };
            theirs(code).with("reason", fault.code())
        }
        EvidenceError::Full => Answer::ours(Code::StorageFull),
        EvidenceError::Shelf(_) => Answer::ours(Code::StorageUnavailable),
    }
}

fn of_shelf(fault: &ShelfError) -> Answer {
    let theirs = |code| Answer::theirs(code, fault);
    match fault {
        ShelfError::FunctionTaken { owner, .. } => theirs(Code::FunctionTaken).with("owner", owner),
        ShelfError::NameTaken { owner, .. } => theirs(Code::NameTaken).with("owner", owner),
        ShelfError::Outdated(_) => theirs(Code::RegistrationOld),
        ShelfError::Database(_) | ShelfError::Io(_) | ShelfError::Damaged(_) => {
            Answer::ours(Code::StorageUnavailable)
        }
    }
}

#[cfg(test)]
mod tests;
