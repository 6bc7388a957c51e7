//! Lines with a delay, where the system has none to give: a relay between two nodes hands on what comes, as much later
//! as the line is long, in both directions.
//!
//! Shared with the bench `network`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use talea_gossip::Multiaddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Pieces of at most [`PIECE_LEN`] that are on a line at once: 64 MiB.
const PIECES_MAX: usize = 1024;
const PIECE_LEN: usize = 64 * 1024;

/// A line to a node: where it begins, and the bytes that both directions have carried.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) address: Multiaddr,
    pub(crate) carried: Arc<AtomicU64>,
}

/// Lays a line to the node at an address that ends in its name.
pub(crate) async fn line(to: &Multiaddr, delay: Duration) -> Line {
    let text = to.to_string();
    let mut parts: Vec<&str> = text.split('/').collect();
    let port: u16 = parts[4].parse().expect("/ip4/../tcp/PORT/p2p/NAME");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let here = listener.local_addr().expect("it is bound").port().to_string();
    parts[4] = &here;
    let address = parts.join("/").parse().expect("as it was, with another port");
    let carried = Arc::<AtomicU64>::default();
    tokio::spawn(accept(listener, port, delay, carried.clone()));
    Line { address, carried }
}

async fn accept(listener: TcpListener, port: u16, delay: Duration, carried: Arc<AtomicU64>) {
    while let Ok((near, _)) = listener.accept().await {
        let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
        for end in [&near, &far] {
            end.set_nodelay(true).expect("a socket of this process");
        }
        let ((near_read, near_write), (far_read, far_write)) =
            (near.into_split(), far.into_split());
        for (from, to) in [(near_read, far_write), (far_read, near_write)] {
            let (sender, under_way) = mpsc::channel(PIECES_MAX);
            tokio::spawn(take(from, sender, delay, carried.clone()));
            tokio::spawn(give(to, under_way));
        }
    }
}

/// Takes what comes until its end, and says when it is due.
async fn take(
    mut from: OwnedReadHalf,
    sender: mpsc::Sender<(Instant, Vec<u8>)>,
    delay: Duration,
    carried: Arc<AtomicU64>,
) {
    let mut buffer = vec![0; PIECE_LEN];
    while let Ok(len @ 1..) = from.read(&mut buffer).await {
        carried.fetch_add(len as u64, Ordering::Relaxed);
        if sender.send((Instant::now() + delay, buffer[..len].to_vec())).await.is_err() {
            return;
        }
    }
}

async fn give(mut to: OwnedWriteHalf, mut under_way: mpsc::Receiver<(Instant, Vec<u8>)>) {
    while let Some((due, bytes)) = under_way.recv().await {
        // Without a delay the timer's millisecond would be one.
        if due > Instant::now() {
            sleep_until(due).await;
        }
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
