//! From a listening socket to requests: connections are counted, bounded in number and time, and owned.
//!
//! Invariants: no connection outlives `serve`; above the bound a client is told 503 at once rather than
//! left waiting; a client that is slow loses its connection and nothing else.
//! Absent: TLS and HTTP/2, which a proxy in front does better.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Gateway;
use super::pace::{Bounds, Lapse, Pace, Paced, TICK};
use super::respond;
use crate::limits;

/// Connections that are being told that there are too many. Beyond these the socket is just closed.
const REFUSALS_MAX: usize = 64;
/// Time to say why, and to let the client read it before the socket is closed.
const LAST_WORD_TIME_MAX: Duration = Duration::from_secs(1);
/// Pause after the system has no descriptor for us: accepting again at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop` says so, then lets requests under way finish within the grace period.
pub(crate) async fn serve(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let mut refusals = JoinSet::new();
    let ending = stop.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                note_end(&gateway, ended);
                continue;
            }
            Some(_) = refusals.join_next(), if !refusals.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) if connections.len() < gateway.http.connections_max => {
                connections.spawn(connection(gateway.clone(), socket, peer, ending.clone()));
                gateway.metrics.connections_now(connections.len());
            }
            Ok((socket, _)) => {
                gateway.metrics.connection_refused();
                if refusals.len() < REFUSALS_MAX {
                    refusals.spawn(refuse(socket));
                }
            }
            Err(fault) => {
                tracing::warn!(%fault, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let drained = tokio::time::timeout(gateway.http.grace, async {
        while let Some(ended) = connections.join_next().await {
            note_end(&gateway, ended);
        }
        gateway.tasks.drain().await;
    });
    if drained.await.is_err() {
        tracing::warn!(connections = connections.len(), "grace period over, requests cut off");
    }
    gateway.metrics.connections_now(0);
}

fn note_end(gateway: &Gateway, ended: Result<usize, tokio::task::JoinError>) {
    if let Err(fault) = ended {
        // A panic outside the contained service: in hyper or in our socket.
        gateway.metrics.panicked();
        tracing::error!(%fault, "a connection's task ended badly");
    }
    gateway.metrics.connection_ended();
}

/// One connection: requests one after another until either side is done. Gives their number.
async fn connection(
    gateway: Arc<Gateway>,
    socket: TcpStream,
    peer: SocketAddr,
    mut stop: watch::Receiver<bool>,
) -> usize {
    // An answer is one write; waiting for more of it (Nagle) only delays it.
    let _ = socket.set_nodelay(true);
    let pace = Arc::new(Pace::default());
    let bounds = Bounds::new(
        gateway.http.idle_time_max,
        gateway.http.head_time_max,
        gateway.http.write_time_max,
    );
    let served = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let io = TokioIo::new(Paced::new(socket, pace.clone()));
    let peer: IpAddr = peer.ip().to_canonical();
    let service = {
        let (pace, served) = (pace.clone(), served.clone());
        service_fn(move |request| {
            pace.working();
            served.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let (gateway, pace) = (gateway.clone(), pace.clone());
            // In memory of its own: hyper moves a service's future from place to place, six times per request.
            Box::pin(async move {
                let answer = gateway.answer(request, peer).await;
                pace.answered();
                Ok::<_, std::convert::Infallible>(answer)
            })
        })
    };
    let mut protocol = http1::Builder::new();
    protocol
        .header_read_timeout(None)
        // At most 100 header lines, by default; another number would cost an allocation per request.
        .max_buf_size(limits::HEAD_LEN_MAX)
        // Answers held back for the next one of a pipeline would be lost with it if it is garbage.
        .pipeline_flush(false);
    let mut connection = protocol.serve_connection(io, service);
    let mut hand = tokio::time::interval(TICK);
    hand.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut stopping = false;
    let lapse = loop {
        tokio::select! {
            biased;
            _ended = &mut connection => break None,
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            _ = hand.tick() => if let Some(lapse) = pace.tick(bounds) { break Some(lapse) },
        }
    };
    let socket = connection.into_parts().io.into_inner();
    match lapse {
        None => say(socket, "").await,
        Some(Lapse::Head) => say(socket, &respond::raw_timeout()).await,
        Some(Lapse::Idle | Lapse::Write) => drop(socket),
    }
    served.load(std::sync::atomic::Ordering::Relaxed)
}

/// Says 503 to a client above the bound.
async fn refuse(socket: TcpStream) {
    say(socket, &respond::raw_overloaded()).await;
}

/// A last word on a connection, if there is one left to say. What the client sent is read and thrown away for a moment, since closing
/// a socket with unread bytes makes the system drop what the client has not yet received.
async fn say(mut socket: impl AsyncRead + AsyncWrite + Unpin, answer: &str) {
    let _ = tokio::time::timeout(LAST_WORD_TIME_MAX, async {
        socket.write_all(answer.as_bytes()).await?;
        socket.shutdown().await?;
        let mut thrown_away = [0; 1024];
        while socket.read(&mut thrown_away).await? > 0 {}
        std::io::Result::Ok(())
    })
    .await;
}
