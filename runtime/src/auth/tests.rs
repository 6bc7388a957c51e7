//! Runs as data: which are let in, and what the others are told.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Mutex;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use expect_test::{Expect, expect};
use talea_ledger::registration::{Kind, Limits};
use talea_ledger::{
    BodyId, Document, Fuel, FunctionId, InputId, Pages, Payment, Ppm, Price, ProfileId,
    Registration, Request, SecretKey, sign,
};

use self::ledger::Ledger;
use super::*;
use crate::call::{Head, REGISTRATION, REQUEST};

mod ledger;

const NOW: UnixNanos = UnixNanos(1_800_000_000_000_000_000);
const SECOND: u64 = 1_000_000_000;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32])
}

fn host() -> PublicKey {
    key(1).public()
}

fn payer() -> PublicKey {
    key(2).public()
}

fn function() -> FunctionId {
    FunctionId::of(b"module")
}

/// What is recorded, as a test wants it.
#[derive(Debug, Default)]
struct Recorded {
    used: Mutex<HashMap<Sequence, Used>>,
    owed: Mutex<u64>,
}

impl Channels for Recorded {
    fn record(&self, _: ChannelId, sequence: Sequence) -> Result<Record, ChannelsError> {
        let standing = match self.used.lock().unwrap().get(&sequence) {
            Some(used) => Standing::Used(*used),
            None if sequence.0 == 0 => Standing::Spent,
            None => Standing::Fresh,
        };
        let owed = Tal(*self.owed.lock().unwrap());
        Ok(Record { owed, floor: Sequence(0), standing })
    }

    fn debts(&self) -> Vec<(ChannelId, Tal)> {
        Vec::new()
    }
}

/// A ledger with nothing on it.
fn no_ledger() -> Arc<Ledger> {
    Arc::new(Ledger::new())
}

fn auth_with(recorded: Arc<Recorded>, free: config::Free, deploy: config::Deploy) -> Auth {
    let offer = Offer {
        network: NetworkId::DEVELOPMENT,
        host: host(),
        profile: ProfileId::of(b"profile"),
        price: Price { per_call: Tal(10), rate: 5, per_kib: Tal(1) },
        fuel_max: Fuel(2_000_000),
        memory_max: Pages(100),
        output_len_max: 4096,
        log_len_max: 1024,
        watermark: Tal(1000),
    };
    let credit = config::Credit { payers: vec![payer()], cap: Tal(100) };
    let (channels, exposure) = (recorded, Tal(0));
    let cover = Cover { credit, exposure, channels, escrow: no_ledger() };
    Auth::new(offer, &free, cover, deploy)
}

fn auth(recorded: Arc<Recorded>) -> Auth {
    let free = config::Free { calls: true, per_second: None, burst: 1 };
    auth_with(recorded, free, config::Deploy::Anyone)
}

fn payment() -> Payment {
    Payment {
        cap: Tal(30),
        expires: UnixNanos(NOW.0 + 60 * SECOND),
        royalty_ppm: Ppm::ZERO,
        sequence: Sequence(1),
        channel: ChannelId::local(&payer(), &host(), &NetworkId::DEVELOPMENT),
        host: Some(host()),
    }
}

/// A run that is in order: 10 + 2 x 5 + 4 x 1 = 24 tal at most.
fn run() -> Run {
    Run {
        function: function(),
        input: InputId::of(b"input"),
        clock: NOW,
        input_len: 0,
        network: NetworkId::DEVELOPMENT,
        payment: Some(payment()),
        profile: ProfileId::of(b"profile"),
        seed: [7; 32],
        cgi: false,
        price: Price { per_call: Tal(10), rate: 5, per_kib: Tal(1) },
        log_limit: 1024,
        memory_limit: Pages(100),
        output_limit: 4096,
        fuel_limit: Fuel(2_000_000),
    }
}

