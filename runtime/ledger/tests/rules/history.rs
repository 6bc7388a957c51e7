//! Law 5 over random histories: money is conserved at every prefix, and nothing is applied or paid twice, whatever
//! is replayed, reordered, split, or read again from the first block on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree as _;
use talea_ledger::codec::Document;
use talea_ledger::rules::record::{Key, Record};
use talea_ledger::rules::{State, apply, propose};
use talea_ledger::transaction::*;
use talea_ledger::*;

use crate::world::*;

#[derive(Debug, Clone)]
enum Step {
    Transfer(u8, u8, u64),
    Stake(u64),
    Unstake(u64),
    Open(u64),
    TopUp(Index, u64),
    Close(Index, bool),
    Voucher(Index, u8),
    Batch(Index, u8),
    Challenge(Index, u8),
    Answer(Index, u8),
    Settle(Index, u8),
    Fraud(Index),
    Register,
    Pass(u8),
    Replay(Index),
}

fn step() -> impl Strategy<Value = Step> {
    let amount = prop_oneof![4 => 1..5000_u64, 1 => any::<u64>(), 1 => Just(0)];
    let at = any::<Index>;
    prop_oneof![
        1 => (1..5_u8, 1..7_u8, amount.clone()).prop_map(|(from, to, much)| Step::Transfer(from, to, much)),
        1 => amount.clone().prop_map(Step::Stake),
        1 => amount.clone().prop_map(Step::Unstake),
        3 => amount.clone().prop_map(Step::Open),
        1 => (at(), amount).prop_map(|(which, much)| Step::TopUp(which, much)),
        1 => (at(), any::<bool>()).prop_map(|(which, by_host)| Step::Close(which, by_host)),
        4 => (at(), 0..5_u8).prop_map(|(which, calls)| Step::Voucher(which, calls)),
        4 => (at(), 1..4_u8).prop_map(|(which, calls)| Step::Batch(which, calls)),
        2 => (at(), 0..4_u8).prop_map(|(which, bill)| Step::Challenge(which, bill)),
        2 => (at(), 0..4_u8).prop_map(|(which, bill)| Step::Answer(which, bill)),
        4 => (at(), 0..3_u8).prop_map(|(which, kind)| Step::Settle(which, kind)),
        1 => at().prop_map(Step::Fraud),
        1 => Just(Step::Register),
        3 => (0..25_u8).prop_map(Step::Pass),
        2 => at().prop_map(Step::Replay),
    ]
}

/// A payment in one part, or in none when there is nothing to pay.
fn parts_of(ppm: u32, payment: u64) -> Vec<(u32, u64)> {
    if payment == 0 { vec![] } else { vec![(ppm, payment)] }
}

/// A channel with what its calls sum to.
struct Open {
    id: ChannelId,
    calls: u64,
}

struct History {
    world: World,
    channels: Vec<Open>,
    claims: Vec<(TransactionId, Vec<(Call, Receipt)>)>,
    sent: Vec<Sealed>,
    blocks: Vec<Vec<u8>>,
    /// What a store would have: every record, kept by each block's changes alone.
    stored: BTreeMap<Key, Record>,
}

impl History {
    fn new() -> Self {
        let world = World::new();
        let stored = world.state.records().map(|(key, record)| (key.clone(), record.clone()));
        Self {
            stored: stored.collect(),
            world,
            channels: vec![],
            claims: vec![],
            sent: vec![],
            blocks: vec![],
        }
    }

    fn send(&mut self, key: &SecretKey, action: Action) -> Option<TransactionId> {
        let sealed = self.world.order(key, action).seal(key);
        self.submit(sealed)
    }

