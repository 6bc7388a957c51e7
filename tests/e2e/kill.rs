//! Nothing lost: the node is killed at random moments under load, again and again. After every
//! restart each receipt that any client had seen is served and verifies, and a run that is sent again
//! gives its receipt and is billed once.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::http::{self, Connection};
use crate::node::{ECHO, Node};

/// How often the node is killed in one run of the test.
const KILLS: usize = 100;

/// Connections that call without pause.
const CALLERS: usize = 4;

/// A small generator of our own, seeded and printed, so that a failing run can be named.
fn next(state: &mut u64) -> u64 {
    // SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What the callers of one life of the node have seen: receipt id and the fuel it was answered with.
type Seen = Arc<Mutex<HashMap<String, String>>>;

/// Calls until told to stop or the node is gone. Each answer with a receipt is one message.
fn call_until(stop: &AtomicBool, addr: SocketAddr, path: &str, seen: &Seen, told: &SyncSender<()>) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut connection) = Connection::open(addr) else { continue };
        while !stop.load(Ordering::Relaxed) {
            let Ok(answer) = connection.call("POST", path, &[], b"load") else { break };
            // A stopping node may say 503; a receipt is a promise.
            if let Some(receipt) = answer.header("talea-receipt") {
                let fuel = answer.header("talea-fuel").unwrap_or_default().to_owned();
                seen.lock().unwrap().insert(receipt.to_owned(), fuel);
                // Full means that enough were counted already.
                let _ = told.try_send(());
            }
        }
    }
}

/// Waits for so many answers; a node that stops answering fails the test by its read timeout.
fn wait_for(answers: &Receiver<()>, count: usize) {
    for _ in 0..count {
        answers.recv_timeout(Duration::from_secs(60)).expect("the node answers under load");
    }
}

/// Every receipt of `seen` must be served by the node, with the fuel that was answered.
fn assert_all_served(node: &Node, seen: &HashMap<String, String>, life: usize) {
    let mut connection = Connection::open(node.addr).unwrap();
    for (receipt, fuel) in seen {
        let answer = connection
            .call("GET", &format!("/receipts/{receipt}"), &[], b"")
            .unwrap_or_else(|e| panic!("life {life}: {receipt}: {e}"));
        assert_eq!(answer.status, 200, "life {life}: {receipt} is lost: {}", answer.text());
        assert!(
            answer.text().contains(&format!("\"{fuel}\"")),
            "life {life}: {receipt} says another fuel than {fuel}: {}",
            answer.text()
        );
    }
}

#[test]
fn no_receipt_that_a_client_saw_is_lost_over_a_hundred_kills() {
    let folder = tempfile::tempdir().unwrap();
    let seed = std::env::var("TALEA_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(7_600_u64);
    println!("TALEA_SEED={seed}");
    let mut random = seed;
    let mut node = Node::start(folder.path(), &[]);
    let id = node.deploy(&wat::parse_str(ECHO).unwrap(), &[]).expect("deploys");
    let path = format!("/f/{id}/");
    let mut total = 0;
    // A sample of what earlier lives promised, so that old receipts are asked for as well.
    let mut older: HashMap<String, String> = HashMap::new();
    for life in 0..KILLS {
        let seen: Seen = Seen::default();
        let stop = AtomicBool::new(false);
        let calls = 1 + usize::try_from(next(&mut random) % 400).unwrap();
        let (told, answers) = sync_channel(1_024);
        std::thread::scope(|scope| {
            for _ in 0..CALLERS {
                scope.spawn(|| call_until(&stop, node.addr, &path, &seen, &told));
            }
            // The moment of the kill is a number of answers, not a time: it falls anywhere in the
            // cycle of writing, syncing and answering, on a fast machine and on a slow one.
            wait_for(&answers, calls);
            rustix::process::kill_process(
                rustix::process::Pid::from_raw(node.pid().cast_signed()).unwrap(),
                rustix::process::Signal::KILL,
            )
            .unwrap();
            stop.store(true, Ordering::Relaxed);
        });
        drop(node);
        node = Node::start(folder.path(), &[]);
        let seen = seen.lock().unwrap();
        total += seen.len();
        assert_all_served(&node, &seen, life);
        assert_all_served(&node, &older, life);
        older.extend(seen.iter().take(3).map(|(r, f)| (r.clone(), f.clone())));
    }
    println!("{total} receipts seen over {KILLS} lives, none lost");
    assert!(total >= KILLS, "the load was no load");
    // One of them, whole, through the offline verifier.
    let (receipt, _) = older.iter().next().expect("some were seen");
    let verified = node.cli(&["receipt", "verify", receipt]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

/// The journal's segments, oldest first.
fn segments(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(folder.join("data/journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| std::fs::metadata(path).is_ok_and(|m| m.len() > 1 << 16))
        .collect();
    found.sort();
    found
}

#[test]
fn a_flipped_bit_in_an_older_record_stops_the_node_and_names_the_offset() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &[]);
    let id = node.deploy(&wat::parse_str(ECHO).unwrap(), &[]).expect("deploys");
    for _ in 0..50 {
        assert_eq!(node.call("POST", &format!("/f/{id}/"), &[], b"x").status, 200);
    }
    assert!(node.terminate().success());
    let segment = segments(folder.path()).into_iter().next().expect("a segment");
    let mut bytes = std::fs::read(&segment).unwrap();
    // Far behind the header, far before the end of fifty commits.
    bytes[6_000] ^= 0x10;
    std::fs::write(&segment, bytes).unwrap();
    let output = Node::try_start(folder.path(), &[]).expect_err("a damaged journal is not served");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("damaged at byte"), "{said}");
}

#[test]
fn a_graceful_stop_drains_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(folder.path(), &[]);
    let id = node.deploy(&wat::parse_str(ECHO).unwrap(), &[]).expect("deploys");
    let path = format!("/f/{id}/");
    for _ in 0..5 {
        let seen: Seen = Seen::default();
        let stop = AtomicBool::new(false);
        let (told, answers) = sync_channel(1_024);
        let addr = node.addr;
        std::thread::scope(|scope| {
            for _ in 0..CALLERS {
                scope.spawn(|| call_until(&stop, addr, &path, &seen, &told));
            }
            wait_for(&answers, 100);
            let began = crate::monotonic();
            assert!(node.terminate().success(), "a graceful stop is a success");
            assert!(began.elapsed() < Duration::from_secs(30), "the drain has a bound");
            stop.store(true, Ordering::Relaxed);
        });
        node = Node::start(folder.path(), &[]);
        assert_all_served(&node, &seen.lock().unwrap(), 0);
    }
    assert!(http::call(node.addr, "GET", "/health", &[], b"").is_ok());
}