fn call_with(header: Option<Vec<u8>>) -> Call {
    let mut request = http::Request::post("/f/a/b");
    if let Some(bytes) = header {
        request = request.header("talea-run", BASE64_URL_SAFE_NO_PAD.encode(bytes));
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let (method, uri, headers) = (parts.method, parts.uri, parts.headers);
    Call::new(Head { method, uri, headers, peer: Ipv4Addr::LOCALHOST.into(), at: NOW }).unwrap()
}

fn signed(run: &Run) -> Call {
    call_with(Some(sign::seal_document(&key(2), run).encode()))
}

fn changed(change: impl FnOnce(&mut Run)) -> Call {
    let mut run = run();
    change(&mut run);
    signed(&run)
}

fn paying(change: impl FnOnce(&mut Payment)) -> Call {
    changed(|run| change(run.payment.as_mut().unwrap()))
}

fn check_fault(call: Call, expected: Expect) {
    match auth(Arc::default()).authorize(call) {
        Ok(admission) => panic!("was let in: {admission:?}"),
        Err(fault) => expected.assert_eq(&fault.to_string()),
    }
}

fn admitted(auth: &Auth, call: Call) -> Authorized {
    match auth.authorize(call).unwrap() {
        Admission::Run(authorized) => authorized,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_run_in_order_is_let_in() {
    let auth = auth(Arc::default());
    let authorized = admitted(&auth, signed(&run()));
    let Caller::Paid(paid) = authorized.caller() else { panic!("not paid") };
    assert_eq!((paid.payer(), paid.reserved(), paid.run()), (payer(), Tal(30), &run()));
    assert_eq!(paid.carried().0, run().encode());
}

#[test]
fn every_refusal_says_what_is_wrong() {
    check_fault(
        call_with(Some(b"nonsense".to_vec())),
        expect!["the run cannot be read: at byte 0: expected a map"],
    );
    let mut forged = sign::seal_document(&key(2), &run()).encode();
    let at = forged.len() - 60;
    forged[at] ^= 1;
    check_fault(
        call_with(Some(forged)),
        expect![
            "the run's signature does not hold: the signature of did:key:z6Mko9hTggMwjSTEaJaPUfEHWgy88Qm2f72BzhdXwYc9UZfZ does not hold"
        ],
    );
    let other_type = Request {
        at: NOW,
        network: NetworkId::DEVELOPMENT,
        body: BodyId::of(b""),
        path_and_query: "/".parse().unwrap(),
        method: "GET".parse().unwrap(),
    };
    check_fault(
        call_with(Some(sign::seal_document(&key(2), &other_type).encode())),
        expect![
            "the run's signature does not hold: expected application/vnd.talea.run.v1+dag-cbor, found application/vnd.talea.request.v1+dag-cbor"
        ],
    );
    check_fault(
        changed(|run| run.network = NetworkId::new([9; 32])),
        expect![
            "the run is for network 0909090909090909090909090909090909090909090909090909090909090909; this is 55b6e83da66b1a8ba0c915742657a10b6f99eb32d191d4bab9d98096c2461eb6"
        ],
    );
    check_fault(changed(|run| run.payment = None), expect!["the run names no payment"]);
    check_fault(
        paying(|payment| payment.host = Some(key(3).public())),
        expect![
            "the run is for host did:key:z6MkvRXNYcE7MMduynWTgeKbDaT1iijDSC8pZqXZc8rHPrf2; this is did:key:z6Mkon3Necd6NkkyfoGoHxid2znGc59LU3K7mubaRcFbLfLX"
        ],
    );
    check_fault(
        paying(|payment| payment.expires = NOW),
        expect!["the run expired at 1800000000000000000, 0 ms ago"],
    );
    check_fault(
        changed(|run| run.clock = UnixNanos(NOW.0 + 301 * SECOND)),
        expect!["the run's clock is 301 s from this host's; at most 300 are taken"],
    );
    check_fault(
        changed(|run| run.profile = ProfileId::of(b"other")),
        expect![
            "the run's profile bafyreigzfgfbbunqonmdpxcl3bo2yza3b46o6j5epzovhjkpf47vwl6p7i is not offered here"
        ],
    );
    check_fault(
        paying(|payment| payment.channel = ChannelId::new([3; 32])),
        expect![
            "the ledger has no channel 0303030303030303030303030303030303030303030303030303030303030303"
        ],
    );
    check_fault(
        changed(|run| run.fuel_limit = Fuel(2_000_001)),
        expect!["the run asks for 2000001 of `fuel`; this host gives at most 2000000"],
    );
    check_fault(
        changed(|run| run.memory_limit = Pages(101)),
        expect!["the run asks for 101 of `memory`; this host gives at most 100"],
    );
    check_fault(
        changed(|run| run.price.rate = 4),
        expect!["the run's price is below this host's in `rate`: 4, not 5"],
    );
    check_fault(
        paying(|payment| payment.cap = Tal(23)),
        expect!["the run's cap is 23 tal; its limits allow a bill of 24"],
    );
    check_fault(
        paying(|payment| payment.cap = Tal(101)),
        expect!["0 tal owed, 0 under way and a cap of 101 pass the credit of 100"],
    );
    check_fault(
        paying(|payment| payment.sequence = Sequence(1025)),
        expect!["sequence 1025 is above the channel's window; 1024 is the highest taken now"],
    );
    check_fault(
        paying(|payment| payment.sequence = Sequence(0)),
        expect!["sequence 0 of the channel is used, and its receipt is no longer kept"],
    );
    let stranger = {
        let mut run = run();
        let channel = ChannelId::local(&key(3).public(), &host(), &NetworkId::DEVELOPMENT);
        run.payment.as_mut().unwrap().channel = channel;
        call_with(Some(sign::seal_document(&key(3), &run).encode()))
    };
    check_fault(
        stranger,
        expect![
            "did:key:z6MkvRXNYcE7MMduynWTgeKbDaT1iijDSC8pZqXZc8rHPrf2 has no channel to this host"
        ],
    );
}

#[test]
fn the_same_run_again_is_found_and_another_is_a_conflict() {
    let recorded = Arc::new(Recorded::default());
    let auth = auth(recorded.clone());
    let first = admitted(&auth, signed(&run()));
    let ended = match auth.authorize(signed(&run())).unwrap() {
        Admission::Underway { ended, .. } => ended,
        other => panic!("{other:?}"),
    };
    assert!(ended.has_changed().is_ok(), "the first is under way");
    let conflict = auth.authorize(changed(|run| run.seed = [8; 32])).unwrap_err();
    let id = RunId::of(&run().encode());
    assert_eq!(conflict.to_string(), format!("sequence 1 of the channel is used by {id}"));

    let used = Used { run: id, signer: payer(), receipt: ReceiptId::of(b"receipt") };
    recorded.used.lock().unwrap().insert(Sequence(1), used);
    drop(first);
    assert!(ended.has_changed().is_err(), "whoever waits is woken by the end");
    let again = auth.authorize(signed(&run())).unwrap();
    assert!(matches!(again, Admission::Repeat(receipt) if receipt == used.receipt), "{again:?}");
    let late = paying(|payment| payment.expires = UnixNanos(NOW.0 + 1));
    assert!(auth.authorize(late).is_err(), "another expiry is another run");
    let stolen = call_with(Some(sign::seal_document(&key(3), &run()).encode()));
    assert!(auth.authorize(stolen).is_err(), "its bytes under another signature are no repetition");
    let conflict = auth.authorize(changed(|run| run.seed = [8; 32])).unwrap_err();
    assert!(matches!(conflict, AuthorizeError::SequenceUsed { run: Some(run), .. } if run == id));
}

#[test]
fn what_is_owed_and_under_way_never_passes_the_credit() {
    let recorded = Arc::new(Recorded::default());
    *recorded.owed.lock().unwrap() = 10;
    let auth = auth(recorded.clone());
    let call = |sequence| paying(|payment| payment.sequence = Sequence(sequence));
    let held: Vec<_> = (1..=3).map(|sequence| admitted(&auth, call(sequence))).collect();
    let spent = auth.authorize(call(4)).unwrap_err();
    assert!(
        matches!(spent, AuthorizeError::CreditSpent { owed: Tal(10), reserved: Tal(90), .. }),
        "{spent:?}"
    );
    drop(held);
    admitted(&auth, call(4));
    *recorded.owed.lock().unwrap() = 71;
    assert!(matches!(auth.authorize(call(5)), Err(AuthorizeError::CreditSpent { .. })));
}

#[test]
fn free_calls_are_refused_or_limited() {
    let free = |calls, per_second| config::Free { calls, per_second, burst: 2 };
    let refuses = auth_with(Arc::default(), free(false, None), config::Deploy::Anyone);
    let fault = refuses.authorize(call_with(None)).unwrap_err();
    assert!(matches!(fault, AuthorizeError::PaymentRequired));
    let limits = auth_with(Arc::default(), free(true, Some(4)), config::Deploy::Anyone);
    admitted(&limits, call_with(None));
    admitted(&limits, call_with(None));
    let fault = limits.authorize(call_with(None)).unwrap_err();
    let wait = Duration::from_millis(250);
    assert!(matches!(fault, AuthorizeError::RateLimited { retry_after } if retry_after == wait));
    admitted(&limits, signed(&run()));
}

fn header(name: http::HeaderName, sealed: &Sealed) -> http::HeaderMap {
    let value = BASE64_URL_SAFE_NO_PAD.encode(sealed.encode());
    [(name, value.parse().unwrap())].into_iter().collect()
}

#[test]
fn a_signed_read_is_for_one_request_and_a_few_minutes() {
    let auth = auth(Arc::default());
    let request = Request {
        at: NOW,
        network: NetworkId::DEVELOPMENT,
        body: BodyId::of(b""),
        path_and_query: "/receipts?limit=1".parse().unwrap(),
        method: "GET".parse().unwrap(),
    };
    let headers = header(REQUEST, &sign::seal_document(&key(5), &request));
    let asked =
        |path_and_query, at| Asked { method: "GET", path_and_query, body: BodyId::of(b""), at };
    let reader = auth.reader(&headers, &asked("/receipts?limit=1", NOW)).unwrap();
    assert_eq!(reader, Reader::Key(key(5).public()));
    let differs = auth.reader(&headers, &asked("/receipts?limit=2", NOW)).unwrap_err();
    assert!(matches!(differs, RequestError::Differs { part: "path" }));
    let later = UnixNanos(NOW.0 + 301 * SECOND);
    let stale = auth.reader(&headers, &asked("/receipts?limit=1", later)).unwrap_err();
    assert!(matches!(stale, RequestError::Stale { .. }));
    let nobody = auth.reader(&http::HeaderMap::new(), &asked("/", NOW)).unwrap();
    assert_eq!(nobody, Reader::Anyone);
}

#[test]
fn a_registration_is_its_owners_and_honourable() {
    let registration = |owner: &SecretKey, headers: &[&str]| {
        let headers: Vec<_> = headers.iter().map(|name| name.parse().unwrap()).collect();
        Registration {
            at: NOW,
            function: function(),
            cgi: false,
            limits: Limits { log: 1, memory: Pages(1), output: 1, fuel: Fuel(1) },
            network: NetworkId::DEVELOPMENT,
            kind: Kind::Handler,
            name: None,
            owner: owner.public(),
            headers: headers.try_into().unwrap(),
        }
    };
    let open = auth(Arc::default());
    let sealed = sign::seal_document(&key(5), &registration(&key(5), &["accept"]));
    let headers = header(REGISTRATION, &sealed);
    let (verified, _) = open.registration(&headers, NOW).unwrap();
    assert_eq!(*verified.signer(), key(5).public());
    let missing = open.registration(&http::HeaderMap::new(), NOW).unwrap_err();
    assert!(matches!(missing, RequestError::Missing { .. }));
    let foreign = sign::seal_document(&key(6), &registration(&key(5), &[]));
    let foreign = open.registration(&header(REGISTRATION, &foreign), NOW).unwrap_err();
    assert!(matches!(foreign, RequestError::Unverified(_)));
    for name in ["cookie", "talea-run"] {
        let sealed = sign::seal_document(&key(5), &registration(&key(5), &[name]));
        let fault = open.registration(&header(REGISTRATION, &sealed), NOW).unwrap_err();
        let RequestError::Registration(fault) = fault else { panic!("{fault:?}") };
        assert_eq!(fault, RegistrationFault::Header(name.to_owned()));
    }
    let free = config::Free { calls: true, per_second: None, burst: 1 };
    let closed = auth_with(Arc::default(), free, config::Deploy::Keys(vec![key(6).public()]));
    let fault = closed.registration(&headers, NOW).unwrap_err();
    assert!(matches!(fault, RequestError::NotPermitted { what: "deploy", .. }));
}