    /// A block of this one transaction, if it applies; a refusal leaves no trace (checked by the world).
    fn submit(&mut self, sealed: Sealed) -> Option<TransactionId> {
        let verified = self.world.verify(&sealed).ok()?;
        let mut tried = self.world.state.clone();
        let root = tried.root();
        if tried.attempt(&verified, self.world.place()).is_err() {
            assert_eq!(tried.root(), root);
            return None;
        }
        let block = self.world.propose(&[Arc::clone(&verified)]);
        self.blocks.push(block.to_block().encode());
        self.world.state = apply(&self.world.state, &block).unwrap();
        self.world.skipped = 0;
        assert_eq!(apply(&self.world.state, &block).unwrap_err().code(), "wrong-parent");
        for (key, record) in self.world.state.changes() {
            match record {
                Some(record) => self.stored.insert(key.clone(), record.clone()),
                None => self.stored.remove(key),
            };
        }
        self.sent.push(sealed);
        Some(verified.id())
    }

    fn take(&mut self, step: &Step) {
        let pick = |which: &Index, len: usize| (len > 0).then(|| which.index(len));
        match step {
            Step::Transfer(from, to, amount) => {
                let action = Transfer { to: person(*to).public(), amount: Tal(*amount) };
                self.send(&person(*from), Action::Transfer(action));
            }
            Step::Stake(amount) => {
                self.send(&host(), Action::Stake(Stake { amount: Tal(*amount) }));
            }
            Step::Unstake(amount) => {
                self.send(&host(), Action::Unstake(Unstake { amount: Tal(*amount) }));
            }
            Step::Open(escrow) => {
                let action = OpenChannel {
                    host: host().public(),
                    escrow: Tal(*escrow),
                    expires: Slot(self.world.slot().0 + 60),
                    batch_cap: Tal(400),
                    watermark: Tal(*escrow),
                };
                if let Some(id) = self.send(&payer(), Action::OpenChannel(action)) {
                    self.channels.push(Open { id: ChannelId::opened_by(&id), calls: 0 });
                }
            }
            Step::Register => {
                self.send(&author(), register());
            }
            Step::Pass(slots) => self.world.pass(u64::from(*slots)),
            Step::Replay(which) => {
                if let Some(at) = pick(which, self.sent.len()) {
                    let sealed = self.sent[at].clone();
                    assert_eq!(self.submit(sealed), None, "applied twice");
                }
            }
            Step::Challenge(which, bill) | Step::Answer(which, bill) => {
                if let Some(at) = pick(which, self.claims.len()) {
                    self.dispute(at, usize::from(*bill), matches!(step, Step::Answer(..)));
                }
            }
            Step::Settle(which, kind) => self.settle(which, *kind),
            Step::TopUp(which, _)
            | Step::Close(which, _)
            | Step::Voucher(which, _)
            | Step::Batch(which, _)
            | Step::Fraud(which) => {
                if let Some(at) = pick(which, self.channels.len()) {
                    self.on_channel(at, step);
                }
            }
        }
    }

    fn on_channel(&mut self, at: usize, step: &Step) {
        let channel = self.channels[at].id;
        match step {
            Step::TopUp(_, amount) => {
                let action = TopUp { channel, amount: Tal(*amount), expires: None };
                self.send(&payer(), Action::TopUp(action));
            }
            Step::Close(_, by_host) => {
                let key = if *by_host { host() } else { payer() };
                self.send(&key, Action::CloseChannel(CloseChannel { channel }));
            }
            Step::Voucher(_, more) => {
                self.channels[at].calls += u64::from(*more);
                let calls = self.channels[at].calls;
                let redeemed =
                    self.world.state.channel(&channel).map_or(0, |record| record.redeemed.0);
                let payment = (calls * 100).saturating_sub(redeemed);
                let voucher = self.world.voucher(channel, calls * 100, calls);
                self.send(&host(), redeem(&payer(), &voucher, &parts_of(100_000, payment), None));
            }
            Step::Batch(_, more) => {
                let first = self.channels[at].calls + 1;
                let calls: Vec<Call> = (first..first + u64::from(*more))
                    .map(|sequence| self.world.call(&payer(), channel, sequence))
                    .collect();
                let receipts: Vec<Receipt> = calls
                    .iter()
                    .zip(first..)
                    .map(|(call, place)| call.receipt(place * 100))
                    .collect();
                let action = redeem_receipts(channel, &calls, &receipts, vec![]);
                if let Some(id) = self.send(&host(), Action::RedeemBatch(Box::new(action))) {
                    self.channels[at].calls += u64::from(*more);
                    self.claims.push((id, calls.into_iter().zip(receipts).collect()));
                }
            }
            _ => {
                let call = self.world.call(&payer(), channel, 1);
                let network = self.world.network.id();
                let proven = |owed| {
                    let receipt = call.receipt(owed);
                    let batch = batch_of(&host(), network, std::slice::from_ref(&receipt));
                    ProvenReceipt {
                        proof: batch.proof(merkle::LeafIndex::new(0)).unwrap(),
                        receipt: receipt.encode().try_into().unwrap(),
                    }
                };
                let action = ReportFraud { first: proven(100), second: proven(300) };
                self.send(&stranger(), Action::ReportFraud(Box::new(action)));
            }
        }
    }

