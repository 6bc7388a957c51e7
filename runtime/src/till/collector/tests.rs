//! The collector over a real journal and the ledger's real rules: what the host is owed, it gets, once.

use std::sync::Mutex;

use bytes::Bytes;
use talea_ledger::batch::{BatchHead, seal_batch};
use talea_ledger::cover::{self, Now};
use talea_ledger::merkle::LeafIndex;
use talea_ledger::rules::record::{FraudKey, SessionKey};
use talea_ledger::transaction::{
    Challenge, OpenChannel, ProvenReceipt, RegisterFunction, ReportFraud, RevokeSession,
};
use talea_ledger::{
    BodyId, Fuel, FunctionId, Height, Input, InputId, Network, NetworkId, NetworkParams, Outcome,
    Output, Pages, Payment, Place, Ppm, Price, ProfileId, Receipt, ReceiptPayment, Run, RunId,
    Sealed, SecretKey, Sequence, Slot, VerifiedTransaction, Voucher, message, sign,
};

use super::*;
use crate::chain::{Chain, ChainOptions, Finished};
use crate::clock::ManualClock;
use crate::executor::Execution;
use crate::store::disk::simulated::SimulatedDisk;
use crate::store::{KeptVoucher, PaymentShelf, Retention};
use crate::till::evidence::EVIDENCE_MAX;
use crate::till::{
    EVIDENCE_LEN_MAX, EvidenceError, Hearsay, Ledger, Prospect, Submitting, VoucherError,
};

fn host() -> SecretKey {
    SecretKey::from_bytes(&[1; 32])
}

fn payer() -> SecretKey {
    SecretKey::from_bytes(&[2; 32])
}

fn author() -> SecretKey {
    SecretKey::from_bytes(&[3; 32])
}

fn session_key() -> SecretKey {
    SecretKey::from_bytes(&[4; 32])
}

const FUNCTION: [&[u8]; 2] = [b"one", b"other"];

/// A ledger of one authority that finalises at once.
#[derive(Debug)]
struct Book {
    state: Mutex<State>,
    clock: Arc<ManualClock>,
}

impl Book {
    fn apply(&self, envelope: &[u8]) -> Result<TransactionId, String> {
        let mut state = self.state.lock().unwrap();
        let network = state.network().clone();
        let verified = VerifiedTransaction::decode(envelope, &network.id());
        let verified = verified.map_err(|fault| fault.code().to_owned())?;
        let place = Place { height: Height(1), slot: network.slot_at(self.clock.now()) };
        state.attempt(&verified, place).map_err(|refused| refused.code().to_owned())?;
        state.conserved().unwrap();
        Ok(verified.id())
    }

    fn act(&self, key: &SecretKey, action: Action) -> TransactionId {
        let head = self.head();
        let transaction = Transaction {
            action,
            network: head.network().id(),
            sender: key.public(),
            nonce: head.account(&key.public()).nonce,
            builds_on: None,
        };
        self.apply(&transaction.seal(key).encode()).unwrap()
    }
}

impl Ledger for Book {
    fn head(&self) -> State {
        self.state.lock().unwrap().clone()
    }

    fn finalised(&self) -> State {
        self.head()
    }

    fn submit(&self, envelope: Vec<u8>) -> Submitting<'_> {
        Box::pin(std::future::ready(self.apply(&envelope)))
    }
}

#[derive(Debug)]
struct Quiet;

impl Traffic for Quiet {
    fn is_busy(&self, _: &ChannelId) -> bool {
        false
    }
}

struct Bench {
    book: Arc<Book>,
    clock: Arc<ManualClock>,
    chain: Chain,
    till: Arc<Till>,
    collector: Collector,
    channel: ChannelId,
    folder: tempfile::TempDir,
}

/// A channel of 10,000 tal that lets 200 be claimed by batch.
fn opening() -> Action {
    Action::OpenChannel(OpenChannel {
        host: host().public(),
        escrow: Tal(10_000),
        expires: Slot(3_000),
        batch_cap: Tal(200),
        watermark: Tal(5_000),
    })
}

