//! A real node over real sockets: deploy, call, pay, verify, and what goes wrong at its edge.

use std::net::SocketAddr;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use talea_ledger::registration::{Kind, Limits};
use talea_ledger::{
    BodyId, Bundle, ChannelId, Document as _, Fuel, FunctionId, Headers, Input, InputId, NetworkId,
    Pages, Payment, Ppm, Proof, Registration, Run, SecretKey, Sequence, Tal, UnixNanos, batch,
    sign,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::config::Sources;

/// Copies its input to its output, and a line to its log.
const ECHO: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 100) "heard\n")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 65536))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 4) (i32.load (i32.const 8)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 0) (i32.const 100)) (i32.store (i32.const 4) (i32.const 6))
    (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

const TRAP: &str = r#"(module (func (export "_start") unreachable))"#;
const SPIN: &str = r#"(module (func (export "_start") (loop $again (br $again))))"#;

fn owner() -> SecretKey {
    SecretKey::from_bytes(&[3; 32])
}

fn payer() -> SecretKey {
    SecretKey::from_bytes(&[4; 32])
}

async fn start_in(folder: &Path, settings: &[(&str, &str)]) -> Running {
    let mut flags = vec![("listen", "127.0.0.1:0"), ("limits.fuel_max", "100000000")];
    flags.extend_from_slice(settings);
    let mut flags: Vec<_> =
        flags.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    flags.push(("data".to_owned(), folder.join("data").display().to_string()));
    let config = Config::load(&Sources { flags, ..Sources::default() }).unwrap();
    start_with(config, Compiler::InProcess).await.unwrap()
}

/// A client of one node, and the network that the node is alone in.
struct Client(SocketAddr, NetworkId);

impl Client {
    fn of(node: &Running) -> Self {
        Self(node.addr(), node.network().id())
    }
}

impl Client {
    async fn send(&self, request: Request<Bytes>) -> Response<Bytes> {
        let (mut parts, body) = request.into_parts();
        let target = parts.uri.path_and_query().unwrap().as_str();
        parts.uri = format!("http://{}{target}", self.0).parse().unwrap();
        // A client of its own per request: none finds a connection that another left behind.
        let client = legacy::Client::builder(TokioExecutor::new()).build_http();
        let request = Request::from_parts(parts, Full::new(body));
        let (parts, body) = client.request(request).await.unwrap().into_parts();
        Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
    }

    async fn get(&self, path: &str) -> Response<Bytes> {
        self.send(Request::get(path).body(Bytes::new()).unwrap()).await
    }

    async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &'static [u8],
    ) -> Response<Bytes> {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Bytes::from_static(body)).unwrap()).await
    }

    async fn deploy(&self, wat: &str) -> FunctionId {
        let wasm = wat::parse_str(wat).unwrap();
        let id = FunctionId::of(&wasm);
        let answer = self.send(deployment(wasm, &registration(self.1, id, &[]))).await;
        assert_eq!(answer.status(), 201, "{:?}", answer.body());
        assert_eq!(json(&answer)["id"], id.to_string());
        id
    }

    /// Asks with a signature.
    async fn ask_as(&self, key: &SecretKey, path: &str) -> Response<Bytes> {
        let request = talea_ledger::Request {
            at: SystemClock::default().now(),
            network: self.1,
            body: BodyId::of(b""),
            path_and_query: path.parse().unwrap(),
            method: "GET".parse().unwrap(),
        };
        let sealed = BASE64_URL_SAFE_NO_PAD.encode(sign::seal_document(key, &request).encode());
        let request = Request::get(path).header("talea-request", sealed);
        self.send(request.body(Bytes::new()).unwrap()).await
    }
}

fn registration(network: NetworkId, function: FunctionId, headers: &[&str]) -> Registration {
    let headers: Vec<_> = headers.iter().map(|name| name.parse().unwrap()).collect();
    Registration {
        at: SystemClock::default().now(),
        function,
        cgi: false,
        limits: Limits {
            log: 1 << 16,
            memory: Pages(100),
            output: 1 << 20,
            fuel: Fuel(50_000_000),
        },
        network,
        kind: Kind::Command,
        name: None,
        owner: owner().public(),
        headers: headers.try_into().unwrap(),
    }
}

