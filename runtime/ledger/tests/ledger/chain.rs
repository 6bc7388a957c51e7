//! The ledger's own documents: a network of one authority, its first block with an order of each kind beside it,
//! every kind of record, and proofs that hold against that block.

use std::sync::Arc;

use talea_ledger::batch::{BatchHead, seal_batch};
use talea_ledger::block::{Block, SignedBlock, VerifiedBlock};
use talea_ledger::fraud::FraudKind;
use talea_ledger::merkle::{LeafCount, LeafIndex};
use talea_ledger::params::{Balance, Network, NetworkParams};
use talea_ledger::proof::Evidence;
use talea_ledger::rules::record::*;
use talea_ledger::rules::{State, apply, propose};
use talea_ledger::sign::seal_document;
use talea_ledger::transaction::*;
use talea_ledger::units::{BatchNumber, Nanos};
use talea_ledger::*;

use crate::samples::{
    self, INPUT_BODY, Sample, host, input, owner, payer, profile, run_paid, sample,
};

fn authority() -> SecretKey {
    SecretKey::from_bytes(&[9; 32])
}

fn session_key() -> SecretKey {
    SecretKey::from_bytes(&[8; 32])
}

pub(crate) fn params() -> NetworkParams {
    let funded = [payer(), host()].map(|key| Balance { key: key.public(), amount: Tal(5_000_000) });
    NetworkParams {
        fee: Tal(10),
        name: "sample".parse().unwrap(),
        slot_len: Nanos(2_000_000_000),
        close_window: Slots(300),
        start: UnixNanos(1_699_999_998_000_000_000),
        answer_window: Slots(200),
        redeem_margin: Slots(60),
        dispute_window: Slots(250),
        unstake_window: Slots(1000),
        balances: funded.to_vec().try_into().unwrap(),
        block_len_max: 1 << 20,
        block_count_max: 2048,
        retention: 5000,
        authorities: vec![authority().public()].try_into().unwrap(),
    }
}

pub(crate) fn params_least() -> NetworkParams {
    NetworkParams { balances: vec![].try_into().unwrap(), fee: Tal::ZERO, ..params() }
}

fn network() -> Arc<Network> {
    Arc::new(Network::new(params()).unwrap())
}

fn channel() -> ChannelId {
    ChannelId::opened_by(&TransactionId::new([4; 32]))
}

fn order(key: &SecretKey, action: Action) -> Transaction {
    Transaction {
        action,
        network: network().id(),
        sender: key.public(),
        nonce: Nonce(0),
        builds_on: None,
    }
}

fn voucher() -> Voucher {
    Voucher { network: network().id(), channel: channel(), owed: Tal(4321), settled: Sequence(41) }
}

fn session() -> Session {
    Session {
        key: session_key().public(),
        network: network().id(),
        hosts: Some(vec![host().public()].try_into().unwrap()),
        payer: payer().public(),
        total: Tal(100_000),
        expires: UnixNanos(1_700_003_600_000_000_000),
        functions: Some(vec![run_paid().function].try_into().unwrap()),
    }
}

fn session_least() -> Session {
    Session { hosts: None, functions: None, ..session() }
}

fn run(sequence: u64) -> Run {
    let mut run = Run { network: network().id(), ..run_paid() };
    let payment = run.payment.as_mut().unwrap();
    (payment.channel, payment.sequence) = (channel(), Sequence(sequence));
    run
}

fn receipt(sequence: u64, owed: u64) -> Receipt {
    let receipt = samples::receipt_paid();
    let payment = receipt.payment.clone().map(|payment| ReceiptPayment {
        sequence: Sequence(sequence),
        channel: channel(),
        owed: Tal(owed),
        ..payment
    });
    Receipt { network: network().id(), run: run(sequence).id(), payment, ..receipt }
}

fn batch(receipts: &[Receipt]) -> SealedBatch {
    let head =
        BatchHead { network: network().id(), number: 9, at: UnixNanos(1_700_000_000_200_000_000) };
    let payloads: Vec<Vec<u8>> = receipts.iter().map(Document::encode).collect();
    seal_batch(&host(), head, &payloads).unwrap()
}

fn proven(receipt: &Receipt) -> ProvenReceipt {
    ProvenReceipt {
        proof: batch(std::slice::from_ref(receipt)).proof(LeafIndex::new(0)).unwrap(),
        receipt: receipt.encode().try_into().unwrap(),
    }
}