    fn dispute(&mut self, at: usize, bill: usize, answers: bool) {
        let (claim, bills) = &self.claims[at];
        let claim = *claim;
        let (call, receipt) = bills[bill % bills.len()].clone();
        let sequence = call.document.payment.as_ref().unwrap().sequence;
        if !answers {
            self.send(&payer(), Action::Challenge(Challenge { sequence, claim }));
            return;
        }
        let action = Answer {
            input: input().encode().try_into().unwrap(),
            sequence,
            body: Some(BODY.try_into().unwrap()),
            claim,
            receipt: receipt.encode().try_into().unwrap(),
        };
        self.send(&host(), Action::Answer(Box::new(action)));
    }

    fn settle(&mut self, which: &Index, kind: u8) {
        let lock = match kind {
            0 if !self.channels.is_empty() => {
                Lock::Channel(self.channels[which.index(self.channels.len())].id)
            }
            1 if !self.claims.is_empty() => {
                Lock::Claim(self.claims[which.index(self.claims.len())].0)
            }
            _ => Lock::Stake(host().public()),
        };
        self.send(&stranger(), Action::Settle(Settle { lock }));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn money_is_conserved_at_every_prefix(steps in vec(step(), 1..90)) {
        let mut history = History::new();
        for step in &steps {
            history.take(step);
            history.world.state.conserved().unwrap();
        }
        // A node that comes late and reads all blocks has the same state; so has one that kept only changes.
        let mut late = World::new();
        for bytes in &history.blocks {
            late.skipped = u64::MAX / 2;
            let block = late.read(bytes).unwrap();
            late.state = apply(&late.state, &block).unwrap();
        }
        let root = history.world.state.root();
        prop_assert_eq!(late.state.root(), root);
        let tip = history.world.state.tip();
        let network = Arc::clone(&history.world.network);
        prop_assert_eq!(State::restore(network, tip, history.stored).root(), root);
    }

    /// Calls 1 to n of 100 each, redeemed by any vouchers and any batches, overlapping, in any order: what is
    /// paid is never more than the calls that the accepted ones cover.
    #[test]
    fn no_call_is_paid_twice(
        count in 1..20_u64,
        tries in vec((any::<bool>(), any::<Index>(), 1..6_u64), 1..14),
    ) {
        let mut world = World::new();
        let channel = world.open(100_000, 100_000);
        let (mut covered, mut claims) = (BTreeSet::new(), vec![]);
        for (by_voucher, which, more) in tries {
            let at = which.index(count as usize) as u64 + 1;
            if by_voucher {
                let before = world.state.channel(&channel).unwrap().redeemed.0;
                let parts = parts_of(0, (at * 100).saturating_sub(before));
                let voucher = world.voucher(channel, at * 100, at);
                if world.redeem(&payer(), &voucher, &parts).is_ok() {
                    covered.extend(1..=at);
                }
            } else {
                let calls: Vec<Call> =
                    (at..at + more).map(|at| world.call(&payer(), channel, at)).collect();
                let receipts: Vec<Receipt> =
                    calls.iter().zip(at..).map(|(call, at)| call.receipt(at * 100)).collect();
                let action = redeem_receipts(channel, &calls, &receipts, vec![]);
                if let Ok(id) = world.send(&host(), Action::RedeemBatch(Box::new(action))) {
                    prop_assert!((at..at + more).all(|at| !covered.contains(&at)), "a call twice");
                    covered.extend(at..at + more);
                    claims.push(id);
                }
            }
            let paid = world.state.channel(&channel).unwrap().redeemed.0;
            prop_assert!(paid <= covered.len() as u64 * 100, "{paid} for {}", covered.len());
        }
        world.pass(20);
        for claim in claims {
            world.send(&stranger(), Action::Settle(Settle { lock: Lock::Claim(claim) })).unwrap();
        }
        let record = *world.state.channel(&channel).unwrap();
        prop_assert_eq!(record.escrow.0 + record.redeemed.0, 100_000);
        world.send(&host(), Action::CloseChannel(CloseChannel { channel })).unwrap();
        prop_assert_eq!(world.balance(&payer()), FUND - FEE - record.redeemed.0);
    }

    /// Orders of several senders, some of them impossible, put into blocks in any cut: the same applies, and each
    /// sender's orders in their order.
    #[test]
    fn blocks_can_be_cut_anywhere(
        amounts in vec((1..5_u8, 1..400_000_u64), 1..24),
        cuts in vec(1..8_usize, 1..8),
        seed in any::<u64>(),
    ) {
        let world = World::new();
        let mut nonces = BTreeMap::new();
        let mut orders: Vec<Arc<VerifiedTransaction>> = vec![];
        for (from, amount) in amounts {
            let action = Transfer { to: person(60).public(), amount: Tal(amount) };
            let nonce = nonces.entry(from).or_insert(0_u64);
            let order = Transaction {
                nonce: Nonce(*nonce),
                ..world.order(&person(from), Action::Transfer(action))
            };
            *nonce += 1;
            orders.push(world.verify(&order.seal(&person(from))).unwrap());
        }
        let whole = drain(World::new(), orders.clone(), &[usize::MAX]);
        // Any other order of arrival, any other cut.
        let mut shuffled = orders;
        let mut random = seed;
        for at in (1..shuffled.len()).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(at, (random >> 33) as usize % (at + 1));
        }
        let cut = drain(World::new(), shuffled, &cuts);
        prop_assert_eq!(cut.state.root(), whole.state.root());
    }
}

