//! HTTP: sockets in, doors of the node out.
//!
//! The data path (`/f/`) is hyper by hand and short: `accept` -> `parse` -> auth -> registry -> executor ->
//! chain -> `reply`. Everything else is the control plane on axum. Every error becomes an answer in
//! `respond`, and nowhere else.
//! Invariants: a paid run that has begun ends and is recorded whether or not its client waits; nothing is
//! answered about a run before its receipt is durable; no lock is held across an await.
//! Absent: decisions. Who may, what runs, what it costs and what is kept is decided behind the doors.

mod accept;
mod contain;
mod control;
mod cors;
mod forward;
mod invoke;
mod json;
mod metrics;
mod offer;
mod pace;
mod page;
mod parse;
mod repeat;
mod reply;
mod respond;
mod tasks;
mod trace;

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use talea_ledger::UnixNanos;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) use self::accept::serve;
use self::contain::contained;
pub(crate) use self::forward::ForwardParts;
use self::forward::Forwarder;
use self::metrics::{Metrics, RouteClass};
use self::parse::Bodies;
use self::respond::Fault;
use self::tasks::Tasks;
use crate::auth::Auth;
use crate::chain::{Mailbox, ReceiptReader, RecordError};
use crate::clock::Clock;
use crate::config;
use crate::executor::Executor;
use crate::ledger;
use crate::market::Market;
use crate::registry::{Lacking, Registry};
use crate::store::{FunctionShelf, LogShelf};
use crate::supply::{BringError, Supply};
use crate::till::{Desk, Till};

/// The doors that requests go through, made by `node`.
#[derive(Debug)]
pub(crate) struct Doors {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) auth: Arc<Auth>,
    pub(crate) till: Arc<Till>,
    /// Where a redeem is asked for.
    pub(crate) desk: Desk,
    pub(crate) registry: Arc<Registry>,
    pub(crate) executor: Arc<Executor>,
    pub(crate) chain: Mailbox,
    pub(crate) receipts: ReceiptReader,
    pub(crate) ledger: ledger::Mailbox,
    pub(crate) blocks: ledger::Reader,
    pub(crate) functions: Arc<FunctionShelf>,
    pub(crate) logs: Arc<LogShelf>,
    /// Bumped whenever some function's log has grown.
    pub(crate) logged: tokio::sync::watch::Receiver<u64>,
    /// What it takes to pass calls on; none for a node that passes none on.
    pub(crate) forward: Option<ForwardParts>,
    /// What hosts offer.
    pub(crate) market: Arc<Market>,
    /// The network, for who asks about it; none for a node that talks to no other.
    pub(crate) peers: Option<talea_gossip::Gossip>,
    /// Functions of other nodes; none for a node that brings none.
    pub(crate) supply: Option<Arc<Supply>>,
    /// Whether this node has others to catch up with before it is ready.
    pub(crate) is_joining: bool,
}

/// The HTTP side of one node.
#[derive(Debug)]
pub(crate) struct Gateway {
    doors: Doors,
    forwarder: Option<Forwarder>,
    http: config::Http,
    free_calls: bool,
    started: UnixNanos,
    metrics: Metrics,
    bodies: Bodies,
    tasks: Arc<Tasks>,
    in_flight: Arc<Semaphore>,
    control: axum::Router,
    stopping: AtomicBool,
    latched: AtomicBool,
}

impl Gateway {
    /// The gateway in front of these doors.
    pub(crate) fn new(mut doors: Doors, http: config::Http, free_calls: bool) -> Arc<Self> {
        Arc::new(Self {
            forwarder: doors.forward.take().map(Forwarder::new),
            free_calls,
            started: doors.clock.now(),
            metrics: Metrics::default(),
            bodies: Bodies::new(http.body_time_max),
            tasks: Arc::default(),
            in_flight: Arc::new(Semaphore::new(http.in_flight_max)),
            control: control::router(),
            stopping: AtomicBool::new(false),
            latched: AtomicBool::new(false),
            doors,
            http,
        })
    }

    /// Returns when no receipt can be recorded any more, because the chain's thread has ended.
    pub(crate) async fn chain_ended(&self) {
        self.doors.chain.closed().await;
    }

    /// Returns when no transaction can be accepted any more, because the ledger's thread has ended.
    pub(crate) async fn ledger_ended(&self) {
        self.doors.ledger.closed().await;
    }