fn bill() -> Bill {
    Bill {
        run: seal_document(&payer(), &run(41)),
        path: batch(&[receipt(41, 90_000)]).path(LeafIndex::new(0)).unwrap(),
        batch: 0,
        index: LeafIndex::new(0),
        receipt: receipt(41, 90_000).encode().try_into().unwrap(),
    }
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn limits() -> registration::Limits {
    samples::registration().limits
}

fn transfer() -> Action {
    Action::Transfer(Transfer { to: owner().public(), amount: Tal(1_000_000) })
}

fn anchor() -> Action {
    let payload = batch(&[receipt(41, 90_000), receipt(42, 190_000)]).sealed().payload().to_vec();
    Action::Anchor(Anchor {
        last: BatchNumber(12),
        root: merkle::root(&[b"an earlier batch".to_vec(), payload]).unwrap(),
        count: LeafCount::of(2).unwrap(),
        first: BatchNumber(7),
    })
}

/// Orders about functions, names and offers.
fn registry() -> Vec<(&'static str, Action)> {
    let function = run_paid().function;
    let headers = samples::registration().headers;
    vec![
        (
            "function",
            Action::RegisterFunction(RegisterFunction {
                function,
                cgi: true,
                limits: limits(),
                kind: registration::Kind::Command,
                profile: profile(),
                headers: headers.clone(),
            }),
        ),
        (
            "function-update",
            Action::UpdateFunction(UpdateFunction {
                function,
                cgi: Some(false),
                limits: Some(limits()),
                profile: Some(profile()),
                owner: Some(host().public()),
                headers: Some(headers),
            }),
        ),
        (
            "name",
            Action::RegisterName(RegisterName {
                function,
                royalty: Ppm::new(25_000).unwrap(),
                name: name("demo/markdown"),
                private: true,
            }),
        ),
        (
            "name-update",
            Action::UpdateName(UpdateName {
                function: Some(function),
                royalty: Some(Ppm::new(30_000).unwrap()),
                name: name("demo/markdown"),
                owner: Some(host().public()),
                private: Some(false),
            }),
        ),
        (
            "grant",
            Action::Grant(Grant {
                key: payer().public(),
                name: name("demo/markdown"),
                methods: Some(vec![name("GET"), name("POST")].try_into().unwrap()),
            }),
        ),
        ("revoke", Action::Revoke(Revoke { key: payer().public(), name: name("demo/markdown") })),
        (
            "offer",
            Action::AnnounceOffer(AnnounceOffer {
                price: samples::price(),
                until: Slot(70_000),
                profiles: vec![profile()].try_into().unwrap(),
                endpoints: vec![name("/ip4/203.0.113.7/tcp/7601")].try_into().unwrap(),
            }),
        ),
        ("anchor", anchor()),
    ]
}

/// Orders about money.
fn money() -> Vec<(&'static str, Action)> {
    let claim = TransactionId::new([6; 32]);
    let part = Part {
        function: run_paid().function,
        royalty: Ppm::new(25_000).unwrap(),
        amount: Tal(4321),
    };
    vec![
        ("transfer", transfer()),
        (
            "open",
            Action::OpenChannel(OpenChannel {
                host: host().public(),
                escrow: Tal(500_000),
                expires: Slot(43_200),
                batch_cap: Tal(100_000),
                watermark: Tal(50_000),
            }),
        ),
        (
            "topup",
            Action::TopUp(TopUp {
                channel: channel(),
                amount: Tal(1000),
                expires: Some(Slot(86_400)),
            }),
        ),
        ("close", Action::CloseChannel(CloseChannel { channel: channel() })),
        (
            "revoke-session",
            Action::RevokeSession(RevokeSession { channel: channel(), session: session().id() }),
        ),
        ("settle", Action::Settle(Settle { lock: Lock::Claim(claim) })),
        (
            "redeem",
            Action::Redeem(Box::new(Redeem {
                grant: Some(seal_document(&payer(), &session())),
                split: vec![part].try_into().unwrap(),
                voucher: seal_document(&session_key(), &voucher()),
            })),
        ),
        (
            "redeem-batch",
            Action::RedeemBatch(Box::new(RedeemBatch {
                channel: channel(),
                bills: vec![bill()].try_into().unwrap(),
                grants: vec![].try_into().unwrap(),
                batches: vec![batch(&[receipt(41, 90_000)]).sealed().clone()].try_into().unwrap(),
            })),
        ),
        ("challenge", Action::Challenge(Challenge { sequence: Sequence(41), claim })),
        (
            "answer",
            Action::Answer(Box::new(Answer {
                input: input().encode().try_into().unwrap(),
                sequence: Sequence(41),
                body: Some(INPUT_BODY.try_into().unwrap()),
                claim,
                receipt: receipt(41, 90_000).encode().try_into().unwrap(),
            })),
        ),
        ("stake", Action::Stake(Stake { amount: Tal(250_000) })),
        ("unstake", Action::Unstake(Unstake { amount: Tal(50_000) })),
        (
            "fraud",
            Action::ReportFraud(Box::new(ReportFraud {
                first: proven(&receipt(41, 90_000)),
                second: proven(&receipt(41, 95_000)),
            })),
        ),
        ("deposit", Action::Deposit(b"later".as_slice().try_into().unwrap())),
    ]
}

/// The first block: a transfer and an anchor.
fn block() -> (VerifiedBlock, State) {
    let network = network();
    let state = State::genesis(Arc::clone(&network));
    let orders = [(payer(), transfer()), (host(), anchor())].map(|(key, action)| {
        let sealed = order(&key, action).seal(&key);
        Arc::new(VerifiedTransaction::verify(&sealed, &network.id()).unwrap())
    });
    let proposal = propose(&state, Slot(1), authority().public(), &orders);
    let head = seal_document(&authority(), &proposal.header);
    let body = proposal.transactions.iter().map(|each| each.bytes().to_vec()).collect();
    let signed = SignedBlock::verify(Block { head, body }, &network, Slot(1)).unwrap();
    let block = VerifiedBlock::verify(&signed, &network).unwrap();
    let state = apply(&state, &block).unwrap();
    (block, state)
}

/// A transfer, a receipt under an anchor, a record that is there, a key without one.
fn evidence() -> [Evidence; 4] {
    let (block, state) = block();
    let of = |action: &Action| {
        block.transactions().iter().find(|each| each.action() == action).unwrap().id()
    };
    let sealed = batch(&[receipt(41, 90_000), receipt(42, 190_000)]);
    let batches = [b"an earlier batch".to_vec(), sealed.sealed().payload().to_vec()];
    let payload = receipt(42, 190_000).encode().try_into().unwrap();
    let proof = sealed.proof(LeafIndex::new(1)).unwrap();
    [
        Evidence::of_transaction(&block, &of(&transfer())).unwrap(),
        Evidence::of_receipt(&block, &of(&anchor()), &batches, payload, proof).unwrap(),
        Evidence::of_state(block.head(), &state, Key::Account(owner().public())).unwrap(),
        Evidence::of_state(block.head(), &state, Key::Account(session_key().public())).unwrap(),
    ]
}

/// Records of each kind, every field at work.
fn records() -> Vec<(&'static str, Key, Record)> {
    let last = TransactionId::new([5; 32]);
    let function = run_paid().function;
    let mut used = Window::EMPTY;
    [0, 9, 1023].into_iter().for_each(|place| used.set(place));
    let bill = ClaimedBill {
        function,
        royalty: Ppm::new(25_000).unwrap(),
        sequence: Sequence(41),
        grant: Some(session().id()),
        until: Some(Slot(400)),
        amount: Tal(18_649),
        receipt: receipt(41, 90_000).id(),
        answered: false,
    };
    let channel_record = Channel {
        host: host().public(),
        last,
        used,
        payer: payer().public(),
        escrow: Tal(481_351),
        opened: Slot(3),
        batched: Tal(18_649),
        closing: Some(Slot(900)),
        expires: Slot(43_200),
        settled: Sequence(40),
        vouched: Tal(0),
        batch_cap: Tal(100_000),
        redeemed: Tal(18_649),
        watermark: Tal(50_000),
    };
    let claim = Claim {
        due: Slot(350),
        channel: channel(),
        host: host().public(),
        last,
        bills: vec![bill].try_into().unwrap(),
        payer: payer().public(),
    };
    let fraud = FraudRecord {
        reporter: payer().public(),
        transaction: last,
        kind: FraudKind::Sequence,
        slot: Slot(77),
        first: receipt(41, 90_000).id(),
        second: receipt(41, 95_000).id(),
        slashed: Tal(250_000),
    };
    let totals = Totals { fees: Tal(40), genesis: Tal(10_000_000), ..Totals::default() };
    let account = Account { last: Some(last), nonce: Nonce(2), balance: Tal(4_499_970) };
    let stake = StakeRecord { last, until: Slot(1005), amount: Tal(200_000), leaving: Tal(50_000) };
    let fraud_key = FraudKey { channel: channel(), host: host().public() };
    let host = host().public();
    let mut all = vec![
        ("record-totals", Key::Totals(()), Record::Totals(totals)),
        ("record-account", Key::Account(payer().public()), Record::Account(account)),
        ("record-channel", Key::Channel(channel()), Record::Channel(Box::new(channel_record))),
        ("record-claim", Key::Claim(last), Record::Claim(Box::new(claim))),
        (
            "record-session",
            Key::Session(SessionKey { channel: channel(), session: session().id() }),
            Record::Session(SessionRecord { spent: Tal(18_649), until: Some(Slot(950)) }),
        ),
        ("record-stake", Key::Stake(host), Record::Stake(stake)),
        ("record-fraud", Key::Fraud(fraud_key), Record::Fraud(Box::new(fraud))),
    ];
    all.extend(named_records(last, function));
    all
}

fn named_records(last: TransactionId, function: FunctionId) -> Vec<(&'static str, Key, Record)> {
    let (owner, host) = (owner().public(), host().public());
    let function_record = FunctionRecord {
        cgi: true,
        limits: limits(),
        kind: registration::Kind::Command,
        last,
        profile: profile(),
        owner,
        headers: samples::registration().headers,
    };
    let name_record = NameRecord {
        royalty: Ppm::new(25_000).unwrap(),
        count: 1,
        owner,
        private: true,
        versions: vec![function].try_into().unwrap(),
    };
    let offer = OfferRecord {
        last,
        price: samples::price(),
        until: Slot(70_000),
        profiles: vec![profile()].try_into().unwrap(),
        endpoints: vec![name("/ip4/203.0.113.7/tcp/7601")].try_into().unwrap(),
    };
    let anchor = AnchorRecord {
        transaction: last,
        last: BatchNumber(12),
        root: Digest::of(b"batches"),
        slot: Slot(1),
        count: LeafCount::of(2).unwrap(),
        first: BatchNumber(7),
    };
    let grant_key = GrantKey { key: payer().public(), name: name("demo/markdown") };
    let methods = Some(vec![name("GET"), name("POST")].try_into().unwrap());
    vec![
        ("record-function", Key::Function(function), Record::Function(Box::new(function_record))),
        (
            "record-namespace",
            Key::Namespace(name("demo")),
            Record::Namespace(NamespaceRecord { last, owner }),
        ),
        ("record-name", Key::Name(name("demo/markdown")), Record::Name(Box::new(name_record))),
        ("record-grant", Key::Grant(grant_key), Record::Grant(GrantRecord { methods })),
        ("record-offer", Key::Offer(host), Record::Offer(Box::new(offer))),
        ("record-anchor", Key::Anchor(host), Record::Anchor(Box::new(anchor))),
    ]
}

/// All of them.
pub(crate) fn all() -> Vec<Sample> {
    let mut all = vec![
        sample("params", &params()),
        sample("params-least", &params_least()),
        sample("voucher", &voucher()),
        sample("session", &session()),
        sample("session-least", &session_least()),
        sample("block", block().0.header()),
        Sample {
            name: "block-whole",
            media_type: "-",
            bytes: block().0.to_block().encode(),
            recode: |bytes| Block::decode(bytes).map(|block| block.encode()),
        },
    ];
    let names = ["transaction", "receipt", "state", "absence"];
    for (name, evidence) in names.into_iter().zip(evidence()) {
        all.push(sample(format!("evidence-{name}").leak(), &evidence));
    }
    for (name, action) in registry().into_iter().chain(money()) {
        let sender = if matches!(name, "transfer" | "open") { payer() } else { host() };
        let mut order = order(&sender, action);
        if name == "name-update" {
            order.builds_on = Some(TransactionId::new([5; 32]));
        }
        all.push(sample(format!("transaction-{name}").leak(), &order));
    }
    all.extend(records().into_iter().map(|(name, _, record)| sample(name, &record)));
    all
}

/// The path of each record's key, and the root of a state that has them all.
pub(crate) fn tree() -> String {
    use std::fmt::Write as _;
    let mut text =
        String::from("# file of the record, its key in hex, the key's path; last the root\n");
    let hex = crate::golden::hex;
    let mut keys = Vec::new();
    for (name, key, record) in records() {
        writeln!(text, "{name}.hex {} {}", hex(&key.encode()), key.path()).unwrap();
        assert_eq!(Key::decode(&key.encode()).as_ref(), Ok(&key));
        keys.push((key, record));
    }
    let tip = rules::Tip { id: network().genesis(), height: Height(0), slot: Slot(0) };
    let state = State::restore(network(), tip, keys);
    writeln!(text, "root {}", state.root()).unwrap();
    text
}

#[test]
fn the_samples_hold() {
    let network = network();
    for evidence in evidence() {
        evidence.check(&network).unwrap();
    }
    for (name, action) in registry().into_iter().chain(money()) {
        let sender = if matches!(name, "transfer" | "open") { payer() } else { host() };
        let sealed = order(&sender, action).seal(&sender);
        VerifiedTransaction::verify(&sealed, &network.id())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