/// Such a channel at a host that redeems from 1,000 on.
fn bench() -> Bench {
    let keys = [host().public(), payer().public(), author().public()];
    let params = NetworkParams::development(&keys, host().public());
    let network = Network::new(params).unwrap();
    let start = network.slot_start(Slot(1_000));
    let clock = Arc::new(ManualClock::at(start));
    let state = Mutex::new(State::genesis(Arc::new(network)));
    let book = Arc::new(Book { state, clock: clock.clone() });
    for function in FUNCTION {
        book.act(
            &author(),
            Action::RegisterFunction(RegisterFunction {
                function: FunctionId::of(function),
                cgi: false,
                limits: talea_ledger::registration::Limits {
                    log: 1,
                    memory: Pages(1),
                    output: 1,
                    fuel: Fuel(1),
                },
                kind: talea_ledger::registration::Kind::Handler,
                profile: ProfileId::of(b"profile"),
                headers: Vec::new().try_into().unwrap(),
            }),
        );
    }
    let opening = book.act(&payer(), opening());
    let folder = tempfile::tempdir().unwrap();
    let notary = Notary::new(host(), book.head().network().id());
    let chain = Chain::open(ChainOptions {
        disk: Arc::new(SimulatedDisk::new()),
        segment_len: 64 * 1024,
        retention: Retention {
            bytes: u64::MAX,
            age: None,
            dispute_window: Duration::ZERO,
            unpaid: Duration::ZERO,
        },
        notary,
        clock: clock.clone(),
    })
    .unwrap();
    assembled(book, clock, chain, folder, ChannelId::opened_by(&opening))
}

/// Till and collector over what is on the disk.
fn assembled(
    book: Arc<Book>,
    clock: Arc<ManualClock>,
    chain: Chain,
    folder: tempfile::TempDir,
    channel: ChannelId,
) -> Bench {
    let till = Arc::new(till(&folder, &chain, &book));
    let parts = CollectorParts {
        till: till.clone(),
        notary: Notary::new(host(), book.head().network().id()),
        traffic: Arc::new(Quiet),
        clock: clock.clone(),
        threshold: Tal(1_000),
    };
    let collector = Collector::new(parts, desk().1);
    Bench { book, clock, chain, till, collector, channel, folder }
}

fn till(folder: &tempfile::TempDir, chain: &Chain, book: &Arc<Book>) -> Till {
    let shelf = PaymentShelf::open(&folder.path().join("payments.redb")).unwrap();
    Till::open(host().public(), shelf, chain.reader(), book.clone()).unwrap()
}

impl Bench {
    fn run(&self, sequence: u64, bill: u64, function: usize) -> (Run, Input) {
        let body = Bytes::from_static(b"in");
        let input = Input {
            body_len: body.len() as u64,
            args: message::arguments([]).unwrap(),
            body: BodyId::of(&body),
            path: message::Path::try_from("/").unwrap(),
            salt: None,
            query: message::Query::try_from("").unwrap(),
            method: message::Method::try_from("POST").unwrap(),
            headers: message::Headers::none(),
        };
        use talea_ledger::Document as _;
        let run = Run {
            function: FunctionId::of(FUNCTION[function]),
            input: InputId::of(&input.encode()),
            cgi: false,
            clock: self.clock.now(),
            input_len: body.len() as u64,
            network: self.book.head().network().id(),
            payment: Some(Payment {
                cap: Tal(bill),
                expires: UnixNanos(self.clock.now().0 + 1),
                royalty_ppm: Ppm::new(100_000).unwrap(),
                sequence: Sequence(sequence),
                channel: self.channel,
                host: None,
            }),
            profile: ProfileId::of(b"profile"),
            seed: [1; 32],
            price: Price { per_kib: Tal(0), per_call: Tal(bill), rate: 0 },
            log_limit: 1,
            memory_limit: Pages(1),
            output_limit: 1,
            fuel_limit: Fuel(1),
        };
        (run, input)
    }

    /// Records a run of the payer, or of the session key.
    async fn call(&self, key: &SecretKey, sequence: u64, bill: u64, function: usize) {
        let (run, input) = self.run(sequence, bill, function);
        self.record(key, run, input).await;
    }

    async fn record(&self, key: &SecretKey, run: Run, input: Input) {
        use talea_ledger::Document as _;
        let output = Output { body_len: 0, ..Output::empty() };
        let finished = Finished {
            run_payload: run.encode().into(),
            run_sealed: Some(sign::seal_document(key, &run)),
            payer: Some(key.public()),
            via: None,
            run,
            input_payload: input.encode().into(),
            input,
            input_body: Bytes::from_static(b"in"),
            execution: Execution {
                outcome: Outcome::Ok,
                fuel: Fuel(0),
                host_fuel: Fuel(0),
                peak_pages: Pages(1),
                output,
                output_body: Bytes::new(),
                log: Bytes::new(),
            },
        };
        self.chain.mailbox().record(finished).await.unwrap();
    }