    /// From now on `/ready` says no; requests under way and new ones are still served.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Answers one request, whatever it is.
    async fn answer(
        self: &Arc<Self>,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> Response<ReplyBody> {
        let class = RouteClass::of(request.uri().path());
        let under_way = UnderWay::begin(self, class);
        let parent = trace::parent(request.headers());
        // An error body names what was asked for; a call that succeeds never looks at it. Cloning a
        // target shares its bytes.
        let target = request.uri().clone();
        let sight = cors::sight(class, target.path(), request.headers());
        // Pinned here and handed on by reference: a future that is moved into a wrapper is held twice,
        // and these are some kilobytes that hyper copies per request.
        let served = pin!(self.route(request, peer, class));
        let mut response = match contained(trace::within(&parent, served)).await {
            Ok(Ok(response)) => response,
            Ok(Err(fault)) => {
                if matches!(
                    fault,
                    Fault::Record(RecordError::Latched(_))
                        | Fault::Submit(ledger::SubmitError::Latched(_))
                ) {
                    self.latched.store(true, Ordering::Relaxed);
                }
                self.refuse(&fault, &target)
            }
            Err(panicked) => {
                self.metrics.panicked();
                self.refuse(&Fault::from(panicked), &target)
            }
        };
        cors::allow(sight, response.headers_mut());
        trace::echo(parent, response.headers_mut());
        under_way.end(response.status().as_u16());
        response
    }

    async fn route(
        self: &Arc<Self>,
        request: Request<Incoming>,
        peer: IpAddr,
        class: RouteClass,
    ) -> Result<Response<ReplyBody>, Fault> {
        // What is no call waits in memory of its own: a call's state is moved about by hyper, and the less
        // there is of it the better.
        if class == RouteClass::Operations {
            // Health and metrics are for when everything else is full.
            return Ok(Box::pin(control::serve(self, request)).await);
        }
        if cors::is_preflight(request.method(), request.headers()) {
            return Ok(cors::preflight(class, request.headers()));
        }
        let permit = self.permit()?;
        if class == RouteClass::Call {
            return invoke::invoke(self, request, peer, permit).await;
        }
        let response = Box::pin(control::serve(self, request)).await;
        drop(permit);
        Ok(response)
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Whether the last receipt and the last transaction that were handed in were written. After a failed write none is,
    /// until the node has been started again.
    fn is_writing(&self) -> bool {
        !self.latched.load(Ordering::Relaxed)
    }

    /// Brings a function that is not here, if it can be had. That nobody has it is no error: whoever looks for it then
    /// does not find it.
    async fn bring(&self, lacking: Option<Lacking>) -> Result<(), Fault> {
        let (Some(Lacking { function, owner }), Some(supply)) = (lacking, &self.doors.supply)
        else {
            return Ok(());
        };
        let profile = self.doors.auth.offer().profile;
        match supply.bring(function, owner, profile).await {
            Ok(()) | Err(BringError::Absent(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the ledger here is as far as those of the nodes that this one joined; always, for one that joined nobody.
    fn is_in_step(&self) -> bool {
        !self.doors.is_joining || self.doors.blocks.is_in_step()
    }

    fn permit(&self) -> Result<OwnedSemaphorePermit, Fault> {
        self.in_flight.clone().try_acquire_owned().map_err(|_| {
            self.metrics.overloaded();
            Fault::Overloaded
        })
    }

    fn refuse(&self, fault: &Fault, target: &http::Uri) -> Response<ReplyBody> {
        respond::respond(fault, self.doors.auth.offer(), &target.to_string())
    }
}

/// One request in the counts, also if its client goes away in the middle.
struct UnderWay<'g> {
    gateway: &'g Gateway,
    class: RouteClass,
    /// 499 is nginx's word for a client that left.
    status: u16,
}

impl<'g> UnderWay<'g> {
    fn begin(gateway: &'g Gateway, class: RouteClass) -> Self {
        gateway.metrics.request_began();
        Self { gateway, class, status: 499 }
    }

    fn end(mut self, status: u16) {
        self.status = status;
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.gateway.metrics.request_ended(self.class, self.status);
    }
}

/// An answer's body: all bytes at once, or as axum gives them.
pub(crate) type ReplyBody = Either<Full<Bytes>, axum::body::Body>;

/// A body that is all there.
fn full(bytes: Bytes) -> ReplyBody {
    Either::Left(Full::new(bytes))
}
