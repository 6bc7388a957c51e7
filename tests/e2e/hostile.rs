//! The hostile corpus: each case has its expected status, code and bill, and after all of them the
//! node answers a normal call and has given back every slot, file and task.
//!
//! A case is a `.wat` file in `tests/hostile/corpus` whose head says what must happen:
//! `;; deploy: 201` (or `201|422` where either is right), `;; expect: STATUS [CODE [TRAP]]`,
//! `;; fuel: limit | above N`. What cannot be written by hand is made here.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::http::{self, Connection};
use crate::node::{ECHO, Node};

/// The fuel limit every case runs under: enough for the ten-million-step case, little enough that
/// twenty endless loops end in seconds.
const FUEL_LIMIT: &str = "200000000";

/// One case of the corpus.
#[derive(Debug)]
struct Case {
    name: String,
    wasm: Vec<u8>,
    deploy: Vec<u16>,
    expect: Option<Expect>,
    fuel: Option<String>,
}

#[derive(Debug)]
struct Expect {
    status: u16,
    code: Option<String>,
    trap: Option<String>,
}

fn corpus() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/hostile/corpus");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 50, "only {} cases found", paths.len());
    paths
        .iter()
        .map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            let field = |name: &str| {
                let mark = format!(";; {name}: ");
                text.lines().find_map(|line| line.strip_prefix(&mark)).map(str::to_owned)
            };
            let expect = field("expect").map(|line| {
                let mut words = line.split(' ').map(str::to_owned);
                Expect {
                    status: words.next().unwrap().parse().unwrap(),
                    code: words.next(),
                    trap: words.next(),
                }
            });
            Case {
                name: path.file_stem().unwrap().to_string_lossy().into_owned(),
                wasm: wat::parse_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display())),
                deploy: field("deploy").unwrap().split('|').map(|n| n.parse().unwrap()).collect(),
                expect,
                fuel: field("fuel"),
            }
        })
        .collect()
}

/// A module around one function body, as text.
fn module_with(body: &str) -> Vec<u8> {
    wat::parse_str(format!(
        "(module (memory (export \"memory\") 1) (func (export \"_start\") {body}))"
    ))
    .unwrap()
}

/// Modules that attack the compiler rather than the engine. Either refusal or service is right; a
/// hang, a crash or a host fault is not.
fn compile_bombs() -> Vec<(&'static str, Vec<u8>)> {
    let mut deep = String::new();
    for _ in 0..5_000 {
        deep.push_str("(block ");
    }
    deep.push_str(&")".repeat(5_000));

    let mut table = String::from("(block $out (br_table");
    for _ in 0..200_000 {
        table.push_str(" $out");
    }
    table.push_str(" (i32.const 3)))");

    let locals = format!("(local {})", "i64 ".repeat(49_000));

    let mut wide = String::new();
    for n in 0..60_000 {
        write!(
            wide,
            "(i32.store (i32.const 0) (i32.mul (i32.load (i32.const 4)) (i32.const {n})))"
        )
        .unwrap();
    }

    let mut branches = String::from("(local i32) ");
    for _ in 0..20_000 {
        branches.push_str("(block (br_if 0 (local.get 0)) (local.set 0 (i32.const 1)))");
    }

    let mut functions = String::from("(module (memory (export \"memory\") 1) ");
    for n in 0..60_000 {
        write!(functions, "(func (result i32) i32.const {n})").unwrap();
    }
    functions.push_str("(func (export \"_start\")))");

    vec![
        ("nested blocks", module_with(&deep)),
        ("a br_table of 200,000 targets", module_with(&table)),
        ("49,000 locals", module_with(&locals)),
        ("a body of 60,000 stores", module_with(&wide)),
        ("20,000 branches", module_with(&branches)),
        ("60,000 functions", wat::parse_str(functions).unwrap()),
    ]
}

fn fuel_of(answer: &http::Answer) -> u64 {
    answer.header("talea-fuel").and_then(|v| v.parse().ok()).unwrap_or(0)
}