/// The histories are not empty talk: every action they try is applied in some of them.
#[test]
fn histories_reach_every_rule() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut reached = BTreeSet::new();
    for _ in 0..60 {
        let steps = vec(step(), 60..90).new_tree(&mut runner).unwrap().current();
        let mut history = History::new();
        steps.iter().for_each(|step| history.take(step));
        for bytes in &history.sent {
            reached.insert(history.world.verify(bytes).unwrap().action().kind());
        }
    }
    let expected = [
        "transfer",
        "function",
        "open",
        "topup",
        "close",
        "settle",
        "redeem",
        "redeem-batch",
        "challenge",
        "answer",
        "stake",
        "unstake",
        "fraud",
    ];
    for kind in expected {
        assert!(reached.contains(kind), "no history applied {kind}");
    }
}

/// Puts orders into blocks of at most so many until nothing more applies.
fn drain(mut world: World, mut pending: Vec<Arc<VerifiedTransaction>>, cuts: &[usize]) -> World {
    let mut cuts = cuts.iter().cycle();
    loop {
        let proposal = propose(&world.state, world.slot(), authority().public(), &pending);
        // A prefix of the canonical order is in canonical order too.
        let most = *cuts.next().unwrap();
        let block: Vec<_> = proposal.transactions.into_iter().take(most).collect();
        if block.is_empty() {
            return world;
        }
        let taken: BTreeSet<TransactionId> = block.iter().map(|each| each.id()).collect();
        world.block(&block);
        pending.retain(|each| !taken.contains(&each.id()));
    }
}
