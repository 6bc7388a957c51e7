//! One invocation, from head to answer. Read this function and you know the data path.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use talea_ledger::message::{Method, Path};
use talea_ledger::{Document as _, FunctionId, Registration, UnixNanos};
use tokio::sync::OwnedSemaphorePermit;

use super::contain::contained;
use super::forward::{self, ForwardError, Forwarder};
use super::reply::{self, Papers, Recorded};
use super::respond::Fault;
use super::{Gateway, ReplyBody, parse, repeat};
use crate::auth::{Admission, Authorized, Caller};
use crate::call::Call;
use crate::chain::{self, Finished, Via};
use crate::config::Forwarding;
use crate::executor::{ExecuteError, Execution};
use crate::registry::{Lacking, Order, OrderParts};

/// Runs a function for a request.
pub(super) async fn invoke(
    gateway: &Arc<Gateway>,
    request: Request<Incoming>,
    peer: IpAddr,
    permit: OwnedSemaphorePermit,
) -> Result<Response<ReplyBody>, Fault> {
    let doors = &gateway.doors;
    let (call, body) = parse::head(request, peer, doors.clock.now())?;
    let (since, wants_receipt) = (call.at(), call.wants_receipt());
    let authorized = match admit(gateway, call).await? {
        Admitted::Run(authorized) => authorized,
        Admitted::Repeat(receipt) => {
            return Box::pin(repeat::repeat(gateway, receipt, wants_receipt)).await;
        }
    };
    let way = Way::of(gateway, &authorized);
    let lacking = match doors.supply.is_some() {
        true => doors.registry.lacking(&authorized)?,
        false => None,
    };
    let elsewhere = match lacking.is_some() || way == Way::Elsewhere {
        true => Box::pin(bring(gateway, lacking, &authorized, way)).await?,
        false => None,
    };
    let (plan, way) = match elsewhere {
        None => (doors.registry.resolve(*authorized)?, way),
        Some(known) => (doors.registry.resolve_elsewhere(*authorized, known)?, Way::Elsewhere),
    };
    // While it is in use it does not give its room to another one.
    let in_use = match &doors.supply {
        Some(supply) => supply.begin(plan.function().registration.function, plan.is_paid()).await?,
        None => None,
    };
    let held = gateway.bodies.read(body, gateway.http.body_len_max).await?;
    let order = Box::new(doors.registry.order(plan, held.bytes.clone())?);
    if order.payer().is_none() {
        let response = carry_out(gateway, order, since, (wants_receipt, Way::Here)).await;
        drop((held, permit, in_use));
        return response;
    }
    // A paid run ends and is recorded even if this connection does not wait for it.
    let owner = gateway.clone();
    let carried = gateway.tasks.outlast(async move {
        let carrying = pin!(carry_out(&owner, order, since, (wants_receipt, way)));
        let carried = contained(carrying).await;
        drop((held, permit, in_use));
        carried
    });
    match carried.await {
        Ok(response) => response,
        Err(panicked) => {
            gateway.metrics.panicked();
            Err(panicked.into())
        }
    }
}

/// What becomes of a call, once nothing is in its way.
enum Admitted {
    Run(Box<Authorized>),
    Repeat(talea_ledger::ReceiptId),
}

/// Where a call may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Here and nowhere else.
    Here,
    /// Here, or elsewhere when it cannot be had here.
    HereFirst,
    /// Here, or elsewhere also when too much runs here.
    HereUnlessBusy,
    /// Elsewhere.
    Elsewhere,
}

impl Way {
    /// What the settings say about a call. One that nobody pays for, or that was passed on once, goes no further.
    fn of(gateway: &Gateway, authorized: &Authorized) -> Self {
        let Some(when) = gateway.forwarder.as_ref().map(Forwarder::when) else { return Self::Here };
        let may =
            matches!(authorized.caller(), Caller::Paid(_)) && !authorized.call().is_forwarded();
        match when {
            // Where nothing runs here, it is refused for that reason.
            Forwarding::Always => Self::Elsewhere,
            _ if !may => Self::Here,
            Forwarding::Never => Self::Here,
            Forwarding::Missing => Self::HereFirst,
            Forwarding::Busy => Self::HereUnlessBusy,
        }
    }
}

/// Brings a function that is not here; or gives its registration, when another host is to run it.
async fn bring(
    gateway: &Arc<Gateway>,
    lacking: Option<Lacking>,
    authorized: &Authorized,
    way: Way,
) -> Result<Option<Registration>, Fault> {
    if way != Way::Elsewhere {
        match gateway.bring(lacking).await {
            // It is here now; or nobody has it, so nobody can run it either.
            Ok(()) => return Ok(None),
            Err(fault) if way == Way::Here => return Err(fault),
            Err(_) => {}
        }
    } else if matches!(authorized.caller(), Caller::Free) {
        return Err(ForwardError::Unpaid.into());
    } else if authorized.call().is_forwarded() {
        return Err(ForwardError::Twice.into());
    }
    let registry = &gateway.doors.registry;
    let Some((function, owner)) = registry.named(authorized.call().target())? else {
        return Ok(None);
    };
    let Some(supply) = &gateway.doors.supply else { return Ok(None) };
    Ok(Some(supply.registration(function, owner).await?))
}

