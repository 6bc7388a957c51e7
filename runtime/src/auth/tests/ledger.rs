//! Runs on channels of a ledger: a real state, channels opened by real transactions.

use std::sync::Mutex;

use talea_ledger::transaction::{CloseChannel, OpenChannel, TopUp};
use talea_ledger::{
    Action, Height, Network, NetworkParams, Nonce, Place, Session, Slot, State, Transaction,
    VerifiedTransaction,
};

use super::*;

/// A ledger whose head and finalised state a test moves.
#[derive(Debug)]
pub(super) struct Ledger(Mutex<Inside>);

#[derive(Debug)]
struct Inside {
    head: State,
    finalised: State,
    vouched: Vouched,
    grants: usize,
}

impl Ledger {
    pub(super) fn new() -> Self {
        let params = NetworkParams::development(&[payer()], host());
        let head = State::genesis(Arc::new(Network::new(params).unwrap()));
        let finalised = head.clone();
        Self(Mutex::new(Inside { head, finalised, vouched: Vouched::default(), grants: 0 }))
    }

    fn network(&self) -> NetworkId {
        self.0.lock().unwrap().head.network().id()
    }

    /// Applies an action of the payer to the head.
    fn act(&self, action: Action) -> ChannelId {
        let mut inside = self.0.lock().unwrap();
        let network = inside.head.network().clone();
        let transaction = Transaction {
            action,
            network: network.id(),
            sender: payer(),
            nonce: inside.head.account(&payer()).nonce,
            builds_on: None,
        };
        let sealed = transaction.seal(&key(2));
        let verified = VerifiedTransaction::verify(&sealed, &network.id()).unwrap();
        let place = Place { height: Height(1), slot: network.slot_at(NOW) };
        inside.head.attempt(&verified, place).unwrap();
        assert!(verified.nonce() < Nonce(100));
        ChannelId::opened_by(&verified.id())
    }

    fn open(&self, escrow: u64) -> ChannelId {
        let expires = Slot(self.0.lock().unwrap().head.network().slot_at(NOW).0 + 10_000);
        self.act(Action::OpenChannel(OpenChannel {
            host: host(),
            escrow: Tal(escrow),
            expires,
            batch_cap: Tal(0),
            watermark: Tal(500),
        }))
    }

    fn finalise(&self) {
        let mut inside = self.0.lock().unwrap();
        inside.finalised = inside.head.clone();
    }

    fn vouch(&self, owed: u64, settled: u64) {
        self.0.lock().unwrap().vouched = Vouched { owed: Tal(owed), settled: Sequence(settled) };
    }
}

impl Escrow for Ledger {
    fn states(&self) -> States {
        let inside = self.0.lock().unwrap();
        States { finalised: inside.finalised.clone(), head: inside.head.clone() }
    }

    fn vouched(&self, _: &ChannelId) -> Vouched {
        self.0.lock().unwrap().vouched
    }

    fn keep_grant(&self, _: &Verified<Session>, _: &Sealed) -> Result<(), ChannelsError> {
        self.0.lock().unwrap().grants += 1;
        Ok(())
    }
}

struct Bench {
    ledger: Arc<Ledger>,
    recorded: Arc<Recorded>,
    auth: Auth,
}

fn bench(exposure: u64) -> Bench {
    let (ledger, recorded) = (Arc::new(Ledger::new()), Arc::new(Recorded::default()));
    let offer = Offer { network: ledger.network(), ..auth(Arc::default()).offer().clone() };
    let cover = Cover {
        credit: config::Credit { payers: Vec::new(), cap: Tal(0) },
        exposure: Tal(exposure),
        channels: recorded.clone(),
        escrow: ledger.clone(),
    };
    let free = config::Free { calls: true, per_second: None, burst: 1 };
    let auth = Auth::new(offer, &free, cover, config::Deploy::Anyone);
    Bench { ledger, recorded, auth }
}

impl Bench {
    fn run(&self, channel: ChannelId, sequence: u64) -> Run {
        let payment = Payment { channel, sequence: Sequence(sequence), ..payment() };
        Run { network: self.ledger.network(), payment: Some(payment), ..run() }
    }

    fn ask(&self, channel: ChannelId, sequence: u64) -> Result<Admission, AuthorizeError> {
        self.auth.authorize(signed(&self.run(channel, sequence)))
    }

    fn ask_under(&self, run: &Run, grant: &Session) -> Result<Admission, AuthorizeError> {
        let coded = |sealed: Sealed| BASE64_URL_SAFE_NO_PAD.encode(sealed.encode());
        let request = http::Request::post("/f/a/b")
            .header("talea-run", coded(sign::seal_document(&key(7), run)))
            .header("talea-session", coded(sign::seal_document(&key(2), grant)));
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let (method, uri, headers) = (parts.method, parts.uri, parts.headers);
        let head = Head { method, uri, headers, peer: Ipv4Addr::LOCALHOST.into(), at: NOW };
        self.auth.authorize(Call::new(head).unwrap())
    }

    fn grant(&self) -> Session {
        Session {
            key: key(7).public(),
            network: self.ledger.network(),
            hosts: None,
            payer: payer(),
            total: Tal(60),
            expires: UnixNanos(NOW.0 + 3600 * SECOND),
            functions: None,
        }
    }
}

fn code(asked: Result<Admission, AuthorizeError>) -> String {
    match asked {
        Ok(_) => "let in".to_owned(),
        Err(AuthorizeError::NotCovered(refusal)) => refusal.code().to_owned(),
        Err(other) => format!("{other:?}").split(['(', ' ']).next().unwrap().to_owned(),
    }
}

