//! A run that was sent again: its receipt, and the output as it was kept or as a re-run gives it.
//!
//! Invariant: nothing here is billed or recorded. A re-run answers only if it is the recorded one to the
//! byte, which the output's CID says.

use bytes::Bytes;
use http::Response;
use talea_ledger::{Document as _, Input, Output, OutputId, ReceiptId, Run, Sealed};

use super::control::ControlError;
use super::reply::{self, Papers, Recorded};
use super::respond::Fault;
use super::{Gateway, ReplyBody};
use crate::chain::KeptReceipt;
use crate::executor::{Invocation, RunLimits};
use crate::store::RunBytes;

/// The answer of the run that has this receipt.
pub(super) async fn repeat(
    gateway: &Gateway,
    id: ReceiptId,
    wants_receipt: bool,
) -> Result<Response<ReplyBody>, Fault> {
    let receipts = gateway.doors.receipts.clone();
    let found = tokio::task::spawn_blocking(move || {
        let kept = receipts.by_id(id)?;
        let body = kept.as_ref().map(|kept| receipts.output_body(kept)).transpose();
        Ok::<_, Fault>(kept.zip(body.map_err(Fault::kept)?))
    });
    let found = found.await??;
    let (kept, body) = found.ok_or(ControlError::ReceiptUnknown)?;
    gateway.metrics.repeated_run();
    let gone = || Fault::from(ControlError::OutputGone { receipt: id });
    let output = Output::decode(kept.output()).map_err(|_| gone())?;
    let body = match body {
        Some(body) => body,
        None => again(gateway, &kept).await?.ok_or_else(gone)?,
    };
    let mut response = reply::reply(Recorded {
        id,
        receipt: kept.receipt(),
        status: output.status.get(),
        headers: &output.headers,
        body,
    });
    if let (true, Some(run)) = (wants_receipt, run_payload(&kept)) {
        let papers = Papers {
            receipt: kept.payload().clone(),
            proof: kept.proof().map_err(Fault::kept)?.encode(),
            run,
            input: kept.input().clone(),
        };
        reply::attach(response.headers_mut(), &papers);
    }
    Ok(response)
}

/// The output's body by running again, if everything that takes is still kept.
async fn again(gateway: &Gateway, kept: &KeptReceipt) -> Result<Option<Bytes>, Fault> {
    // Another host ran it; here the function may not even be.
    if kept.receipt().forwarded.is_some() {
        return Ok(None);
    }
    let Some(input_body) = gateway.doors.receipts.input_body(kept).map_err(Fault::kept)? else {
        return Ok(None);
    };
    let run = run_payload(kept).and_then(|payload| Run::decode(&payload).ok());
    let input = Input::decode(kept.input()).ok();
    let (Some(run), Some(input)) = (run, input) else { return Ok(None) };
    let limits = RunLimits {
        fuel: run.fuel_limit,
        memory: run.memory_limit,
        output: run.output_limit,
        log: run.log_limit,
    };
    let execution = gateway.doors.executor.run(Invocation {
        function: run.function,
        profile: run.profile,
        input,
        body: input_body,
        clock: run.clock,
        seed: run.seed,
        limits,
        cgi: run.cgi,
        // Nobody pays for it, so it ends with the connection that asked.
        free: true,
    });
    let execution = execution.await?;
    let is_same = OutputId::of(&execution.output.encode()) == kept.receipt().output;
    Ok(is_same.then_some(execution.output_body))
}

/// The run's own bytes, without the envelope that a paid one came in.
fn run_payload(kept: &KeptReceipt) -> Option<Bytes> {
    match kept.run() {
        RunBytes::Free(payload) => Some(payload.clone()),
        RunBytes::Sealed(sealed) => {
            let sealed = Sealed::decode(sealed).ok()?;
            Some(Bytes::copy_from_slice(sealed.payload()))
        }
    }
}