    fn voucher(&self, key: &SecretKey, owed: u64, settled: u64) -> Vec<u8> {
        let voucher = Voucher {
            network: self.book.head().network().id(),
            channel: self.channel,
            owed: Tal(owed),
            settled: Sequence(settled),
        };
        sign::seal_document(key, &voucher).encode()
    }

    fn give(&self, owed: u64, settled: u64) -> Result<Tal, VoucherError> {
        let voucher = self.voucher(&payer(), owed, settled);
        Ok(self.till.accept(&voucher, None, self.clock.now())?.vouched)
    }

    fn grant(&self) -> Sealed {
        let session = Session {
            key: session_key().public(),
            network: self.book.head().network().id(),
            hosts: None,
            payer: payer().public(),
            total: Tal(100),
            expires: UnixNanos(u64::MAX),
            functions: Some(vec![FunctionId::of(FUNCTION[0])].try_into().unwrap()),
        };
        sign::seal_document(&payer(), &session)
    }

    fn slots(&self, slots: u64) {
        let length = self.book.head().network().params().slot_len.0;
        self.clock.advance(Duration::from_nanos(slots * length));
    }

    fn channel(&self) -> Channel {
        *self.book.head().channel(&self.channel).unwrap()
    }

    fn balance(&self, key: &SecretKey) -> u64 {
        self.book.head().account(&key.public()).balance.0
    }