fn check_call(case: &Case, answer: &http::Answer) -> Result<(), String> {
    let expect = case.expect.as_ref().ok_or("deployed, but the corpus expects no call")?;
    let said = || format!("{} {} {:?}", answer.status, answer.text(), answer.headers);
    if answer.status != expect.status {
        return Err(format!("status: expected {}, got {}", expect.status, said()));
    }
    if let Some(code) = &expect.code
        && answer.code() != *code
    {
        return Err(format!("code: expected {code}, got {}", said()));
    }
    if let Some(trap) = &expect.trap {
        let outcome = answer.header("talea-outcome").unwrap_or("");
        if !outcome.contains(trap.as_str()) {
            return Err(format!("outcome: expected {trap}, got {}", said()));
        }
    }
    if answer.header("talea-receipt").is_none() {
        return Err(format!("no receipt: {}", said()));
    }
    match case.fuel.as_deref() {
        Some("limit") if fuel_of(answer).to_string() != FUEL_LIMIT => {
            Err(format!("fuel: expected the limit, got {}", said()))
        }
        Some(bound) if bound.starts_with("above ") => {
            let bound: u64 = bound["above ".len()..].parse().unwrap();
            if fuel_of(answer) > bound { Ok(()) } else { Err(format!("fuel: {}", said())) }
        }
        _ if fuel_of(answer) == 0 => Err(format!("no fuel billed: {}", said())),
        _ => Ok(()),
    }
}

fn assert_serves(node: &Node, echo: &str) {
    let answer = node.call("POST", &format!("/f/{echo}/"), &[], b"still here");
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "still here"),
        "{:?}",
        answer.headers
    );
    let receipt = answer.header("talea-receipt").expect("a receipt").to_owned();
    assert_eq!(node.call("GET", &format!("/receipts/{receipt}"), &[], b"").status, 200);
}

fn start(folder: &Path) -> Node {
    Node::start(folder, &["--fuel-limit", FUEL_LIMIT])
}

#[test]
fn every_hostile_module_has_its_status_code_and_bill_and_the_node_serves_on() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(folder.path());
    let echo = node.deploy(&wat::parse_str(ECHO).unwrap(), &[]).expect("the echo deploys");
    assert_serves(&node, &echo);
    let mut faults = Vec::new();
    // Twice: the second round meets warm caches and used slots. Files and threads may only have
    // grown in the first one.
    let mut held = (0, 0);
    for round in 0..2 {
        for case in corpus() {
            let deployed = node.deploy(&case.wasm, &[]);
            let fault = match (&deployed, case.deploy.contains(&201), case.deploy.contains(&422)) {
                (Err(_), _, true) => None,
                (Err(said), ..) => Some(format!("refused: {said}")),
                (Ok(_), false, _) => Some("was not refused".to_owned()),
                (Ok(id), ..) => {
                    let answer = node.call("POST", &format!("/f/{id}/"), &[], b"input");
                    check_call(&case, &answer).err()
                }
            };
            faults.extend(fault.map(|fault| format!("round {round}: {}: {fault}", case.name)));
        }
        assert_serves(&node, &echo);
        if round == 0 {
            held = (node.open_files(), node.threads());
        }
    }
    assert!(faults.is_empty(), "{} fault(s)\n{}", faults.len(), faults.join("\n"));
    let (files, threads) = (node.open_files(), node.threads());
    assert!(files <= held.0 + 4, "open files grew from {} to {files}", held.0);
    assert!(threads <= held.1 + 2, "threads grew from {} to {threads}", held.1);
    assert_eq!(node.metric("talea_executor_instances"), Some(0.0), "a memory slot is still taken");
}