#[test]
fn what_the_ledger_holds_finally_pays_for_runs() {
    let bench = bench(0);
    let channel = bench.ledger.open(70);
    assert_eq!(code(bench.ask(channel, 1)), "not-covered", "it is not final");
    bench.ledger.finalise();
    let first = bench.ask(channel, 1).unwrap();
    let second = bench.ask(channel, 9).unwrap();
    assert!(bench.auth.is_busy(&channel));
    assert_eq!(code(bench.ask(channel, 3)), "not-covered", "30 and 30 are under way of 70");
    assert!(matches!(bench.ask(channel, 9).unwrap(), Admission::Underway { .. }));
    drop((first, second));
    assert!(!bench.auth.is_busy(&channel));
    *bench.recorded.owed.lock().unwrap() = 41;
    assert_eq!(code(bench.ask(channel, 3)), "not-covered");
    let more = TopUp { channel, amount: Tal(1), expires: None };
    bench.ledger.act(Action::TopUp(more));
    assert_eq!(code(bench.ask(channel, 3)), "not-covered");
    bench.ledger.finalise();
    assert_eq!(code(bench.ask(channel, 3)), "let in");
    assert_eq!(code(bench.ask(ChannelId::new([1; 32]), 3)), "ChannelUnknown");
}

#[test]
fn what_is_not_final_is_risked_up_to_one_bound_over_all_payers() {
    let bench = bench(75);
    let (one, other) = (bench.ledger.open(1000), bench.ledger.open(1000));
    let held = [bench.ask(one, 1).unwrap(), bench.ask(other, 1).unwrap()];
    assert_eq!(code(bench.ask(one, 2)), "not-covered", "60 of 75 are at risk");
    drop(held);
    let third = bench.ledger.open(1000);
    assert_eq!(code(bench.ask(third, 1)), "not-covered", "bills may have come of the two");
    bench.ledger.finalise();
    assert_eq!(code(bench.ask(one, 2)), "let in");
    let fourth = bench.ledger.open(1000);
    assert_eq!(code(bench.ask(fourth, 1)), "let in", "what is final is at risk no more");
}

#[test]
fn work_without_a_voucher_has_a_bound_and_a_window() {
    let bench = bench(0);
    let channel = bench.ledger.open(100_000);
    bench.ledger.finalise();
    *bench.recorded.owed.lock().unwrap() = 480;
    assert_eq!(code(bench.ask(channel, 1)), "watermark", "the payer set 500");
    bench.ledger.vouch(400, 7);
    assert_eq!(code(bench.ask(channel, 7)), "sequence-window", "it is settled");
    assert_eq!(code(bench.ask(channel, 7 + 1025)), "sequence-window");
    let low = bench.ask(channel, 8).unwrap();
    bench.ledger.vouch(400, 100);
    assert_eq!(code(bench.ask(channel, 1033)), "SequenceBeyond", "8 is under way");
    drop(low);
    assert_eq!(code(bench.ask(channel, 1033)), "let in");
}

#[test]
fn a_channel_that_closes_pays_for_nothing_more() {
    let bench = bench(1000);
    let channel = bench.ledger.open(1000);
    bench.ledger.finalise();
    bench.ledger.act(Action::CloseChannel(CloseChannel { channel }));
    assert_eq!(code(bench.ask(channel, 1)), "near-deadline", "the head says so, final or not");
}

#[test]
fn a_session_key_signs_within_its_grant() {
    let bench = bench(0);
    let channel = bench.ledger.open(1000);
    bench.ledger.finalise();
    let (run, grant) = (bench.run(channel, 1), bench.grant());
    let alone = call_with(Some(sign::seal_document(&key(7), &run).encode()));
    assert_eq!(code(bench.auth.authorize(alone)), "wrong-payer");
    type Change = fn(&mut Session);
    let table: [(&str, Change); 7] = [
        ("wrong-network", |grant| grant.network = NetworkId::DEVELOPMENT),
        ("session-scope", |grant| grant.key = key(8).public()),
        ("session-scope", |grant| grant.hosts = Some(vec![key(8).public()].try_into().unwrap())),
        ("session-scope", |grant| {
            grant.functions = Some(vec![FunctionId::of(b"other")].try_into().unwrap());
        }),
        ("session-scope", |grant| grant.expires = UnixNanos(NOW.0 + 59 * SECOND)),
        ("session-total", |grant| grant.total = Tal(29)),
        ("SessionUnverified", |grant| grant.payer = key(3).public()),
    ];
    for (expected, change) in table {
        let mut grant = grant.clone();
        change(&mut grant);
        assert_eq!(code(bench.ask_under(&run, &grant)), expected);
    }
    let soon = Session { expires: UnixNanos(NOW.0 + SECOND), ..grant.clone() };
    let mut short = run.clone();
    short.payment.as_mut().unwrap().expires = UnixNanos(NOW.0 + SECOND);
    assert_eq!(code(bench.ask_under(&short, &soon)), "session-expired");
    assert_eq!(bench.ledger.0.lock().unwrap().grants, 0);
    let held = bench.ask_under(&run, &grant).unwrap();
    assert_eq!(bench.ledger.0.lock().unwrap().grants, 1, "a redeem by batch has to show it");
    let Admission::Run(authorized) = &held else { panic!("{held:?}") };
    let Caller::Paid(paid) = authorized.caller() else { panic!("not paid") };
    assert_eq!((paid.payer(), paid.account()), (key(7).public(), payer()));
    assert_eq!(code(bench.ask_under(&bench.run(channel, 2), &grant)), "let in");
    assert_eq!(code(bench.ask_under(&bench.run(channel, 3), &grant)), "let in", "the last ended");
    *bench.recorded.owed.lock().unwrap() = 1;
    assert_eq!(code(bench.ask_under(&bench.run(channel, 3), &grant)), "session-total");
}
