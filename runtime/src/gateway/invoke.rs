//! One invocation, from head to answer. Read this function and you know the data path.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use talea_ledger::message::{Method, Path};
use talea_ledger::{Document as _, FunctionId, UnixNanos};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::contain::contained;
use super::reply::{self, Papers, Recorded};
use super::respond::Fault;
use super::{Gateway, ReplyBody, parse, repeat};
use crate::auth::{Admission, Authorized};
use crate::call::Call;
use crate::chain::{self, Finished};
use crate::registry::{Order, OrderParts};

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
    if doors.supply.is_some()
        && let lacking @ Some(_) = doors.registry.lacking(&authorized)?
    {
        Box::pin(gateway.bring(lacking)).await?;
    }
    let plan = doors.registry.resolve(*authorized)?;
    // While it is in use it does not give its room to another one.
    let in_use = match &doors.supply {
        Some(supply) => supply.begin(plan.function().registration.function, plan.is_paid()).await?,
        None => None,
    };
    let held = gateway.bodies.read(body, gateway.http.body_len_max).await?;
    let order = Box::new(doors.registry.order(plan, held.bytes.clone())?);
    if order.payer().is_none() {
        let response = carry_out(gateway, order, since, wants_receipt).await;
        drop((held, permit, in_use));
        return response;
    }
    // A paid run ends and is recorded even if this connection does not wait for it.
    let (tell, told) = oneshot::channel();
    let owner = gateway.clone();
    gateway.tasks.start(async move {
        let carrying = pin!(carry_out(&owner, order, since, wants_receipt));
        let carried = contained(carrying).await;
        drop((held, permit, in_use));
        // Nobody may be there any more; the receipt is.
        let _ = tell.send(carried);
    });
    match told.await {
        Ok(Ok(response)) => response,
        Ok(Err(panicked)) => {
            gateway.metrics.panicked();
            Err(panicked.into())
        }
        // The task was ended with the node.
        Err(_) => Err(Fault::Stopping),
    }
}

/// What becomes of a call, once nothing is in its way.
enum Admitted {
    Run(Box<Authorized>),
    Repeat(talea_ledger::ReceiptId),
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
    gateway: &Gateway,
    order: Box<Order>,
    since: UnixNanos,
    wants_receipt: bool,
) -> Result<Response<ReplyBody>, Fault> {
    let doors = &gateway.doors;
    let execution = doors.executor.run(order.invocation()).await?;
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