#[test]
fn a_module_is_refused_by_size_before_it_is_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(folder.path());
    let mut huge = b"\0asm\x01\0\0\0".to_vec();
    huge.resize(64 << 20, 0);
    let said = node.deploy(&huge, &[]).expect_err("64 MiB are too much");
    assert!(said.contains("too_large"), "{said}");
    // The command line looks before it sends; the node does not rely on that.
    let answer = node.call("POST", "/functions", &[], &huge);
    assert!([401, 413].contains(&answer.status), "{} {}", answer.status, answer.text());
    let echo = node.deploy(&wat::parse_str(ECHO).unwrap(), &[]).expect("the echo deploys");
    assert_serves(&node, &echo);
}

#[test]
fn truncated_and_mutated_modules_are_refused_or_run_but_never_harm() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(folder.path());
    let good = wat::parse_str(ECHO).unwrap();
    let echo = node.deploy(&good, &[]).expect("the echo deploys");
    for cut in [0, 1, 4, 7, 8, 9, good.len() / 3, good.len() / 2, good.len() - 1] {
        node.deploy(&good[..cut], &[]).expect_err("a truncated module is not a function");
    }
    // A fixed step walks over every section; flipping a bit there breaks structure or meaning.
    let mut runs = 0;
    for at in (8..good.len()).step_by(7) {
        let mut mutated = good.clone();
        mutated[at] ^= 1 << (at % 8);
        if let Ok(id) = node.deploy(&mutated, &[]) {
            let answer = node.call("POST", &format!("/f/{id}/"), &[], b"x");
            assert!(answer.header("talea-receipt").is_some(), "{at}: {}", answer.text());
            runs += 1;
        }
    }
    println!("{runs} mutants were functions");
    assert_serves(&node, &echo);
}

#[test]
fn a_compile_bomb_ends_within_its_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(folder.path());
    let echo = node.deploy(&wat::parse_str(ECHO).unwrap(), &[]).expect("the echo deploys");
    for (name, wasm) in compile_bombs() {
        match node.deploy(&wasm, &[]) {
            Err(said) => assert!(!said.contains("internal"), "{name}: {said}"),
            Ok(id) => {
                let answer = node.call("POST", &format!("/f/{id}/"), &[], b"");
                let is_guest = answer.header("talea-receipt").is_some();
                assert!(
                    is_guest || answer.status == 422,
                    "{name}: {} {}",
                    answer.status,
                    answer.text()
                );
            }
        }
        assert_serves(&node, &echo);
    }
}