/// Runs it here, or has another host run it.
async fn execute(
    gateway: &Arc<Gateway>,
    order: &Order,
    at: UnixNanos,
    way: Way,
) -> Result<(Execution, Option<Via>), Fault> {
    if way != Way::Elsewhere {
        match gateway.doors.executor.run(order.invocation()).await {
            Ok(execution) => return Ok((execution, None)),
            Err(ExecuteError::Saturated) if way == Way::HereUnlessBusy => {}
            Err(error) => return Err(error.into()),
        }
    }
    let (execution, via) = Box::pin(forward::forward(gateway, order, at)).await?;
    Ok((execution, Some(via)))
}

/// Waits while the same run is under way on another connection: its receipt will answer this one.
async fn admit(gateway: &Gateway, call: Call) -> Result<Admitted, Fault> {
    let mut call = call;
    loop {
        match gateway.doors.auth.authorize(call)? {
            Admission::Run(authorized) => return Ok(Admitted::Run(Box::new(authorized))),
            Admission::Repeat(receipt) => return Ok(Admitted::Repeat(receipt)),
            Admission::Underway { call: again, mut ended } => {
                // The sender is dropped with the run, which is an error here and the news we wait for.
                let _ = ended.changed().await;
                call = again;
            }
        }
    }
}

/// Hand-off 1 to the executor, hand-off 2 to the chain; then the answer.
async fn carry_out(
    gateway: &Arc<Gateway>,
    order: Box<Order>,
    since: UnixNanos,
    (wants_receipt, way): (bool, Way),
) -> Result<Response<ReplyBody>, Fault> {
    let doors = &gateway.doors;
    let (execution, via) = execute(gateway, &order, since, way).await?;
    let output = execution.output.clone();
    let body = execution.output_body.clone();
    let OrderParts {
        run,
        run_payload,
        run_sealed,
        input,
        input_payload,
        body: input_body,
        payer,
        cover,
    } = order.into_parts();
    let papers = wants_receipt.then(|| (run_payload.clone(), input_payload.clone()));
    let (function, log) = (run.function, execution.log.clone());
    // Copied only for somebody who listens.
    let asked = tracing::enabled!(target: "talea::call", tracing::Level::INFO)
        .then(|| (input.method.clone(), input.path.clone()));
    let finished = Finished {
        run,
        run_payload,
        run_sealed,
        input,
        input_payload,
        input_body,
        execution,
        payer,
        via,
    };
    let recorded = doors.chain.record(finished).await?;
    if !log.is_empty() && !recorded.is_repeat {
        Box::pin(keep_log(gateway, function, &recorded, log)).await;
    }
    // Only now may the sequence be looked up and the credit be used again.
    drop(cover);
    let receipt = &recorded.receipt;
    let nanos = doors.clock.now().0.saturating_sub(since.0);
    gateway.metrics.ran(&receipt.outcome, receipt.fuel, receipt.host_fuel, receipt.bill, nanos);
    let mut response = reply::reply(Recorded {
        id: recorded.receipt_id,
        receipt,
        status: output.status.get(),
        headers: &output.headers,
        body,
    });
    if let Some((method, path)) = asked {
        report(&recorded, &method, &path, response.status().as_u16(), nanos);
    }
    if let Some((run, input)) = papers {
        let (receipt, proof) = (recorded.payload.clone(), recorded.proof().encode());
        reply::attach(response.headers_mut(), &Papers { receipt, proof, run, input });
    }
    Ok(response)
}

/// Tells one call to whoever listens.
fn report(recorded: &chain::Recorded, method: &Method, path: &Path, status: u16, nanos: u64) {
    let receipt = &recorded.receipt;
    tracing::info!(
        target: "talea::call",
        function = %receipt.function,
        method = %method,
        path = %path,
        status = u64::from(status),
        outcome = %receipt.outcome,
        fuel = receipt.fuel.0,
        bill = receipt.bill.0,
        bytes = receipt.input_len.saturating_add(receipt.output_len),
        receipt = %recorded.receipt_id,
        micros = nanos / 1000,
    );
}

/// Keeps what the guest logged, for its owner. A log is not part of the bill: the answer does not fail
/// with it.
async fn keep_log(gateway: &Gateway, function: FunctionId, recorded: &chain::Recorded, log: Bytes) {
    let (logs, at, id) = (gateway.doors.logs.clone(), recorded.receipt.at, recorded.receipt_id);
    let kept = tokio::task::spawn_blocking(move || logs.append(function, at, id, &log)).await;
    if let Ok(Err(fault)) = kept {
        tracing::warn!(%fault, %function, "a guest's log could not be kept");
    }
}