fn deployment(wasm: Vec<u8>, registration: &Registration) -> Request<Bytes> {
    let sealed = sign::seal_document(&owner(), registration).encode();
    Request::post("/functions")
        .header("talea-registration", BASE64_URL_SAFE_NO_PAD.encode(sealed))
        .body(Bytes::from(wasm))
        .unwrap()
}

fn json(answer: &Response<Bytes>) -> Value {
    serde_json::from_slice(answer.body()).unwrap()
}

fn code(answer: &Response<Bytes>) -> (u16, String) {
    let code = json(answer)["error"]["code"].as_str().unwrap_or_default().to_owned();
    (answer.status().as_u16(), code)
}

fn header<'a>(answer: &'a Response<Bytes>, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

fn bytes(answer: &Response<Bytes>, name: &str) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(header(answer, name)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_deployed_called_and_its_receipt_proven() {
    let folder = tempfile::tempdir().unwrap();
    let node = start_in(folder.path(), &[]).await;
    let client = Client::of(&node);
    let id = client.deploy(ECHO).await;
    let prefer = [("prefer", "return=receipt")];
    let answer = client.post(&format!("/f/{id}/a?b=c"), &prefer, b"hello").await;
    assert_eq!((answer.status().as_u16(), &answer.body()[..]), (200, &b"hello"[..]));
    assert_eq!(header(&answer, "talea-function"), id.to_string());
    assert_eq!((header(&answer, "talea-outcome"), header(&answer, "talea-bill")), ("ok", "0"));
    assert!(header(&answer, "talea-fuel").parse::<u64>().unwrap() > 0);
    assert_eq!(header(&answer, "access-control-allow-origin"), "*");

    // From the answer's headers alone.
    let proof = Proof::decode(&bytes(&answer, "talea-receipt-proof")).unwrap();
    let proven = batch::verify_receipt(&bytes(&answer, "talea-receipt-payload"), &proof).unwrap();
    assert_eq!(*proven.signer(), node.host());
    let run = Run::decode(&bytes(&answer, "talea-run-payload")).unwrap();
    assert_eq!(
        (run.function, run.input),
        (id, InputId::of(&bytes(&answer, "talea-input-payload")))
    );

    // And as a bundle, with bodies for the owner alone.
    let receipt = header(&answer, "talea-receipt").to_owned();
    let path = format!("/receipts/{receipt}");
    let shown = client.get(&path).await;
    assert_eq!(json(&shown)["fuel"], header(&answer, "talea-fuel"));
    let bundle = client
        .send(
            Request::get(&path)
                .header("accept", "application/vnd.talea.bundle.v1+dag-cbor")
                .body(Bytes::new())
                .unwrap(),
        )
        .await;
    let bundle = Bundle::decode(bundle.body()).unwrap();
    assert!(bundle.output_body.is_none(), "bodies are not for everybody");
    let checked = bundle.check().unwrap();
    assert_eq!(checked.receipt().document().host, node.host());
    node.stop().await.unwrap();

    // A receipt that a caller has seen is never lost.
    let again = start_in(folder.path(), &[]).await;
    let kept = Client::of(&again).get(&path).await;
    assert_eq!(kept.body(), shown.body());
    let answer = Client::of(&again).post(&format!("/f/{id}/"), &[], b"still").await;
    assert_eq!(&answer.body()[..], b"still");
    again.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guest_does_wrong_is_an_answer_with_a_receipt() {
    let folder = tempfile::tempdir().unwrap();
    let node = start_in(folder.path(), &[("limits.fuel", "5000000")]).await;
    let client = Client::of(&node);
    for (wat, expected, outcome) in
        [(TRAP, "guest_trap", "trap:unreachable"), (SPIN, "out_of_fuel", "out_of_fuel")]
    {
        let id = client.deploy(wat).await;
        let answer = client.get(&format!("/f/{id}/")).await;
        assert_eq!(code(&answer), (500, expected.to_owned()));
        assert_eq!(header(&answer, "talea-outcome"), outcome);
        let receipt = client.get(&format!("/receipts/{}", header(&answer, "talea-receipt"))).await;
        assert_eq!(json(&receipt)["outcome"], outcome);
        assert_eq!(json(&receipt)["fuel"], header(&answer, "talea-fuel"));
    }
    node.stop().await.unwrap();
}

/// A run of the echo on an empty request, as its payer signs it.
fn paid_run(node: &Running, function: FunctionId, profile: talea_ledger::ProfileId) -> Run {
    let input = Input {
        body_len: 0,
        args: Vec::new().try_into().unwrap(),
        body: BodyId::of(b""),
        path: "/".parse().unwrap(),
        salt: None,
        query: "".parse().unwrap(),
        method: "POST".parse().unwrap(),
        headers: Headers::none(),
    };
    let network = node.network().id();
    let clock = SystemClock::default().now();
    Run {
        function,
        input: InputId::of(&input.encode()),
        clock,
        input_len: 0,
        network,
        payment: Some(Payment {
            cap: Tal(1_000),
            expires: UnixNanos(clock.0 + 60_000_000_000),
            royalty_ppm: Ppm::ZERO,
            sequence: Sequence(1),
            channel: ChannelId::local(&payer().public(), &node.host(), &network),
            host: Some(node.host()),
        }),
        profile,
        seed: [7; 32],
        cgi: false,
        price: talea_ledger::Price { per_call: Tal(10), rate: 0, per_kib: Tal(0) },
        log_limit: 1000,
        memory_limit: Pages(10),
        output_limit: 1000,
        fuel_limit: Fuel(1_000_000),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_run_is_billed_once_however_often_it_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let payers = payer().public().to_string();
    let settings =
        [("credit.payers", payers.as_str()), ("price.per_call", "10"), ("free.calls", "false")];
    let node = start_in(folder.path(), &settings).await;
    let client = Client::of(&node);
    let id = client.deploy(ECHO).await;
    let path = format!("/f/{id}/");

    let unpaid = client.post(&path, &[], b"").await;
    assert_eq!(code(&unpaid), (402, "payment_required".to_owned()));
    let terms = json(&unpaid);
    let offer = &terms["accepts"][0];
    assert_eq!(
        (&offer["scheme"], &offer["extra"]["price"]["per_call"]),
        (&"upto".into(), &"10".into())
    );
    let profile = offer["extra"]["profile"].as_str().unwrap().parse().unwrap();

    let run = paid_run(&node, id, profile);
    let sealed =
        |run: &Run| BASE64_URL_SAFE_NO_PAD.encode(sign::seal_document(&payer(), run).encode());
    let header_text = sealed(&run);
    let first = client.post(&path, &[("talea-run", &header_text)], b"").await;
    assert_eq!(first.status(), 200, "{:?}", first.body());
    assert_eq!(header(&first, "talea-bill"), "10");

    // Sent again, thrice at once: the same receipt, nothing more owed.
    let headers = [("talea-run", header_text.as_str())];
    let again = || client.post(&path, &headers, b"");
    let (a, b, c) = tokio::join!(again(), again(), again());
    for again in [a, b, c] {
        assert_eq!(header(&again, "talea-receipt"), header(&first, "talea-receipt"));
    }
    let other = Run { seed: [8; 32], ..run.clone() };
    let conflict = client.post(&path, &[("talea-run", &sealed(&other))], b"").await;
    assert_eq!(code(&conflict), (409, "sequence_used".to_owned()));
    let body = client.post(&path, &[("talea-run", &sealed(&other))], b"x").await;
    assert_eq!(code(&body), (409, "sequence_used".to_owned()));

    let mut second = run.clone();
    second.payment.as_mut().unwrap().sequence = Sequence(2);
    let foreign = client.post(&path, &[("talea-run", &sealed(&second))], b"x").await;
    assert_eq!(code(&foreign), (401, "input_foreign".to_owned()));
    let second = client.post(&path, &[("talea-run", &sealed(&second))], b"").await;
    let shown = client.get(&format!("/receipts/{}", header(&second, "talea-receipt"))).await;
    assert_eq!(json(&shown)["payment"]["owed"], "20");
    let channel = run.payment.unwrap().channel;
    let listed = client.get(&format!("/receipts?channel={channel}&sequence=1")).await;
    assert_eq!(json(&listed)["receipts"][0]["id"], header(&first, "talea-receipt"));
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_told_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        [("http.body", "1 KiB"), ("http.module", "64 KiB"), ("http.open_lists", "false")];
    let node = start_in(folder.path(), &settings).await;
    let client = Client::of(&node);
    let id = client.deploy(ECHO).await;
    let absent = FunctionId::of(b"absent");
    let cases = [
        ("/nowhere", 404, "route_unknown"),
        ("/f/", 400, "target_invalid"),
        ("/f/acme/none", 404, "name_unknown"),
        (&format!("/f/{absent}/"), 404, "function_unknown"),
        (&format!("/functions/{absent}"), 404, "function_unknown"),
        ("/functions/zzz", 400, "target_invalid"),
        ("/functions?limt=3", 400, "query_invalid"),
        ("/receipts", 401, "signature_missing"),
        ("/receipts/zzz", 400, "target_invalid"),
        (&format!("/functions/{id}/logs"), 401, "signature_missing"),
    ];
    for (path, status, expected) in cases {
        let answer = client.get(path).await;
        assert_eq!(code(&answer), (status, expected.to_owned()), "{path}");
    }
    let method = client.post("/health", &[], b"").await;
    assert_eq!(code(&method), (405, "method_not_allowed".to_owned()));
    assert_eq!(header(&method, "allow"), "GET, HEAD");
    let large = client.post(&format!("/f/{id}/"), &[], &[0; 2000]).await;
    assert_eq!(code(&large), (413, "body_too_large".to_owned()));
    let unsigned = client.post("/functions", &[], b"\0asm").await;
    assert_eq!(code(&unsigned), (401, "signature_missing".to_owned()));
    let other = registration(client.1, FunctionId::of(b"another"), &[]);
    let other = client.send(deployment(wat::parse_str("(module)").unwrap(), &other)).await;
    assert_eq!(code(&other), (401, "signature_foreign".to_owned()));
    let refused = |wasm: Vec<u8>| {
        let registration = registration(client.1, FunctionId::of(&wasm), &[]);
        client.send(deployment(wasm, &registration))
    };
    assert_eq!(code(&refused(b"nonsense".to_vec()).await), (422, "not_wasm".to_owned()));
    let entry = wat::parse_str("(module)").unwrap();
    assert_eq!(code(&refused(entry).await), (422, "no_entry".to_owned()));
    assert_eq!(code(&refused(vec![0; 70_000]).await), (413, "module_too_large".to_owned()));
    let cookies = {
        let wasm = wat::parse_str(TRAP).unwrap();
        let registration = registration(client.1, FunctionId::of(&wasm), &["cookie"]);
        client.send(deployment(wasm, &registration)).await
    };
    assert_eq!(code(&cookies), (400, "registration_invalid".to_owned()));
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_for_its_owner_and_can_be_followed() {
    let folder = tempfile::tempdir().unwrap();
    let node = start_in(folder.path(), &[]).await;
    let client = Client::of(&node);
    let id = client.deploy(ECHO).await;
    let path = format!("/functions/{id}/logs");
    assert_eq!(code(&client.ask_as(&payer(), &path).await), (403, "not_permitted".to_owned()));
    let empty = client.ask_as(&owner(), &path).await;
    assert_eq!(json(&empty)["lines"], serde_json::json!([]));
    // The follower is there before the call, and is answered by it.
    let follow = format!("{path}?wait=20");
    let call = format!("/f/{id}/");
    let owner = owner();
    let (followed, called) =
        tokio::join!(client.ask_as(&owner, &follow), client.post(&call, &[], b"x"));
    let line = &json(&followed)["lines"][0];
    assert_eq!(line["receipt"], header(&called, "talea-receipt"));
    assert_eq!(line["text"], "heard\n");
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_and_people_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("addr");
    let node = start_in(folder.path(), &[("addr_file", &file.display().to_string())]).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), node.addr().to_string());
    let client = Client::of(&node);
    let id = client.deploy(ECHO).await;
    client.post(&format!("/f/{id}/"), &[], b"x").await;
    let info = json(&client.get("/.well-known/talea/info").await);
    assert_eq!(
        (&info["host"], &info["totals"]["runs"]),
        (&node.host().to_string().into(), &"1".into())
    );
    assert_eq!(client.get("/ready").await.status(), 200);
    let page = client.get("/").await;
    assert!(page.body().starts_with(b"<!doctype html>"));
    let metrics = client.get("/metrics").await;
    let metrics = String::from_utf8_lossy(metrics.body()).into_owned();
    for line in [
        "talea_runs_total{outcome=\"ok\"} 1",
        "talea_receipts_total 1",
        "talea_executor_instances 0",
        "talea_requests_total{route=\"call\",status=\"2xx\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    let described = json(&client.get(&format!("/functions/{id}")).await);
    assert_eq!(
        (&described["kind"], &described["owner"]),
        (&"command".into(), &owner().public().to_string().into())
    );
    let wasm = Request::get(format!("/functions/{id}")).header("accept", "application/wasm");
    let wasm = client.send(wasm.body(Bytes::new()).unwrap()).await;
    assert_eq!(FunctionId::of(wasm.body()), id);
    let newest = json(&client.get("/receipts?order=newest&limit=1").await);
    assert_eq!(newest["receipts"][0]["function"], id.to_string());
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let traced = client.post(&format!("/f/{id}/"), &[("traceparent", parent)], b"").await;
    assert_eq!(header(&traced, "traceparent"), parent);
    node.stop().await.unwrap();
}

/// Everything that comes until the other side closes.
async fn read_all(socket: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    // A reset after the answer is a close as well.
    let _ = socket.read_to_end(&mut heard).await;
    String::from_utf8_lossy(&heard).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_above_the_bound_is_told_to_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let node = start_in(folder.path(), &[("http.connections", "1")]).await;
    let mut first = TcpStream::connect(node.addr()).await.unwrap();
    first.write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut heard = [0; 12];
    first.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"HTTP/1.1 200");
    let mut second = TcpStream::connect(node.addr()).await.unwrap();
    let told = read_all(&mut second).await;
    assert!(told.starts_with("HTTP/1.1 503") && told.contains("retry-after: 1"), "{told}");
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_lose_their_connection() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("http.head_time", "500ms"), ("http.body_time", "500ms")];
    let node = start_in(folder.path(), &settings).await;
    let id = Client::of(&node).deploy(ECHO).await;
    let mut silent = TcpStream::connect(node.addr()).await.unwrap();
    let mut slow_head = TcpStream::connect(node.addr()).await.unwrap();
    slow_head.write_all(b"GET /hea").await.unwrap();
    let mut slow_body = TcpStream::connect(node.addr()).await.unwrap();
    let head = format!("POST /f/{id}/ HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf");
    slow_body.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_all(&mut silent).await, "");
    let told = read_all(&mut slow_head).await;
    assert!(told.starts_with("HTTP/1.1 408") && told.contains("request_timeout"), "{told}");
    let told = read_all(&mut slow_body).await;
    assert!(told.starts_with("HTTP/1.1 408") && told.contains("request_timeout"), "{told}");
    assert_eq!(Client::of(&node).get("/health").await.status(), 200);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_one_packet_are_answered_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let node = start_in(folder.path(), &[]).await;
    let id = Client::of(&node).deploy(ECHO).await;
    let mut socket = TcpStream::connect(node.addr()).await.unwrap();
    let mut requests = String::new();
    for body in ["one", "two", "six"] {
        requests.push_str(&format!(
            "POST /f/{id}/ HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n{body}"
        ));
    }
    requests.push_str("GARBAGE\r\n\r\n");
    socket.write_all(requests.as_bytes()).await.unwrap();
    let told = read_all(&mut socket).await;
    let places: Vec<_> =
        ["\r\n\r\none", "\r\n\r\ntwo", "\r\n\r\nsix"].iter().map(|body| told.find(body)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{told}");
    assert!(told.contains("HTTP/1.1 400"), "{told}");
    node.stop().await.unwrap();
}