/// Bytes that no client should send, and the statuses that are right for them. An empty list: the
/// connection may simply be closed.
fn broken_requests() -> Vec<(&'static str, Vec<u8>, &'static [u16])> {
    let long = "x".repeat(200_000);
    let many: String = (0..2_000).fold(String::new(), |mut text, n| {
        write!(text, "x-{n}: y\r\n").unwrap();
        text
    });
    let text = |t: &str| t.as_bytes().to_vec();
    vec![
        ("not HTTP", vec![0xff; 512], &[400][..]),
        ("another protocol", text("SSH-2.0-OpenSSH_9\r\n\r\n"), &[400]),
        ("a bare line", text("\r\n\r\nGET\r\n\r\n"), &[400]),
        ("a header without end", text(&format!("GET /{long}")), &[400, 414, 431]),
        (
            "a header of 200 kB",
            text(&format!("GET / HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n")),
            &[400, 431],
        ),
        (
            "two thousand headers",
            text(&format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n")),
            &[400, 431],
        ),
        (
            "two lengths",
            text(
                "POST /f/x/ HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nabcde",
            ),
            &[400],
        ),
        (
            "a negative length",
            text("POST /f/x/ HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n"),
            &[400],
        ),
        (
            "a length of 2^70",
            text(
                "POST /f/x/ HTTP/1.1\r\nhost: a\r\ncontent-length: 1180591620717411303424\r\n\r\n",
            ),
            &[400, 413],
        ),
        (
            "length and chunks",
            text(
                "POST /f/x/ HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            ),
            &[400, 404, 413],
        ),
        (
            "a chunk size that is no number",
            text("POST /functions HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
            &[400, 401],
        ),
        ("a path with a nul", text("GET /f/\0 HTTP/1.1\r\nhost: a\r\n\r\n"), &[400]),
        (
            "percent garbage",
            text("GET /f/%zz%/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
            &[400, 404],
        ),
        (
            "dot segments",
            text("GET /f/../../etc/passwd HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
            &[400, 404],
        ),
        (
            "an unknown method",
            text("BREW / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
            &[400, 404, 405, 501],
        ),
    ]
}

#[test]
fn broken_requests_get_an_answer_or_a_closed_connection_and_the_node_serves_on() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(folder.path());
    let echo = node.deploy(&wat::parse_str(ECHO).unwrap(), &[]).expect("the echo deploys");
    for (name, bytes, statuses) in broken_requests() {
        let mut connection = Connection::open(node.addr).unwrap();
        // The node may close while we still send; what counts is what it said.
        let _ = connection.send(&bytes);
        let _ = connection.close_writing();
        match connection.answer(false) {
            Ok(answer) => assert!(statuses.contains(&answer.status), "{name}: {}", answer.status),
            Err(e) => {
                let closed = matches!(
                    e.kind(),
                    std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset
                );
                assert!(closed, "{name}: {e}");
            }
        }
        assert_serves(&node, &echo);
    }
    // A good request followed by garbage on one connection: the good one is answered.
    let mut connection = Connection::open(node.addr).unwrap();
    let mut bytes = b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n".to_vec();
    bytes.extend_from_slice(b"\x00\x01garbage\r\n\r\n");
    connection.send(&bytes).unwrap();
    assert_eq!(connection.answer(false).unwrap().status, 200);
    assert_serves(&node, &echo);
}

#[test]
fn slow_and_half_open_clients_are_cut_off_and_cost_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(
        folder.path(),
        &["--fuel-limit", FUEL_LIMIT, "--header-timeout", "1s", "--body-timeout", "1s"],
    );
    let echo = node.deploy(&wat::parse_str(ECHO).unwrap(), &[]).expect("the echo deploys");
    let mut clients: Vec<Connection> = (0..64)
        .map(|n| {
            let mut connection = Connection::open(node.addr).unwrap();
            match n % 3 {
                0 => {}
                1 => connection.send(b"GET /f/").unwrap(),
                _ => connection
                    .send(
                        format!(
                            "POST /f/{echo}/ HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhalf"
                        )
                        .as_bytes(),
                    )
                    .unwrap(),
            }
            connection
        })
        .collect();
    assert_serves(&node, &echo);
    // Each ends by the node's own doing: an answer that says why, or a closed connection. A client
    // that would never be cut off runs into the read timeout of the connection and fails here.
    for client in &mut clients {
        match client.answer(false) {
            Ok(answer) => assert!([400, 408].contains(&answer.status), "{}", answer.status),
            Err(e) => assert_ne!(e.kind(), std::io::ErrorKind::WouldBlock, "never cut off"),
        }
    }
    assert_serves(&node, &echo);
}

#[test]
fn a_client_that_leaves_a_free_call_frees_its_slot() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &["--fuel-limit", "20000000000"]);
    let spin = wat::parse_str(
        r#"(module (memory (export "memory") 1) (func (export "_start") (loop $again (br $again))))"#,
    )
    .unwrap();
    let id = node.deploy(&spin, &[]).expect("deploys");
    for _ in 0..8 {
        let mut connection = Connection::open(node.addr).unwrap();
        connection.send(format!("GET /f/{id}/ HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).unwrap();
        drop(connection);
    }
    // The node notices at its next slice; the metric falls to zero or this test runs out of time.
    let gone = std::iter::repeat_with(|| {
        std::thread::sleep(Duration::from_millis(20));
        node.metric("talea_executor_instances")
    })
    .take(1_000)
    .any(|instances| instances == Some(0.0));
    assert!(gone, "slots are still taken: {:?}", node.metric("talea_executor_instances"));
}
