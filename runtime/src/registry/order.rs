//! `Plan` + body -> `Order`: the input document, the run, and what the executor is given.
//!
//! Invariant: an order's run names its input by CID. A paid run was signed over that CID, so the document
//! made here from the request must be the one that the payer made, or the order is refused.

use std::sync::LazyLock;

use bytes::Bytes;
use http::HeaderMap;
use talea_ledger::message::{
    self, HeaderName, HeaderValue, Headers, MessageError, Method, Path, Query,
};
use talea_ledger::{BodyId, Document as _, Input, InputId, Price, PublicKey, Run, Sealed};

use super::{Account, Plan, Registry};
use crate::auth::PaidRun;
use crate::call::SaltWish;
use crate::executor::Invocation;

/// Most calls have no body, and a hash costs as much as the rest of this step.
static NO_BODY: LazyLock<BodyId> = LazyLock::new(|| BodyId::of(&[]));

/// Everything about one run but its execution. Only `Registry::order` makes one.
#[derive(Debug)]
pub struct Order {
    run: Run,
    run_payload: Bytes,
    run_sealed: Option<Sealed>,
    input: Input,
    input_payload: Bytes,
    body: Bytes,
    payer: Option<Box<PaidRun>>,
    cgi: bool,
}

/// Why a request is not what it should be, once its body is known.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// Documents carry ASCII text.
    #[error("the header `{name}` is given to the function and is not plain ASCII text")]
    HeaderNotText {
        /// Which.
        name: String,
    },
    /// Some part is longer than a document holds, or of another form.
    #[error("the request does not fit an input document: {0}")]
    Message(#[from] MessageError),
    /// The payer signed for another input.
    #[error("the run is for input {given}; this request makes {made}")]
    InputForeign {
        /// In the run.
        given: InputId,
        /// Of this request.
        made: InputId,
    },
    /// The payer signed for another body length.
    #[error("the run is for a body of {given} bytes; this one has {made}")]
    LengthForeign {
        /// In the run.
        given: u64,
        /// Of this request.
        made: u64,
    },
    /// A paid call cannot leave the salt to the node.
    #[error("a paid call must name its salt: its run is signed over the input document")]
    SaltUnknown,
}

impl Registry {
    /// Makes the order of a plan and the body that came with the call.
    pub fn order(&self, plan: Plan, body: Bytes) -> Result<Order, OrderError> {
        let Plan { call, function, limits, account } = plan;
        let registration = &function.registration;
        let body_id = if body.is_empty() { *NO_BODY } else { BodyId::of(&body) };
        let body_len = body.len() as u64;
        let salt = match (call.salt(), &account) {
            (SaltWish::None, _) => None,
            (SaltWish::Given(salt), _) => Some(salt),
            (SaltWish::Random, Account::Node { salt, .. }) => Some(*salt),
            (SaltWish::Random, Account::Payer(_)) => return Err(OrderError::SaltUnknown),
        };
        let input = Input {
            method: Method::try_from(call.method().as_str())?,
            path: Path::try_from(call.path())?,
            query: Query::try_from(call.query())?,
            headers: shown(call.headers(), &registration.headers)?,
            args: message::arguments(call.args().iter().map(String::as_str))?,
            body: body_id,
            body_len,
            salt,
        };
        let input_payload = Bytes::from(input.encode());
        let made = InputId::of(&input_payload);
        match account {
            Account::Node { seed, .. } => {
                let run = Run {
                    network: self.offer.network,
                    function: registration.function,
                    input: made,
                    input_len: body_len,
                    profile: self.offer.profile,
                    clock: call.at(),
                    seed,
                    cgi: registration.cgi,
                    fuel_limit: limits.fuel,
                    memory_limit: limits.memory,
                    output_limit: limits.output,
                    log_limit: limits.log,
                    // Nobody signed, so nothing may be billed: a re-run of the receipt must find 0 too.
                    price: Price::FREE,
                    payment: None,
                };
                let run_payload = Bytes::from(run.encode());
                let (run_sealed, payer, cgi) = (None, None, registration.cgi);
                Ok(Order { run, run_payload, run_sealed, input, input_payload, body, payer, cgi })
            }
            Account::Payer(paid) => {
                let run = paid.run().clone();
                if run.input_len != body_len {
                    return Err(OrderError::LengthForeign { given: run.input_len, made: body_len });
                }
                if run.input != made {
                    return Err(OrderError::InputForeign { given: run.input, made });
                }
                let (run_payload, sealed) = paid.carried();
                let (run_sealed, payer, cgi) = (Some(sealed), Some(paid), registration.cgi);
                Ok(Order { run, run_payload, run_sealed, input, input_payload, body, payer, cgi })
            }
        }
    }
}

/// The headers that a registration names, in its order. Several lines of one name are joined by a comma,
/// as RFC 9110 section 5.3 has it.
fn shown(headers: &HeaderMap, names: &[HeaderName]) -> Result<Headers, OrderError> {
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        let mut values = headers.get_all(name.as_str()).iter();
        let Some(first) = values.next() else { continue };
        let not_text = || OrderError::HeaderNotText { name: name.to_string() };
        let mut joined = first.to_str().map_err(|_| not_text())?.to_owned();
        for value in values {
            joined.push_str(", ");
            joined.push_str(value.to_str().map_err(|_| not_text())?);
        }
        found.push((name.clone(), HeaderValue::try_from(joined)?));
    }
    Ok(Headers::new(found)?)
}

// === impl Order ===

impl Order {
    /// What the executor is given. Bodies are shared, not copied.
    pub fn invocation(&self) -> Invocation {
        Invocation {
            function: self.run.function,
            profile: self.run.profile,
            input: self.input.clone(),
            body: self.body.clone(),
            clock: self.run.clock,
            seed: self.run.seed,
            limits: crate::executor::RunLimits {
                fuel: self.run.fuel_limit,
                memory: self.run.memory_limit,
                output: self.run.output_limit,
                log: self.run.log_limit,
            },
            cgi: self.cgi,
            free: self.payer.is_none(),
        }
    }

    /// Who pays.
    pub fn payer(&self) -> Option<PublicKey> {
        self.payer.as_ref().map(|paid| paid.payer())
    }

    /// The run.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// The input document.
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// The input's body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The input document's bytes.
    pub fn input_payload(&self) -> &Bytes {
        &self.input_payload
    }

    /// The run's bytes.
    pub fn run_payload(&self) -> &Bytes {
        &self.run_payload
    }

    /// The pieces that are recorded, and the payer's cover, which must be held until they are.
    pub fn into_parts(self) -> OrderParts {
        OrderParts {
            payer: self.payer(),
            run: self.run,
            run_payload: self.run_payload,
            run_sealed: self.run_sealed,
            input: self.input,
            input_payload: self.input_payload,
            body: self.body,
            cover: self.payer,
        }
    }
}

/// An order taken apart, to be recorded.
#[derive(Debug)]
pub struct OrderParts {
    /// The run.
    pub run: Run,
    /// Its bytes.
    pub run_payload: Bytes,
    /// The envelope that the payer sent it in.
    pub run_sealed: Option<Sealed>,
    /// The input document.
    pub input: Input,
    /// Its bytes.
    pub input_payload: Bytes,
    /// The input's body.
    pub body: Bytes,
    /// Who pays.
    pub payer: Option<PublicKey>,
    /// Dropped only when the run's receipt is recorded, or never will be.
    pub cover: Option<Box<PaidRun>>,
}
