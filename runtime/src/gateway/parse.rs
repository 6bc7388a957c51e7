//! The only code that reads requests: a head into a `Call`, a body into bytes within its bound and time.
//!
//! Invariant: bytes of bodies held at once never pass `BODY_BUDGET_LEN`; who would pass it is told to
//! come again before a byte is read.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::Request;
use hyper::body::{Body, Incoming};
use talea_ledger::UnixNanos;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::call::{Call, CallError, Head};
use crate::limits::{BODY_LEN_MAX, KIB, MIB};

/// Bytes of request bodies held at once. Four of the largest, or 16,384 of 16 KiB: more than the
/// in-flight bound allows.
const BODY_BUDGET_LEN: u64 = 256 * MIB;
/// The budget is counted in KiB, since a semaphore's permits are `u32`.
const BUDGET_UNIT: u64 = KIB;
const _: () = assert!(BODY_BUDGET_LEN >= BODY_LEN_MAX);
const _: () = assert!(BODY_BUDGET_LEN / BUDGET_UNIT <= u32::MAX as u64);

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// Above the bound of a call.
    #[error("the body is larger than {max} bytes")]
    TooLarge {
        /// The bound.
        max: u64,
    },
    /// Above the bound of a deployment.
    #[error("the module is larger than {max} bytes")]
    ModuleTooLarge {
        /// The bound.
        max: u64,
    },
    /// It did not come in time.
    #[error("the body did not come in time")]
    TimedOut,
    /// The connection broke, or chunks are malformed.
    #[error("the body could not be read")]
    Broken(#[source] BoxError),
    /// Too many bytes are held already.
    #[error("too many bytes of request bodies are held")]
    NoRoom,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body and its part of the budget.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Bytes,
    pub(super) _room: Option<OwnedSemaphorePermit>,
}

/// How bodies are read.
#[derive(Debug)]
pub(super) struct Bodies {
    room: Arc<Semaphore>,
    time_max: Duration,
}

/// Makes a call of a request's head; the body is left for later.
pub(super) fn head(
    request: Request<Incoming>,
    peer: IpAddr,
    at: UnixNanos,
) -> Result<(Call, Incoming), CallError> {
    let (parts, body) = request.into_parts();
    let (method, uri, headers) = (parts.method, parts.uri, parts.headers);
    Call::new(Head { method, uri, headers, peer, at }).map(|call| (call, body))
}

impl Bodies {
    pub(super) fn new(time_max: Duration) -> Self {
        let permits = usize::try_from(BODY_BUDGET_LEN / BUDGET_UNIT).unwrap_or(usize::MAX);
        Self { room: Arc::new(Semaphore::new(permits)), time_max }
    }

    /// Reads a module of at most `max` bytes.
    pub(super) async fn read_module<B>(&self, body: B, max: u64) -> Result<Held, BodyError>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
    {
        self.read(body, max).await.map_err(|fault| match fault {
            BodyError::TooLarge { max } => BodyError::ModuleTooLarge { max },
            other => other,
        })
    }

    /// Reads a body of at most `max` bytes.
    pub(super) async fn read<B>(&self, body: B, max: u64) -> Result<Held, BodyError>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() {
            return Ok(Held { bytes: Bytes::new(), _room: None });
        }
        let declared = body.size_hint().exact();
        if declared.is_some_and(|len| len > max) {
            return Err(BodyError::TooLarge { max });
        }
        // Without a declared length it may become as long as allowed.
        let units = declared.unwrap_or(max).div_ceil(BUDGET_UNIT);
        let units = u32::try_from(units).map_err(|_| BodyError::NoRoom)?;
        let room = self.room.clone().try_acquire_many_owned(units);
        let room = room.map_err(|_| BodyError::NoRoom)?;
        let read = tokio::time::timeout(self.time_max, collect(body, max, declared));
        let bytes = read.await.map_err(|_| BodyError::TimedOut)??;
        Ok(Held { bytes, _room: Some(room) })
    }
}

/// Small bodies come as one frame, which is handed on as it is.
async fn collect<B>(mut body: B, max: u64, declared: Option<u64>) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let mut first = Bytes::new();
    let mut rest: Option<BytesMut> = None;
    let mut len: u64 = 0;
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame.map_err(|fault| BodyError::Broken(fault.into()))?.into_data() else {
            continue;
        };
        len = len.saturating_add(chunk.len() as u64);
        if len > max {
            return Err(BodyError::TooLarge { max });
        }
        if let Some(rest) = &mut rest {
            rest.extend_from_slice(&chunk);
        } else if first.is_empty() {
            first = chunk;
        } else {
            let capacity = usize::try_from(declared.unwrap_or(len * 2)).unwrap_or(0);
            let mut joined = BytesMut::with_capacity(capacity);
            joined.extend_from_slice(&first);
            joined.extend_from_slice(&chunk);
            rest = Some(joined);
        }
    }
    Ok(rest.map_or(first, BytesMut::freeze))
}
