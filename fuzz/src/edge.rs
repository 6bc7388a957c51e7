//! A whole node behind a socket, for bytes that claim to be HTTP.
//!
//! Owns: one node per process on a free port of the loopback, with a temporary folder and one function, and what
//! must hold for anything that is sent to it. Absent: mutation, which knows nothing of HTTP and needs not to.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;

use talea_runtime::config::{Config, Sources};
use talea_runtime::executor::Compiler;
use talea_runtime::node;

/// Far above what the node lets a connection stay silent after the client has said its last.
const PATIENCE: Duration = Duration::from_secs(30);
/// What one connection may be answered. The page of the node is 20 KiB, a pipeline holds some requests.
const ANSWER_LEN_MAX: u64 = 4 << 20;

/// The HTTP edge: whatever is sent is answered with whole HTTP/1.1 answers or not at all, the connection
/// ends, nothing panics, and the node still says that it is well.
pub fn http_edge(bytes: &[u8]) {
    static NODE: OnceLock<SocketAddr> = OnceLock::new();
    let addr = *NODE.get_or_init(start);
    whole(&exchange(addr, bytes, Last::Said));
    let get = |path| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        exchange(addr, request.as_bytes(), Last::Open)
    };
    let health = get("/health");
    assert!(
        health.starts_with(b"HTTP/1.1 200 "),
        "the node is not well: {}",
        health.escape_ascii()
    );
    let metrics = get("/metrics");
    let metrics = String::from_utf8_lossy(&metrics);
    let panics = metrics.lines().find(|line| line.starts_with("talea_panics_total"));
    assert_eq!(panics, Some("talea_panics_total 0"), "a request ended in a panic");
}

/// Starts the node on a thread of its own, where it stays until the process ends.
fn start() -> SocketAddr {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = BTreeMap::from([
            ("listen", "127.0.0.1:0".to_owned()),
            ("data", folder.path().display().to_string()),
        ]);
        let sources = Sources {
            flags: settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            ..Sources::default()
        };
        let config = Config::load(&sources).expect("two settings");
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let running =
                node::start_with(config, Compiler::InProcess).await.expect("the node starts");
            tell.send(running.addr()).expect("somebody waits for the address");
            std::future::pending::<()>().await;
        });
    });
    told.recv().expect("the node told its address")
}

/// Whether a client says that it has said all. A node may leave such a client without an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Said,
    Open,
}

/// Sends everything and reads to the end.
fn exchange(addr: SocketAddr, bytes: &[u8], last: Last) -> Vec<u8> {
    let mut socket = TcpStream::connect(addr).expect("the node accepts");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    // A node that has refused the head may close before it has read the rest.
    let _ = socket.write_all(bytes);
    if last == Last::Said {
        let _ = socket.shutdown(Shutdown::Write);
    }
    let mut said = Vec::new();
    match (&mut socket).take(ANSWER_LEN_MAX).read_to_end(&mut said) {
        Ok(_) => {}
        Err(fault) if fault.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(fault) => panic!("the connection did not end: {fault}"),
    }
    said
}

/// Fails unless `said` is a sequence of answers, each with a status of HTTP and a length.
fn whole(mut said: &[u8]) {
    while !said.is_empty() {
        let shown = said.escape_ascii();
        let end = said.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("an answer without an end of its head: {shown}"));
        let head = std::str::from_utf8(&said[..end]).expect("heads are text").to_ascii_lowercase();
        let status: u16 = head
            .strip_prefix("http/1.1 ")
            .or_else(|| head.strip_prefix("http/1.0 "))
            .and_then(|rest| rest.get(..3))
            .and_then(|digits| digits.parse().ok())
            .unwrap_or_else(|| panic!("no status: {shown}"));
        assert!((100..600).contains(&status), "{status} is no status of HTTP");
        said = &said[end + 4..];
        if head.contains("transfer-encoding: chunked") {
            assert!(said.ends_with(b"0\r\n\r\n"), "an answer in chunks that does not end: {shown}");
            return;
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |digits| digits.trim().parse().expect("a length"));
        // The answer to HEAD has the length of what it leaves out.
        said = said.get(length..).unwrap_or_default();
    }
}