    fn fees(&self) -> u64 {
        self.book.head().totals().fees.0
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voucher_is_redeemed_when_it_brings_enough_and_pays_the_author() {
    let mut bench = bench();
    for sequence in 1..=3 {
        bench.call(&payer(), sequence, 300, usize::from(sequence == 3)).await;
    }
    assert_eq!(bench.give(900, 3).unwrap(), Tal(900));
    bench.collector.round().await.unwrap();
    assert_eq!(bench.channel().redeemed, Tal(0), "900 is not enough to be in a hurry");
    bench.call(&payer(), 4, 100, 1).await;
    assert_eq!(bench.give(1_000, 4).unwrap(), Tal(1_000));
    let (host_before, author_before) = (bench.balance(&host()), bench.balance(&author()));
    let fees = bench.fees();
    bench.collector.round().await.unwrap();
    assert_eq!((bench.channel().redeemed, bench.channel().settled), (Tal(1_000), Sequence(4)));
    assert_eq!(bench.balance(&author()), author_before + 100, "a tenth is the author's");
    let fee = bench.fees() - fees;
    assert_eq!(bench.balance(&host()) + fee, host_before + 900);
    bench.collector.round().await.unwrap();
    assert_eq!(bench.fees(), fees + fee, "nothing is left to be done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vouchers_count_what_was_billed_and_survive_the_process() {
    let bench = bench();
    bench.call(&payer(), 1, 300, 0).await;
    bench.call(&payer(), 7, 100, 0).await;
    assert!(matches!(bench.give(401, 7), Err(VoucherError::Ahead { owed: Tal(400), .. })));
    assert!(matches!(bench.give(400, 6), Err(VoucherError::Settles { least: Sequence(7), .. })));
    assert!(matches!(bench.give(400, 8), Err(VoucherError::Settles { most: Sequence(7), .. })));
    let foreign = bench.voucher(&author(), 400, 7);
    let foreign = bench.till.accept(&foreign, None, bench.clock.now());
    assert!(matches!(foreign, Err(VoucherError::PayerForeign { .. })));
    assert_eq!(bench.give(400, 7).unwrap(), Tal(400));
    assert_eq!(bench.give(400, 7).unwrap(), Tal(400));
    assert!(matches!(bench.give(300, 7), Err(VoucherError::Backwards { owed: Tal(400), .. })));
    let Bench { book, chain, till: first, collector, channel, folder, .. } = bench;
    drop((first, collector));
    let again = till(&folder, &chain, &book);
    assert_eq!(again.vouched(&channel), (Tal(400), Sequence(7)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_vouches_for_its_functions_up_to_its_sum() {
    let mut bench = bench();
    bench.call(&session_key(), 1, 60, 0).await;
    let give = |bench: &Bench, owed, settled| {
        let voucher = bench.voucher(&session_key(), owed, settled);
        let grant = bench.grant().encode();
        bench.till.accept(&voucher, Some(&grant), bench.clock.now()).map(|it| it.vouched)
    };
    assert_eq!(give(&bench, 60, 1).unwrap(), Tal(60));
    bench.call(&session_key(), 2, 60, 0).await;
    let over = give(&bench, 120, 2).unwrap_err();
    assert!(matches!(over, VoucherError::SessionSpent { needed: Tal(120), .. }), "{over}");
    bench.call(&payer(), 3, 10, 1).await;
    let other = give(&bench, 130, 3).unwrap_err();
    assert!(matches!(other, VoucherError::SessionScope(_)), "{other}");
    // The channel closes: what the session vouched for is redeemed under its grant, then all is given back.
    let close = CloseChannel { channel: bench.channel };
    bench.book.act(&payer(), Action::CloseChannel(close));
    bench.collector.round().await.unwrap();
    assert_eq!(bench.channel().redeemed, Tal(60));
    bench.collector.round().await.unwrap();
    assert!(bench.book.head().channel(&bench.channel).is_some(), "70 are still owed");
    assert_eq!(bench.give(130, 3).unwrap(), Tal(130), "the payer itself may");
    bench.collector.round().await.unwrap();
    assert_eq!(bench.channel().redeemed, Tal(130));
    bench.collector.round().await.unwrap();
    assert!(bench.book.head().channel(&bench.channel).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bills_without_a_voucher_are_claimed_near_the_end_and_defended() {
    let mut bench = bench();
    let sealed = bench.grant();
    bench.till.keep_grant(&sealed.verify().unwrap(), &sealed).unwrap();
    for (sequence, bill) in [(1, 90), (2, 50), (3, 90), (4, 20)] {
        let key = if sequence == 2 { session_key() } else { payer() };
        bench.call(&key, sequence, bill, 0).await;
    }
    assert_eq!(bench.give(90, 1).unwrap(), Tal(90));
    bench.collector.round().await.unwrap();
    assert_eq!(bench.channel().redeemed, Tal(0), "there is time for a voucher");
    bench.slots(1_900);
    bench.collector.round().await.unwrap();
    assert_eq!(bench.channel().redeemed, Tal(90), "the voucher first");
    bench.collector.round().await.unwrap();
    assert_eq!((bench.channel().batched, bench.channel().redeemed), (Tal(160), Tal(250)));
    bench.collector.round().await.unwrap();
    assert_eq!(bench.channel().batched, Tal(160), "each bill once");
    let [(claim, _)] = bench.till.claims()[..] else { panic!("one claim") };
    let doubt = Challenge { sequence: Sequence(3), claim };
    bench.book.act(&payer(), Action::Challenge(doubt));
    bench.collector.round().await.unwrap();
    let answered = bench.book.head().claim(&claim).unwrap().clone();
    assert!(answered.bills.iter().any(|bill| bill.sequence == Sequence(3) && bill.answered));
    let before = (bench.balance(&host()), bench.fees());
    bench.slots(300);
    bench.collector.round().await.unwrap();
    assert!(bench.book.head().claim(&claim).is_none(), "paid out");
    let fee = bench.fees() - before.1;
    assert_eq!(bench.balance(&host()) + fee, before.0 + 144, "less the author's tenth");
    bench.collector.round().await.unwrap();
    assert!(bench.till.claims().is_empty());
    let key = FraudKey { channel: bench.channel, host: host().public() };
    assert!(bench.book.head().fraud(&key).is_none());
}

/// What is taken by cover can be redeemed: the two must not drift apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cover_takes_can_be_redeemed() {
    let mut bench = bench();
    let (run, _) = bench.run(1, 4_000, 0);
    let verified = sign::seal_document(&payer(), &run).verify::<Run>().unwrap();
    let head = bench.book.head();
    let terms = cover::Terms { host: host().public(), price: run.price, watermark: Tal(5_000) };
    let slot = head.network().slot_at(bench.clock.now());
    let now = Now { time: bench.clock.now(), slot };
    let standing = cover::Standing::default();
    let channel = (&bench.channel, &bench.channel());
    cover::decide(head.network(), channel, &verified, None, &terms, &standing, now).unwrap();
    bench.call(&payer(), 1, 4_000, 0).await;
    bench.give(4_000, 1).unwrap();
    bench.collector.round().await.unwrap();
    assert_eq!(bench.channel().redeemed, Tal(4_000));
}

/// Records so many bills of 10 tal, each at a rate of its own, on the bench's channel.
async fn bills_at_many_rates(bench: &Bench, count: u32) {
    for number in 1..=count {
        let (mut run, input) = bench.run(u64::from(number), 10, 0);
        run.payment.as_mut().unwrap().royalty_ppm = Ppm::new(number).unwrap();
        bench.record(&payer(), run, input).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_redeem_cannot_list_is_promised_and_paid_in_two() {
    let mut bench = bench();
    bills_at_many_rates(&bench, 65).await;
    let whole = bench.give(650, 65).unwrap_err();
    let VoucherError::Parts { owed, settled } = whole else { panic!("{whole}") };
    assert_eq!((owed, settled), (Tal(640), Sequence(64)), "64 of them can be listed");
    assert_eq!(bench.give(640, 64).unwrap(), Tal(640));
    // The host would wait for 1,000 tal; the payer waits for it, so it does not.
    bench.collector.round().await.unwrap();
    assert_eq!((bench.channel().redeemed, bench.channel().settled), (Tal(640), Sequence(64)));
    assert_eq!(bench.give(650, 65).unwrap(), Tal(650), "and now the rest");
    bench.slots(1_900);
    bench.collector.round().await.unwrap();
    assert_eq!(bench.channel().redeemed, Tal(650));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_functions_are_one_voucher() {
    let mut bench = bench();
    bills_at_many_rates(&bench, 64).await;
    assert_eq!(bench.give(640, 64).unwrap(), Tal(640));
    bench.collector.round().await.unwrap();
    assert_eq!(bench.channel().redeemed, Tal(0), "nobody is in a hurry");
    bench.slots(1_900);
    bench.collector.round().await.unwrap();
    assert_eq!(bench.channel().redeemed, Tal(640));
}

/// A payer chooses what it calls: it must not keep a host from what others owe.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_no_redeem_can_list_does_not_hold_up_the_others() {
    let bench = bench();
    let stuck = bench.channel;
    bills_at_many_rates(&bench, 65).await;
    // Such a voucher is not taken; this one was kept by another version.
    let voucher = Sealed::decode(&bench.voucher(&payer(), 650, 65)).unwrap();
    let kept = KeptVoucher { voucher, grant: None };
    bench.till.shelf.put_voucher(&stuck, VoucherBy::Payer, &kept).unwrap();
    let Bench { book, clock, chain, till, collector, folder, .. } = bench;
    drop((till, collector));
    let other = ChannelId::opened_by(&book.act(&payer(), opening()));
    let mut bench = assembled(book, clock, chain, folder, other);
    bench.call(&payer(), 1, 1_000, 0).await;
    assert_eq!(bench.give(1_000, 1).unwrap(), Tal(1_000));
    bench.slots(1_900);
    bench.collector.round().await.unwrap();
    assert_eq!(bench.channel().redeemed, Tal(1_000));
    assert!(bench.collector.told.contains(&stuck));
    assert_eq!(bench.book.head().channel(&stuck).unwrap().redeemed, Tal(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_sessions_work_is_collected_while_it_counts() {
    let mut bench = bench();
    let sealed = bench.grant();
    let session = sealed.verify::<Session>().unwrap().document().clone();
    bench.till.keep_grant(&sealed.verify().unwrap(), &sealed).unwrap();
    bench.call(&session_key(), 1, 30, 0).await;
    bench.call(&payer(), 2, 40, 0).await;
    let give = |bench: &Bench, owed, settled| {
        let voucher = bench.voucher(&session_key(), owed, settled);
        let grant = sealed.encode();
        bench.till.accept(&voucher, Some(&grant), bench.clock.now()).map(|it| it.vouched)
    };
    assert_eq!(give(&bench, 30, 1).unwrap(), Tal(30));
    bench.call(&session_key(), 3, 20, 0).await;
    bench.collector.round().await.unwrap();
    assert_eq!(bench.channel().redeemed, Tal(0), "nobody is in a hurry");
    let revoke = RevokeSession { channel: bench.channel, session: session.id() };
    bench.book.act(&payer(), Action::RevokeSession(revoke));
    // What no voucher counts is claimed by batch, what one counts by the voucher; the payer's own bill waits.
    bench.collector.round().await.unwrap();
    assert_eq!((bench.channel().batched, bench.channel().redeemed), (Tal(20), Tal(20)));
    bench.collector.round().await.unwrap();
    assert_eq!((bench.channel().batched, bench.channel().redeemed), (Tal(20), Tal(30)));
    assert_eq!(bench.channel().vouched, Tal(30));
    let key = SessionKey { channel: bench.channel, session: session.id() };
    let until = bench.book.head().session(&key).unwrap().until.unwrap();
    let now = bench.book.head().network().slot_at(bench.clock.now());
    bench.slots(until.0 - now.0);
    let late = give(&bench, 90, 3).unwrap_err();
    assert!(matches!(late, VoucherError::SessionRevoked(slot) if slot == until), "{late}");
    assert_eq!(bench.give(90, 3).unwrap(), Tal(90), "the payer's own word counts as before");
}

/// Until every node has had its turn to report what it heard.
const WAIT_FOR_TURN: Duration = Duration::from_secs(30);
/// Until evidence is said again.
const SAY_AGAIN: Duration = Duration::from_secs(600);

/// Two receipts of a host for one sequence of a channel, each in a batch of its own.
fn contradiction(host: &SecretKey, channel: ChannelId, network: NetworkId) -> Vec<u8> {
    use talea_ledger::Document as _;
    let proven = |at: u64| {
        let receipt = Receipt {
            at: UnixNanos(at),
            host: host.public(),
            function: FunctionId::of(FUNCTION[0]),
            input: InputId::of(b"in"),
            input_len: 0,
            peak_pages: Pages(1),
            network,
            output: Output::empty().id(),
            payment: Some(ReceiptPayment {
                sequence: Sequence(1),
                channel,
                owed: Tal(5),
                payer: payer().public(),
            }),
            run: RunId::of(b"run"),
            forwarded: None,
            bill: Tal(5),
            fuel: Fuel(0),
            output_len: 0,
            profile: ProfileId::of(b"profile"),
            host_fuel: Fuel(0),
            price: Price { per_kib: Tal(0), per_call: Tal(5), rate: 0 },
            outcome: Outcome::Ok,
        };
        let head = BatchHead { network, number: at, at: receipt.at };
        let sealed = seal_batch(host, head, &[receipt.encode()]).unwrap();
        let proof = sealed.proof(LeafIndex::new(0)).unwrap();
        ProvenReceipt { proof, receipt: receipt.encode().try_into().unwrap() }
    };
    ReportFraud { first: proven(1), second: proven(2) }.encode()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fraud_of_another_host_is_reported_where_that_costs_it_something() {
    let mut bench = bench();
    let network = bench.book.head().network().id();
    let all = |bench: &Bench| bench.till.evidence(usize::MAX, |_| true);
    let thief = |number: u8| SecretKey::from_bytes(&[100 + number; 32]);
    let nowhere = ChannelId::new([9; 32]);
    let accuse = |bench: &Bench, key: &SecretKey, channel| {
        let taken = bench.till.accuse(&contradiction(key, channel, network));
        taken.map(|(evidence, is_new)| (bench.till.prospect(&evidence), is_new))
    };
    let mine = accuse(&bench, &host(), nowhere).unwrap();
    assert_eq!(mine, (Prospect::Never("own"), true));
    let idle = accuse(&bench, &thief(1), nowhere).unwrap();
    assert_eq!(idle, (Prospect::Never("no-consequence"), true));
    let Action::OpenChannel(plain) = opening() else { unreachable!() };
    let open = |bench: &Bench, key: &SecretKey| {
        let open = OpenChannel { host: key.public(), ..plain };
        ChannelId::opened_by(&bench.book.act(&payer(), Action::OpenChannel(open)))
    };
    let channel = open(&bench, &thief(2));
    assert_eq!(accuse(&bench, &thief(2), channel).unwrap(), (Prospect::Soon, true));
    assert_eq!(accuse(&bench, &thief(2), channel).unwrap(), (Prospect::Soon, false), "known");
    bench.collector.round().await.unwrap();
    let key = FraudKey { channel, host: thief(2).public() };
    let record = *bench.book.head().fraud(&key).expect("reported");
    assert_eq!(record.reporter, host().public());
    assert_eq!(accuse(&bench, &thief(2), channel).unwrap(), (Prospect::Recorded(record), false));
    let fees = bench.fees();
    bench.collector.round().await.unwrap();
    assert_eq!(bench.fees(), fees, "once");
    // What is no evidence is refused, with the ledger's own reason.
    let foreign = bench.till.accuse(&contradiction(&thief(3), nowhere, NetworkId::DEVELOPMENT));
    assert!(
        matches!(foreign, Err(EvidenceError::Unproven(fault)) if fault.code() == "wrong-network")
    );
    assert!(matches!(bench.till.accuse(b"rubbish"), Err(EvidenceError::Unreadable(_))));
    // The shelf is full: what has no consequence or is recorded gives way, what is to be reported does not.
    let to_be = open(&bench, &thief(3));
    assert_eq!(accuse(&bench, &thief(3), to_be).unwrap(), (Prospect::Soon, true));
    for number in 10..10 + u8::try_from(EVIDENCE_MAX).unwrap() {
        accuse(&bench, &thief(number), nowhere).unwrap();
        assert!(all(&bench).len() <= EVIDENCE_MAX);
    }
    assert!(all(&bench).iter().any(|it| it.fraud.host == thief(3).public()));
    let kept = all(&bench);
    let Bench { book, clock, chain, till, collector, channel, folder } = bench;
    drop((till, collector));
    let bench = assembled(book, clock, chain, folder, channel);
    assert_eq!(all(&bench), kept, "it survives the process");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evidence_that_was_heard_is_passed_on_once_and_reported_when_its_turn_comes() {
    let mut bench = bench();
    let network = bench.book.head().network().id();
    let thief = |number: u8| SecretKey::from_bytes(&[100 + number; 32]);
    let hear = |bench: &Bench, bytes: &[u8]| bench.till.hear_evidence(bytes, bench.clock.now());
    let nowhere = ChannelId::new([9; 32]);
    let idle = contradiction(&thief(1), nowhere, network);
    assert_eq!(hear(&bench, &idle), Hearsay::Passed, "a key that was made for it");
    assert!(bench.till.evidence(usize::MAX, |_| true).is_empty());
    let foreign = contradiction(&thief(1), nowhere, NetworkId::DEVELOPMENT);
    for (bytes, code) in [
        (foreign, "fraud-unproven"),
        (b"rubbish".to_vec(), "fraud-malformed"),
        (vec![0; EVIDENCE_LEN_MAX + 1], "fraud-too-long"),
    ] {
        assert_eq!(hear(&bench, &bytes), Hearsay::Refused(code));
    }
    let Action::OpenChannel(plain) = opening() else { unreachable!() };
    let open = |bench: &Bench, number| {
        let open = OpenChannel { host: thief(number).public(), ..plain };
        ChannelId::opened_by(&bench.book.act(&payer(), Action::OpenChannel(open)))
    };
    let channel = open(&bench, 2);
    let told = contradiction(&thief(2), channel, network);
    assert_eq!(hear(&bench, &told), Hearsay::New);
    assert_eq!(hear(&bench, &told), Hearsay::Passed, "known");
    let say = |bench: &Bench| bench.till.evidence_to_say(bench.clock.now());
    assert!(say(&bench).is_empty(), "whoever passed it on has said it");
    let key = FraudKey { channel, host: thief(2).public() };
    bench.collector.round().await.unwrap();
    assert!(bench.book.head().fraud(&key).is_none(), "somebody else may be about to");
    bench.clock.advance(WAIT_FOR_TURN);
    bench.collector.round().await.unwrap();
    let record = *bench.book.head().fraud(&key).expect("reported");
    assert_eq!(record.reporter, host().public());
    assert_eq!(hear(&bench, &told), Hearsay::Passed, "recorded");

    // What was handed in here is said at once, again after a while, and no more once it is recorded.
    let channel = open(&bench, 3);
    let handed = contradiction(&thief(3), channel, network);
    bench.till.accuse(&handed).unwrap();
    assert_eq!(say(&bench), std::slice::from_ref(&handed));
    assert!(say(&bench).is_empty());
    bench.clock.advance(SAY_AGAIN);
    assert_eq!(say(&bench), [handed]);
    bench.collector.round().await.unwrap();
    assert!(bench.book.head().fraud(&FraudKey { channel, host: thief(3).public() }).is_some());
    bench.clock.advance(SAY_AGAIN);
    assert!(say(&bench).is_empty());
}
